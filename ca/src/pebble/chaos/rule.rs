//! What a rule says: which requests it is about, what goes wrong, and how often.

use std::{fmt, time::Duration};

use axum::http::{HeaderName, Method};

use crate::pebble::fronts::PATHS;

/// Which requests a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each name says it; docs/pebble.md lists them")]
pub enum Target {
    Any,
    Directory,
    NewNonce,
    NewAccount,
    Account,
    KeyChange,
    Orders,
    NewOrder,
    Order,
    Finalize,
    NewAuthz,
    Authz,
    Challenge,
    Cert,
    RevokeCert,
    RenewalInfo,
    /// The nonces of all signed requests.
    Nonce,
}

/// Their names.
pub(super) const TARGETS: [(&str, Target); 17] = [
    ("any", Target::Any),
    ("directory", Target::Directory),
    ("new-nonce", Target::NewNonce),
    ("new-account", Target::NewAccount),
    ("account", Target::Account),
    ("key-change", Target::KeyChange),
    ("orders", Target::Orders),
    ("new-order", Target::NewOrder),
    ("order", Target::Order),
    ("finalize", Target::Finalize),
    ("new-authz", Target::NewAuthz),
    ("authz", Target::Authz),
    ("challenge", Target::Challenge),
    ("cert", Target::Cert),
    ("revoke-cert", Target::RevokeCert),
    ("renewal-info", Target::RenewalInfo),
    ("nonce", Target::Nonce),
];

impl Target {
    /// Tells what a path is; `None` for what is no ACME resource.
    pub(super) fn of(asked: &str) -> Option<Self> {
        let below = |base: &str| asked.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
        let whole = [
            (PATHS.directory, Self::Directory),
            (PATHS.new_nonce, Self::NewNonce),
            (PATHS.new_account, Self::NewAccount),
            (PATHS.key_change, Self::KeyChange),
            (PATHS.new_order, Self::NewOrder),
            (PATHS.new_authz, Self::NewAuthz),
            (PATHS.revoke_cert, Self::RevokeCert),
        ];
        let parts = [
            (PATHS.account, Self::Account),
            (PATHS.orders, Self::Orders),
            (PATHS.authz, Self::Authz),
            (PATHS.challenge, Self::Challenge),
            (PATHS.certificate, Self::Cert),
            (PATHS.star_certificate, Self::Cert),
            (PATHS.renewal_info, Self::RenewalInfo),
        ];
        if let Some((_, found)) = whole.iter().find(|(path, _)| *path == asked) {
            return Some(*found);
        }
        if below(PATHS.order) {
            return Some(match asked.ends_with("/finalize") {
                true => Self::Finalize,
                false => Self::Order,
            });
        }
        parts.iter().find(|(base, _)| below(base)).map(|(_, found)| *found)
    }

    /// Whether a request to `asked` is meant.
    pub(super) fn meets(self, asked: Option<Self>, method: &Method) -> bool {
        match self {
            Self::Any => true,
            Self::Nonce => method == Method::POST,
            own => asked == Some(own),
        }
    }
}

/// How a `Retry-After` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As seconds.
    Seconds,
    /// As an HTTP date.
    Date,
    /// Now so, now so.
    Either,
}

/// A wait that an answer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter {
    /// In seconds.
    pub seconds: u32,
    /// How it is written.
    pub form: Form,
}

/// What a resource is shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// An order or a challenge that is valid, as processing.
    Processing,
    /// An order that is ready or an authorization that is valid, as pending.
    Pending,
    /// Anything that has a status, as invalid.
    Invalid,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The request is answered with a problem document and does nothing.
    Status {
        /// The HTTP status.
        status: u16,
        /// The problem's type: the last part of ACME's URN.
        kind: String,
        /// The wait that it asks for.
        retry_after: Option<RetryAfter>,
    },
    /// The request is answered with a proxy's page in HTML, status 502, and does nothing.
    Html,
    /// The request waits between two times before it is carried out.
    Delay(Duration, Duration),
    /// The connection ends without an answer, and the request does nothing.
    Drop,
    /// The request is carried out, and the connection ends without an answer.
    Lose,
    /// The answer breaks off in the middle.
    Cut,
    /// The answer is well-formed HTTP and holds half of its body.
    Truncate,
    /// A good nonce is refused with `badNonce`, now and whenever it comes again.
    RejectNonce,
    /// Another wait stands where the answer asks for one.
    RetryAfter(RetryAfter),
    /// The answer lacks a header.
    Omit(HeaderName),
    /// The resource is shown in another state for a time; for ever if it is invalid.
    Show(Shown, Duration),
    /// Lists come in another order.
    Shuffle,
    /// The answer has members that nobody knows.
    Unknown,
    /// An authorization offers a challenge of a type that nobody knows.
    UnknownChallenge,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// As it was written.
    pub text: String,
    /// Which requests it is about.
    pub target: Target,
    /// What goes wrong.
    pub fault: Fault,
    /// In how many cases of a million.
    pub share: u32,
    /// How many of the first requests it lets pass.
    pub after: u64,
    /// How often it strikes at most.
    pub times: Option<u64>,
}

/// A rule that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?}: {message}")]
pub struct RuleError {
    /// As it was written.
    pub rule: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_resources_by_their_paths() {
        for (path, target) in [
            ("/dir", Some(Target::Directory)),
            ("/order-plz", Some(Target::NewOrder)),
            ("/my-order/abc", Some(Target::Order)),
            ("/my-order/abc/finalize", Some(Target::Finalize)),
            ("/list-orderz/abc", Some(Target::Orders)),
            ("/authZ/abc", Some(Target::Authz)),
            ("/chalZ/abc/0", Some(Target::Challenge)),
            ("/certZ/ab/alternate/1", Some(Target::Cert)),
            ("/elsewhere", None),
        ] {
            assert_eq!(Target::of(path), target, "{path}");
        }
        assert!(Target::Any.meets(None, &Method::GET));
        assert!(Target::Nonce.meets(None, &Method::POST) && !Target::Nonce.meets(None, &Method::GET));
        assert!(!Target::Order.meets(Some(Target::Orders), &Method::POST));
    }
}
