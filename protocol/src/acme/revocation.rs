//! Revocation requests (RFC 8555 section 7.6).

use serde::{Deserialize, Serialize};

/// The payload of a revokeCert request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeCertificate {
    /// The certificate, base64url of its DER.
    pub certificate: String,
    /// The reason code (RFC 5280 section 5.3.1). Any number is read, so that a wrong one can be
    /// answered with `badRevocationReason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<i64>,
}
