//! Base64url without padding (RFC 7515 section 2), read strictly.
//!
//! One text for one value: padding, line breaks, the other alphabet and bits that are left over
//! are refused (RFC 8555 section 6.1), so that nothing signed can be dressed differently.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The text is not base64url without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not base64url without padding (RFC 7515 section 2)")]
pub struct Base64UrlError;

/// Encodes octets.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes a text; the empty text is the empty value.
///
/// # Errors
///
/// [`Base64UrlError`] for padding, white space, `+`, `/`, an impossible length, or set bits behind
/// the last octet.
pub fn decode(text: &str) -> Result<Vec<u8>, Base64UrlError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Base64UrlError)
}

/// Tells whether a text has only characters of the alphabet, and at least one.
///
/// This is the grammar of `Replay-Nonce` (RFC 8555 section 6.5.1) and of tokens (section 8.3).
pub fn is_alphabet(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_every_length() {
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(37) ^ 0xfb).collect();
            let text = encode(&bytes);
            assert!(!text.contains('='));
            assert_eq!(decode(&text), Ok(bytes));
        }
    }

    #[test]
    fn reads_the_example_of_the_rfc() {
        assert_eq!(encode([3, 236, 255, 224, 193]), "A-z_4ME");
        assert_eq!(decode("A-z_4ME"), Ok(vec![3, 236, 255, 224, 193]));
    }

    #[test]
    fn refuses_every_other_dress() {
        for text in [
            "YQ==",
            "YQ=",
            "Y",
            "YWJjY",
            "a+b/",
            "YQ\n",
            " YQ",
            "Y Q",
            "YR",
            "YWK",
            "YQ.YQ",
            "\u{212a}Q",
        ] {
            assert_eq!(decode(text), Err(Base64UrlError), "{text:?}");
        }
    }

    #[test]
    fn knows_the_alphabet() {
        assert!(is_alphabet("abc-_09"));
        for text in ["", "abc=", "a+b", "a b", "\u{e9}"] {
            assert!(!is_alphabet(text), "{text:?}");
        }
    }
}
