//! Records as the daemon writes them: one certificate is really made, the others are that one under other serials and names.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sigillo_benches::{
    authority::{Authority, ask, now},
    request::certification_request,
};
use sigillo_ca::{
    model::{AccountId, Action, Actor, AuditEvent, Certificate, CertificateState, OrderId, Revocation, Serial},
    store::{Batch, CertificateFilter, Change, embedded::SqliteStore},
};
use sigillo_protocol::{acme::identifier::Name, x509::key::KeyKind, x509::reason::RevocationReason};

/// How many accounts share the certificates.
const ACCOUNTS: u64 = 1000;

/// One certificate of so many is revoked.
const REVOKED_EVERY: u64 = 100;

/// What all records are made after.
pub struct Template {
    intended: Certificate,
    der: Vec<u8>,
    accounts: Vec<AccountId>,
}

/// Returns the name of a certificate.
pub fn name(number: u64) -> Name {
    Name::from_dns_value(&format!("host-{number}.fleet.example.org")).expect("invariant: it is a host name")
}

/// Asks for the certificates of one name.
pub fn named(number: u64) -> CertificateFilter {
    CertificateFilter {
        name: Some(name(number)),
        ..CertificateFilter::default()
    }
}

/// Tells of something.
pub fn event(
    action: Action,
    at: Timestamp,
    account: AccountId,
    subject: String,
    detail: serde_json::Value,
) -> AuditEvent {
    AuditEvent {
        at,
        actor: Actor::Account(account.to_string()),
        action,
        subject,
        detail,
    }
}

impl Template {
    /// Makes a CA and a certificate in it.
    pub async fn new() -> Self {
        let store = Arc::new(SqliteStore::open_in_memory().expect("a store in memory"));
        let authority = Authority::new(KeyKind::EcdsaP256, store.clone()).await;
        let csr = authority.judge(&certification_request(KeyKind::EcdsaP256));
        let linted = authority
            .prepare(ask(&csr))
            .lint()
            .expect("the encoding passes its lint");
        let recorded = linted.record_alone(&*store).await.expect("the intention is recorded");
        let intended = recorded.certificate().clone();
        let signed = recorded.sign(&authority.issuer).expect("the key signs");
        Self {
            intended,
            der: signed.der().to_vec(),
            accounts: (0..ACCOUNTS).map(|_| AccountId::random()).collect(),
        }
    }

    /// Returns one of the accounts.
    pub fn account(&self, number: u64) -> AccountId {
        self.accounts[(number % ACCOUNTS) as usize]
    }

    /// Returns an intention for a name, as it is before it is signed.
    pub fn intended(&self, number: u64, order: OrderId) -> Certificate {
        let serial = Serial::random();
        let mut spki_sha256 = self.intended.spki_sha256;
        spki_sha256[..16].copy_from_slice(Serial::random().as_bytes());
        let patched = |octets: &[u8]| {
            let old = self.intended.serial.as_bytes();
            let mut octets = octets.to_vec();
            if let Some(at) = octets.windows(old.len()).position(|part| part == old) {
                octets[at..at + old.len()].copy_from_slice(serial.as_bytes());
            }
            octets
        };
        Certificate {
            serial,
            version: sigillo_ca::model::Version::NEW,
            account: Some(self.account(number)),
            order: Some(order),
            names: vec![name(number)],
            tbs: patched(&self.intended.tbs),
            spki_sha256,
            ..self.intended.clone()
        }
    }

    /// Returns the whole of an intention, as if it were signed.
    pub fn issued(&self, intended: &Certificate) -> Certificate {
        let (old, mut der) = (self.intended.serial.as_bytes(), self.der.clone());
        if let Some(at) = der.windows(old.len()).position(|part| part == old) {
            der[at..at + old.len()].copy_from_slice(intended.serial.as_bytes());
        }
        Certificate {
            tbs: Vec::new(),
            state: CertificateState::Issued { der },
            ..intended.clone()
        }
    }

    /// Returns a batch of so many certificates with the two events that each has; some of them are revoked.
    pub fn batch(&self, from: u64, count: u64) -> Batch {
        let mut batch: Option<Batch> = None;
        for number in from..from + count {
            let intended = self.intended(number, OrderId::random());
            let mut certificate = self.issued(&intended);
            // The ends are spread like the beginnings: over three months to come, as those of a fleet that renews.
            let shift = SignedDuration::from_secs((number % 7_776_000) as i64 - 7_776_000);
            certificate.not_after = certificate
                .not_after
                .checked_add(shift)
                .unwrap_or(certificate.not_after);
            if number % REVOKED_EVERY == 0 {
                let at = Timestamp::from_second(now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);
                certificate.state = CertificateState::Revoked {
                    der: certificate.der().unwrap_or_default().to_vec(),
                    revocation: Revocation {
                        at,
                        reason: Some(RevocationReason::Superseded),
                        invalid_since: None,
                    },
                };
            }
            let account = self.account(number);
            let [first, second] = events(&certificate, account);
            let next = match batch.take() {
                None => Batch::new(first),
                Some(batch) => batch.and(first),
            };
            batch = Some(next.and(second).with(Change::Certificate(certificate)));
        }
        batch.expect("invariant: a batch is asked for with at least one certificate")
    }
}

/// Returns the events of the intention and of the certificate.
pub fn events(certificate: &Certificate, account: AccountId) -> [AuditEvent; 2] {
    let subject = certificate.serial.to_string();
    let intended = json!({
        "issuer": certificate.issuer.as_str(),
        "profile": certificate.profile,
        "names": certificate.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "not_after": certificate.not_after.to_string(),
    });
    let issued = json!({ "sha256": "ab".repeat(32) });
    [
        event(
            Action::CertificateIntended,
            certificate.created,
            account,
            subject.clone(),
            intended,
        ),
        event(Action::CertificateIssued, certificate.created, account, subject, issued),
    ]
}
