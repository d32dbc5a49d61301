//! What an order is to achieve and within which limits.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{error::OrderingError, exchange::Session};
use crate::{
    acme::{
        account::NewAccount,
        challenge::{ChallengeStatus, ChallengeType},
        identifier::Identifier,
        order::NewOrder,
    },
    jose::{MacAlgorithm, eab},
};

/// An account that the server's operator knows already (RFC 8555 section 7.3.4).
#[derive(Clone)]
pub struct ExternalAccount {
    /// The identifier of the MAC key.
    pub kid: String,
    /// The MAC key.
    pub mac_key: Zeroizing<Vec<u8>>,
    /// The algorithm; HS256 unless the operator says otherwise.
    pub alg: MacAlgorithm,
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount")
            .field("kid", &self.kid)
            .field("alg", &self.alg)
            .finish_non_exhaustive()
    }
}

/// How to register.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// URLs by which the holder can be reached, for example `mailto:admin@example.org`.
    pub contact: Vec<String>,
    /// Whether the terms are agreed to.
    pub terms_agreed: bool,
    /// Whether only an existing account is asked for.
    pub only_existing: bool,
    /// The binding to an account elsewhere.
    pub external_account: Option<ExternalAccount>,
}

impl Registration {
    /// Returns the payload of newAccount.
    ///
    /// # Errors
    ///
    /// [`OrderingError::ExternalAccountRequired`] when the server wants a binding and there is none.
    pub fn payload(&self, session: &Session) -> Result<Vec<u8>, OrderingError> {
        let directory = session.directory();
        if directory.meta.external_account_required && self.external_account.is_none() && !self.only_existing {
            return Err(OrderingError::ExternalAccountRequired);
        }
        let bind = |account: &ExternalAccount| {
            let (key, url) = (session.signer().jwk(), &directory.new_account);
            RawValue::from_string(eab::bind(&account.kid, &account.mac_key, account.alg, url, key))
                .expect("invariant: a binding is JSON")
        };
        let payload = NewAccount {
            contact: self.contact.clone(),
            terms_of_service_agreed: self.terms_agreed.then_some(true),
            only_return_existing: self.only_existing.then_some(true),
            external_account_binding: self.external_account.as_ref().map(bind),
        };
        Ok(serde_json::to_vec(&payload).expect("invariant: a newAccount is JSON"))
    }
}

/// Which order it is about.
#[derive(Debug, Clone)]
pub enum Target {
    /// A new one.
    New(NewOrder),
    /// The one at this URL, made earlier by the same account.
    Resume(String),
}

/// What an order is to achieve.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How to register where the session has no account.
    pub registration: Option<Registration>,
    /// Which order it is about.
    pub target: Target,
    /// Whether other chains are to be fetched too.
    pub alternates: bool,
    /// How patient to be.
    pub limits: Limits,
}

impl Plan {
    /// Makes a plan for a new order with the usual limits.
    pub fn new(order: NewOrder) -> Self {
        Self {
            registration: None,
            target: Target::New(order),
            alternates: false,
            limits: Limits::default(),
        }
    }

    /// Makes a plan to go on with an order.
    pub fn resume(order_url: impl Into<String>) -> Self {
        let target = Target::Resume(order_url.into());
        Self {
            registration: None,
            target,
            alternates: false,
            limits: Limits::default(),
        }
    }

    /// Registers first where the session has no account.
    #[must_use]
    pub fn with_registration(mut self, registration: Registration) -> Self {
        self.registration = Some(registration);
        self
    }
}

/// How patient to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How often to look at the authorizations together, and at the order.
    pub polls_max: u32,
    /// The longest single wait. A server that asks for a longer one is given up for now.
    pub wait_max: Duration,
}

impl Default for Limits {
    /// Ten minutes at the slowest pace that is not the server's own.
    fn default() -> Self {
        Self {
            polls_max: 125,
            wait_max: Duration::from_secs(60),
        }
    }
}

impl Limits {
    const FIRST_WAIT: Duration = Duration::from_millis(250);
    const SLOWEST_PACE: Duration = Duration::from_secs(5);
    /// A server that says 0 is not hammered.
    const SHORTEST_WAIT: Duration = Duration::from_millis(100);

    /// Returns how long to wait before the next look, or `None` when patience is at its end.
    pub(super) fn wait(&self, polls_done: u32, retry_after: Option<Duration>) -> Option<Duration> {
        let own = Self::FIRST_WAIT
            .saturating_mul(1 << polls_done.min(8))
            .min(Self::SLOWEST_PACE);
        let wait = retry_after.unwrap_or(own).max(Self::SHORTEST_WAIT);
        (polls_done < self.polls_max && wait <= self.wait_max).then_some(wait)
    }
}

/// An authorization that waits for a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its URL.
    pub url: String,
    /// What is to be proven; a wildcard's without the star.
    pub identifier: Identifier,
    /// Whether it is for the wildcard.
    pub wildcard: bool,
    /// Until when.
    pub expires: Option<Timestamp>,
    /// The challenges on offer.
    pub challenges: Vec<Offer>,
}

/// A challenge on offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its type as the server names it.
    pub kind: String,
    /// Its type, where it is known.
    pub known: Option<ChallengeType>,
    /// Its URL, to be given to [`super::Prove::respond`].
    pub url: String,
    /// Its state.
    pub status: ChallengeStatus,
    /// Its token, when it is one: it may be used as a file name without further checks.
    pub token: Option<String>,
    /// What proves it, for a challenge with a token.
    pub key_authorization: Option<String>,
}
