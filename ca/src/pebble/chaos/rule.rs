//! The grammar of a rule: `TARGET:FAULT[=VALUE][,OPTION=VALUE]...`, for example `new-order:status=503,retry-after=2,times=3`.

use std::{fmt, str::FromStr, time::Duration};

use axum::http::{HeaderName, Method};

use super::dice::WHOLE;
use crate::pebble::fronts::PATHS;

/// The longest time that anything can be held up or shown.
const TIME_MAX: Duration = Duration::from_secs(600);

/// The longest rule that is read.
const RULE_OCTETS_MAX: usize = 512;

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

const TARGETS: [(&str, Target); 17] = [
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

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        read(text.trim()).map_err(|message| RuleError {
            rule: text.chars().take(80).collect(),
            message,
        })
    }
}

fn read(text: &str) -> Result<Rule, String> {
    if text.len() > RULE_OCTETS_MAX {
        return Err(format!("a rule has {RULE_OCTETS_MAX} octets at most"));
    }
    let (target, rest) = text
        .split_once(':')
        .ok_or("write TARGET:FAULT, for example finalize:delay=5s")?;
    let target = TARGETS.iter().find(|(name, _)| *name == target.trim());
    let target = target.map(|(_, target)| *target).ok_or_else(|| {
        let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        format!("there is no such target; there are {}", known.join(", "))
    })?;
    let mut parts = rest.split(',').map(|part| match part.split_once('=') {
        Some((key, value)) => (key.trim(), Some(value.trim())),
        None => (part.trim(), None),
    });
    let (name, value) = parts.next().unwrap_or_default();
    let mut options = Options::read(parts)?;
    let fault = fault(name, value, target, &mut options)?;
    options.nothing_left()?;
    Ok(Rule {
        text: text.to_owned(),
        target,
        fault,
        share: options.share,
        after: options.after,
        times: options.times,
    })
}

/// What stands behind the fault.
struct Options<'a> {
    share: u32,
    after: u64,
    times: Option<u64>,
    own: Vec<(&'a str, &'a str)>,
}

impl<'a> Options<'a> {
    fn read(parts: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Result<Self, String> {
        let mut options = Self {
            share: WHOLE,
            after: 0,
            times: None,
            own: Vec::new(),
        };
        for (key, value) in parts {
            let value = value.ok_or_else(|| format!("{key:?} needs a value"))?;
            let count = || value.parse::<u64>().map_err(|_| format!("{key} needs a whole number"));
            match key {
                "share" => options.share = share(value)?,
                "after" => options.after = count()?,
                "times" => options.times = Some(count()?),
                other => options.own.push((other, value)),
            }
        }
        Ok(options)
    }

    fn take(&mut self, key: &str) -> Option<&'a str> {
        let position = self.own.iter().position(|(own, _)| *own == key)?;
        Some(self.own.remove(position).1)
    }

    fn nothing_left(&self) -> Result<(), String> {
        match self.own.first() {
            None => Ok(()),
            Some((key, _)) => Err(format!("{key:?} means nothing for this fault")),
        }
    }
}

fn fault(name: &str, value: Option<&str>, target: Target, options: &mut Options<'_>) -> Result<Fault, String> {
    let needed = || value.ok_or_else(|| format!("{name} needs a value"));
    let only_for = |targets: &[Target]| match targets.contains(&target) {
        true => Ok(()),
        false => Err(format!("{name} means nothing for this target")),
    };
    if target == Target::Nonce && name != "reject" {
        return Err("a nonce can only be rejected: nonce:reject=20%".to_owned());
    }
    // Where a fault has no value of its own, what stands there is its share.
    let mut bare = |fault| {
        if let Some(value) = value {
            options.share = share(value)?;
        }
        Ok(fault)
    };
    match name {
        "reject" => {
            only_for(&[Target::Nonce])?;
            bare(Fault::RejectNonce)
        }
        "drop" => bare(Fault::Drop),
        "lose" => bare(Fault::Lose),
        "cut" => bare(Fault::Cut),
        "truncate" => bare(Fault::Truncate),
        "html" => bare(Fault::Html),
        "shuffle" => bare(Fault::Shuffle),
        "unknown" => bare(Fault::Unknown),
        "unknown-challenge" => {
            only_for(&[Target::Authz])?;
            bare(Fault::UnknownChallenge)
        }
        "invalid" => {
            only_for(&[Target::Order, Target::Finalize, Target::Authz, Target::Challenge])?;
            bare(Fault::Show(Shown::Invalid, TIME_MAX))
        }
        "processing" => {
            only_for(&[Target::Order, Target::Finalize, Target::Challenge])?;
            Ok(Fault::Show(Shown::Processing, time(needed()?)?))
        }
        "pending" => {
            only_for(&[Target::Order, Target::Authz])?;
            Ok(Fault::Show(Shown::Pending, time(needed()?)?))
        }
        "delay" => delay(needed()?),
        "omit" => {
            let header = needed()?.parse();
            header
                .map(Fault::Omit)
                .map_err(|_| "omit needs the name of a header".to_owned())
        }
        "retry-after" => Ok(Fault::RetryAfter(retry_after(needed()?, options)?)),
        "status" => status(needed()?, options),
        _ => Err(format!("there is no fault {name:?}; docs/pebble.md lists them")),
    }
}

