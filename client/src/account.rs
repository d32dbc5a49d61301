//! Accounts: made, changed, given a new key, closed (RFC 8555 section 7.3).

use std::sync::Arc;

use sigillo_protocol::acme::account::{Account, AccountUpdate, KeyChange, NewAccount};
use sigillo_protocol::acme::problem::ErrorType;
use sigillo_protocol::base64url;
use sigillo_protocol::jose::alg::MacAlgorithm;
use sigillo_protocol::jose::eab;
use sigillo_protocol::jose::jws::{self, JwsSigner, SignWith};
use sigillo_protocol::ordering;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::session::{self, Session};

/// A key from the server's operator that ties the account to a customer (RFC 8555 section 7.3.4).
#[derive(Clone)]
pub struct ExternalAccount {
    /// The key's identifier.
    pub kid: String,
    /// The key.
    pub mac_key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExternalAccount")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl ExternalAccount {
    /// Reads the key as operators hand it out: base64url, padded or not.
    ///
    /// # Errors
    /// When it is not that.
    pub fn new(kid: &str, hmac: &str) -> Result<Self> {
        let text = hmac.trim().trim_end_matches('=');
        let mac_key = base64url::decode(text).map_err(|_| Error::usage("the EAB key is not base64url"))?;
        if mac_key.is_empty() || kid.is_empty() {
            return Err(Error::usage("the EAB key and its identifier must not be empty"));
        }
        Ok(Self {
            kid: kid.to_owned(),
            mac_key: Zeroizing::new(mac_key),
        })
    }
}

/// What is said when an account is made.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// URLs such as `mailto:me@a.example`.
    pub contact: Vec<String>,
    /// Whether the user agrees to the server's terms.
    pub agree_tos: bool,
    /// The operator's key, where the server asks for one.
    pub external_account: Option<ExternalAccount>,
}

/// An account that requests can be made for.
pub struct ActiveAccount<'a> {
    /// The server.
    pub session: &'a Session,
    /// The account's key.
    pub key: Arc<dyn JwsSigner>,
    /// The account's URL.
    pub url: String,
}

/// Makes an account, or finds the one that the key has.
///
/// Returns it with whether it is new.
///
/// # Errors
/// When the terms are not agreed to, a binding is missing, or the server refuses.
pub async fn register<'a>(
    session: &'a Session,
    key: &Arc<dyn JwsSigner>,
    registration: &Registration,
) -> Result<(ActiveAccount<'a>, bool)> {
    let what = "cannot register";
    let meta = &session.directory().meta;
    let url = &session.directory().new_account;
    if let (Some(terms), false) = (&meta.terms_of_service, registration.agree_tos) {
        // A known key has agreed before: only a new account needs the agreement.
        return match find(session, key).await? {
            Some(account) => Ok((account, false)),
            None => Err(Error::usage(format!(
                "the server has terms of service: read {terms} and repeat with --agree-tos"
            ))),
        };
    }
    let binding = match &registration.external_account {
        Some(external) => Some(bind(external, url, &**key)?),
        None if meta.external_account_required => match find(session, key).await? {
            Some(account) => return Ok((account, false)),
            None => {
                return Err(Error::usage(
                    "the server wants an external account binding: get a key from its operator \
                     and give it with --eab-kid and --eab-hmac",
                ));
            }
        },
        None => None,
    };
    let payload = NewAccount {
        contact: registration.contact.clone(),
        terms_of_service_agreed: registration.agree_tos.then_some(true),
        only_return_existing: None,
        external_account_binding: binding,
    };
    let response = session.post(what, key, None, url, to_json(&payload)?).await?;
    let new = response.status == 201;
    let account: Account = session::parse(what, &response)?;
    require_valid(what, &account)?;
    let url = location(what, &response)?;
    Ok((
        ActiveAccount {
            session,
            key: key.clone(),
            url,
        },
        new,
    ))
}

/// Returns the account that the key has, if any.
///
/// # Errors
/// When the server cannot be asked.
pub async fn find<'a>(session: &'a Session, key: &Arc<dyn JwsSigner>) -> Result<Option<ActiveAccount<'a>>> {
    let what = "cannot look up the account";
    let payload = NewAccount {
        only_return_existing: Some(true),
        ..NewAccount::default()
    };
    let url = &session.directory().new_account;
    match session.post(what, key, None, url, to_json(&payload)?).await {
        Ok(response) => {
            let account: Account = session::parse(what, &response)?;
            require_valid(what, &account)?;
            Ok(Some(ActiveAccount {
                session,
                key: key.clone(),
                url: location(what, &response)?,
            }))
        }
        Err(e) if e.problem().is_some_and(|p| p.kind == ErrorType::AccountDoesNotExist) => Ok(None),
        Err(e) => Err(e),
    }
}

impl ActiveAccount<'_> {
    /// Fetches what the server says about the account.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn show(&self) -> Result<Account> {
        let what = "cannot fetch the account";
        let response = self
            .session
            .post(what, &self.key, Some(&self.url), &self.url, Vec::new())
            .await?;
        session::parse(what, &response)
    }

    /// Replaces the contacts.
    ///
    /// # Errors
    /// When the server refuses one of them.
    pub async fn update_contact(&self, contact: Vec<String>) -> Result<Account> {
        self.update(AccountUpdate {
            contact: Some(contact),
            status: None,
        })
        .await
    }

    /// Closes the account for good.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn deactivate(&self) -> Result<Account> {
        self.update(AccountUpdate {
            contact: None,
            status: Some("deactivated".into()),
        })
        .await
    }

    async fn update(&self, update: AccountUpdate) -> Result<Account> {
        let what = "cannot change the account";
        let payload = to_json(&update)?;
        let response = self
            .session
            .post(what, &self.key, Some(&self.url), &self.url, payload)
            .await?;
        session::parse(what, &response)
    }

    /// Gives the account another key (RFC 8555 section 7.3.5).
    ///
    /// # Errors
    /// When the server refuses, for example because the new key has an account already.
    pub async fn change_key(&self, new: &dyn JwsSigner) -> Result<()> {
        let what = "cannot change the account's key";
        let url = &self.session.directory().key_change;
        let old_key =
            serde_json::value::RawValue::from_string(self.key.jwk().to_json()).map_err(|e| Error::local(what, e))?;
        let inner = to_json(&KeyChange {
            account: self.url.clone(),
            old_key,
        })?;
        let inner = jws::sign(new, None, url, SignWith::Jwk, &inner).map_err(|e| Error::local(what, e))?;
        self.session
            .post(what, &self.key, Some(&self.url), url, inner.into_bytes())
            .await?;
        Ok(())
    }
}

fn bind(external: &ExternalAccount, url: &str, key: &dyn JwsSigner) -> Result<Box<serde_json::value::RawValue>> {
    let jws = eab::bind(&external.kid, &external.mac_key, MacAlgorithm::Hs256, url, key.jwk());
    serde_json::value::RawValue::from_string(jws)
        .map_err(|e| Error::local("cannot make the external account binding", e))
}

fn require_valid(what: &str, account: &Account) -> Result<()> {
    use sigillo_protocol::acme::account::AccountStatus;
    match account.status {
        AccountStatus::Valid => Ok(()),
        status => Err(Error::server(what, format!("the account is {status:?}").to_lowercase())),
    }
}

/// Returns where a new object is.
pub(crate) fn location(what: &str, response: &ordering::Response) -> Result<String> {
    response
        .location
        .clone()
        .ok_or_else(|| Error::server(what, "the server did not say where the object is"))
}

/// Writes a payload.
pub(crate) fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::local("cannot write a request", e))
}
