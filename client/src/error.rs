//! Why something could not be done, grouped by who must act.

use std::path::Path;
use std::time::Duration;

use sigillo_protocol::acme::problem::Problem;

/// What every fallible function of this crate gives.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself makes no sense: the user has to ask differently.
    #[error("{0}")]
    Usage(String),
    /// The server understood and refused: its problem document says why.
    #[error("{what}: the server refused: {problem}")]
    Refused {
        /// What was tried.
        what: String,
        /// The server's reason.
        problem: Box<Problem>,
        /// When the server wants to be asked again at the earliest.
        retry_after: Option<Duration>,
    },
    /// The server could not be reached, or the connection broke.
    #[error("{what}: {why}")]
    Network {
        /// What was tried.
        what: String,
        /// What went wrong.
        why: String,
    },
    /// The server answered something that the RFCs do not allow, or that is not safe to use.
    #[error("{what}: {why}")]
    Server {
        /// What was tried.
        what: String,
        /// What was wrong with the answer.
        why: String,
    },
    /// A file, program or setting on this machine stands in the way.
    #[error("{what}: {why}")]
    Local {
        /// What was tried.
        what: String,
        /// What went wrong.
        why: String,
    },
    /// What was checked is not in order.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// Makes an [`Error::Usage`].
    pub fn usage(why: impl Into<String>) -> Self {
        Self::Usage(why.into())
    }

    /// Makes an [`Error::Network`].
    pub fn network(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Network {
            what: what.into(),
            why: why.to_string(),
        }
    }

    /// Makes an [`Error::Server`].
    pub fn server(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Server {
            what: what.into(),
            why: why.to_string(),
        }
    }

    /// Makes an [`Error::Local`].
    pub fn local(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Local {
            what: what.into(),
            why: why.to_string(),
        }
    }

    /// Makes an [`Error::Local`] about a file.
    pub fn file(verb: &str, path: &Path, why: impl std::fmt::Display) -> Self {
        Self::local(format!("cannot {verb} {}", path.display()), why)
    }

    /// Returns the status with which the program ends.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }

    /// Returns the problem document, if the server sent one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// Returns how long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns whether trying again later, unchanged, may help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Refused { problem, .. } => problem.status.is_some_and(|status| status == 429 || status >= 500),
            _ => false,
        }
    }

    /// Returns the error for a person: the reason in one line, then what helps to act on it.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match self {
            Self::Refused {
                what,
                problem,
                retry_after,
            } => {
                lines.push(format!("{what}: the server refused: {}", problem.detail_or_name()));
                lines.push(format!("type: {}", problem.kind.uri()));
                for sub in &problem.subproblems {
                    let about = sub.identifier.as_ref().map(ToString::to_string);
                    lines.push(format!("{}: {}", about.unwrap_or_else(|| "-".into()), sub.detail));
                }
                if let Some(instance) = &problem.instance {
                    lines.push(format!("act here: {instance}"));
                }
                if let Some(wait) = retry_after {
                    lines.push(format!("try again in {} seconds", wait.as_secs()));
                }
            }
            other => lines.extend(other.to_string().lines().map(str::to_owned)),
        }
        lines.iter().map(|line| printable(line)).collect()
    }
}

/// What a problem document says to a person.
trait DetailOrName {
    fn detail_or_name(&self) -> String;
}

impl DetailOrName for Problem {
    fn detail_or_name(&self) -> String {
        if self.detail.is_empty() {
            self.kind.uri()
        } else {
            self.detail.clone()
        }
    }
}

/// Returns text from elsewhere with its control characters escaped.
///
/// A server's words go to a terminal and to logs: neither may be steered by them.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use sigillo_protocol::acme::problem::ErrorType;

    #[test]
    fn first_line_is_the_reason_and_cannot_steer_the_terminal() {
        let error = Error::Refused {
            what: "cannot order a.example".into(),
            problem: Box::new(Problem::new(ErrorType::Caa, "CAA says no\u{1b}[2J\nroot# ")),
            retry_after: Some(Duration::from_secs(9)),
        };
        let lines = error.lines();
        assert_eq!(
            lines[0],
            "cannot order a.example: the server refused: CAA says no\\u{1b}[2J\\u{a}root# "
        );
        assert_eq!(lines[1], "type: urn:ietf:params:acme:error:caa");
        assert_eq!(lines[2], "try again in 9 seconds");
        assert_eq!(error.exit_code(), 1);
        assert_eq!(Error::usage("no").exit_code(), 2);
    }
}
