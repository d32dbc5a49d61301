//! External account binding (RFC 8555 section 7.3.4): a MAC that ties an account key to an account
//! that the CA's operator knows otherwise.

use aws_lc_rs::hmac;
use serde::Serialize;

use super::{
    alg::MacAlgorithm,
    jwk::{Jwk, Thumbprint},
    jws::{Flattened, Serialization},
};
use crate::{acme::problem::Problem, base64url};

#[derive(Serialize)]
struct Protected<'a> {
    alg: &'a str,
    kid: &'a str,
    url: &'a str,
}

fn hmac_key(alg: MacAlgorithm, key: &[u8]) -> hmac::Key {
    let alg = match alg {
        MacAlgorithm::Hs256 => hmac::HMAC_SHA256,
        MacAlgorithm::Hs384 => hmac::HMAC_SHA384,
        MacAlgorithm::Hs512 => hmac::HMAC_SHA512,
    };
    hmac::Key::new(alg, key)
}

/// Makes the binding of a key for `newAccount`; `url` is the directory's newAccount URL.
///
/// Returns the flattened JSON. The MAC key's length is the server's to refuse: it made the key.
pub fn bind(kid: &str, mac_key: &[u8], alg: MacAlgorithm, url: &str, jwk: &Jwk) -> String {
    let header = serde_json::to_vec(&Protected {
        alg: alg.as_str(),
        kid,
        url,
    })
    .expect("invariant: three strings are JSON");
    let mut jws = Serialization {
        protected: base64url::encode(header),
        payload: base64url::encode(jwk.to_json()),
        signature: String::new(),
    };
    let mac = hmac::sign(&hmac_key(alg, mac_key), jws.signing_input().as_bytes());
    jws.signature = base64url::encode(mac);
    jws.to_json()
}

/// A binding whose form is right and whose MAC nobody has looked at.
pub struct UnverifiedBinding {
    alg: MacAlgorithm,
    kid: String,
    url: String,
    key: Thumbprint,
    signing_input: String,
    mac: Vec<u8>,
}

#[allow(
    clippy::result_large_err,
    reason = "a refusal ends the request: nobody copies it in a loop"
)]
impl UnverifiedBinding {
    /// Reads the `externalAccountBinding` of a newAccount request.
    ///
    /// # Errors
    ///
    /// `malformed` when it is no JWS of the right form, its algorithm is no MAC, it has a nonce,
    /// or its payload is no acceptable key.
    pub fn parse(json: &str) -> Result<Self, Problem> {
        let refused = |detail: String| Problem::malformed(format!("externalAccountBinding: {detail}"));
        let parts = Flattened::parse(json.as_bytes()).map_err(|error| refused(error.to_string()))?;
        let required = |name| parts.required(name).map_err(|error| refused(error.to_string()));
        let alg = required("alg")?
            .parse()
            .map_err(|_| refused("alg must be HS256, HS384 or HS512".into()))?;
        for name in ["nonce", "jwk"] {
            if parts.header.contains_key(name) {
                return Err(refused(format!("the header must not have {name:?}")));
            }
        }
        let (kid, url) = (required("kid")?, required("url")?);
        let payload = str::from_utf8(&parts.payload).map_err(|_| refused("the payload is not UTF-8".into()))?;
        let key = Jwk::from_json(payload).map_err(|error| refused(format!("the payload: {error}")))?;
        Ok(Self {
            alg,
            kid,
            url,
            key: key.thumbprint(),
            signing_input: parts.signing_input,
            mac: parts.signature,
        })
    }

    /// Returns the identifier of the MAC key. Nothing about it is proven before
    /// [`UnverifiedBinding::verify`].
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns the algorithm.
    pub fn alg(&self) -> MacAlgorithm {
        self.alg
    }

    /// Verifies the MAC in constant time, and that the binding is for this URL and this account key.
    ///
    /// # Errors
    ///
    /// `unauthorized` for a wrong MAC or another key, `malformed` for another URL or an algorithm
    /// that the MAC key is too short for.
    pub fn verify(&self, mac_key: &[u8], url: &str, jwk: &Jwk) -> Result<(), Problem> {
        if mac_key.len() < self.alg.min_key_len() {
            return Err(Problem::malformed(format!(
                "externalAccountBinding: the key is too short for {} (RFC 7518 section 3.2)",
                self.alg
            )));
        }
        hmac::verify(&hmac_key(self.alg, mac_key), self.signing_input.as_bytes(), &self.mac)
            .map_err(|_| Problem::unauthorized("externalAccountBinding: the MAC does not verify"))?;
        if self.url != url {
            return Err(Problem::malformed(
                "externalAccountBinding: its url is not that of the request",
            ));
        }
        if self.key != jwk.thumbprint() {
            return Err(Problem::unauthorized(
                "externalAccountBinding: its payload is not the account key",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
