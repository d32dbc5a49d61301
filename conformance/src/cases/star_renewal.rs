//! RFC 8739 section 3.3 over real time: the certificates of one order, one after the other, until it ends.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::star::{Offer, Star, is_withheld, issue, leaf, rfc3339};
use crate::case::{Case, Finding, Judgement, ensure, must};
use crate::read::certificate::Certificate;
use crate::suite::{Account, Run};

pub(super) const CASES: &[Case] = &[must!(
    c8739_3_3_02,
    "The next certificate is there in time, none begins too early or lasts too long, and then there is none."
)];

/// How many lifetimes the order lasts.
const PERIODS: i64 = 2;

/// The certificate is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the target is granted beside its own clock: rounding, polling, a busy machine.
const SLACK_SECONDS: i64 = 3;

/// Between what is said of the order and the certificates of it there is at least a validation.
const PREPARATION_SECONDS: i64 = 2;

/// A certificate and when it was first given out.
struct Seen {
    certificate: Certificate,
    at: i64,
}

fn c8739_3_3_02(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let lifetime = offer.lifetime_min;
    let wait = PERIODS * lifetime + PREPARATION_SECONDS + SLACK_SECONDS;
    if run.options.wait_max_seconds < wait.unsigned_abs() {
        return Err(Finding::Blocked(format!(
            "{PERIODS} periods of min-lifetime take {wait} s, more than --wait-max"
        )));
    }
    let account = run.account()?;
    let start = Timestamp::now().as_second();
    let end = start + PERIODS * lifetime + PREPARATION_SECONDS;
    let mut renewal = offer.renewal_of(lifetime, end);
    renewal["start-date"] = json!(rfc3339(start));
    let star = issue(run, account, &renewal)?;
    let seen = watch(run, account, &star, end)?;
    check(run, &seen, start, end, lifetime)?;
    let answer = run.fetch(account, &star.url)?;
    is_withheld(run, &answer, "autoRenewalExpired", "after end-date")?;
    let order = run.look(account, &star.order)?;
    ensure!(
        order.status() == "valid",
        "after end-date the order is {}",
        order.status()
    );
    Ok(())
}

/// Every certificate that the URL gives out until the end.
fn watch(run: &Run, account: &Account, star: &Star, end: i64) -> Judgement<Vec<Seen>> {
    let mut seen: Vec<Seen> = Vec::new();
    loop {
        let answer = run.fetch(account, &star.url)?;
        let at = Timestamp::now().as_second();
        if answer.status != 200 && at >= end {
            return Ok(seen);
        }
        ensure!(
            at <= end + SLACK_SECONDS,
            "{} seconds after end-date the certificate is still given out",
            at - end
        );
        let certificate = leaf(&answer)?;
        if seen.last().is_none_or(|last| last.certificate.der != certificate.der) {
            seen.push(Seen { certificate, at });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The nominal period of a certificate ends with it, so half of its life is half a lifetime before; the certificates overlap
/// by what is added in front (section 3.5).
fn check(run: &Run, seen: &[Seen], start: i64, end: i64, lifetime: i64) -> Judgement {
    ensure!(
        seen.len() >= PERIODS as usize,
        "in {PERIODS} periods there were {} certificates",
        seen.len()
    );
    run.each(seen, |one| {
        let (begins, ends) = (
            one.certificate.not_before.as_second(),
            one.certificate.not_after.as_second(),
        );
        ensure!(
            begins >= start,
            "a certificate begins {} s before start-date",
            start - begins
        );
        ensure!(ends <= end, "a certificate lasts {} s beyond end-date", ends - end);
        ensure!(
            begins <= one.at,
            "a certificate was given out {} s before it begins",
            begins - one.at
        );
        ensure!(
            one.at <= ends,
            "a certificate was given out {} s after its end",
            one.at - ends
        );
        Ok(())
    });
    run.each(seen.windows(2), |pair| {
        let ends = pair[0].certificate.not_after.as_second();
        let due = ends - lifetime / 2;
        ensure!(
            pair[1].at <= due + SLACK_SECONDS,
            "the next certificate came {} s after half of the life of the one before",
            pair[1].at - due
        );
        ensure!(
            pair[1].certificate.spki == pair[0].certificate.spki
                && pair[1].certificate.dns_names() == pair[0].certificate.dns_names(),
            "the next certificate has another key or other names"
        );
        ensure!(
            pair[1].certificate.serial != pair[0].certificate.serial,
            "two certificates have one serial number"
        );
        Ok(())
    });
    Ok(())
}
