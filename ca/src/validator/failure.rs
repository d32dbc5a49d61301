//! Why a validation did not succeed, told so that the person who runs the target can act.

use sigillo_protocol::acme::problem::{ErrorType, Problem};

/// How many octets of a foreign answer an error detail repeats (RFC 8555 section 10.4): enough to
/// recognise a default page or a cut-off key authorization, too few to read a page through us.
const EXCERPT_OCTETS_MAX: usize = 48;

/// How much of a foreign error text (a TLS library's, an operating system's) a detail repeats.
const REASON_CHARS_MAX: usize = 160;

/// A validation or a CAA check that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the client is told.
    pub problem: Problem,
    /// Whether another try may succeed without a change of our own configuration.
    pub transient: bool,
}

impl Failure {
    /// Makes a failure that another try may cure.
    pub fn transient(kind: ErrorType, detail: impl Into<String>) -> Self {
        Self {
            problem: Problem::new(kind, detail),
            transient: true,
        }
    }

    /// Makes a failure that stands: nothing that the target does within minutes would cure it.
    pub fn lasting(kind: ErrorType, detail: impl Into<String>) -> Self {
        Self {
            problem: Problem::new(kind, detail),
            transient: false,
        }
    }

    /// The target answered, with something else than what the challenge asks for.
    pub(super) fn incorrect(detail: impl Into<String>) -> Self {
        Self::transient(ErrorType::IncorrectResponse, detail)
    }

    /// The target could not be reached, or stopped answering.
    pub(super) fn connection(detail: impl Into<String>) -> Self {
        Self::transient(ErrorType::Connection, detail)
    }

    /// A DNS query failed.
    pub(super) fn dns(detail: impl Into<String>) -> Self {
        Self::transient(ErrorType::Dns, detail)
    }

    /// The target spoke TLS wrongly.
    pub(super) fn tls(detail: impl Into<String>) -> Self {
        Self::transient(ErrorType::Tls, detail)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for Failure {}

/// Returns the beginning of foreign octets, quoted, with everything but printable ASCII escaped.
pub(super) fn excerpt(octets: &[u8]) -> String {
    let shown = &octets[..octets.len().min(EXCERPT_OCTETS_MAX)];
    let more = if shown.len() < octets.len() { "..." } else { "" };
    format!("\"{}\"{more}", shown.escape_ascii())
}

/// Returns a foreign error text, cut and with control characters escaped.
pub(super) fn reason(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut shown: String = text
        .chars()
        .take(REASON_CHARS_MAX)
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect();
    if text.chars().nth(REASON_CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_escaped() {
        assert_eq!(excerpt(b"a\n<\x1b\xff"), r#""a\n<\x1b\xff""#);
        let long = [b'x'; 4096];
        let shown = excerpt(&long);
        assert!(shown.len() <= EXCERPT_OCTETS_MAX + 5, "{shown}");
        assert!(shown.ends_with("..."));
    }

    #[test]
    fn a_reason_is_short_and_on_one_line() {
        let shown = reason(format!("line\nbreak {}", "é".repeat(1000)));
        assert!(shown.starts_with("line\\nbreak "));
        assert!(shown.chars().count() <= REASON_CHARS_MAX + 5);
    }
}
