//! dns-persist-01 (draft-ietf-acme-dns-persist-02) over time: how long a record counts, key changes, repetition.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::dns::all_become;
use super::dns_persist::{FOREIGN, KIND, Offer, challenge, expect_type, place, publish, trial};
use super::keychange::change_key;
use crate::case::{Case, Complaint, Finding, Judgement, OrFail, ensure, may, must};
use crate::issue::identifiers;
use crate::keys::Key;
use crate::read::time;
use crate::request::Csr;
use crate::responder::dns::{TXT, text};
use crate::suite::{Account, Run, refused};

pub(super) const CASES: &[Case] = &[
    must!(
        cpersist_4_1_05,
        "persistUntil bounds attempts, authorizations and issuance."
    ),
    must!(cpersist_4_2_01, "Hashes under earlier keys of the account count."),
    must!(cpersist_4_2_02, "Record and account are judged afresh at each attempt."),
    may!(cpersist_4_4_01, "A record found at order time may be enough."),
    must!(
        cpersist_7_9_01,
        "The TTL says nothing about how long an authorization lasts."
    ),
    must!(
        cpersist_9_3_01,
        "Failed attempts are limited for each name and account."
    ),
];

fn now() -> i64 {
    Timestamp::now().as_second()
}

fn expires(authorization: &Value) -> Judgement<i64> {
    let text = authorization["expires"].as_str().unwrap_or_default();
    Ok(time::rfc3339(text).read_as("expires")?.as_second())
}

/// Long enough for an order, a validation and its polling; short enough to wait for.
const SOON_SECONDS: i64 = 20;

/// A clock may be off by this much.
const SLACK_SECONDS: i64 = 3;

fn cpersist_4_1_05(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.account()?;
    let mut past = Vec::new();
    for (what, until) in [
        ("an exponent", "1e12".to_owned()),
        ("hexadecimal", "0xffffffffff".to_owned()),
        ("nothing", String::new()),
        ("a fraction", format!("{}.5", now() + 86_400)),
        ("a date", "2999-01-01T00:00:00Z".to_owned()),
        ("two values", format!("{0}; persistUntil={0}", now() + 86_400)),
        ("yesterday", (now() - 86_400).to_string()),
        ("the epoch", "0".to_owned()),
    ] {
        let more = format!("; persistUntil={until}");
        past.push(trial(run, account, what, |name| offer.with(account, name, &more))?);
    }
    all_become(run, account, past, "invalid")?;
    let until = now() + 3600;
    let more = format!("; persistUntil={until}");
    let trials = vec![trial(run, account, "an hour from now", |name| {
        offer.with(account, name, &more)
    })?];
    run.each(all_become(run, account, trials, "valid")?, |(_, object)| {
        let expires = expires(&object)?;
        ensure!(expires <= until, "valid until {expires}, the record until {until}");
        Ok(())
    });
    nothing_is_issued_after(run, &offer, account)
}

/// An order that was ready in time is not finalized after it.
fn nothing_is_issued_after(run: &Run, offer: &Offer, account: &Account) -> Judgement {
    let wait = SOON_SECONDS + SLACK_SECONDS;
    if run.options.wait_max_seconds < wait as u64 {
        return Err(Finding::Blocked(format!(
            "whether anything is issued after persistUntil takes {wait} s, more than --wait-max"
        )));
    }
    let name = run.name("persist");
    let (order, challenge) = run.challenge_for(account, &name, KIND)?;
    let until = now() + SOON_SECONDS;
    publish(
        run,
        &name,
        &[offer.with(account, &name, &format!("; persistUntil={until}"))],
    )?;
    let trials = vec![("soon", challenge)];
    all_become(run, account, trials, "valid")?;
    let order = run.until(account, &order, &["ready"])?;
    let left = (until + SLACK_SECONDS - now()).clamp(0, wait);
    std::thread::sleep(Duration::from_secs(left as u64));
    let answer = run.finalize(
        account,
        &order,
        &Csr::of(std::slice::from_ref(&name)).sign(&Key::p256()),
    )?;
    if answer.is_success() {
        let issued = run.until(account, &order, &["valid"]);
        ensure!(issued.is_err(), "a certificate was issued after persistUntil");
    }
    // What has run out does not serve the next order either.
    let later = run.order(account, std::slice::from_ref(&name))?;
    ensure!(
        later.status() == "pending",
        "after persistUntil an order is {}",
        later.object
    );
    Ok(())
}

