//! Builds JWS requests, sound ones and ones with exactly one fault.

use serde_json::{Map, Value, json};

use crate::base64;
use crate::keys::Key;

/// Names the key in a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signer<'a> {
    /// By the account URL.
    Account(&'a Key, &'a str),
    /// By the key itself.
    Key(&'a Key),
}

impl Signer<'_> {
    pub(crate) fn key(&self) -> &Key {
        match self {
            Self::Account(key, _) | Self::Key(key) => key,
        }
    }
}

/// A request before it is signed; cases change the header or the payload.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) header: Map<String, Value>,
    pub(crate) payload: Vec<u8>,
}

impl Draft {
    /// A sound draft.
    pub(crate) fn new(signer: Signer<'_>, nonce: &str, url: &str, payload: impl Into<Vec<u8>>) -> Self {
        let mut header = Map::new();
        header.insert("alg".into(), signer.key().alg().into());
        match signer {
            Signer::Account(_, kid) => header.insert("kid".into(), kid.into()),
            Signer::Key(key) => header.insert("jwk".into(), key.jwk()),
        };
        header.insert("nonce".into(), nonce.into());
        header.insert("url".into(), url.into());
        Self {
            header,
            payload: payload.into(),
        }
    }

    /// Sets a header parameter.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.into(), value.into());
        self
    }

    /// Leaves a header parameter out.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Signs over the header as serde writes it.
    pub(crate) fn sign(&self, key: &Key) -> Signed {
        self.sign_text(&Value::Object(self.header.clone()).to_string(), key)
    }

    /// Signs over header text of the caller's own.
    pub(crate) fn sign_text(&self, header: &str, key: &Key) -> Signed {
        Signed::over(base64::url(header), base64::url(&self.payload), |input| key.sign(input))
    }
}

/// A signed request in its three parts.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) protected: String,
    pub(crate) payload: String,
    pub(crate) signature: String,
}

impl Signed {
    /// Signs over exactly these two texts.
    pub(crate) fn over(protected: String, payload: String, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Self {
        let signature = base64::url(sign(format!("{protected}.{payload}").as_bytes()));
        Self {
            protected,
            payload,
            signature,
        }
    }

    /// The flattened JSON serialization.
    pub(crate) fn json(&self) -> Value {
        json!({"protected": self.protected, "payload": self.payload, "signature": self.signature})
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        self.json().to_string().into_bytes()
    }
}

/// RFC 8555 section 7.3.4: the account key signed by the operator's MAC key.
pub(crate) fn external_binding(kid: &str, mac_key: &[u8], url: &str, jwk: &Value) -> Value {
    let header = json!({"alg": "HS256", "kid": kid, "url": url}).to_string();
    external_binding_over(&header, mac_key, &jwk.to_string())
}

/// The same over header and payload text of the caller's own.
pub(crate) fn external_binding_over(header: &str, mac_key: &[u8], payload: &str) -> Value {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, mac_key);
    Signed::over(base64::url(header), base64::url(payload), |input| {
        aws_lc_rs::hmac::sign(&key, input).as_ref().to_vec()
    })
    .json()
}
