//! The JWS of a request (RFC 8555 section 6.2): flattened JSON, one signature, everything protected.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    alg::Algorithm,
    jwk::{Jwk, JwkError, VerifyError},
};
use crate::{
    acme::problem::{ErrorType, Problem},
    base64url, json,
};

/// How much of an unknown algorithm's name an error shows.
const MAX_SHOWN: usize = 32;

/// What is wrong with a JWS; all of it is the sender's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// It is not of the form that RFC 8555 section 6.2 asks for.
    #[error("{0}")]
    Malformed(String),
    /// The algorithm is not supported.
    #[error("the algorithm {0:?} is not supported")]
    UnsupportedAlgorithm(String),
    /// The key in the header is not accepted.
    #[error("{0}")]
    BadKey(#[from] JwkError),
    /// The algorithm does not fit the key.
    #[error("the algorithm {alg} does not fit the key, which goes with {}", names(allowed))]
    KeyMismatch {
        /// The algorithm in the header.
        alg: Algorithm,
        /// What the key can be used with.
        allowed: &'static [Algorithm],
    },
    /// The signature does not verify.
    #[error("the signature of the JWS does not verify")]
    Signature,
}

fn names(algorithms: &[Algorithm]) -> String {
    algorithms
        .iter()
        .map(|alg| alg.as_str())
        .collect::<Vec<_>>()
        .join(" or ")
}

impl JwsError {
    /// Returns the problem document to answer with.
    pub fn problem(&self) -> Problem {
        let kind = match self {
            Self::Malformed(_) | Self::Signature => ErrorType::Malformed,
            Self::UnsupportedAlgorithm(_) => ErrorType::BadSignatureAlgorithm,
            Self::BadKey(_) | Self::KeyMismatch { .. } => ErrorType::BadPublicKey,
        };
        let mut problem = Problem::new(kind, self.to_string());
        if let Self::UnsupportedAlgorithm(_) = self {
            problem.algorithms = Some(Algorithm::ALL.map(|alg| alg.as_str().to_owned()).to_vec());
        }
        problem
    }
}

fn malformed(detail: impl Into<String>) -> JwsError {
    JwsError::Malformed(detail.into())
}

/// The key that a header names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRef {
    /// The key itself.
    Jwk(Jwk),
    /// The URL of the account that has it.
    Kid(String),
}

/// The three texts of a flattened JWS, as they came.
pub(super) struct Flattened {
    /// The protected header, decoded.
    pub header: Map<String, Value>,
    /// `protected`, a dot, and `payload`: what was signed (RFC 7515 section 5.2).
    pub signing_input: String,
    pub payload: Vec<u8>,
    pub signature: Vec<u8>,
}

impl Flattened {
    /// Reads the serialization and refuses every part of JWS that ACME excludes.
    pub fn parse(body: &[u8]) -> Result<Self, JwsError> {
        let members: Map<String, Value> = object(body, "the body")?;
        for name in ["signatures", "header"] {
            if members.contains_key(name) {
                return Err(malformed(format!("a JWS with the member {name:?} is not accepted")));
            }
        }
        let protected = member(&members, "protected")?;
        let payload = member(&members, "payload")?;
        let header = object(&octets(protected, "protected")?, "the protected header")?;
        for name in ["crit", "b64"] {
            if header.contains_key(name) {
                return Err(malformed(format!("the header parameter {name:?} is not understood")));
            }
        }
        Ok(Self {
            header,
            signing_input: format!("{protected}.{payload}"),
            payload: octets(payload, "payload")?,
            signature: octets(member(&members, "signature")?, "signature")?,
        })
    }

    /// Returns a header parameter that is a string or absent.
    pub fn text(&self, name: &str) -> Result<Option<String>, JwsError> {
        match self.header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(malformed(format!("the header parameter {name:?} is not a string"))),
        }
    }

    /// Returns a header parameter that is a string.
    pub fn required(&self, name: &str) -> Result<String, JwsError> {
        self.text(name)?
            .ok_or_else(|| malformed(format!("the header parameter {name:?} is missing")))
    }
}