fn cpersist_4_2_01(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let first = run.new_account(Key::p256())?;
    let (second, answer) = change_key(run, &first, Key::p256())?;
    ensure!(answer.status == 200, "the key change: {}", answer.summary());
    let (third, answer) = change_key(run, &second, Key::p256())?;
    ensure!(answer.status == 200, "the second key change: {}", answer.summary());
    let mut trials = Vec::new();
    for (what, key) in [
        ("the present key", &third.key),
        ("the key before", &second.key),
        ("the first key", &first.key),
    ] {
        trials.push(trial(run, &third, what, |name| {
            format!("{}; accounturi={}", offer.issuer, offer.uri_by(key, &third, name))
        })?);
    }
    trials.push(trial(run, &third, "the first key, over an asterisk", |_| {
        format!("{}; accounturi={}", offer.issuer, offer.uri_by(&first.key, &third, "*"))
    })?);
    all_become(run, &third, trials, "valid").map(|_| ())
}

fn cpersist_4_2_02(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.new_account(Key::p256())?;
    let name = run.name("persist");
    let (_, first) = run.challenge_for(&account, &name, KIND)?;
    publish(run, &name, &[offer.record(&account, &name)])?;
    let authorization = first.authorization.clone();
    all_become(run, &account, vec![("the record", first)], "valid")?;
    // Without this the valid authorization would serve the next order, which is allowed.
    let answer = run.post(&account, &authorization, &json!({"status": "deactivated"}))?;
    if answer.status != 200 {
        return Err(Finding::Blocked(format!("deactivation: {}", answer.summary())));
    }
    run.dns()?.set(&place(&name), TXT, Vec::new());
    let (_, second) = run.challenge_for(&account, &name, KIND)?;
    all_become(run, &account, vec![("the record is gone", second)], "invalid")?;
    let waiting = challenge(run, &account, |name| vec![offer.record(&account, name)])?;
    let asked = place(&waiting.identifier);
    let answer = run.post(&account, &account.url, &json!({"status": "deactivated"}))?;
    ensure!(answer.status == 200, "deactivating the account: {}", answer.summary());
    refused(
        &run.respond(&account, &waiting)?,
        "",
        "a response by a deactivated account",
    )?;
    // The refusal starts nothing: no question comes.
    std::thread::sleep(Duration::from_secs(2));
    let questions = run.dns()?.questions(&asked);
    ensure!(
        questions.is_empty(),
        "a deactivated account's record was asked for: {questions:?}"
    );
    Ok(())
}

fn cpersist_4_4_01(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.account()?;
    let (fitting, unfitting) = (run.name("persist"), run.name("persist"));
    publish(run, &fitting, &[offer.record(account, &fitting)])?;
    let foreign = format!("{FOREIGN}; accounturi={}", offer.uri(account, &unfitting));
    publish(run, &unfitting, &[foreign, "%%%%%".into()])?;
    for (name, may_be_valid) in [(&fitting, true), (&unfitting, false)] {
        let answer = run.try_order(
            account,
            &json!({"identifiers": identifiers(std::slice::from_ref(name))}),
        )?;
        ensure!(answer.status == 201, "a record before the order: {}", answer.summary());
        for url in crate::issue::strings(&answer.json()?["authorizations"]) {
            let object = run.authorization(account, &url)?;
            let status = object["status"].as_str().unwrap_or_default();
            ensure!(
                status == "pending" || (may_be_valid && status == "valid"),
                "a record before the order makes its authorization {object}"
            );
            if status == "pending" {
                run.challenge(account, &url, KIND)?;
            }
        }
    }
    Ok(())
}

/// Lifetimes of authorizations made one after the other differ by no more.
const LIFETIME_SLACK_SECONDS: i64 = 45;

