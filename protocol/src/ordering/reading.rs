//! What a server's answers mean, read with distrust.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::{
    chain::Chain,
    error::OrderingError,
    message::{PEM_CHAIN, Response},
    plan::{Offer, Pending},
};
use crate::{
    acme::{
        authorization::Authorization,
        challenge::{Challenge, key_authorization},
        identifier::Identifier,
        order::{NewOrder, Order},
        problem::{ErrorType, Problem},
    },
    base64url, json,
};

/// The longest token: it becomes a file name.
const MAX_TOKEN: usize = 200;
/// How much of an answer that is no problem document is shown.
const MAX_SHOWN: usize = 200;

/// Reads the object of an answer.
pub(super) fn read<T: DeserializeOwned>(response: &Response, doing: &'static str) -> Result<T, OrderingError> {
    json::from_slice(&response.body).map_err(|error| OrderingError::Unexpected {
        doing,
        what: error.to_string(),
    })
}

/// Reads a downloaded chain.
pub(super) fn chain(response: &Response, doing: &'static str) -> Result<Chain, OrderingError> {
    if !response.is_of_type(PEM_CHAIN) {
        let what = format!("the media type is not {PEM_CHAIN}");
        return Err(OrderingError::Unexpected { doing, what });
    }
    Ok(Chain::from_pem(&response.body)?)
}

/// Tells whether an order is for the identifiers that were asked for.
pub(super) fn is_for(order: &Order, asked: &NewOrder) -> bool {
    let lower = |i: &Identifier| (i.kind.clone(), i.value.to_ascii_lowercase());
    let ordered: BTreeSet<_> = order.identifiers.iter().map(lower).collect();
    let wanted: BTreeSet<_> = asked.identifiers.iter().map(|i| lower(&i.identifier)).collect();
    ordered == wanted
}

/// Shows an authorization to the caller; a token only if it is one.
pub(super) fn pending(url: String, authorization: Authorization, thumbprint: &str) -> Pending {
    let offer = |challenge: Challenge| {
        let safe = |token: &String| token.len() <= MAX_TOKEN && base64url::is_alphabet(token);
        let token = challenge.token.filter(safe);
        Offer {
            known: challenge.kind.parse().ok(),
            kind: challenge.kind,
            url: challenge.url,
            status: challenge.status,
            key_authorization: token.as_ref().map(|token| key_authorization(token, thumbprint)),
            token,
        }
    };
    Pending {
        url,
        identifier: authorization.identifier,
        wildcard: authorization.wildcard,
        expires: authorization.expires,
        challenges: authorization.challenges.into_iter().map(offer).collect(),
    }
}

/// Makes the error of an authorization that will never be valid.
pub(super) fn not_validated(authorization: Authorization) -> OrderingError {
    let problem = authorization
        .challenges
        .into_iter()
        .find_map(|challenge| challenge.error)
        .map(printable_problem)
        .map(Box::new);
    let Identifier { kind, value } = authorization.identifier;
    OrderingError::Validation {
        identifier: Identifier {
            kind: printable(&kind),
            value: printable(&value),
        },
        problem,
    }
}

/// Reads the problem document of a refusal, or makes one of what came instead.
pub(super) fn problem(response: &Response) -> Problem {
    let read: Option<Problem> = json::from_slice(&response.body).ok();
    let mut problem = read.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&response.body);
        let text: String = text.chars().take(MAX_SHOWN).collect();
        Problem::new(
            ErrorType::Other("about:blank".to_owned()),
            format!("HTTP status {} without a problem document: {text}", response.status),
        )
    });
    problem.status = Some(response.status);
    printable_problem(problem)
}

/// Takes control characters out of a server's texts: they are shown to people and written to logs.
pub(super) fn printable_problem(mut problem: Problem) -> Problem {
    problem.detail = printable(&problem.detail);
    if let ErrorType::Other(uri) = &mut problem.kind {
        *uri = printable(uri);
    }
    for sub in &mut problem.subproblems {
        sub.detail = printable(&sub.detail);
        if let Some(identifier) = &mut sub.identifier {
            identifier.value = printable(&identifier.value);
        }
    }
    problem
}

fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}
