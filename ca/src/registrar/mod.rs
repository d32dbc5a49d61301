//! Decides what may happen to accounts, orders, authorizations and certificates, and has it recorded.
//!
//! It knows neither HTTP nor URLs beyond what it is given, and it never holds a lock across a
//! decision: it reads, decides, and commits with the versions it has read; whoever comes second
//! reads again.

mod accounts;
mod authorizations;
mod auto_renewal;
mod bulk;
mod contact;
mod finalize;
mod known_accounts;
mod operator;
mod orders;
mod pruner;
mod renewal;
mod renewer;
mod resting;
mod revoke;

use std::sync::Arc;

use jiff::Timestamp;
use sigillo_protocol::acme::problem::{ErrorType, Problem};

pub use authorizations::standing;
pub use auto_renewal::StarCertificate;
pub use bulk::{Replacements, SELECTED_MAX, Selection};
pub use orders::{NewOrderRequest, StandingOrder};
pub use pruner::Pruner;
pub use renewer::{AccountUrl, Renewer};
pub use revoke::{RevocationProof, RevocationRequest};

use crate::{
    clock::SharedClock,
    config::AcmeSettings,
    issuer::Issuer,
    model::{AccountId, Action, Actor, AuditEvent},
    policy::{KnownKeys, NameRules, Profiles},
    status::StatusService,
    store::{CommitError, ReadError, Store},
    validator::Validator,
};

/// How often a decision is taken anew when others change the same records at the same time.
///
/// Each round means that somebody else got ahead, so a handful is far more than ordinary use needs.
const DECISIONS_MAX: usize = 8;

/// The registration authority: see the module.
pub struct Registrar {
    store: Arc<dyn Store>,
    clock: SharedClock,
    settings: AcmeSettings,
    profiles: Profiles,
    names: NameRules,
    known_keys: KnownKeys,
    issuer: Arc<Issuer>,
    validator: Arc<Validator>,
    status: Arc<StatusService>,
    known_accounts: known_accounts::KnownAccounts,
}

/// What a [`Registrar`] is put together from.
pub struct Parts {
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: SharedClock,
    /// The `acme` section of the configuration.
    pub settings: AcmeSettings,
    /// The profiles on offer.
    pub profiles: Profiles,
    /// The names that the CA issues for at all.
    pub names: NameRules,
    /// The keys that others have too.
    pub known_keys: KnownKeys,
    /// Who signs.
    pub issuer: Arc<Issuer>,
    /// Who asks for CAA records.
    pub validator: Arc<Validator>,
    /// Who has to know of a revocation before the client does.
    pub status: Arc<StatusService>,
}

impl Registrar {
    /// Puts a registrar together.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            store,
            clock,
            settings,
            profiles,
            names,
            known_keys,
            issuer,
            validator,
            status,
        } = parts;
        Self {
            store,
            clock,
            settings,
            profiles,
            names,
            known_keys,
            issuer,
            validator,
            status,
            known_accounts: known_accounts::KnownAccounts::default(),
        }
    }

    /// Returns the profiles on offer.
    pub fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// Returns the settings.
    pub fn settings(&self) -> &AcmeSettings {
        &self.settings
    }

    /// Returns the issuer.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Returns the store, for those who only look.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Returns the present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A request that was not granted, by who must act.
#[derive(Debug)]
pub enum Refusal {
    /// The client: the problem says how.
    Problem(Box<Problem>),
    /// The account's holder has to agree to new terms (RFC 8555 section 7.3.3).
    TermsChanged,
    /// The new key belongs to this account (RFC 8555 section 7.3.5).
    KeyInUse(AccountId),
    /// The client has to wait.
    RateLimited {
        /// What there was too much of.
        detail: String,
        /// When the same request may pass.
        retry_after_seconds: u64,
    },
    /// The operator: the text is for the log.
    Internal(String),
}

impl Refusal {
    fn new(kind: ErrorType, detail: impl Into<String>) -> Self {
        Problem::new(kind, detail).into()
    }

    /// The answer to a resource that is missing or belongs to another account: the two look
    /// alike, so that nobody can find out what exists.
    fn not_found() -> Self {
        Problem::malformed("There is no such resource for this account.")
            .with_status(404)
            .into()
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Internal(error.to_string())
    }
}

/// Why one round of deciding and committing did not succeed.
enum Round {
    /// Somebody else came first: decide again.
    Again,
    /// The answer is no.
    Refused(Refusal),
}

impl From<Refusal> for Round {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Problem> for Round {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem.into())
    }
}

impl From<ReadError> for Round {
    fn from(error: ReadError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<CommitError> for Round {
    fn from(error: CommitError) -> Self {
        match error {
            // Something unique that is there now was not there when it was read: the same race.
            CommitError::Conflict | CommitError::Duplicate(_) => Self::Again,
            failed @ CommitError::Failed { .. } => Self::Refused(Refusal::Internal(failed.to_string())),
        }
    }
}

/// Decides until nobody else comes first, within [`DECISIONS_MAX`].
async fn settle<T, F>(mut decide: impl FnMut() -> F) -> Result<T, Refusal>
where
    F: Future<Output = Result<T, Round>>,
{
    for _ in 0..DECISIONS_MAX {
        match decide().await {
            Ok(done) => return Ok(done),
            Err(Round::Again) => {}
            Err(Round::Refused(refusal)) => return Err(refusal),
        }
    }
    Err(Refusal::Internal(format!(
        "a record was changed by others {DECISIONS_MAX} times in a row"
    )))
}

fn by_account(
    at: Timestamp,
    account: AccountId,
    action: Action,
    subject: impl ToString,
    detail: serde_json::Value,
) -> AuditEvent {
    AuditEvent {
        at,
        actor: Actor::Account(account.to_string()),
        action,
        subject: subject.to_string(),
        detail,
    }
}
