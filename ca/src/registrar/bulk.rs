//! Many certificates at once: what a compromised key, account or profile asks for.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::json;
use sigillo_protocol::{
    acme::{identifier::Name, problem::Problem},
    x509::reason::RevocationReason,
};

use super::{
    Refusal, Registrar, Round,
    operator::operator,
    revoke::{allowed_reason, hex, revocation_batch},
    settle,
};
use crate::{
    model::{AccountId, Action, AuditEvent, BlockedKey, Certificate, CertificateState, Serial},
    store::{Batch, CertificateFilter, Change, Page},
};

/// How many certificates one transaction changes at most: writers wait for it, and it is held in memory whole.
pub const SELECTED_MAX: usize = 50_000;

/// How many certificates are read at a time.
const PAGE: usize = 1000;

/// How many certificates of one account with one name are looked through for a replacement.
const CANDIDATES_MAX: usize = 1000;

/// Which certificates: those that fit every member that is given. All of them end later than now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only those with this key: SHA-256 of its SubjectPublicKeyInfo.
    pub key: Option<[u8; 32]>,
    /// Only those under this profile.
    pub profile: Option<String>,
    /// Only those of this account.
    pub account: Option<AccountId>,
    /// Only those that hold exactly this name.
    pub name: Option<Name>,
    /// Only those that were decided on from this time on.
    pub issued_from: Option<Timestamp>,
    /// Only those that were decided on before this time.
    pub issued_before: Option<Timestamp>,
}

impl Selection {
    /// Says in words which certificates, for the audit log.
    fn told(&self) -> serde_json::Value {
        json!({
            "key": self.key.map(|hash| hex(&hash)),
            "profile": self.profile,
            "account": self.account.map(|id| id.to_string()),
            "name": self.name.as_ref().map(ToString::to_string),
            "issued_from": self.issued_from.map(|time| time.to_string()),
            "issued_before": self.issued_before.map(|time| time.to_string()),
        })
    }

    fn fits(&self, certificate: &Certificate) -> bool {
        self.key.is_none_or(|key| certificate.spki_sha256 == key)
            && self.issued_from.is_none_or(|from| certificate.created >= from)
            && self.issued_before.is_none_or(|before| certificate.created < before)
    }
}

/// How far the holders of selected certificates have come with replacing them.
#[derive(Debug, Default)]
pub struct Replacements {
    /// How many of the certificates have to be replaced: they are revoked, or their renewal was asked for.
    pub affected: u64,
    /// Those of them that nothing replaces yet.
    pub waiting: Vec<Certificate>,
}

impl Registrar {
    /// Finds the certificates of a selection that are good now.
    ///
    /// # Errors
    /// `malformed` if nothing is selected by, or more than [`SELECTED_MAX`] fit.
    pub async fn selected(&self, selection: &Selection) -> Result<Vec<Certificate>, Refusal> {
        self.select(selection, Some("issued"), |_| true).await
    }

    /// Revokes all good certificates of a selection in one transaction, and makes the status services know before it
    /// returns. With keyCompromise their keys are blocked in the same transaction, and the selection's key even
    /// if no certificate has it.
    ///
    /// `expected` is how many the operator was told; another number is refused, so that nobody revokes what he has not seen.
    ///
    /// # Errors
    /// Those of [`selected`](Self::selected); `badRevocationReason`; `malformed` for another number than was expected.
    pub async fn revoke_selected(
        &self,
        selection: &Selection,
        reason: Option<RevocationReason>,
        expected: Option<usize>,
    ) -> Result<Vec<Serial>, Refusal> {
        let reason = allowed_reason(reason.map(|r| i64::from(r.code())))?;
        let serials = settle(|| async {
            let found = self.selected(selection).await?;
            as_expected(found.len(), expected)?;
            let serials: Vec<Serial> = found.iter().map(|certificate| certificate.serial).collect();
            let batch = self.bulk_revocation(selection, reason, found).await?;
            self.store.commit(batch).await?;
            Ok(serials)
        })
        .await?;
        tracing::warn!(
            count = serials.len(),
            reason = reason.map(RevocationReason::as_str),
            ?selection,
            "certificates revoked in bulk"
        );
        let known = self.status.catch_up().await;
        known.map_err(|error| Refusal::Internal(error.to_string()))?;
        Ok(serials)
    }

    async fn bulk_revocation(
        &self,
        selection: &Selection,
        reason: Option<RevocationReason>,
        found: Vec<Certificate>,
    ) -> Result<Batch, Round> {
        let now = self.clock.now();
        let compromised = reason == Some(RevocationReason::KeyCompromise);
        let mut batch = Batch::new(AuditEvent {
            at: now,
            actor: operator(),
            action: Action::CertificatesRevoked,
            subject: format!("{} certificates", found.len()),
            detail: json!({ "selection": selection.told(), "reason": reason.map(RevocationReason::as_str) }),
        });
        let mut keys = HashSet::new();
        let mut orders = HashSet::new();
        if let Some(key) = selection.key.filter(|_| compromised) {
            keys.insert(key);
            block(
                &mut batch,
                key,
                "an operator revoked for keyCompromise by this key",
                now,
            );
        }
        for certificate in found {
            let blocks_key = compromised && keys.insert(certificate.spki_sha256);
            let part = revocation_batch(certificate.clone(), reason, None, operator(), blocks_key, now);
            // An order is canceled once, however many of its certificates go.
            let part = if certificate.order.is_some_and(|order| orders.insert(order)) {
                self.with_order_canceled(part, &certificate, now).await?
            } else {
                part
            };
            batch.changes.extend(part.changes);
            batch.events.extend(part.events);
            batch.premises.extend(part.premises);
        }
        Ok(batch)
    }

