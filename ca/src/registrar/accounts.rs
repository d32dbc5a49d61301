//! Accounts (RFC 8555 section 7.3): made, found, changed, closed.

use std::sync::Arc;

use serde_json::json;
use sigillo_protocol::{
    acme::{
        account::{AccountStatus, AccountUpdate, NewAccount},
        problem::{ErrorType, Problem},
    },
    jose::{Jwk, Thumbprint, eab::UnverifiedBinding},
    state::account::AccountLife,
};

use super::{Refusal, Registrar, Round, by_account, contact, settle};
use crate::{
    model::{Account, AccountId, Action, Binding, ExternalKey, Version},
    store::{Batch, Change, CommitError, Unique},
};

/// What a newAccount request ended in.
pub struct FoundAccount {
    /// The account.
    pub account: Account,
    /// Whether it was made now.
    pub created: bool,
}

impl Registrar {
    /// Finds the account of a key, or makes one (RFC 8555 sections 7.3 and 7.3.1).
    ///
    /// `url` is the newAccount URL, which an external account binding has to name.
    ///
    /// # Errors
    /// What the texts say: `accountDoesNotExist`, `unauthorized` (401) for a closed account,
    /// `userActionRequired`, `externalAccountRequired`, contacts, blocked keys.
    pub async fn new_account(&self, jwk: &Jwk, request: &NewAccount, url: &str) -> Result<FoundAccount, Refusal> {
        settle(|| self.new_account_round(jwk, request, url)).await
    }

    async fn new_account_round(&self, jwk: &Jwk, request: &NewAccount, url: &str) -> Result<FoundAccount, Round> {
        if let Some(account) = self.store.account_by_thumbprint(jwk.thumbprint()).await? {
            require_valid(&account)?;
            return Ok(FoundAccount {
                account,
                created: false,
            });
        }
        if request.only_return_existing == Some(true) {
            return Err(Problem::new(ErrorType::AccountDoesNotExist, "No account has this key.").into());
        }
        self.refuse_blocked_key(jwk).await?;
        if self.settings.terms.is_some() && request.terms_of_service_agreed != Some(true) {
            let mut problem = Problem::new(
                ErrorType::UserActionRequired,
                "The terms of service have to be agreed to: send termsOfServiceAgreed true.",
            );
            problem.instance.clone_from(&self.settings.terms);
            return Err(problem.into());
        }
        contact::check(&request.contact)?;
        let binding = self.verified_binding(jwk, request, url).await?;
        self.create_account(jwk, request, binding).await
    }

    async fn create_account(
        &self,
        jwk: &Jwk,
        request: &NewAccount,
        binding: Option<(Binding, ExternalKey)>,
    ) -> Result<FoundAccount, Round> {
        let now = self.clock.now();
        let (binding, key) = binding.unzip();
        let account = Account {
            id: AccountId::random(),
            version: Version::NEW,
            status: AccountStatus::Valid,
            jwk: jwk.to_json(),
            thumbprint: jwk.thumbprint(),
            earlier_keys: Vec::new(),
            contact: request.contact.clone(),
            terms_agreed: self.settings.terms.clone(),
            binding,
            created: now,
        };
        let detail = json!({
            "thumbprint": account.thumbprint.to_string(),
            "externalKey": key.as_ref().map(|key| &key.kid),
        });
        let mut batch = Batch::new(by_account(now, account.id, Action::AccountCreated, account.id, detail))
            .with(Change::Account(account.clone()));
        if let Some(key) = key {
            batch.push(Change::ExternalKey(ExternalKey {
                account: Some(account.id),
                ..key
            }));
        }
        self.store.commit(batch).await?;
        tracing::info!(account = %account.id, "account made");
        let account = Account {
            version: account.version.next(),
            ..account
        };
        Ok(FoundAccount { account, created: true })
    }

    async fn verified_binding(
        &self,
        jwk: &Jwk,
        request: &NewAccount,
        url: &str,
    ) -> Result<Option<(Binding, ExternalKey)>, Round> {
        let Some(jws) = &request.external_account_binding else {
            if self.settings.eab_required {
                return Err(Problem::new(
                    ErrorType::ExternalAccountRequired,
                    "An account here needs an external account binding: ask the operator for a key.",
                )
                .into());
            }
            return Ok(None);
        };
        let binding = UnverifiedBinding::parse(jws.get())?;
        // One answer for every key that cannot be used, so that nobody can find out which exist.
        let unusable = || Problem::unauthorized("The external account key is unknown, withdrawn or used.");
        let key = self.store.external_key(binding.kid()).await?.ok_or_else(unusable)?;
        if key.disabled || (self.settings.external_keys_once && key.account.is_some()) {
            return Err(unusable().into());
        }
        binding.verify(&key.hmac, url, jwk)?;
        Ok(Some((
            Binding {
                kid: key.kid.clone(),
                jws: jws.get().to_owned(),
            },
            key,
        )))
    }

