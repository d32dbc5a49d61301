//! The audit log and backups.

use std::path::PathBuf;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Shared,
    answers::{AdminError, ListPage, PageQuery},
};
use crate::{digest::sha256, model::AuditRecord};

pub(super) async fn list(
    State(admin): Shared,
    Query(page): Query<PageQuery>,
) -> Result<Json<ListPage<AuditRecord>>, AdminError> {
    let limit = page.limit();
    let after: u64 = page.after()?.unwrap_or(0);
    let found = admin.registrar.store().audit(after, limit).await?;
    Ok(Json(ListPage::new(found, limit, |r| r.sequence.to_string(), |r| r)))
}

/// Returns the SHA-256 of a full tile of leaves.
pub(super) async fn tile(State(admin): Shared, Path(index): Path<u64>) -> Result<Json<Option<String>>, AdminError> {
    let tile = admin.registrar.store().log_tile(0, index).await?;
    let text = |octets: Vec<u8>| sha256(&octets).iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(Json(tile.map(text)))
}

/// A wish for a backup.
#[derive(Debug, Serialize, Deserialize)]
pub struct BackupWish {
    /// The new file: an absolute path, since daemon and operator may stand in different folders.
    pub to: PathBuf,
}

pub(super) async fn backup(State(admin): Shared, Json(wish): Json<BackupWish>) -> Result<Json<Value>, AdminError> {
    if !wish.to.is_absolute() {
        return Err(AdminError::refused("the backup's path has to be absolute"));
    }
    admin.registrar.store().backup(&wish.to).await?;
    Ok(Json(json!({ "written": wish.to })))
}
