//! What happens, told while it happens.

use std::time::Duration;

use jiff::Timestamp;
use sigillo_protocol::acme::challenge::ChallengeType;

/// A step of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The account can be used.
    Account {
        /// Its URL.
        url: String,
        /// Whether it was made just now.
        new: bool,
    },
    /// An order was made.
    Ordered {
        /// Its URL.
        url: String,
        /// The names in it.
        names: Vec<String>,
    },
    /// A proof is visible and the server was told to look.
    Proving {
        /// Whose control is proven.
        name: String,
        /// How.
        kind: ChallengeType,
    },
    /// The server is satisfied about a name.
    Authorized {
        /// The name.
        name: String,
    },
    /// The request for the certificate was sent.
    Finalizing,
    /// The server wants to be asked again later.
    Waiting {
        /// For what.
        what: &'static str,
        /// How long.
        pause: Duration,
    },
    /// The certificate is here.
    Issued {
        /// Until when it is valid.
        not_after: Timestamp,
    },
    /// The certificate is on the disk.
    Stored {
        /// The folder.
        dir: std::path::PathBuf,
    },
    /// A certificate was revoked.
    Revoked {
        /// Its serial number in hexadecimal.
        serial: String,
    },
    /// A hook of the user's has run.
    Deployed,
    /// Something went wrong that does not stop the operation.
    Warning(String),
}

/// Who is told.
pub trait Progress: Send + Sync {
    /// Takes note of a step.
    fn event(&self, event: &Event);
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: &Event) {}
}

impl<F: Fn(&Event) + Send + Sync> Progress for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Account { url, new: true } => write!(f, "account made: {url}"),
            Self::Account { url, new: false } => write!(f, "account: {url}"),
            Self::Ordered { names, .. } => write!(f, "ordered {}", names.join(", ")),
            Self::Proving { name, kind } => write!(f, "proving control of {name} by {kind}"),
            Self::Authorized { name } => write!(f, "control of {name} is proven"),
            Self::Finalizing => f.write_str("sending the request for the certificate"),
            Self::Waiting { what, pause } => {
                write!(f, "waiting for {what} ({:.1} s)", pause.as_secs_f64())
            }
            Self::Issued { not_after } => write!(f, "certificate issued, valid until {not_after}"),
            Self::Stored { dir } => write!(f, "certificate and key are in {}", dir.display()),
            Self::Revoked { serial } => write!(f, "certificate {serial} is revoked"),
            Self::Deployed => f.write_str("deploy hook done"),
            Self::Warning(text) => write!(f, "warning: {text}"),
        }
    }
}