fn object(bytes: &[u8], what: &str) -> Result<Map<String, Value>, JwsError> {
    json::from_slice(bytes).map_err(|error| malformed(format!("{what} is not a JSON object: {error}")))
}

fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, JwsError> {
    let text = members.get(name).and_then(Value::as_str);
    text.ok_or_else(|| malformed(format!("the JWS member {name:?} is missing or not a string")))
}

fn octets(text: &str, name: &str) -> Result<Vec<u8>, JwsError> {
    base64url::decode(text).map_err(|error| malformed(format!("the JWS member {name:?} is {error}")))
}

/// A JWS whose form is right and whose signature nobody has looked at.
pub struct UnverifiedJws {
    alg: Algorithm,
    nonce: Option<String>,
    url: String,
    key: KeyRef,
    signing_input: String,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl UnverifiedJws {
    /// Reads the body of a request, or the inner JWS of a key change.
    ///
    /// A missing nonce is no error here: a request without one is answered with `badNonce`, and an
    /// inner JWS has none. Header parameters that are not understood are ignored.
    ///
    /// # Errors
    ///
    /// [`JwsError`] for the wrong form, an unsupported algorithm, or a key that is not accepted.
    pub fn parse(body: &[u8]) -> Result<Self, JwsError> {
        let parts = Flattened::parse(body)?;
        let alg = parts.required("alg")?;
        let alg = alg
            .parse()
            .map_err(|_| JwsError::UnsupportedAlgorithm(alg.chars().take(MAX_SHOWN).collect()))?;
        let nonce = parts.text("nonce")?;
        if nonce.as_deref().is_some_and(|nonce| !base64url::is_alphabet(nonce)) {
            return Err(malformed("the nonce is not base64url (RFC 8555 section 6.5.2)"));
        }
        let url = parts.required("url")?;
        let key = key_ref(&parts, alg)?;
        let Flattened {
            signing_input,
            payload,
            signature,
            ..
        } = parts;
        Ok(Self {
            alg,
            nonce,
            url,
            key,
            signing_input,
            payload,
            signature,
        })
    }

    /// Returns the algorithm.
    pub fn alg(&self) -> Algorithm {
        self.alg
    }

    /// Returns the nonce; it has only characters of base64url.
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// Returns the URL that the request was signed for.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the key that the header names.
    pub fn key(&self) -> &KeyRef {
        &self.key
    }

    /// Verifies the signature under a key: the account's for a `kid`, the header's for a `jwk`.
    ///
    /// # Errors
    ///
    /// [`JwsError::KeyMismatch`] when the algorithm does not go with the key, and
    /// [`JwsError::Signature`] when the signature is wrong or the header shows another key.
    pub fn verify(self, key: &Jwk) -> Result<VerifiedJws, JwsError> {
        if matches!(&self.key, KeyRef::Jwk(shown) if shown != key) {
            return Err(JwsError::Signature);
        }
        key.verify(self.alg, self.signing_input.as_bytes(), &self.signature)
            .map_err(|error| match error {
                VerifyError::Algorithm => JwsError::KeyMismatch {
                    alg: self.alg,
                    allowed: key.algorithms(),
                },
                VerifyError::Signature => JwsError::Signature,
            })?;
        Ok(VerifiedJws {
            key: self.key,
            nonce: self.nonce,
            url: self.url,
            payload: self.payload,
        })
    }

    /// Verifies the signature under the key in the header: for newAccount, for revocation by the
    /// certificate's key, and for the inner JWS of a key change.
    ///
    /// # Errors
    ///
    /// [`JwsError::Malformed`] when the header has a `kid`, otherwise as [`UnverifiedJws::verify`].
    pub fn verify_embedded(self) -> Result<VerifiedJws, JwsError> {
        match self.key.clone() {
            KeyRef::Jwk(key) => self.verify(&key),
            KeyRef::Kid(_) => Err(malformed("the header must have a jwk here, not a kid")),
        }
    }
}

impl fmt::Debug for UnverifiedJws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedJws")
            .field("alg", &self.alg)
            .field("url", &self.url)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

fn key_ref(parts: &Flattened, alg: Algorithm) -> Result<KeyRef, JwsError> {
    let kid = parts.text("kid")?;
    match (parts.header.get("jwk"), kid) {
        (Some(_), Some(_)) => Err(malformed("the header has both a jwk and a kid")),
        (None, None) => Err(malformed("the header has neither a jwk nor a kid")),
        (None, Some(kid)) => Ok(KeyRef::Kid(kid)),
        (Some(Value::Object(members)), None) => {
            let key = Jwk::from_members(members)?;
            if !key.algorithms().contains(&alg) {
                return Err(JwsError::KeyMismatch {
                    alg,
                    allowed: key.algorithms(),
                });
            }
            Ok(KeyRef::Jwk(key))
        }
        (Some(_), None) => Err(malformed("the header parameter \"jwk\" is not an object")),
    }
}

/// A JWS whose signature verified under the key that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedJws {
    key: KeyRef,
    nonce: Option<String>,
    url: String,
    payload: Vec<u8>,
}

