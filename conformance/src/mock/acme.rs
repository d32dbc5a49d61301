//! As much of an ACME server as the suite's own client is judged by: a directory, nonces, and answers by script.

use serde_json::{Value, json};

use super::server::{Received, Said};
use crate::base64;

/// Where the mock serves its directory.
pub(crate) const DIRECTORY: &str = "/directory";
/// Where it gives nonces.
pub(crate) const NONCE: &str = "/nonce";
/// Where it takes orders.
pub(crate) const NEW_ORDER: &str = "/new-order";

/// Answers what every ACME server answers alike; `None` for the rest.
pub(crate) fn common(origin: &str, request: &Received, nonce: impl FnOnce() -> String) -> Option<Said> {
    match request.path.as_str() {
        DIRECTORY => Some(Said::json(
            200,
            &json!({
                "newNonce": format!("{origin}{NONCE}"),
                "newAccount": format!("{origin}/new-account"),
                "newOrder": format!("{origin}{NEW_ORDER}"),
                "revokeCert": format!("{origin}/revoke"),
                "keyChange": format!("{origin}/key-change"),
            }),
        )),
        NONCE => Some(Said::new(200, "text/plain", "").header("Replay-Nonce", &nonce())),
        _ => None,
    }
}

/// The protected header of a JWS that came, null where there is none.
pub(crate) fn protected(request: &Received) -> Value {
    let jws: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let header = jws["protected"].as_str().and_then(base64::from_url);
    serde_json::from_slice(&header.unwrap_or_default()).unwrap_or_default()
}
