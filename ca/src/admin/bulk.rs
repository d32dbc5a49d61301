//! Many certificates at once, and blocked keys, for operators.

use axum::{
    Json,
    extract::{Query, State},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigillo_protocol::x509::reason::RevocationReason;

use super::{
    Shared,
    answers::{AdminError, ListPage, PageQuery},
    certificates::{ShownCertificate, name},
};
use crate::{model::BlockedKey, registrar::Selection, store::Page};

/// How many certificates an answer shows; it counts all of them.
const SHOWN_MAX: usize = 1000;

/// Which certificates: those that fit every member that is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelectionWish {
    /// SHA-256 of the SubjectPublicKeyInfo, in hexadecimal.
    pub key: Option<String>,
    /// The profile's name.
    pub profile: Option<String>,
    /// The account's id.
    pub account: Option<String>,
    /// A name in it.
    pub name: Option<String>,
    /// Issued from this time on.
    pub issued_from: Option<Timestamp>,
    /// Issued before this time.
    pub issued_before: Option<Timestamp>,
}

impl SelectionWish {
    fn read(self) -> Result<Selection, AdminError> {
        let account = self.account.map(|text| text.parse());
        Ok(Selection {
            key: self.key.as_deref().map(key_hash).transpose()?,
            profile: self.profile,
            account: account
                .transpose()
                .map_err(|_| AdminError::refused("the account is no account id"))?,
            name: self.name.as_deref().map(name).transpose()?,
            issued_from: self.issued_from,
            issued_before: self.issued_before,
        })
    }
}

fn key_hash(text: &str) -> Result<[u8; 32], AdminError> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    let pairs = text.as_bytes().chunks(2).map(|pair| match *pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    });
    pairs
        .collect::<Option<Vec<u8>>>()
        .and_then(|octets| octets.try_into().ok())
        .ok_or_else(|| AdminError::refused("the key is not SHA-256 of a SubjectPublicKeyInfo, 64 hexadecimal digits"))
}

/// A wish about many certificates.
#[derive(Debug, Serialize, Deserialize)]
pub struct BulkWish {
    /// Which.
    pub selection: SelectionWish,
    /// Why, where they are revoked.
    #[serde(default)]
    pub reason: Option<RevocationReason>,
    /// How many the operator was told that it would be.
    #[serde(default)]
    pub expected: Option<usize>,
}

/// How many certificates something was done to, and to which: the first thousand serials.
#[derive(Debug, Serialize, Deserialize)]
pub struct BulkAnswer {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub serials: Vec<String>,
}

impl BulkAnswer {
    fn new(serials: impl ExactSizeIterator<Item = impl ToString>) -> Json<Self> {
        Json(Self {
            count: serials.len(),
            serials: serials.take(SHOWN_MAX).map(|serial| serial.to_string()).collect(),
        })
    }
}

/// What is still to be replaced.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownReplacements {
    /// How many certificates are revoked or asked to be renewed, and not expired.
    pub affected: u64,
    /// How many of them nothing replaces yet.
    pub waiting: u64,
    /// The first thousand of those.
    pub certificates: Vec<ShownCertificate>,
}

pub(super) async fn select(State(admin): Shared, Json(wish): Json<BulkWish>) -> Result<Json<BulkAnswer>, AdminError> {
    let found = admin.registrar.selected(&wish.selection.read()?).await?;
    Ok(BulkAnswer::new(found.iter().map(|certificate| certificate.serial)))
}

pub(super) async fn revoke(State(admin): Shared, Json(wish): Json<BulkWish>) -> Result<Json<BulkAnswer>, AdminError> {
    let selection = wish.selection.read()?;
    let serials = admin
        .registrar
        .revoke_selected(&selection, wish.reason, wish.expected)
        .await?;
    Ok(BulkAnswer::new(serials.iter()))
}

pub(super) async fn renew_now(
    State(admin): Shared,
    Json(wish): Json<BulkWish>,
) -> Result<Json<BulkAnswer>, AdminError> {
    let selection = wish.selection.read()?;
    let serials = admin.registrar.renew_selected(&selection, wish.expected).await?;
    Ok(BulkAnswer::new(serials.iter()))
}

pub(super) async fn replacements(
    State(admin): Shared,
    Json(wish): Json<BulkWish>,
) -> Result<Json<ShownReplacements>, AdminError> {
    let found = admin.registrar.replacements(&wish.selection.read()?).await?;
    let now = admin.registrar.now();
    Ok(Json(ShownReplacements {
        affected: found.affected,
        waiting: found.waiting.len() as u64,
        certificates: (found.waiting.into_iter().take(SHOWN_MAX))
            .map(|certificate| ShownCertificate::new(certificate, now, false))
            .collect(),
    }))
}

/// A blocked key as an operator sees it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownBlockedKey {
    /// SHA-256 of its SubjectPublicKeyInfo, in hexadecimal.
    pub spki_sha256: String,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub comment: String,
}

impl From<BlockedKey> for ShownBlockedKey {
    fn from(key: BlockedKey) -> Self {
        Self {
            spki_sha256: hex(key.spki_sha256),
            since: key.since,
            comment: key.comment,
        }
    }
}

fn hex(octets: [u8; 32]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A wish to block a key.
#[derive(Debug, Serialize, Deserialize)]
pub struct BlockWish {
    /// SHA-256 of its SubjectPublicKeyInfo, in hexadecimal.
    pub key: String,
    /// Why.
    #[serde(default)]
    pub comment: String,
}

pub(super) async fn block(
    State(admin): Shared,
    Json(wish): Json<BlockWish>,
) -> Result<Json<ShownBlockedKey>, AdminError> {
    let key = key_hash(&wish.key)?;
    Ok(Json(admin.registrar.block_key(key, &wish.comment).await?.into()))
}

pub(super) async fn blocked(
    State(admin): Shared,
    Query(page): Query<PageQuery>,
) -> Result<Json<ListPage<ShownBlockedKey>>, AdminError> {
    let limit = page.limit();
    let after = page.after.as_deref().map(key_hash).transpose()?;
    let found = admin.registrar.store().blocked_keys(Page { after, limit }).await?;
    Ok(Json(ListPage::new(
        found,
        limit,
        |key| hex(key.spki_sha256),
        ShownBlockedKey::from,
    )))
}
