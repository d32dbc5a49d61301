//! Keys for external account binding.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigillo_protocol::base64url;

use super::{
    Shared,
    answers::{AdminError, ListPage, PageQuery},
};
use crate::{model::ExternalKey, store::Page};

/// A key as an operator sees it; the key itself is shown once, when it is made.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownKey {
    /// Its name.
    pub kid: String,
    /// What the operator calls it.
    pub label: String,
    /// The account that has used it.
    pub account: Option<String>,
    /// Whether it was withdrawn.
    pub disabled: bool,
    /// When it was made.
    pub created: Timestamp,
}

impl From<ExternalKey> for ShownKey {
    fn from(key: ExternalKey) -> Self {
        Self {
            kid: key.kid,
            label: key.label,
            account: key.account.map(|id| id.to_string()),
            disabled: key.disabled,
            created: key.created,
        }
    }
}

/// A wish for a key.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyWish {
    /// What to call it.
    pub label: String,
}

/// A new key: what goes into a client's configuration.
#[derive(Debug, Serialize, Deserialize)]
pub struct NewKey {
    /// Its name.
    pub kid: String,
    /// The key in base64url.
    pub hmac: String,
}

pub(super) async fn create(State(admin): Shared, Json(wish): Json<KeyWish>) -> Result<Json<NewKey>, AdminError> {
    let key = admin.registrar.create_external_key(&wish.label).await?;
    Ok(Json(NewKey {
        hmac: base64url::encode(key.hmac.as_slice()),
        kid: key.kid,
    }))
}

pub(super) async fn list(
    State(admin): Shared,
    Query(page): Query<PageQuery>,
) -> Result<Json<ListPage<ShownKey>>, AdminError> {
    let limit = page.limit();
    let found = admin
        .registrar
        .store()
        .external_keys(Page {
            after: page.after()?,
            limit,
        })
        .await?;
    Ok(Json(ListPage::new(found, limit, |k| k.kid.clone(), ShownKey::from)))
}

pub(super) async fn disable(State(admin): Shared, Path(kid): Path<String>) -> Result<Json<ShownKey>, AdminError> {
    Ok(Json(admin.registrar.disable_external_key(&kid).await?.into()))
}
