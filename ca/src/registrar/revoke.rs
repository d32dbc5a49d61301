//! Revocation (RFC 8555 section 7.6): who may, for which reason, and what else follows.

use jiff::Timestamp;
use serde_json::json;
use sigillo_protocol::{
    acme::{
        identifier::Name,
        problem::{ErrorType, Problem},
    },
    jose::Jwk,
    x509::reason::RevocationReason,
};

use super::{Refusal, Registrar, Round, settle};
use crate::{
    digest::sha256,
    model::{Account, Action, Actor, AuditEvent, BlockedKey, Certificate, CertificateState, Revocation, Serial},
    store::{Batch, Change},
};

/// A request to revoke.
pub struct RevocationRequest<'a> {
    /// The whole certificate: it has to be the very one that was issued, not only its serial (A17).
    pub der: &'a [u8],
    /// The reason's code as the client sent it.
    pub reason: Option<i64>,
    /// By what right.
    pub proof: RevocationProof<'a>,
}

/// By what right somebody revokes.
pub enum RevocationProof<'a> {
    /// The request is signed by an account.
    Account(&'a Account),
    /// The request is signed by this key, which has to be the certificate's.
    CertificateKey(&'a Jwk),
}

/// The reasons that somebody outside may give.
///
/// 0 counts as none given. CACompromise and aACompromise are not about leaves, certificateHold
/// has no way of release in ACME, removeFromCRL belongs to delta CRLs, 7 is undefined.
const REASONS_ALLOWED: [RevocationReason; 6] = [
    RevocationReason::Unspecified,
    RevocationReason::KeyCompromise,
    RevocationReason::AffiliationChanged,
    RevocationReason::Superseded,
    RevocationReason::CessationOfOperation,
    RevocationReason::PrivilegeWithdrawn,
];

/// Reads a reason code as a client sent it; unspecified becomes none (RFC 5280 section 5.3.1).
///
/// # Errors
/// `badRevocationReason` with the codes that are allowed.
pub(crate) fn allowed_reason(code: Option<i64>) -> Result<Option<RevocationReason>, Problem> {
    let Some(code) = code else {
        return Ok(None);
    };
    match RevocationReason::from_code(code) {
        Some(RevocationReason::Unspecified) => Ok(None),
        Some(reason) if REASONS_ALLOWED.contains(&reason) => Ok(Some(reason)),
        _ => {
            let codes: Vec<String> = REASONS_ALLOWED.iter().map(|r| r.code().to_string()).collect();
            Err(Problem::new(
                ErrorType::BadRevocationReason,
                format!("Reason {code} is not allowed here; allowed are {}.", codes.join(", ")),
            ))
        }
    }
}

/// How strongly the requester is tied to the certificate.
enum Right {
    /// The account that it was issued to.
    Owner(Actor),
    /// The holder of its private key.
    KeyHolder(Actor),
    /// An account that controls all its names.
    NameHolder(Actor),
}

impl Registrar {
    /// Revokes a certificate and makes the status services know before it returns.
    ///
    /// # Errors
    /// `malformed` for what this CA did not issue, `unauthorized`, `alreadyRevoked`, `badRevocationReason`,
    /// `autoRenewalRevocationNotSupported` for a certificate that is renewed (RFC 8739 section 3.1.2).
    pub async fn revoke(&self, request: RevocationRequest<'_>) -> Result<(), Refusal> {
        let serial = serial_of(request.der)?;
        settle(|| self.revoke_round(&request, serial)).await?;
        tracing::info!(%serial, reason = ?request.reason, "certificate revoked");
        self.status
            .catch_up()
            .await
            .map_err(|error| Refusal::Internal(error.to_string()))
    }

    async fn revoke_round(&self, request: &RevocationRequest<'_>, serial: Serial) -> Result<(), Round> {
        let unknown = || Problem::malformed("This CA has not issued this certificate.").with_status(404);
        let certificate = self.store.certificate(serial).await?.ok_or_else(unknown)?;
        if certificate.der() != Some(request.der) {
            return Err(unknown().into());
        }
        let now = self.clock.now();
        let right = self.right_to_revoke(&certificate, &request.proof, now).await?;
        if self.is_renewed(&certificate).await? {
            return Err(Problem::new(
                ErrorType::AutoRenewalRevocationNotSupported,
                "The certificate is short-lived and renewed automatically: cancel its order instead.",
            )
            .into());
        }
        let reason = allowed_reason(request.reason)?;
        if certificate.revocation().is_some() {
            return Err(Problem::new(ErrorType::AlreadyRevoked, "The certificate is revoked already.").into());
        }
        let (actor, blocks_key) = match right {
            Right::Owner(actor) => (actor, true),
            Right::KeyHolder(actor) => (actor, true),
            // Control of the names says nothing about the key (A19): believing it would let
            // whoever takes over a name block the key of its former holder.
            Right::NameHolder(_) if reason == Some(RevocationReason::KeyCompromise) => {
                return Err(Problem::unauthorized(
                    "keyCompromise can be given by the account that has the certificate or with the certificate's own key.",
                )
                .into());
            }
            Right::NameHolder(actor) => (actor, false),
        };
        let blocks_key = blocks_key && reason == Some(RevocationReason::KeyCompromise);
        let batch = revocation_batch(certificate, reason, None, actor, blocks_key, now);
        Ok(self.store.commit(batch).await?)
    }

    async fn right_to_revoke(
        &self,
        certificate: &Certificate,
        proof: &RevocationProof<'_>,
        now: Timestamp,
    ) -> Result<Right, Round> {
        match proof {
            RevocationProof::CertificateKey(jwk) => {
                if sha256(&jwk.spki_der()) != certificate.spki_sha256 {
                    return Err(Problem::unauthorized("The request is not signed by the certificate's key.").into());
                }
                Ok(Right::KeyHolder(Actor::KeyHolder(certificate.serial.to_string())))
            }
            RevocationProof::Account(account) => {
                let actor = Actor::Account(account.id.to_string());
                if certificate.account == Some(account.id) {
                    return Ok(Right::Owner(actor));
                }
                if certificate.names.is_empty() {
                    return Err(not_allowed().into());
                }
                for name in &certificate.names {
                    if !self.holds(account, name, now).await? {
                        return Err(not_allowed().into());
                    }
                }
                Ok(Right::NameHolder(actor))
            }
        }
    }

    async fn holds(&self, account: &Account, name: &Name, now: Timestamp) -> Result<bool, Round> {
        Ok(self.valid_authorization(account.id, name, now).await?.is_some())
    }
}

fn not_allowed() -> Problem {
    Problem::unauthorized("The account neither has the certificate nor controls all its names.")
}

/// Builds the one transaction that a revocation is: record, key block, audit.
pub(crate) fn revocation_batch(
    certificate: Certificate,
    reason: Option<RevocationReason>,
    invalid_since: Option<Timestamp>,
    actor: Actor,
    blocks_key: bool,
    now: Timestamp,
) -> Batch {
    // CRL and OCSP show whole seconds; rounding down keeps the time out of the future.
    let at = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let serial = certificate.serial;
    let spki_sha256 = certificate.spki_sha256;
    let event = AuditEvent {
        at: now,
        actor: actor.clone(),
        action: Action::CertificateRevoked,
        subject: serial.to_string(),
        detail: json!({ "reason": reason.map(RevocationReason::as_str) }),
    };
    let mut batch = Batch::new(event);
    if let CertificateState::Issued { der } = certificate.state {
        let revocation = Revocation {
            at,
            reason,
            invalid_since,
        };
        let state = CertificateState::Revoked { der, revocation };
        batch.push(Change::Certificate(Certificate { state, ..certificate }));
    }
    if blocks_key {
        let comment = format!("certificate {serial} was revoked for keyCompromise");
        batch.push(Change::BlockedKey(BlockedKey {
            spki_sha256,
            since: now,
            comment: comment.clone(),
        }));
        batch.record(AuditEvent {
            at: now,
            actor,
            action: Action::KeyBlocked,
            subject: hex(&spki_sha256),
            detail: json!({ "because": comment }),
        });
    }
    batch
}

pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn serial_of(der: &[u8]) -> Result<Serial, Problem> {
    let (rest, certificate) = x509_parser::parse_x509_certificate(der)
        .map_err(|_| Problem::malformed("certificate is not the DER of an X.509 certificate."))?;
    if !rest.is_empty() {
        return Err(Problem::malformed("Something follows the certificate."));
    }
    Serial::from_der_content(certificate.tbs_certificate.raw_serial())
        .ok_or_else(|| Problem::malformed("This CA has not issued this certificate.").with_status(404))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_reasons_that_make_sense_for_a_leaf() {
        assert_eq!(allowed_reason(None).unwrap(), None);
        assert_eq!(allowed_reason(Some(0)).unwrap(), None);
        assert_eq!(allowed_reason(Some(1)).unwrap(), Some(RevocationReason::KeyCompromise));
        assert_eq!(
            allowed_reason(Some(9)).unwrap(),
            Some(RevocationReason::PrivilegeWithdrawn)
        );
    }

    #[test]
    fn refuses_the_others_and_lists_what_is_allowed() {
        for code in [-1, 2, 6, 7, 8, 10, 11, i64::MAX] {
            let problem = allowed_reason(Some(code)).unwrap_err();
            assert_eq!(problem.kind, ErrorType::BadRevocationReason, "{code}");
            assert!(problem.detail.contains("0, 1, 3, 4, 5, 9"), "{}", problem.detail);
        }
    }
}
