//! What an order says about the automatic renewal of its certificates (RFC 8739).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Serial;

/// How an order's certificates are renewed: as it was agreed when the order was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoRenewal {
    /// The first second that a certificate may hold, in whole seconds; once the order is finalized there is always one.
    pub start: Option<Timestamp>,
    /// Whether the client has named the start itself.
    pub start_given: bool,
    /// The last second that a certificate may hold, in whole seconds.
    pub end: Timestamp,
    /// How long each certificate is valid, without the part that `adjust_seconds` adds before it.
    pub lifetime_seconds: i64,
    /// How far each certificate is dated back; `None` if the client did not ask for it.
    pub adjust_seconds: Option<i64>,
    /// Whether the certificate may be fetched by unsigned requests.
    pub allow_get: bool,
    /// The certification request as DER in base64url, once the order was finalized: each renewal judges it anew.
    pub csr: Option<String>,
}

/// How far an order has come whose certificates are being renewed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewing {
    /// The certificate that is handed out; `None` before the first.
    pub certificate: Option<Serial>,
    /// The certificate that is intended and not yet there.
    pub next: Option<Serial>,
    /// When the next one has to be begun; `None` if there will be no more.
    pub due: Option<Timestamp>,
    /// How often in a row the next one could not be made.
    pub failures: u32,
    /// Why it could not be made the last time, for people.
    pub trouble: Option<String>,
}
