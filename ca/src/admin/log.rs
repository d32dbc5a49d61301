//! The audit log's heads for operators, and its cosignatures.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State},
};
use serde::{Deserialize, Serialize};

use super::{
    Shared,
    answers::{AdminError, ListPage, PageQuery},
};
use crate::{
    model::LogHead,
    notary::{Notary, NotaryError},
};

/// The log as an operator sees it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownLog {
    /// The key that verifies its heads.
    pub key: String,
    /// How many events the last head covers.
    pub size: u64,
    /// The last head.
    pub checkpoint: String,
    /// Whose cosignatures are taken.
    pub witnesses: Vec<String>,
}

/// Lines of witnesses.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cosignatures {
    /// One a line, as they answer.
    pub lines: String,
}

/// Since when a witness has not been asked.
#[derive(Debug, Deserialize)]
pub struct Old {
    /// The size of the last head that he cosigned.
    #[serde(default)]
    old: u64,
}

/// A text for somebody else.
#[derive(Debug, Serialize, Deserialize)]
pub struct Text {
    /// The text.
    pub text: String,
}

impl From<NotaryError> for AdminError {
    fn from(error: NotaryError) -> Self {
        match error {
            NotaryError::Malformed(_) | NotaryError::NoCosignature => Self::refused(error.to_string()),
            other => Self::failed(other),
        }
    }
}

fn notary(admin: &super::Admin) -> Result<&Arc<Notary>, AdminError> {
    admin
        .notary
        .as_ref()
        .ok_or_else(|| AdminError::failed("no heads of the audit log are signed: the log tells why"))
}

fn shown(notary: &Notary) -> ShownLog {
    ShownLog {
        key: notary.key().to_string(),
        size: notary.size(),
        checkpoint: notary.checkpoint(),
        witnesses: notary.witnesses().iter().map(ToString::to_string).collect(),
    }
}

/// Signs what is not covered yet, and shows the head.
pub(super) async fn sign(State(admin): Shared) -> Result<Json<ShownLog>, AdminError> {
    let notary = notary(&admin)?;
    notary.sign_now().await?;
    Ok(Json(shown(notary)))
}

pub(super) async fn heads(
    State(admin): Shared,
    Query(page): Query<PageQuery>,
) -> Result<Json<ListPage<LogHead>>, AdminError> {
    let limit = page.limit();
    let found = admin
        .registrar
        .store()
        .log_heads(page.after()?.unwrap_or(0), limit)
        .await?;
    Ok(Json(ListPage::new(
        found,
        limit,
        |head| head.size.to_string(),
        |head| head,
    )))
}

pub(super) async fn cosign(
    State(admin): Shared,
    Json(given): Json<Cosignatures>,
) -> Result<Json<ShownLog>, AdminError> {
    let notary = notary(&admin)?;
    notary.cosign(&given.lines).await?;
    Ok(Json(shown(notary)))
}

pub(super) async fn witness_request(State(admin): Shared, Query(since): Query<Old>) -> Result<Json<Text>, AdminError> {
    let notary = notary(&admin)?;
    let text = notary.witness_request(since.old).await.map_err(AdminError::failed)?;
    Ok(Json(Text { text }))
}
