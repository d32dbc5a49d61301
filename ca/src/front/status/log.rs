//! The public side of the audit log: checkpoint, tiles and proofs (c2sp.org/tlog-tiles), without a word about anybody.

use std::sync::Arc;

use hyper::{Response, StatusCode, body::Bytes, header::HeaderMap};
use jiff::{SignedDuration, Timestamp};
use sigillo_protocol::transparency::tile::Tile;

use super::{
    ResponseBody,
    caching::{Caching, Validators},
    found, plain, refusal, unavailable,
};
use crate::{
    model::Serial,
    notary::{Notary, ProofError},
    status::entity_tag,
};

/// What all paths begin with.
pub(super) const PREFIX: &str = "/log/";

const TEXT: &str = "text/plain; charset=utf-8";
const OCTETS: &str = "application/octet-stream";

/// How long a tile may be kept that is asked for under the log's full name: it never becomes another.
const TILE_MAX_AGE: SignedDuration = SignedDuration::from_hours(24 * 365);

/// How long a tile may be kept under the short name, which means another log once the store was restored.
const SHORT_NAME_MAX_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Answers for a path, of which the beginning is left out.
pub(super) async fn answer(
    notary: &Arc<Notary>,
    path: &str,
    headers: &HeaderMap,
    now: Timestamp,
) -> Response<ResponseBody> {
    let full = path
        .strip_prefix(notary.epoch())
        .and_then(|rest| rest.strip_prefix('/'));
    let max_age = if full.is_some() {
        TILE_MAX_AGE
    } else {
        SHORT_NAME_MAX_AGE
    };
    let path = full.unwrap_or(path);
    if path == "checkpoint" {
        return text(notary.checkpoint());
    }
    if path == "key" {
        return text(format!("{}\n", notary.key()));
    }
    if let Some(rest) = path.strip_prefix("tile/") {
        let Some(tile) = Tile::parse(rest) else {
            return nowhere();
        };
        return match notary.tile(tile).await {
            Ok(body) => {
                let etag = entity_tag(&body.octets);
                let validators = Validators {
                    etag: &etag,
                    modified: Timestamp::UNIX_EPOCH,
                };
                found(
                    headers,
                    OCTETS,
                    body.octets.into(),
                    validators,
                    Caching::For(max_age),
                    now,
                )
            }
            Err(error) => refused(&error),
        };
    }
    let proof = match path.strip_prefix("proof/") {
        Some(rest) => prove(notary, rest).await,
        None => Err(ProofError::NotFound),
    };
    proof.map_or_else(|error| refused(&error), text)
}

async fn prove(notary: &Notary, path: &str) -> Result<String, ProofError> {
    let (what, rest) = path.split_once('/').ok_or(ProofError::NotFound)?;
    match what {
        "certificate" => {
            let serial: Serial = rest.parse().map_err(|_| ProofError::NotFound)?;
            notary.prove_certificate(serial).await
        }
        "consistency" => {
            let sizes = rest
                .split_once('/')
                .and_then(|(old, new)| Some((old.parse().ok()?, new.parse().ok()?)));
            let (old, new) = sizes.ok_or(ProofError::NotFound)?;
            notary.prove_consistency(old, new).await
        }
        _ => Err(ProofError::NotFound),
    }
}

fn text(text: String) -> Response<ResponseBody> {
    refusal(StatusCode::OK, TEXT, Bytes::from(text))
}

fn nowhere() -> Response<ResponseBody> {
    plain(StatusCode::NOT_FOUND, "not found")
}

fn refused(error: &ProofError) -> Response<ResponseBody> {
    let mut response = match error {
        ProofError::NotFound => return nowhere(),
        ProofError::Soon => unavailable("the next head of the log will cover it"),
        ProofError::Busy => unavailable("too many are asking"),
        ProofError::Read(error) => {
            tracing::error!(%error, "the log cannot be given out");
            return unavailable("the log cannot be read");
        }
    };
    response
        .headers_mut()
        .insert(hyper::header::RETRY_AFTER, hyper::header::HeaderValue::from_static("1"));
    response
}