    async fn refuse_blocked_key(&self, jwk: &Jwk) -> Result<(), Round> {
        let spki = jwk.spki_der();
        if let Some(source) = self.known_keys.source(&spki) {
            let detail = format!("This key is known to others, from {source}: make a new one.");
            return Err(Problem::new(ErrorType::BadPublicKey, detail).into());
        }
        let spki_sha256 = crate::digest::sha256(&spki);
        match self.store.blocked_key(spki_sha256).await? {
            Some(_) => Err(Problem::new(ErrorType::BadPublicKey, "This key is blocked: make a new one.").into()),
            None => Ok(()),
        }
    }

    /// Finds the account that signs a request, and its key.
    ///
    /// # Errors
    /// `accountDoesNotExist` if there is none, `unauthorized` (401) if it is closed (RFC 8555 section 7.3.6).
    pub async fn signing_account(&self, id: AccountId) -> Result<Arc<(Account, Jwk)>, Refusal> {
        if let Some(known) = self.known_accounts.get(&*self.store, id) {
            return Ok(known);
        }
        // Asked before reading: a change that comes in between makes the entry useless, never wrong.
        let revision = self.store.accounts_revision();
        let Some(account) = self.store.account(id).await? else {
            return Err(Refusal::new(ErrorType::AccountDoesNotExist, "No account has this URL."));
        };
        require_valid(&account)?;
        let jwk = Jwk::from_json(&account.jwk)
            .map_err(|error| Refusal::Internal(format!("the key of account {id} cannot be read: {error}")))?;
        let known = Arc::new((account, jwk));
        self.known_accounts.keep(revision, &known);
        Ok(known)
    }

    /// Finds the account of a key, open or closed.
    ///
    /// # Errors
    /// Only internal ones.
    pub async fn account_with_key(&self, thumbprint: Thumbprint) -> Result<Option<Account>, Refusal> {
        Ok(self.store.account_by_thumbprint(thumbprint).await?)
    }

    /// Changes contacts or closes an account (RFC 8555 sections 7.3.2 and 7.3.6).
    ///
    /// # Errors
    /// Contacts that are not taken.
    pub async fn update_account(&self, id: AccountId, update: &AccountUpdate) -> Result<Account, Refusal> {
        settle(|| async {
            let account = self.signing_account(id).await?.0.clone();
            let mut changed = account.clone();
            if update.status.as_deref() == Some("deactivated") {
                if let AccountLife::Valid(valid) = AccountLife::read(account.status) {
                    changed.status = valid.deactivate().status();
                }
            } else if let Some(contacts) = &update.contact {
                contact::check(contacts)?;
                changed.contact.clone_from(contacts);
            }
            if changed == account {
                return Ok(account);
            }
            let action = match changed.status {
                AccountStatus::Valid => Action::AccountUpdated,
                _ => Action::AccountDeactivated,
            };
            let event = by_account(self.clock.now(), id, action, id, json!({}));
            self.store
                .commit(Batch::new(event).with(Change::Account(changed.clone())))
                .await?;
            changed.version = changed.version.next();
            Ok(changed)
        })
        .await
    }

    /// Gives an account another key (RFC 8555 section 7.3.5). `old` is the key that the request names as the old one.
    ///
    /// # Errors
    /// [`Refusal::KeyInUse`] if an account has the new key; `malformed` if the old key is not the account's.
    pub async fn change_key(&self, id: AccountId, old: &Jwk, new: &Jwk) -> Result<Account, Refusal> {
        settle(|| async {
            let account = self.signing_account(id).await?.0.clone();
            if old.thumbprint() != account.thumbprint {
                return Err(Problem::malformed("oldKey is not the account's present key.").into());
            }
            if let Some(holder) = self.store.account_by_thumbprint(new.thumbprint()).await? {
                return Err(Refusal::KeyInUse(holder.id).into());
            }
            self.refuse_blocked_key(new).await?;
            let mut changed = account.with_key(new.to_json(), new.thumbprint());
            let detail = json!({ "from": old.thumbprint().to_string(), "to": new.thumbprint().to_string() });
            let event = by_account(self.clock.now(), id, Action::AccountKeyChanged, id, detail);
            match self
                .store
                .commit(Batch::new(event).with(Change::Account(changed.clone())))
                .await
            {
                Err(CommitError::Duplicate(Unique::AccountKey)) => return Err(Round::Again),
                other => other?,
            }
            changed.version = changed.version.next();
            Ok(changed)
        })
        .await
    }

    /// Records that the account's holder agrees to the present terms.
    ///
    /// # Errors
    /// `accountDoesNotExist`, `unauthorized` for a closed account.
    pub async fn agree_to_terms(&self, id: AccountId) -> Result<(), Refusal> {
        settle(|| async {
            let account = self.signing_account(id).await?.0.clone();
            if account.terms_agreed == self.settings.terms {
                return Ok(());
            }
            let changed = Account {
                terms_agreed: self.settings.terms.clone(),
                ..account
            };
            let detail = json!({ "terms": changed.terms_agreed });
            let event = by_account(self.clock.now(), id, Action::AccountUpdated, id, detail);
            Ok(self
                .store
                .commit(Batch::new(event).with(Change::Account(changed)))
                .await?)
        })
        .await
    }
}

fn require_valid(account: &Account) -> Result<(), Problem> {
    match AccountLife::read(account.status) {
        AccountLife::Valid(_) => Ok(()),
        AccountLife::Closed(_) => Err(Problem::unauthorized("This account is closed.").with_status(401)),
    }
}
