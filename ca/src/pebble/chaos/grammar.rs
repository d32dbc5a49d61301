//! The grammar of a rule: `TARGET:FAULT[=VALUE][,OPTION=VALUE]...`, for example `new-order:status=503,retry-after=2,times=3`.

use std::{str::FromStr, time::Duration};

use super::{
    dice::WHOLE,
    rule::{Fault, Form, RetryAfter, Rule, RuleError, Shown, TARGETS, Target},
};

/// The longest time that anything can be held up or shown.
const TIME_MAX: Duration = Duration::from_secs(600);

/// The longest rule that is read.
const RULE_OCTETS_MAX: usize = 512;

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
}
