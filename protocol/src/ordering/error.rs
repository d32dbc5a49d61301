//! Why an order ends without a certificate.

use std::time::Duration;

use super::chain::ChainError;
use crate::{
    acme::{identifier::Identifier, problem::Problem},
    jose::SignError,
};

/// The end of an order without a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub error: OrderingError,
    /// The URL of the account, which may have been made on the way.
    pub account_url: Option<String>,
    /// The URL of the order, where one was made.
    pub order_url: Option<String>,
}

/// Why an order ends without a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderingError {
    /// The server refused a request.
    #[error("the server refused {doing}: {problem}")]
    Refused {
        /// What was asked for.
        doing: &'static str,
        /// What it said.
        problem: Box<Problem>,
        /// When it may be asked again.
        retry_after: Option<Duration>,
    },
    /// The server did something that RFC 8555 does not provide for.
    #[error("the server answered {doing} unexpectedly: {what}")]
    Unexpected {
        /// What was asked for.
        doing: &'static str,
        /// What was wrong with the answer.
        what: String,
    },
    /// Control of a name could not be proven.
    #[error("{identifier} could not be validated: {}", reason(problem))]
    Validation {
        /// The name; a wildcard's without the star.
        identifier: Identifier,
        /// What the server said.
        problem: Option<Box<Problem>>,
    },
    /// The order failed.
    #[error("the order failed: {}", reason(problem))]
    Invalid {
        /// What the server said.
        problem: Option<Box<Problem>>,
    },
    /// No challenge was chosen for a name: none that is on offer can be prepared.
    #[error("no challenge was prepared for {identifier} (on offer: {offered})")]
    NoChallenge {
        /// The name.
        identifier: Identifier,
        /// The types on offer.
        offered: String,
    },
    /// The server is not done within the limits; the order can be resumed.
    #[error("the server has not decided yet")]
    NotYet {
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// There is no account, and the plan says nothing about making one.
    #[error("there is no account at this server yet")]
    NoAccount,
    /// The server makes accounts only for those it knows otherwise.
    #[error("the server asks for an external account binding: a key identifier and a MAC key from its operator")]
    ExternalAccountRequired,
    /// The account key cannot sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The chain is not acceptable.
    #[error("{0}")]
    Chain(#[from] ChainError),
}

fn reason(problem: &Option<Box<Problem>>) -> String {
    problem
        .as_ref()
        .map_or_else(|| "the server gave no reason".to_owned(), |problem| problem.to_string())
}
