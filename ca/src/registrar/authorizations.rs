//! Authorizations and challenges (RFC 8555 sections 7.4.1 and 7.5).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sigillo_protocol::{
    acme::{
        authorization::{AuthorizationStatus, AuthorizationUpdate},
        challenge::{ChallengeStatus, ChallengeType, key_authorization},
        identifier::{Name, RequestedIdentifier},
        problem::{ErrorType, Problem},
    },
    state::authorization::AuthorizationLife,
};

use super::{Refusal, Registrar, Round, by_account, resting::Scope, settle};
use crate::{
    model::{Account, AccountId, Action, Authorization, AuthorizationId},
    store::{Batch, Change, ReadError},
};

/// How long the answer to a response waits for the outcome of the first try. Clients that answer one challenge after the
/// other lose so much for each target that is slow, so it is short.
const RESPONSE_PATIENCE: Duration = Duration::from_millis(50);

fn is_tried(authorization: &Authorization, position: usize) -> bool {
    let challenge = authorization.challenges.get(position);
    challenge.is_some_and(|challenge| challenge.status == ChallengeStatus::Processing)
}

/// An authorization's state as it stands at `now`.
pub fn standing(authorization: &Authorization, now: Timestamp) -> AuthorizationStatus {
    AuthorizationLife::read(authorization.status, authorization.expires, now).status()
}

impl Registrar {
    /// Makes an authorization before any order (RFC 8555 section 7.4.1), or finds the one that stands.
    ///
    /// Where it is asked for, and such are given, it is good for all names below too (RFC 9444 section 4.2).
    ///
    /// # Errors
    /// 403 with the reason for a name that the CA does not want; `malformed` for a wildcard.
    pub async fn new_authorization(
        &self,
        account: AccountId,
        requested: &RequestedIdentifier,
    ) -> Result<Authorization, Refusal> {
        let name = requested.identifier.check().map_err(|sub| {
            let status = if sub.kind == ErrorType::Malformed { 400 } else { 403 };
            Problem::new(sub.kind, sub.detail).with_status(status)
        })?;
        if name.is_wildcard() {
            return Err(Problem::malformed(
                "A wildcard cannot be authorized before an order (RFC 8555 section 7.4.1).",
            )
            .into());
        }
        self.permit_under_any(&name)
            .map_err(|sub| Problem::new(sub.kind, sub.detail).with_status(403))?;
        let subdomains =
            requested.subdomain_auth_allowed && self.settings.subdomain_authorizations && matches!(name, Name::Dns(_));
        let scope = Scope { name, subdomains };
        settle(|| async {
            let now = self.clock.now();
            if let Some(standing) = self.standing_pending(account, &scope, now).await? {
                return Ok(standing);
            }
            let made = self.pending_authorization(account, &scope, now);
            let detail = json!({ "name": scope.name.to_string(), "subdomains": scope.subdomains });
            let event = by_account(now, account, Action::AuthorizationCreated, made.id, detail);
            self.store
                .commit(Batch::new(event).with(Change::Authorization(made.clone())))
                .await?;
            Ok(Authorization {
                version: made.version.next(),
                ..made
            })
        })
        .await
    }

