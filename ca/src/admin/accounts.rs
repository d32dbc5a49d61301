//! Accounts for operators.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigillo_protocol::acme::account::AccountStatus;

use super::{
    Shared,
    answers::{AdminError, ListPage, PageQuery},
};
use crate::{model::Account, store::Page};

/// An account as an operator sees it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownAccount {
    /// Its name.
    pub id: String,
    /// Its state.
    pub status: AccountStatus,
    /// How to reach its holder.
    pub contact: Vec<String>,
    /// Its key's thumbprint.
    pub thumbprint: String,
    /// The external key that it was bound with.
    pub external_key: Option<String>,
    /// When it was made.
    pub created: Timestamp,
}

impl From<Account> for ShownAccount {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.to_string(),
            status: account.status,
            contact: account.contact,
            thumbprint: account.thumbprint.to_string(),
            external_key: account.binding.map(|binding| binding.kid),
            created: account.created,
        }
    }
}

pub(super) async fn list(
    State(admin): Shared,
    Query(page): Query<PageQuery>,
) -> Result<Json<ListPage<ShownAccount>>, AdminError> {
    let limit = page.limit();
    let found = admin
        .registrar
        .store()
        .accounts(Page {
            after: page.after()?,
            limit,
        })
        .await?;
    Ok(Json(ListPage::new(
        found,
        limit,
        |a| a.id.to_string(),
        ShownAccount::from,
    )))
}

pub(super) async fn deactivate(State(admin): Shared, Path(id): Path<String>) -> Result<Json<ShownAccount>, AdminError> {
    let id = id
        .parse()
        .map_err(|_| AdminError::refused(format!("{id:?} is no account id")))?;
    Ok(Json(admin.registrar.close_account(id).await?.into()))
}
