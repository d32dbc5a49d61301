//! From a linted certificate to a signed one: record first, sign second.

use jiff::Timestamp;

use super::{
    certificate::Issuer,
    encode::{self, EncodeError},
};
use crate::{
    model::{Action, Actor, AuditEvent, Certificate, CertificateState, Serial},
    signer::{SignError, verify},
    store::{Batch, Change, CommitError, Store},
};

/// A certificate whose bytes were held against what was decided.
#[derive(Debug, Clone)]
pub struct Linted {
    record: Certificate,
}

impl Linted {
    pub(super) fn new(record: Certificate) -> Self {
        Self { record }
    }

    /// Returns the serial number.
    pub fn serial(&self) -> Serial {
        self.record.serial
    }

    /// Makes the intention durable, together with what the caller changes because of it (the order
    /// goes into processing) and an event that tells of it.
    ///
    /// # Errors
    /// When the batch is not committed. Nothing was signed then; unless the error is in doubt,
    /// nothing was recorded either.
    pub async fn record(self, store: &dyn Store, batch: Batch) -> Result<Recorded, CommitError> {
        let event = self.event();
        self.commit(store, batch.and(event)).await
    }

    /// Makes the intention durable by itself, for the CA's own certificates.
    ///
    /// # Errors
    /// As [`Linted::record`].
    pub async fn record_alone(self, store: &dyn Store) -> Result<Recorded, CommitError> {
        let event = self.event();
        self.commit(store, Batch::new(event)).await
    }

    async fn commit(self, store: &dyn Store, batch: Batch) -> Result<Recorded, CommitError> {
        store
            .commit(batch.with(Change::Certificate(self.record.clone())))
            .await?;
        let mut record = self.record;
        record.version = record.version.next();
        Ok(Recorded { record })
    }

    fn event(&self) -> AuditEvent {
        let record = &self.record;
        AuditEvent {
            at: record.created,
            actor: match &record.account {
                Some(account) => Actor::Account(account.to_string()),
                None => Actor::System("issuer".to_owned()),
            },
            action: Action::CertificateIntended,
            subject: record.serial.to_string(),
            detail: serde_json::json!({
                "issuer": record.issuer.as_str(),
                "profile": record.profile,
                "names": record.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "not_after": record.not_after.to_string(),
            }),
        }
    }
}

/// A certificate whose intention is durable: the only thing that the key signs.
#[derive(Debug, Clone)]
pub struct Recorded {
    record: Certificate,
}

/// A recorded certificate that was not signed. It stays intended; the next start finishes or voids it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SignFailure {
    /// The key did not sign.
    #[error(transparent)]
    Signer(#[from] SignError),
    /// The certificate was prepared for another issuer.
    #[error("the certificate was prepared for the issuer {0}")]
    OtherIssuer(String),
    /// The key signed something else, or wrongly.
    #[error("the signature does not verify under the issuing CA's key")]
    BadSignature,
    /// A mistake of ours.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Recorded {
    /// Takes up an intention that the store holds, after a restart.
    pub(super) fn from_store(record: Certificate) -> Option<Self> {
        (record.state == CertificateState::Intended).then_some(Self { record })
    }

    /// Returns what is recorded, with the version that the store gave it.
    pub fn certificate(&self) -> &Certificate {
        &self.record
    }

    /// Signs, and checks the signature before anybody sees it.
    ///
    /// # Errors
    /// When the key fails or the signature is not good.
    pub fn sign(self, issuer: &Issuer) -> Result<Signed, SignFailure> {
        let mut record = self.record;
        if record.issuer != *issuer.id() {
            return Err(SignFailure::OtherIssuer(record.issuer.to_string()));
        }
        let signer = issuer.signer();
        let signature = signer.sign(&record.tbs)?;
        if !verify(
            signer.algorithm(),
            &issuer.certificate().spki_der,
            &record.tbs,
            &signature,
        ) {
            return Err(SignFailure::BadSignature);
        }
        let der = encode::signed(&record.tbs, signer.algorithm(), &signature)?;
        record.tbs = Vec::new();
        record.state = CertificateState::Issued { der };
        Ok(Signed { record })
    }
}

/// A signed certificate, to be committed as issued before it is handed out.
#[derive(Debug, Clone)]
pub struct Signed {
    record: Certificate,
}

impl Signed {
    /// Returns the record to commit: issued, with the version that the store holds.
    pub fn certificate(&self) -> &Certificate {
        &self.record
    }

    /// Returns the whole certificate.
    pub fn der(&self) -> &[u8] {
        self.record.der().unwrap_or_default()
    }

    /// Makes the batch that records the certificate as issued; the caller adds the order.
    pub fn batch(self, actor: Actor, at: Timestamp) -> Batch {
        let event = AuditEvent {
            at,
            actor,
            action: Action::CertificateIssued,
            subject: self.record.serial.to_string(),
            detail: serde_json::json!({ "sha256": hex(&encode::sha256(self.der())) }),
        };
        Batch::new(event).with(Change::Certificate(self.record))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, octet| {
            let _ = write!(text, "{octet:02x}");
            text
        })
}
