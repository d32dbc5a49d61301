//! Authorizations and challenges (RFC 8555 sections 7.4.1 and 7.5).

use jiff::Timestamp;
use serde_json::json;
use sigillo_protocol::{
    acme::{
        authorization::{AuthorizationStatus, AuthorizationUpdate},
        challenge::{ChallengeStatus, ChallengeType, key_authorization},
        identifier::{Identifier, Name},
        problem::{ErrorType, Problem},
    },
    base64url,
    state::authorization::AuthorizationLife,
};

use super::{Refusal, Registrar, Round, by_account, settle};
use crate::{
    model::{Account, AccountId, Action, Authorization, AuthorizationId, Challenge},
    store::{Batch, Change},
};

/// Returns the challenges that are offered for a name.
///
/// A wildcard can only be proven in the DNS (BR 3.2.2.4.19), an address never in it (RFC 8738 section 7).
pub(super) fn challenges_for(name: &Name) -> Vec<Challenge> {
    let kinds: &[ChallengeType] = match name {
        Name::Dns(_) => &[ChallengeType::Http01, ChallengeType::Dns01, ChallengeType::TlsAlpn01],
        Name::Wildcard(_) => &[ChallengeType::Dns01],
        Name::Ip(_) => &[ChallengeType::Http01, ChallengeType::TlsAlpn01],
    };
    kinds.iter().map(|kind| new_challenge(*kind)).collect()
}

fn new_challenge(kind: ChallengeType) -> Challenge {
    let mut token = [0; 16];
    getrandom::fill(&mut token).expect("invariant: the system's random generator works");
    Challenge {
        kind,
        token: base64url::encode(token),
        status: ChallengeStatus::Pending,
        key_authorization: None,
        tries: 0,
        next_try: None,
        validated: None,
        error: None,
    }
}

/// An authorization's state as it stands at `now`.
pub fn standing(authorization: &Authorization, now: Timestamp) -> AuthorizationStatus {
    AuthorizationLife::read(authorization.status, authorization.expires, now).status()
}

impl Registrar {
    /// Makes an authorization before any order (RFC 8555 section 7.4.1), or finds the one that stands.
    ///
    /// # Errors
    /// 403 with the reason for a name that the CA does not want; `malformed` for a wildcard.
    pub async fn new_authorization(
        &self,
        account: AccountId,
        identifier: &Identifier,
    ) -> Result<Authorization, Refusal> {
        let name = identifier.check().map_err(|sub| {
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
        settle(|| async {
            let now = self.clock.now();
            if let Some(standing) = self.store.pending_authorization(account, &name, now).await? {
                return Ok(standing);
            }
            let made = self.pending_authorization(account, &name, now);
            let detail = json!({ "name": name.to_string() });
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
    /// 404 if there is no such challenge for this account.
    pub async fn respond(
        &self,
        account: &Account,
        id: AuthorizationId,
        position: usize,
    ) -> Result<Authorization, Refusal> {
        settle(|| self.respond_round(account, id, position)).await
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
        challenge.status = ChallengeStatus::Processing;
        challenge.next_try = Some(now);
        if first {
            // The key at the time of the response counts (RFC 8555 section 8.3), also after a key change.
            challenge.key_authorization = Some(key_authorization(&challenge.token, &account.thumbprint.to_string()));
        }
        let detail =
            json!({ "name": authorization.name.to_string(), "challenge": authorization.challenges[position].kind });
        let event = by_account(now, account.id, Action::ChallengeAnswered, id, detail);
        self.store
            .commit(Batch::new(event).with(Change::Authorization(authorization.clone())))
            .await?;
        authorization.version = authorization.version.next();
        Ok(authorization)
    }
}
