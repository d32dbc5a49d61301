//! Requirements about what an operator does to the target: each has his hook do it, and has it undone.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::case::{Case, Complaint, Finding, Judgement, ensure, may, must, should};
use crate::http::{Answer, Url};
use crate::issue::{Order, identifiers};
use crate::keys::Key;
use crate::read::time;
use crate::request::Csr;
use crate::suite::{Account, Run, refused};

pub(super) const CASES: &[Case] = &[
    must!(c8555_6_6_01, "Too many orders are rateLimited."),
    should!(c8555_6_6_02, "rateLimited says when the same request passes."),
    may!(c8555_6_6_03, "rateLimited may lead to the limit's documentation."),
    must!(c8555_7_1_6_04, "An order past its time is invalid or gone."),
    must!(
        c8555_7_3_3_01,
        "New terms are 403 userActionRequired, with their URL and an instance."
    ),
    must!(cprof_4_05, "finalize under a withdrawn profile is invalidProfile."),
];

/// How many orders the limit lets through.
const ORDERS: usize = 3;

/// How many more are tried: where requests take longer than the limit, one or another passes.
const ORDERS_MORE: usize = 12;

/// An account of its own, the order that it is refused for too many before, and the refusal.
fn limited(run: &Run) -> Judgement<(Account, Value, Answer)> {
    let account = run.new_account(Key::p256())?;
    for _ in 0..ORDERS + ORDERS_MORE {
        let payload = json!({"identifiers": identifiers(&[run.name("limit")])});
        let answer = run.try_order(&account, &payload)?;
        if answer.status != 201 {
            refused(&answer, "rateLimited", "an order too many")?;
            return Ok((account, payload, answer));
        }
    }
    Err(Finding::Fail(format!(
        "{} orders passed where {ORDERS} are allowed",
        ORDERS + ORDERS_MORE
    )))
}

fn with_limit(run: &Run, judge: impl FnOnce(Account, Value, Answer) -> Judgement) -> Judgement {
    run.with_hook("limit-orders", &[&ORDERS.to_string()], || {
        let (account, payload, answer) = limited(run)?;
        judge(account, payload, answer)
    })
}

fn c8555_6_6_01(run: &Run) -> Judgement {
    with_limit(run, |_, _, answer| {
        run.expect(answer.status == 429, || {
            format!("the status is {}, not 429", answer.status)
        });
        Ok(())
    })
}

fn c8555_6_6_02(run: &Run) -> Judgement {
    with_limit(run, |account, payload, answer| {
        let Some(value) = answer.header("retry-after") else {
            return Err(Finding::Fail("rateLimited has no Retry-After".into()));
        };
        let seconds = time::retry_after(value, Timestamp::now()).read_as("Retry-After")?;
        ensure!(seconds >= 0, "Retry-After is {value}");
        run.pause(Duration::from_secs(seconds.unsigned_abs()))?;
        let later = run.try_order(&account, &payload)?;
        ensure!(
            later.status == 201,
            "after Retry-After {value} the same order: {}",
            later.summary()
        );
        Ok(())
    })
}

fn c8555_6_6_03(run: &Run) -> Judgement {
    with_limit(run, |_, _, answer| {
        let links = answer.links("help");
        if links.is_empty() {
            return Err(Finding::NotOffered("rateLimited has no Link rel=\"help\"".into()));
        }
        for link in links {
            ensure!(Url::parse(&link).is_some(), "help is at {link:?}");
        }
        Ok(())
    })
}

/// Long enough for a validation, short enough to wait for.
const ORDER_SECONDS: i64 = 20;

fn c8555_7_1_6_04(run: &Run) -> Judgement {
    let names = [run.name("brief")];
    let ready = run.with_hook("order-lifetime", &[&ORDER_SECONDS.to_string()], || {
        run.ready_order(run.account()?, &names)
    })?;
    let expires = ready.object["expires"].as_str().unwrap_or_default();
    let expires = time::rfc3339(expires).read_as("expires")?;
    run.pause_until(expires)?;
    let account = run.account()?;
    let answer = run.fetch(account, &ready.url)?;
    if answer.status == 200 {
        let object = answer.json()?;
        run.evidence.order(&ready.url, &object);
        ensure!(
            object["status"] == "invalid",
            "past {expires} the order is {}",
            object["status"]
        );
    } else {
        refused(&answer, "", "an order past its time")?;
    }
    let answer = run.finalize(account, &ready, &Csr::of(&names).sign(&Key::p256()))?;
    ensure!(answer.is_refusal(), "finalizing past {expires}: {}", answer.summary());
    Ok(())
}

fn c8555_7_3_3_01(run: &Run) -> Judgement {
    if run.directory["meta"]["termsOfService"].is_null() {
        return Err(Finding::NotOffered("no termsOfService in meta".into()));
    }
    let account = run.new_account(Key::p256())?;
    let changed = format!("https://terms.{}/changed", run.options.zone);
    run.with_hook("terms", &[&changed], || {
        let payload = json!({"identifiers": identifiers(&[run.name("terms")])});
        let answer = run.try_order(&account, &payload)?;
        refused(&answer, "userActionRequired", "an order under new terms")?;
        ensure!(answer.status == 403, "the status is {}", answer.status);
        let links = answer.links("terms-of-service");
        ensure!(
            links.contains(&changed),
            "the terms are at {changed}, the refusal says {links:?}"
        );
        let instance = answer.json()?["instance"].as_str().unwrap_or_default().to_owned();
        ensure!(Url::parse(&instance).is_some(), "instance is {instance:?}");
        Ok(())
    })?;
    // The terms that the account agreed to are in force again.
    let payload = json!({"identifiers": identifiers(&[run.name("terms")])});
    let answer = run.try_order(&account, &payload)?;
    run.expect(answer.status == 201, || {
        format!("after the terms were changed back: {}", answer.summary())
    });
    Ok(())
}

fn cprof_4_05(run: &Run) -> Judgement {
    let Some(profiles) = run.directory["meta"]["profiles"].as_object() else {
        return Err(Finding::NotOffered("no profiles in meta".into()));
    };
    let mut last = Finding::Blocked("meta has an empty object of profiles".into());
    for profile in profiles.keys() {
        let names = [run.name("withdrawn")];
        let payload = json!({"identifiers": identifiers(&names), "profile": profile});
        let Ok(order) = run.ready_order_with(run.account()?, &payload) else {
            continue;
        };
        match run.with_hook("profile-withdraw", &[profile], || under_withdrawn(run, &order, &names)) {
            // Not every profile can be withdrawn: perhaps another one.
            Err(blocked @ Finding::Blocked(_)) => last = blocked,
            judged => return judged,
        }
    }
    Err(last)
}

fn under_withdrawn(run: &Run, order: &Order, names: &[String]) -> Judgement {
    let answer = run.finalize(run.account()?, order, &Csr::of(names).sign(&Key::p256()))?;
    refused(&answer, "invalidProfile", "finalizing under a withdrawn profile")?;
    let later = run.fetch_object(run.account()?, &order.url)?;
    ensure!(
        later["certificate"].is_null(),
        "a certificate was issued all the same: {later}"
    );
    Ok(())
}