fn status(value: &str, options: &mut Options<'_>) -> Result<Fault, String> {
    let status = value.parse::<u16>().ok().filter(|status| (400..600).contains(status));
    let status = status.ok_or("status needs a number from 400 to 599")?;
    let usual = match status {
        429 => "rateLimited",
        500.. => "serverInternal",
        401 | 403 => "unauthorized",
        _ => "malformed",
    };
    let kind = options.take("type").unwrap_or(usual);
    if kind.is_empty() || !kind.bytes().all(|c| c.is_ascii_alphanumeric()) {
        return Err("type needs the last part of an ACME error's URN, such as rateLimited".to_owned());
    }
    let retry_after = match options.take("retry-after") {
        Some(value) => Some(self::retry_after(value, options)?),
        None => None,
    };
    Ok(Fault::Status {
        status,
        kind: kind.to_owned(),
        retry_after,
    })
}

fn retry_after(value: &str, options: &mut Options<'_>) -> Result<RetryAfter, String> {
    let seconds = value.parse().map_err(|_| "retry-after needs whole seconds")?;
    let form = match options.take("form") {
        None | Some("seconds") => Form::Seconds,
        Some("date") => Form::Date,
        Some("either") => Form::Either,
        Some(_) => return Err("form is seconds, date or either".to_owned()),
    };
    Ok(RetryAfter { seconds, form })
}

fn delay(value: &str) -> Result<Fault, String> {
    let (least, most) = value.split_once("..").unwrap_or((value, value));
    let (least, most) = (time(least)?, time(most)?);
    if least > most {
        return Err("the longer time comes last: delay=1s..5s".to_owned());
    }
    Ok(Fault::Delay(least, most))
}

/// Reads a time such as `5s`, `200ms` or `1m`.
fn time(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is no time such as 5s, 200ms or 1m");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| refused())?;
    let time = match &text[digits.len()..] {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err(refused()),
    };
    match time <= TIME_MAX {
        true => Ok(time),
        false => Err(format!("{} seconds are the longest time", TIME_MAX.as_secs())),
    }
}

/// Reads a share such as `20%` or `0.5%`.
fn share(text: &str) -> Result<u32, String> {
    let refused = || format!("{text:?} is no share such as 20%");
    let percent: f64 = text
        .strip_suffix('%')
        .and_then(|n| n.parse().ok())
        .ok_or_else(refused)?;
    match (0.0..=100.0).contains(&percent) {
        true => Ok((percent / 100.0 * f64::from(WHOLE)).round() as u32),
        false => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn reads_every_fault() {
        let seconds = Duration::from_secs;
        let retry = |seconds, form| RetryAfter { seconds, form };
        for (text, fault) in [
            ("any:drop", Fault::Drop),
            ("new-order:lose", Fault::Lose),
            ("cert:cut", Fault::Cut),
            ("cert:truncate", Fault::Truncate),
            ("directory:html", Fault::Html),
            ("nonce:reject", Fault::RejectNonce),
            ("order:shuffle", Fault::Shuffle),
            ("any:unknown", Fault::Unknown),
            ("authz:unknown-challenge", Fault::UnknownChallenge),
            ("finalize:delay=5s", Fault::Delay(seconds(5), seconds(5))),
            ("any:delay=1s..2m", Fault::Delay(seconds(1), seconds(120))),
            ("order:processing=10s", Fault::Show(Shown::Processing, seconds(10))),
            (
                "authz:pending=250ms",
                Fault::Show(Shown::Pending, Duration::from_millis(250)),
            ),
            ("order:invalid", Fault::Show(Shown::Invalid, TIME_MAX)),
            ("new-account:omit=location", Fault::Omit(axum::http::header::LOCATION)),
            ("authz:retry-after=3,form=date", Fault::RetryAfter(retry(3, Form::Date))),
            (
                "new-order:status=503,retry-after=2",
                Fault::Status {
                    status: 503,
                    kind: "serverInternal".to_owned(),
                    retry_after: Some(retry(2, Form::Seconds)),
                },
            ),
            (
                "finalize:status=403,type=orderNotReady",
                Fault::Status {
                    status: 403,
                    kind: "orderNotReady".to_owned(),
                    retry_after: None,
                },
            ),
        ] {
            assert_eq!(rule(text).fault, fault, "{text}");
        }
    }

    #[test]
    fn reads_how_often() {
        let found = rule(" new-order:status=503, retry-after=2, times=3, after=1, share=12.5% ");
        assert_eq!((found.share, found.after, found.times), (125_000, 1, Some(3)));
        assert_eq!(rule("nonce:reject=20%").share, 200_000);
        assert_eq!(rule("any:drop=1%").share, 10_000);
        assert_eq!((rule("any:drop").share, rule("any:drop").times), (WHOLE, None));
    }

    #[test]
    fn refuses_what_cannot_be_meant_and_says_why() {
        for (text, why) in [
            ("", "TARGET:FAULT"),
            ("drop", "TARGET:FAULT"),
            ("nowhere:drop", "no such target"),
            ("any:", "no fault"),
            ("any:explode", "no fault"),
            ("any:reject", "nothing for this target"),
            ("nonce:drop", "can only be rejected"),
            ("cert:processing=5s", "nothing for this target"),
            ("order:processing", "needs a value"),
            ("finalize:delay=5", "no time"),
            ("finalize:delay=11m", "longest time"),
            ("finalize:delay=5s..1s", "comes last"),
            ("any:status=200", "400 to 599"),
            ("any:status=503,typo=x", "means nothing"),
            ("any:status=400,type=a b", "URN"),
            ("any:drop=2", "no share"),
            ("any:drop=101%", "no share"),
            ("any:drop,times=-1", "whole number"),
            ("any:drop,times", "needs a value"),
            ("any:omit=a b", "name of a header"),
            ("authz:retry-after=soon", "whole seconds"),
            ("authz:retry-after=1,form=roman", "form is"),
        ] {
            let error = text.parse::<Rule>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(format!("any:drop,{}", "x".repeat(600)).parse::<Rule>().is_err());
    }

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
