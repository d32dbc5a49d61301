//! CRLs for operators.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Shared, answers::AdminError};
use crate::model::{CrlKind, CrlRecord};

/// A CRL as an operator sees it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownCrl {
    /// Whose.
    pub issuer: String,
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one is there at the latest.
    pub next_update: Timestamp,
    /// How many certificates it lists.
    pub entries: u64,
    /// The CRL as PEM.
    pub pem: String,
}

impl From<CrlRecord> for ShownCrl {
    fn from(crl: CrlRecord) -> Self {
        Self {
            issuer: crl.issuer.to_string(),
            number: crl.number,
            this_update: crl.this_update,
            next_update: crl.next_update,
            entries: crl.entries,
            pem: crate::pem::block("X509 CRL", &crl.der.to_vec()),
        }
    }
}

pub(super) async fn show(State(admin): Shared) -> Result<Json<ShownCrl>, AdminError> {
    let crl = admin
        .registrar
        .store()
        .crl(admin.registrar.issuer().id(), CrlKind::Complete)
        .await?;
    crl.map(|crl| Json(crl.into()))
        .ok_or_else(|| AdminError::not_found("CRL"))
}

pub(super) async fn publish(State(admin): Shared) -> Result<Json<ShownCrl>, AdminError> {
    admin
        .status
        .publisher()
        .publish(admin.registrar.issuer().id())
        .await
        .map_err(AdminError::failed)?;
    show(State(admin)).await
}
