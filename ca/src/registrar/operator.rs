//! What operators have done to accounts, keys and certificates.

use serde_json::json;
use sigillo_protocol::{
    acme::problem::Problem, base64url, state::account::AccountLife, x509::reason::RevocationReason,
};
use zeroize::Zeroizing;

use super::{Refusal, Registrar, Round, revoke::revocation_batch, settle};
use crate::{
    model::{
        Account, AccountId, Action, Actor, AuditEvent, Certificate, CertificateState, ExternalKey, Serial, Version,
    },
    store::{Batch, Change},
};

/// How long an external key is: 32 octets fit HS256, and clients that take only multiples of 16.
const EXTERNAL_KEY_OCTETS: usize = 32;

impl Registrar {
    /// Closes an account in the CA's name.
    ///
    /// # Errors
    /// 404 if there is none, `malformed` if it is closed already.
    pub async fn close_account(&self, id: AccountId) -> Result<Account, Refusal> {
        settle(|| async {
            let account = self.store.account(id).await?.ok_or_else(|| missing("account"))?;
            let AccountLife::Valid(valid) = AccountLife::read(account.status) else {
                return Err(Problem::malformed("The account is closed already.").into());
            };
            let changed = Account {
                status: valid.revoke().status(),
                ..account
            };
            let event = self.by_operator(Action::AccountDeactivated, id, json!({}));
            self.store
                .commit(Batch::new(event).with(Change::Account(changed.clone())))
                .await?;
            Ok(Account {
                version: changed.version.next(),
                ..changed
            })
        })
        .await
    }

    /// Makes a key for external account binding.
    ///
    /// # Errors
    /// Only internal ones.
    pub async fn create_external_key(&self, label: &str) -> Result<ExternalKey, Refusal> {
        settle(|| async {
            let mut hmac = Zeroizing::new(vec![0; EXTERNAL_KEY_OCTETS]);
            let mut kid = [0; 16];
            for octets in [hmac.as_mut_slice(), &mut kid] {
                fill_for_a_command_line(octets);
            }
            let key = ExternalKey {
                kid: base64url::encode(kid),
                version: Version::NEW,
                hmac,
                label: label.to_owned(),
                created: self.clock.now(),
                account: None,
                disabled: false,
            };
            let event = self.by_operator(Action::ExternalKeyCreated, &key.kid, json!({ "label": label }));
            self.store
                .commit(Batch::new(event).with(Change::ExternalKey(key.clone())))
                .await?;
            Ok(key)
        })
        .await
    }

    /// Withdraws a key: no account can be made with it any more; one that was made stays.
    ///
    /// # Errors
    /// 404 if there is none.
    pub async fn disable_external_key(&self, kid: &str) -> Result<ExternalKey, Refusal> {
        settle(|| async {
            let key = self
                .store
                .external_key(kid)
                .await?
                .ok_or_else(|| missing("external key"))?;
            if key.disabled {
                return Ok(key);
            }
            let changed = ExternalKey { disabled: true, ..key };
            let event = self.by_operator(Action::ExternalKeyDisabled, kid, json!({}));
            self.store
                .commit(Batch::new(event).with(Change::ExternalKey(changed.clone())))
                .await?;
            Ok(changed)
        })
        .await
    }

    /// Revokes a certificate for any reason but those that are not about leaves; an order that renews it is canceled.
    ///
    /// # Errors
    /// 404 if there is none, `alreadyRevoked`, `badRevocationReason`.
    pub async fn revoke_by_operator(&self, serial: Serial, reason: Option<RevocationReason>) -> Result<(), Refusal> {
        let reason = super::revoke::allowed_reason(reason.map(|r| i64::from(r.code())))?;
        settle(|| async {
            let certificate = self.issued(serial).await?;
            if certificate.revocation().is_some() {
                return Err(Problem::new(
                    sigillo_protocol::acme::problem::ErrorType::AlreadyRevoked,
                    "The certificate is revoked already.",
                )
                .into());
            }
            let blocks_key = reason == Some(RevocationReason::KeyCompromise);
            let now = self.clock.now();
            let batch = revocation_batch(certificate.clone(), reason, None, operator(), blocks_key, now);
            let batch = self.with_order_canceled(batch, &certificate, now).await?;
            Ok(self.store.commit(batch).await?)
        })
        .await?;
        tracing::info!(%serial, reason = reason.map(RevocationReason::as_str), "certificate revoked by an operator");
        self.status
            .catch_up()
            .await
            .map_err(|error| Refusal::Internal(error.to_string()))
    }

    /// Has renewal information say from now on that a certificate should be renewed.
    ///
    /// # Errors
    /// 404 if there is none.
    pub async fn renew_now(&self, serial: Serial) -> Result<(), Refusal> {
        settle(|| async {
            let certificate = self.issued(serial).await?;
            if certificate.renew_from.is_some() {
                return Ok(());
            }
            let changed = Certificate {
                renew_from: Some(self.clock.now()),
                ..certificate
            };
            let event = self.by_operator(Action::CertificateRenewNow, serial, json!({}));
            Ok(self
                .store
                .commit(Batch::new(event).with(Change::Certificate(changed)))
                .await?)
        })
        .await
    }

    async fn issued(&self, serial: Serial) -> Result<Certificate, Round> {
        let certificate = self
            .store
            .certificate(serial)
            .await?
            .ok_or_else(|| missing("certificate"))?;
        match certificate.state {
            CertificateState::Issued { .. } | CertificateState::Revoked { .. } => Ok(certificate),
            CertificateState::Intended | CertificateState::Void => Err(missing("certificate").into()),
        }
    }

    fn by_operator(&self, action: Action, subject: impl ToString, detail: serde_json::Value) -> AuditEvent {
        AuditEvent {
            at: self.clock.now(),
            actor: operator(),
            action,
            subject: subject.to_string(),
            detail,
        }
    }
}

/// Fills octets at random so that their base64url does not begin with a hyphen, which clients' command lines take
/// for an option. One first octet in 64 is given up, a fiftieth of a bit.
fn fill_for_a_command_line(octets: &mut [u8]) {
    loop {
        getrandom::fill(octets).expect("invariant: the system's random generator works");
        if !base64url::encode(&*octets).starts_with('-') {
            return;
        }
    }
}

/// The socket's permissions decide who is an operator; there is one kind.
pub(super) fn operator() -> Actor {
    Actor::Operator("local".to_owned())
}

fn missing(what: &str) -> Refusal {
    Problem::malformed(format!("There is no such {what}."))
        .with_status(404)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_can_be_given_on_a_command_line() {
        for _ in 0..1000 {
            let mut octets = [0; 32];
            fill_for_a_command_line(&mut octets);
            assert!(!base64url::encode(octets).starts_with('-'));
        }
    }
}
