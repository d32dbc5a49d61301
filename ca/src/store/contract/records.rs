//! Records to try a store with.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use sigillo_protocol::{
    acme::{
        account::AccountStatus,
        authorization::AuthorizationStatus,
        challenge::{ChallengeStatus, ChallengeType},
        identifier::Name,
    },
    jose::Thumbprint,
};

use crate::{
    model::{
        Account, AccountId, Action, Actor, AuditEvent, Authorization, AuthorizationId, Certificate, CertificateState,
        Challenge, CrlKind, CrlRecord, ExternalKey, IssuerId, Order, OrderId, Progress, Revocation, Serial, Version,
    },
    store::{Batch, Change},
};

/// A moment, in seconds after the tests' beginning of time.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("invariant: tests keep to this century")
}

/// A name.
pub fn name(text: &str) -> Name {
    Name::from_dns_value(text).expect("invariant: tests use valid names")
}

/// The issuer that the records are by.
pub fn issuer() -> IssuerId {
    "issuing-1".parse().expect("invariant: it is a valid name")
}

/// An event about something.
pub fn event(subject: impl ToString) -> AuditEvent {
    AuditEvent {
        at: at(0),
        actor: Actor::System("contract".into()),
        action: Action::AccountUpdated,
        subject: subject.to_string(),
        detail: json!({ "z": 1, "a": [true, null, "é"] }),
    }
}

/// A batch of one change.
pub fn batch(change: Change) -> Batch {
    Batch::new(event("one change")).with(change)
}

/// A new account with a key of its own.
pub fn account() -> Account {
    let id = AccountId::random();
    let mut thumbprint = [7; 32];
    thumbprint[..16].copy_from_slice(id.as_bytes());
    Account {
        id,
        version: Version::NEW,
        status: AccountStatus::Valid,
        jwk: format!(r#"{{"kid":"{id}"}}"#),
        thumbprint: Thumbprint(thumbprint),
        earlier_keys: vec![],
        contact: vec!["mailto:ann@example.org".into()],
        terms_agreed: None,
        binding: None,
        created: at(0),
    }
}

/// A new external key.
pub fn external_key(kid: &str) -> ExternalKey {
    ExternalKey {
        kid: kid.into(),
        version: Version::NEW,
        hmac: vec![0xA5; 32].into(),
        label: "printer".into(),
        created: at(1),
        account: None,
        disabled: false,
    }
}

/// A new authorization that is pending until `expires`.
pub fn authorization(account: AccountId, of: &str, expires: i64) -> Authorization {
    let challenge = |kind| Challenge {
        kind,
        token: "dG9rZW4".into(),
        status: ChallengeStatus::Pending,
        key_authorization: None,
        tries: 0,
        next_try: None,
        validated: None,
        error: None,
    };
    Authorization {
        id: AuthorizationId::random(),
        version: Version::NEW,
        account,
        name: name(of),
        subdomains: false,
        status: AuthorizationStatus::Pending,
        created: at(0),
        expires: at(expires),
        persist_until: None,
        challenges: vec![challenge(ChallengeType::Http01), challenge(ChallengeType::Dns01)],
    }
}

/// A new order that rests on authorizations.
pub fn order(account: AccountId, created: i64, authorizations: &[&Authorization]) -> Order {
    Order {
        id: OrderId::random(),
        version: Version::NEW,
        account,
        created: at(created),
        expires: at(created + 1_000),
        names: authorizations.iter().map(|a| a.name.clone()).collect(),
        not_before: None,
        not_after: None,
        profile: "default".into(),
        replaces: None,
        auto_renewal: None,
        authorizations: authorizations.iter().map(|a| a.id).collect(),
        progress: Progress::Open,
    }
}

/// A new certificate that is intended, and valid from 0 to `not_after`.
pub fn certificate(names: &[&str], not_after: i64) -> Certificate {
    let serial = Serial::random();
    let mut spki_sha256 = [1; 32];
    spki_sha256[..16].copy_from_slice(serial.as_bytes());
    Certificate {
        serial,
        version: Version::NEW,
        issuer: issuer(),
        account: None,
        order: None,
        profile: "default".into(),
        names: names.iter().map(|text| name(text)).collect(),
        subject: "CN=example".into(),
        not_before: at(0),
        not_after: at(not_after),
        spki_sha256,
        tbs: vec![0x30; 600],
        state: CertificateState::Intended,
        created: at(0),
        replaced_by: None,
        renew_from: None,
    }
}

/// The same certificate, issued.
pub fn issued(certificate: &Certificate) -> Certificate {
    Certificate {
        state: CertificateState::Issued { der: vec![0x31; 700] },
        ..certificate.clone()
    }
}

/// The same certificate, revoked.
pub fn revoked(certificate: &Certificate, revocation: Revocation) -> Certificate {
    let state = CertificateState::Revoked {
        der: vec![0x31; 700],
        revocation,
    };
    Certificate {
        state,
        ..certificate.clone()
    }
}

/// A CRL.
pub fn crl(number: u64, this_update: i64, position: u64) -> CrlRecord {
    CrlRecord {
        issuer: issuer(),
        number,
        this_update: at(this_update),
        next_update: at(this_update + 100),
        entries: 3,
        position,
        kind: CrlKind::Complete,
        der: vec![Bytes::from_static(&[0x32; 200]), Bytes::from_static(&[0x33; 100])].into(),
    }
}
