//! Short-term certificates that are renewed automatically (STAR, RFC 8739).
//!
//! The text writes these members with hyphens, unlike every other of ACME.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The `auto-renewal` object of an order (RFC 8739 section 3.1.1). Unknown members are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AutoRenewal {
    /// No certificate is valid before it; as soon as the order is finalized if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// No certificate is valid after it.
    pub end_date: Timestamp,
    /// How long one certificate is valid, in seconds, without the part that `lifetime_adjust` adds before it.
    pub lifetime: i64,
    /// How many seconds each certificate is dated back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_adjust: Option<i64>,
    /// Whether anybody who knows the URL may fetch the certificate without signing the request (section 3.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_certificate_get: Option<bool>,
}

/// The `auto-renewal` object of a directory's `meta` (RFC 8739 section 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AutoRenewalMeta {
    /// The shortest `lifetime` that the server takes, in seconds.
    pub min_lifetime: u64,
    /// The longest time from `start-date` to `end-date`, in seconds.
    pub max_duration: u64,
    /// Whether an order may allow unsigned requests for its certificate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_certificate_get: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_have_the_names_of_the_text() {
        let order = json!({
            "start-date": "2016-01-10T00:00:00Z",
            "end-date": "2016-01-20T00:00:00Z",
            "lifetime": 345600,
            "lifetime-adjust": 259200,
            "allow-certificate-get": true,
        });
        let read: AutoRenewal = serde_json::from_value(order.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), order);
        let meta = json!({"min-lifetime": 86400, "max-duration": 31536000, "allow-certificate-get": true});
        let read: AutoRenewalMeta = serde_json::from_value(meta.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), meta);
    }

    #[test]
    fn end_and_lifetime_have_to_be_there() {
        for text in [
            r#"{"lifetime": 60}"#,
            r#"{"end-date": "2016-01-20T00:00:00Z"}"#,
            r#"{"end-date": "2016-01-20T00:00:00Z", "lifetime": "60"}"#,
            r#"{"end-date": "2016-01-20T00:00:00Z", "lifetime": 60.5}"#,
            r#"{"end-date": "tomorrow", "lifetime": 60}"#,
            r#"{"end_date": "2016-01-20T00:00:00Z", "lifetime": 60}"#,
        ] {
            assert!(serde_json::from_str::<AutoRenewal>(text).is_err(), "{text}");
        }
    }
}
