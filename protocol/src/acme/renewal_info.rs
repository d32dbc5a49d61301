//! Renewal information (RFC 9773).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// When the server would like a certificate to be renewed (RFC 9773 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewalInfo {
    /// The span to choose a moment from.
    pub suggested_window: Window,
    /// A page that says why.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "explanationURL")]
    pub explanation_url: Option<String>,
}

/// A span of time; the end is later than the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its first moment.
    pub start: Timestamp,
    /// Its last moment.
    pub end: Timestamp,
}