fn cpersist_7_9_01(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.account()?;
    let mut lifetimes = Vec::new();
    for ttl in [60, 86_400] {
        let name = run.name("persist");
        let (_, challenge) = run.challenge_for(account, &name, KIND)?;
        let record = offer.record(account, &name);
        run.dns()?.set_lasting(&place(&name), TXT, ttl, vec![text(&[&record])]);
        for (_, object) in all_become(run, account, vec![(format!("TTL {ttl}"), challenge)], "valid")? {
            lifetimes.push((ttl, expires(&object)? - now()));
        }
    }
    let [(_, short), (_, long)] = lifetimes.as_slice() else {
        return Err(Finding::Fail(format!("two authorizations came to {lifetimes:?}")));
    };
    ensure!(
        (short - long).abs() <= LIFETIME_SLACK_SECONDS,
        "by TTL, authorizations last {lifetimes:?} seconds"
    );
    Ok(())
}

/// A limit has to show within so many failures of one account at one name.
const FAILURES_MAX: usize = 30;

fn cpersist_9_3_01(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.new_account(Key::p256())?;
    let malformed = vec![
        trial(run, &account, "accounturi twice", |name| {
            let uri = offer.uri(&account, name);
            format!("{}; accounturi={uri}; accounturi={uri}", offer.issuer)
        })?,
        trial(run, &account, "no accounturi", |_| offer.issuer.clone())?,
        trial(run, &account, "a plain account URL", |_| {
            format!("{}; accounturi={}", offer.issuer, account.url)
        })?,
        trial(run, &account, "a persistUntil that is no number", |name| {
            offer.with(&account, name, "; persistUntil=1e12")
        })?,
    ];
    let decisions = all_become(run, &account, malformed, "invalid")?;
    expect_type(run, &decisions, "malformed");
    let other = run.other_account()?;
    let unauthorized = vec![
        trial(run, &account, "another account's hash", |name| {
            offer.record(other, name)
        })?,
        trial(run, &account, "yesterday's record", |name| {
            offer.with(&account, name, &format!("; persistUntil={}", now() - 86_400))
        })?,
        trial(run, &account, "another issuer", |name| {
            format!("{FOREIGN}; accounturi={}", offer.uri(&account, name))
        })?,
    ];
    let decisions = all_become(run, &account, unauthorized, "invalid")?;
    expect_type(run, &decisions, "unauthorized");
    failures_are_limited(run, &offer, &account)
}

/// Fails at one name until it is too much; then other names and other accounts still have their turn.
fn failures_are_limited(run: &Run, offer: &Offer, account: &Account) -> Judgement {
    let name = run.name("persist");
    let other = run.other_account()?;
    publish(run, &name, &[offer.record(other, &name)])?;
    for failures in 0..FAILURES_MAX {
        if let Some(refusal) = fail_once(run, account, &name)? {
            ensure!(refusal.contains(":rateLimited"), "after {failures} failures: {refusal}");
            let (_, challenge) = run.challenge_for(other, &name, KIND).or_fail()?;
            all_become(run, other, vec![("another account at that name", challenge)], "valid")?;
            let elsewhere = trial(run, account, "another name", |name| offer.record(account, name))?;
            return all_become(run, account, vec![elsewhere], "valid").map(|_| ());
        }
    }
    if run.options.limits_off {
        return Err(Finding::Blocked(
            "the target's limits are off, so how often an account may fail cannot be seen".into(),
        ));
    }
    Err(Finding::Fail(format!(
        "one account failed {FAILURES_MAX} times at one name and may go on"
    )))
}

/// One more failure, or how it was refused.
fn fail_once(run: &Run, account: &Account, name: &str) -> Judgement<Option<String>> {
    let names = [name.to_owned()];
    let answer = run.try_order(account, &json!({"identifiers": identifiers(&names)}))?;
    if answer.is_refusal() {
        return Ok(Some(answer.summary()));
    }
    for url in crate::issue::strings(&answer.json()?["authorizations"]) {
        let challenge = run.challenge(account, &url, KIND)?;
        let answer = run.respond(account, &challenge)?;
        if answer.is_refusal() {
            return Ok(Some(answer.summary()));
        }
        let object = run.decided(account, &url).or_fail()?;
        ensure!(object["status"] == "invalid", "another account's record made {object}");
        if object.to_string().contains(":rateLimited") {
            return Ok(Some(object.to_string()));
        }
    }
    Ok(None)
}
