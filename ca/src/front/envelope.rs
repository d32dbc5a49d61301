//! Opens signed requests (RFC 8555 sections 6.2 to 6.5): what comes out is who asks, and what.
//!
//! The order of the checks: media type, size, shape, URL, nonce, account, signature. A nonce is
//! used up as soon as the request is known to be shaped and addressed right, so that a request
//! that is refused afterwards cannot be sent again either (threat J12).

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, http::header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use sigillo_protocol::{
    acme::problem::{ErrorType, Problem},
    jose::{Jwk, KeyRef, UnverifiedJws, VerifiedJws},
    json,
};

use super::{acme::AcmeFront, problem::Trouble};
use crate::model::Account;

/// The largest request body: a CSR with the most names and the largest key takes about a third of it.
pub const BODY_MAX: usize = 64 * 1024;

/// How much of a body that is too large is read and thrown away, so that its sender gets to read why: an answer before
/// the end of the body and the closing of the connection would often be lost.
const DRAINED_MAX: usize = 1024 * 1024;

/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A request signed by an account.
pub struct SignedByAccount {
    /// Who asks.
    pub account: Account,
    /// The account's key.
    pub jwk: Jwk,
    jws: VerifiedJws,
}

/// A request signed by a key that it shows itself.
pub struct SignedByKey {
    /// The key.
    pub jwk: Jwk,
    jws: VerifiedJws,
}

/// A request signed in either way.
pub enum Signed {
    /// By an account.
    Account(Box<SignedByAccount>),
    /// By a key.
    Key(SignedByKey),
}

impl SignedByAccount {
    /// Reads the payload as JSON.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Trouble> {
        Ok(json::from_slice(self.jws.payload())?)
    }

    /// Returns the payload as it was signed.
    pub fn payload_bytes(&self) -> &[u8] {
        self.jws.payload()
    }

    /// Whether the request only wants to see the resource (RFC 8555 section 6.3).
    pub fn is_post_as_get(&self) -> bool {
        self.jws.is_post_as_get()
    }

    /// Refuses a request that does not only want to see the resource.
    pub fn require_post_as_get(&self) -> Result<(), Trouble> {
        if self.is_post_as_get() {
            return Ok(());
        }
        Err(Problem::malformed("This resource can only be fetched: the payload has to be empty.").into())
    }

    /// Returns the URL that was signed, which is the one that was asked for.
    pub fn url(&self) -> &str {
        self.jws.url()
    }
}

impl SignedByKey {
    /// Reads the payload as JSON.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Trouble> {
        Ok(json::from_slice(self.jws.payload())?)
    }

    /// Returns the URL that was signed, which is the one that was asked for.
    pub fn url(&self) -> &str {
        self.jws.url()
    }
}

impl Signed {
    /// Reads the payload as JSON.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Trouble> {
        match self {
            Self::Account(signed) => signed.payload(),
            Self::Key(signed) => signed.payload(),
        }
    }
}

impl AcmeFront {
    /// Opens a request that an account has to sign.
    pub async fn open_by_account(&self, request: Request) -> Result<SignedByAccount, Trouble> {
        match self.open(request).await? {
            Signed::Account(signed) => Ok(*signed),
            Signed::Key(_) => {
                Err(Problem::malformed("This request has to name its account by kid, not show a jwk.").into())
            }
        }
    }

    /// Opens a request that shows its own key.
    pub async fn open_by_key(&self, request: Request) -> Result<SignedByKey, Trouble> {
        match self.open(request).await? {
            Signed::Key(signed) => Ok(signed),
            Signed::Account(_) => {
                Err(Problem::malformed("This request has to show its key as jwk, not name an account.").into())
            }
        }
    }

    /// Opens a request that may be signed in either way.
    pub async fn open(&self, request: Request) -> Result<Signed, Trouble> {
        require_media_type(&request)?;
        let path = request.uri().path_and_query().map_or("/", |p| p.as_str()).to_owned();
        // No URL that was handed out has a query or an escape: such a path would be a second name for a resource.
        if path.contains(['?', '%']) {
            return Err(Problem::unauthorized("This is not a URL that this server hands out.").into());
        }
        let body = read_body(request.into_body()).await?;
        let jws = UnverifiedJws::parse(&body)?;
        // Exact equality with the URL that was handed out (RFC 8555 section 6.4): built from the
        // configured base, since a Host header is the sender's to choose.
        if jws.url() != self.links().to(&path) {
            return Err(Problem::unauthorized("The url in the protected header is not the URL of the request.").into());
        }
        self.redeem_nonce(jws.nonce())?;
        match jws.key() {
            KeyRef::Jwk(jwk) => {
                let jwk = jwk.clone();
                let jws = jws.verify_embedded()?;
                Ok(Signed::Key(SignedByKey { jwk, jws }))
            }
            KeyRef::Kid(kid) => {
                let id = self.links().account_id(kid).ok_or_else(|| {
                    Problem::new(ErrorType::AccountDoesNotExist, "kid is not the URL of an account here.")
                })?;
                let known = self
                    .registrar()
                    .signing_account(id)
                    .await
                    .map_err(|r| self.trouble(r))?;
                let jws = jws.verify(&known.1)?;
                let (account, jwk) = Arc::unwrap_or_clone(known);
                Ok(Signed::Account(Box::new(SignedByAccount { account, jwk, jws })))
            }
        }
    }

    fn redeem_nonce(&self, nonce: Option<&str>) -> Result<(), Trouble> {
        let refused = |detail: &str| Problem::new(ErrorType::BadNonce, detail).into();
        match nonce {
            None => Err(refused("The protected header has no nonce.")),
            Some(nonce) if self.nonces().redeem(nonce) => Ok(()),
            Some(_) => Err(refused(
                "The nonce is unknown, used or too old: retry with the one in this answer.",
            )),
        }
    }
}

fn require_media_type(request: &Request) -> Result<(), Trouble> {
    let value = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/jose+json") {
        Ok(())
    } else {
        Err(Trouble::media_type())
    }
}

async fn read_body(body: Body) -> Result<Vec<u8>, Trouble> {
    match tokio::time::timeout(BODY_TIMEOUT, collect(body)).await {
        Ok(Ok(octets)) if octets.len() <= BODY_MAX => Ok(octets),
        Ok(Ok(_)) => Err(Problem::malformed(format!("The body has more than {BODY_MAX} octets."))
            .with_status(413)
            .into()),
        Ok(Err(_)) => Err(Problem::malformed("The body could not be read to its end.").into()),
        Err(_) => Err(Problem::malformed("The body did not arrive in time.")
            .with_status(408)
            .into()),
    }
}

/// Reads a body; of one that is too large it keeps just enough to tell.
async fn collect(mut body: Body) -> Result<Vec<u8>, axum::Error> {
    let mut octets = Vec::new();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let data = frame?.into_data().unwrap_or_default();
        read += data.len();
        if octets.len() <= BODY_MAX {
            let room = BODY_MAX + 1 - octets.len();
            octets.extend_from_slice(&data[..data.len().min(room)]);
        }
        if read > DRAINED_MAX {
            break;
        }
    }
    Ok(octets)
}
