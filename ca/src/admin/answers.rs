//! How operations answer: JSON, or one sentence about what went wrong.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    registrar::Refusal,
    store::{CommitError, ReadError},
};

/// An operation that was refused or failed.
#[derive(Debug)]
pub struct AdminError {
    status: StatusCode,
    message: String,
}

impl AdminError {
    /// The operator asked for something that cannot be.
    pub fn refused(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    /// There is no such thing.
    pub fn not_found(what: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            message: format!("there is no such {what}"),
        }
    }

    /// The CA itself failed.
    pub fn failed(message: impl ToString) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: message.to_string(),
        }
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

impl From<Refusal> for AdminError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Problem(problem) => Self::refused(problem.to_string()),
            Refusal::TermsChanged | Refusal::KeyInUse(_) | Refusal::RateLimited { .. } => {
                Self::refused("the request does not fit an operator")
            }
            Refusal::Internal(message) => Self::failed(message),
        }
    }
}

impl From<ReadError> for AdminError {
    fn from(error: ReadError) -> Self {
        Self::failed(error)
    }
}

impl From<CommitError> for AdminError {
    fn from(error: CommitError) -> Self {
        Self::failed(error)
    }
}

/// Which part of a list an operator wants; `after` is the last key of the page before.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PageQuery {
    /// The last key of the page before.
    pub after: Option<String>,
    /// At most how many.
    pub limit: Option<usize>,
}

impl PageQuery {
    const LIMIT_DEFAULT: usize = 1000;

    /// Reads the key; `None` for the first page.
    pub fn after<K: std::str::FromStr>(&self) -> Result<Option<K>, AdminError> {
        self.after
            .as_deref()
            .map(|text| {
                text.parse()
                    .map_err(|_| AdminError::refused(format!("{text:?} is no key of this list")))
            })
            .transpose()
    }

    /// Returns how many at most.
    pub fn limit(&self) -> usize {
        self.limit
            .unwrap_or(Self::LIMIT_DEFAULT)
            .clamp(1, crate::store::Page::<()>::LIMIT_MAX)
    }
}

/// A part of a list.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListPage<T> {
    /// The entries.
    pub items: Vec<T>,
    /// The key to go on after, if there may be more.
    pub next: Option<String>,
}

impl<T> ListPage<T> {
    /// Makes a page out of at most `limit` records; `key` names the last one.
    pub fn new<R>(records: Vec<R>, limit: usize, key: impl Fn(&R) -> String, show: impl Fn(R) -> T) -> Self {
        let next = (records.len() >= limit).then(|| records.last().map(key)).flatten();
        Self {
            items: records.into_iter().map(show).collect(),
            next,
        }
    }
}