impl VerifiedJws {
    /// Returns the payload.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Tells whether the payload is empty: a POST-as-GET (RFC 8555 section 6.3).
    pub fn is_post_as_get(&self) -> bool {
        self.payload.is_empty()
    }

    /// Returns the key that the header names.
    pub fn key(&self) -> &KeyRef {
        &self.key
    }

    /// Returns the nonce.
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// Returns the URL that the request was signed for.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// A key could not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the account key could not sign: {0}")]
pub struct SignError(pub String);

/// A key that can sign requests, in software or elsewhere.
pub trait JwsSigner: Send + Sync {
    /// Returns the algorithm that it signs with.
    fn algorithm(&self) -> Algorithm;

    /// Returns its public key.
    fn jwk(&self) -> &Jwk;

    /// Signs, in the form of JWS.
    ///
    /// # Errors
    ///
    /// [`SignError`] when the key cannot be used.
    fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// What a header is to say about the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignWith<'a> {
    /// The key itself.
    Jwk,
    /// The URL of the account that has it.
    Kid(&'a str),
}

#[derive(Serialize)]
struct Protected<'a> {
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwk: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    url: &'a str,
}

/// A flattened JWS on its way out.
#[derive(Serialize)]
pub(super) struct Serialization {
    pub protected: String,
    pub payload: String,
    pub signature: String,
}

impl Serialization {
    /// Returns what is to be signed.
    pub fn signing_input(&self) -> String {
        format!("{}.{}", self.protected, self.payload)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("invariant: three strings are JSON")
    }
}

/// Signs a payload; the empty one makes a POST-as-GET. Returns the flattened JSON.
///
/// # Errors
///
/// [`SignError`] when the key cannot be used.
pub fn sign(
    signer: &dyn JwsSigner,
    nonce: Option<&str>,
    url: &str,
    with: SignWith<'_>,
    payload: &[u8],
) -> Result<String, SignError> {
    let jwk = RawValue::from_string(signer.jwk().to_json()).map_err(|error| SignError(error.to_string()))?;
    let (jwk, kid) = match with {
        SignWith::Jwk => (Some(&*jwk), None),
        SignWith::Kid(kid) => (None, Some(kid)),
    };
    let header = Protected {
        alg: signer.algorithm().as_str(),
        jwk,
        kid,
        nonce,
        url,
    };
    let header = serde_json::to_vec(&header).map_err(|error| SignError(error.to_string()))?;
    let mut jws = Serialization {
        protected: base64url::encode(header),
        payload: base64url::encode(payload),
        signature: String::new(),
    };
    jws.signature = base64url::encode(signer.sign(jws.signing_input().as_bytes())?);
    Ok(jws.to_json())
}

#[cfg(test)]
mod tests;