    async fn standing_pending(
        &self,
        account: AccountId,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<Option<Authorization>, ReadError> {
        match &scope.name {
            Name::Dns(base) if scope.subdomains => {
                let (names, pending) = (std::slice::from_ref(base), AuthorizationStatus::Pending);
                self.store.subdomain_authorization(account, names, pending, now).await
            }
            name => self.store.pending_authorization(account, name, now).await,
        }
    }

    /// Shows an authorization to its account.
    ///
    /// # Errors
    /// 404 if there is none or it is another account's.
    pub async fn authorization(&self, account: AccountId, id: AuthorizationId) -> Result<Authorization, Refusal> {
        let found = self.store.authorization(id).await?.filter(|a| a.account == account);
        found.ok_or_else(Refusal::not_found)
    }

    /// Gives an authorization up (RFC 8555 section 7.5.2).
    ///
    /// # Errors
    /// `malformed` for any other change.
    pub async fn update_authorization(
        &self,
        account: AccountId,
        id: AuthorizationId,
        update: &AuthorizationUpdate,
    ) -> Result<Authorization, Refusal> {
        if update.status.as_deref() != Some("deactivated") {
            return Err(Problem::malformed("An authorization can only be changed to status deactivated.").into());
        }
        settle(|| async {
            let authorization = self.authorization(account, id).await?;
            let now = self.clock.now();
            let over = match AuthorizationLife::read(authorization.status, authorization.expires, now) {
                AuthorizationLife::Pending(pending) => pending.deactivate(),
                AuthorizationLife::Valid(valid) => valid.deactivate(),
                AuthorizationLife::Over(over) if over.status() == AuthorizationStatus::Deactivated => {
                    return Ok(authorization);
                }
                AuthorizationLife::Over(_) => {
                    return Err(Problem::malformed("The authorization is over already.").into());
                }
            };
            let changed = Authorization {
                status: over.status(),
                ..authorization
            };
            let detail = json!({ "name": changed.name.to_string() });
            let event = by_account(now, account, Action::AuthorizationDeactivated, id, detail);
            self.store
                .commit(Batch::new(event).with(Change::Authorization(changed.clone())))
                .await?;
            Ok(Authorization {
                version: changed.version.next(),
                ..changed
            })
        })
        .await
    }

    /// Takes a response to a challenge: the validator is asked to look (RFC 8555 section 7.5.1).
    ///
    /// A response to a challenge that is being tried asks for the next try at once (section 8.2);
    /// a response to one that is decided changes nothing.
    ///
    /// # Errors
    /// 404 if there is no such challenge for this account; [`Refusal::RateLimited`] if dns-persist-01 has failed too
    /// often for it.
    pub async fn respond(
        &self,
        account: &Account,
        id: AuthorizationId,
        position: usize,
    ) -> Result<Authorization, Refusal> {
        let waiting = self.validator.decisions().expect(id);
        let answered = settle(|| self.respond_round(account, id, position)).await?;
        // Most targets answer within moments: whoever is told at once asks no more.
        let told = match waiting {
            Some(waiting) if is_tried(&answered, position) => waiting.within(RESPONSE_PATIENCE).await,
            _ => false,
        };
        match told {
            true => self.authorization(account.id, id).await,
            false => Ok(answered),
        }
    }

    async fn respond_round(
        &self,
        account: &Account,
        id: AuthorizationId,
        position: usize,
    ) -> Result<Authorization, Round> {
        let mut authorization = self.authorization(account.id, id).await?;
        let now = self.clock.now();
        let pending = matches!(
            AuthorizationLife::read(authorization.status, authorization.expires, now),
            AuthorizationLife::Pending(_)
        );
        let challenge = authorization
            .challenges
            .get_mut(position)
            .ok_or_else(Refusal::not_found)?;
        let first = match challenge.status {
            ChallengeStatus::Pending => true,
            // The tries are counted, so hurrying them on gives nobody more of them.
            ChallengeStatus::Processing => false,
            ChallengeStatus::Valid | ChallengeStatus::Invalid => return Ok(authorization),
        };
        if !pending {
            return Err(Problem::malformed("The authorization is over: place a new order.").into());
        }
        if !first && challenge.next_try.is_some_and(|next| next <= now) {
            return Ok(authorization);
        }
        let kind = challenge.kind;
        if first && kind == ChallengeType::DnsPersist01 {
            self.require_persist(account.id, &authorization.name, now)?;
        }
        let challenge = &mut authorization.challenges[position];
        challenge.status = ChallengeStatus::Processing;
        challenge.next_try = Some(now);
        if first {
            // The key at the time of the response counts (RFC 8555 section 8.3), also after a key change.
            challenge.key_authorization = Some(key_authorization(&challenge.token, &account.thumbprint.to_string()));
        }
        let detail = json!({ "name": authorization.name.to_string(), "challenge": kind });
        let event = by_account(now, account.id, Action::ChallengeAnswered, id, detail);
        self.store
            .commit(Batch::new(event).with(Change::Authorization(authorization.clone())))
            .await?;
        authorization.version = authorization.version.next();
        Ok(authorization)
    }

    /// Refuses dns-persist-01 where it is not offered any more, or has failed too often (draft, section 9.3).
    fn require_persist(&self, account: AccountId, name: &Name, now: Timestamp) -> Result<(), Refusal> {
        if self.settings.dns_persist_names.is_empty() {
            return Err(Refusal::not_found());
        }
        let Some(wait) = self.validator.persist_wait(account, name, now) else {
            return Ok(());
        };
        let retry_after_seconds = wait.as_secs().unsigned_abs() + 1;
        Err(Refusal::RateLimited {
            detail: format!(
                "dns-persist-01 has failed too often for {name}: try again in {retry_after_seconds} seconds."
            ),
            retry_after_seconds,
        })
    }
}