    /// Has renewal information say of all good certificates of a selection that they should be renewed now, in one transaction.
    ///
    /// # Errors
    /// Those of [`selected`](Self::selected); `malformed` for another number than was expected.
    pub async fn renew_selected(&self, selection: &Selection, expected: Option<usize>) -> Result<Vec<Serial>, Refusal> {
        settle(|| async {
            let found = self.selected(selection).await?;
            as_expected(found.len(), expected)?;
            let now = self.clock.now();
            let mut batch = Batch::new(AuditEvent {
                at: now,
                actor: operator(),
                action: Action::CertificatesRenewNow,
                subject: format!("{} certificates", found.len()),
                detail: json!({ "selection": selection.told() }),
            });
            let serials = found.iter().map(|certificate| certificate.serial).collect();
            for certificate in found.into_iter().filter(|certificate| certificate.renew_from.is_none()) {
                batch.record(AuditEvent {
                    at: now,
                    actor: operator(),
                    action: Action::CertificateRenewNow,
                    subject: certificate.serial.to_string(),
                    detail: json!({}),
                });
                batch.push(Change::Certificate(Certificate {
                    renew_from: Some(now),
                    ..certificate
                }));
            }
            self.store.commit(batch).await?;
            Ok(serials)
        })
        .await
    }

    /// Looks how many certificates of a selection still wait for a replacement: another certificate of the same account
    /// for the same names, decided on later, that is good and has nobody's wish to be renewed.
    ///
    /// # Errors
    /// Those of [`selected`](Self::selected).
    pub async fn replacements(&self, selection: &Selection) -> Result<Replacements, Refusal> {
        let affected = |certificate: &Certificate| match certificate.state {
            CertificateState::Revoked { .. } => true,
            CertificateState::Issued { .. } => certificate.renew_from.is_some(),
            CertificateState::Intended | CertificateState::Void => false,
        };
        let found = self.select(selection, None, affected).await?;
        let mut replacements = Replacements {
            affected: found.len() as u64,
            waiting: Vec::new(),
        };
        for certificate in found {
            if !self.has_replacement(&certificate).await? {
                replacements.waiting.push(certificate);
            }
        }
        Ok(replacements)
    }

    async fn has_replacement(&self, certificate: &Certificate) -> Result<bool, Refusal> {
        let Some(first) = certificate.names.first() else {
            return Ok(false);
        };
        let filter = CertificateFilter {
            state: Some("issued".to_owned()),
            account: certificate.account,
            name: Some(first.clone()),
            ..CertificateFilter::default()
        };
        let candidates = self.store.certificates(&filter, Page::first(CANDIDATES_MAX)).await?;
        let now = self.clock.now();
        Ok(candidates.iter().any(|other| {
            other.created >= certificate.created
                && other.serial != certificate.serial
                && other.not_after > now
                && other.renew_from.is_none()
                && certificate.names.iter().all(|name| other.names.contains(name))
        }))
    }

    /// Blocks a key: nothing is issued for it from now on. Certificates that have it stay as they are.
    ///
    /// # Errors
    /// Only internal ones.
    pub async fn block_key(&self, spki_sha256: [u8; 32], comment: &str) -> Result<BlockedKey, Refusal> {
        settle(|| async {
            if let Some(blocked) = self.store.blocked_key(spki_sha256).await? {
                return Ok(blocked);
            }
            let now = self.clock.now();
            let blocked = BlockedKey {
                spki_sha256,
                since: now,
                comment: comment.to_owned(),
            };
            let batch = Batch::new(key_blocked(spki_sha256, comment, now));
            self.store
                .commit(batch.with(Change::BlockedKey(blocked.clone())))
                .await?;
            Ok(blocked)
        })
        .await
    }

    async fn select(
        &self,
        selection: &Selection,
        state: Option<&str>,
        wanted: impl Fn(&Certificate) -> bool,
    ) -> Result<Vec<Certificate>, Refusal> {
        if *selection == Selection::default() {
            return Err(Problem::malformed("Nothing says which certificates.").into());
        }
        let filter = CertificateFilter {
            state: state.map(str::to_owned),
            account: selection.account,
            profile: selection.profile.clone(),
            name: selection.name.clone(),
            ..CertificateFilter::default()
        };
        let now = self.clock.now();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.certificates(&filter, Page { after, limit: PAGE }).await?;
            let whole = page.len() == PAGE;
            after = page.last().map(|certificate| certificate.serial);
            found.extend(
                page.into_iter()
                    .filter(|c| c.not_after > now && selection.fits(c) && wanted(c)),
            );
            if found.len() > SELECTED_MAX {
                let detail =
                    format!("More than {SELECTED_MAX} certificates: narrow it down, for example by time of issue.");
                return Err(Problem::malformed(detail).into());
            }
            if !whole {
                return Ok(found);
            }
        }
    }
}

fn as_expected(found: usize, expected: Option<usize>) -> Result<(), Problem> {
    match expected {
        Some(expected) if expected != found => Err(Problem::malformed(format!(
            "It is {found} certificates now, not {expected}: look again."
        ))),
        _ => Ok(()),
    }
}

fn block(batch: &mut Batch, spki_sha256: [u8; 32], comment: &str, now: Timestamp) {
    batch.push(Change::BlockedKey(BlockedKey {
        spki_sha256,
        since: now,
        comment: comment.to_owned(),
    }));
    batch.record(key_blocked(spki_sha256, comment, now));
}

fn key_blocked(spki_sha256: [u8; 32], because: &str, now: Timestamp) -> AuditEvent {
    AuditEvent {
        at: now,
        actor: operator(),
        action: Action::KeyBlocked,
        subject: hex(&spki_sha256),
        detail: json!({ "because": because }),
    }
}
