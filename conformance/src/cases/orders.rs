//! RFC 8555 sections 7.1.3 and 7.4: orders up to the point where they are ready.

use std::collections::HashSet;

use jiff::{Span, Timestamp};
use serde_json::{Value, json};

use crate::case::{Case, Finding, Judgement, OrFail, ensure, must, must_read, should};
use crate::http::Answer;
use crate::issue::{Order, identifiers, strings};
use crate::keys::Key;
use crate::read::time;
use crate::request::Csr;
use crate::suite::{Run, refused};

pub(super) const CASES: &[Case] = &[
    must_read!(c8555_7_4_01, "A new order is 201 with Location and what was asked."),
    must!(c8555_7_4_02, "What cannot be met is refused, not altered."),
    must_read!(c8555_7_4_04, "Missing, empty or ill-typed identifiers are malformed."),
    must_read!(
        c8555_7_1_3_01,
        "An order has status, identifiers, authorizations and finalize."
    ),
    must!(c8555_7_1_3_02, "A pending order expires, in the future."),
    must!(
        c8555_7_1_3_04,
        "A wildcard's authorization is for the base name and says so."
    ),
    must_read!(c8555_7_1_3_05, "Only a whole leftmost label can be an asterisk."),
    should!(c8555_7_1_3_07, "An order shows the authorizations it reuses."),
    must_read!(
        c8555_7_1_4_01,
        "An authorization has identifier, status and challenges."
    ),
    must!(c8555_7_1_4_04, "Names with U-labels are refused."),
    must!(c8555_7_1_4_05, "Labels beginning xn-- are checked."),
    must!(c8555_7_1_6_02, "An order with only valid authorizations is ready."),
    must!(c8555_8_3_01, "Tokens have 128 bits and are never given twice."),
];

fn check_order(object: &Value) -> Judgement {
    let known = ["pending", "ready", "processing", "valid", "invalid"];
    ensure!(
        known.iter().any(|status| object["status"] == *status),
        "the status is {}",
        object["status"]
    );
    let identifiers = object["identifiers"].as_array();
    let sound = |identifier: &Value| identifier["type"].is_string() && identifier["value"].is_string();
    ensure!(
        identifiers.is_some_and(|all| !all.is_empty() && all.iter().all(sound)),
        "identifiers: {object}"
    );
    let authorizations = strings(&object["authorizations"]);
    ensure!(object["authorizations"].is_array(), "authorizations: {object}");
    ensure!(
        authorizations.iter().all(|url| url.starts_with("https://")),
        "authorizations: {authorizations:?}"
    );
    ensure!(
        object["finalize"]
            .as_str()
            .is_some_and(|url| url.starts_with("https://")),
        "finalize: {object}"
    );
    Ok(())
}

fn c8555_7_4_01(run: &Run) -> Judgement {
    let names = [run.name("a"), run.name("b")];
    let order = run.order(run.account()?, &names).or_fail()?;
    check_order(&order.object)?;
    let shown: HashSet<String> = order.object["identifiers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|identifier| identifier["value"].as_str().map(str::to_owned))
        .collect();
    ensure!(shown == HashSet::from(names), "the order is for {shown:?}");
    ensure!(
        order.authorizations().len() == 2,
        "two names have {} authorizations",
        order.authorizations().len()
    );
    Ok(())
}

fn c8555_7_4_02(run: &Run) -> Judgement {
    let now = Timestamp::now();
    let far = (now + Span::new().hours(24 * 365 * 200)).to_string();
    let past = (now - Span::new().hours(24 * 365 * 20)).to_string();
    let orders = [
        ("a notAfter two hundred years away", "notAfter", far),
        ("a notAfter in the past", "notAfter", past.clone()),
        ("a notBefore long past", "notBefore", past),
        ("a notBefore that is no time", "notBefore", "soon".to_owned()),
        (
            "a notAfter that is no time",
            "notAfter",
            "2030-02-30T00:00:00Z".to_owned(),
        ),
    ];
    run.each(orders, |(what, field, value)| {
        let names = [run.name("when")];
        let mut payload = json!({"identifiers": identifiers(&names)});
        payload[field] = value.as_str().into();
        let answer = run.try_order(run.account()?, &payload)?;
        if answer.status != 201 {
            return refused(&answer, "", what);
        }
        let shown = &answer.json()?[field];
        ensure!(*shown == value.as_str(), "{what} is accepted and shown as {shown}");
        as_asked(run, &answer, &names, what, field, &value)
    });
    Ok(())
}

/// An order for odd dates was taken: what is issued has them, or nothing is.
fn as_asked(run: &Run, answer: &Answer, names: &[String], what: &str, field: &str, value: &str) -> Judgement {
    let Ok(asked) = value.parse::<Timestamp>() else {
        return Err(Finding::Fail(format!("{what} is accepted: {}", answer.summary())));
    };
    let account = run.account()?;
    let order = Order {
        url: answer.header("location").unwrap_or_default().to_owned(),
        object: answer.json()?,
    };
    for authorization in order.authorizations() {
        run.fulfil(account, &authorization)?;
    }
    let key = Key::p256();
    let csr = Csr::of(names).sign(&key);
    let issued = match run.finish(account, &order, &csr, key, names) {
        Ok(issued) => issued,
        // Refused at last: nothing was altered.
        Err(Finding::Blocked(_)) => return Ok(()),
        Err(other) => return Err(other),
    };
    let leaf = issued.leaf();
    let given = if field == "notAfter" {
        leaf.not_after
    } else {
        leaf.not_before
    };
    ensure!(
        given.as_second() == asked.as_second(),
        "{what}: {field} {asked} was ordered, {given} was issued"
    );
    run.warn(format!("{what} is accepted and issued"));
    Ok(())
}

fn c8555_7_4_04(run: &Run) -> Judgement {
    run.each(
        [
            json!({}),
            json!({"identifiers": []}),
            json!({"identifiers": "x"}),
            json!({"identifiers": {"type": "dns", "value": "x"}}),
            json!({"identifiers": ["x"]}),
            json!({"identifiers": [{"type": "dns"}]}),
            json!({"identifiers": [{"type": "dns", "value": 7}]}),
        ],
        |payload| {
            run.check(refused(
                &run.try_order(run.account()?, &payload)?,
                "malformed",
                &payload.to_string(),
            ));
            Ok(())
        },
    );
    Ok(())
}

fn c8555_7_1_3_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let order = run.order(account, &[run.name("shape")])?;
    check_order(&order.object)?;
    check_order(&run.look(account, &order)?.object)?;
    let issued = run.certificate()?;
    check_order(&issued.order.object)?;
    let later = run.look(account, &issued.order)?;
    check_order(&later.object)?;
    ensure!(
        later.object["certificate"] == issued.url.as_str(),
        "a valid order shows certificate {}",
        later.object["certificate"]
    );
    Ok(())
}

fn c8555_7_1_3_02(run: &Run) -> Judgement {
    let order = run.order(run.account()?, &[run.name("expires")])?;
    let expires = order.object["expires"].as_str().unwrap_or_default();
    match time::rfc3339(expires) {
        Ok(expires) => ensure!(expires > Timestamp::now(), "a pending order expired at {expires}"),
        Err(why) => return Err(Finding::Fail(format!("expires of a pending order: {why}"))),
    }
    let valid = &run.certificate()?.order.object;
    let expires = valid["expires"].as_str().unwrap_or_default();
    ensure!(
        time::rfc3339(expires).is_ok(),
        "expires of a valid order is {}",
        valid["expires"]
    );
    Ok(())
}

fn c8555_7_1_3_04(run: &Run) -> Judgement {
    let account = run.account()?;
    let base = run.name("wild");
    let answer = run.try_order(account, &json!({"identifiers": identifiers(&[format!("*.{base}")])}))?;
    if answer.status != 201 {
        return Err(Finding::NotOffered(format!("wildcards: {}", answer.summary())));
    }
    let shown = &answer.json()?["identifiers"][0]["value"];
    ensure!(*shown == format!("*.{base}"), "the order is for {shown}");
    run.each(strings(&answer.json()?["authorizations"]), |url| {
        let object = run.authorization(account, &url)?;
        ensure!(
            object["identifier"]["value"] == base.as_str(),
            "the authorization is for {}",
            object["identifier"]
        );
        ensure!(object["wildcard"] == json!(true), "wildcard is {}", object["wildcard"]);
        Ok(())
    });
    Ok(())
}

fn refuse_names(run: &Run, names: &[String]) -> Judgement {
    run.each(names, |name| {
        let payload = json!({"identifiers": identifiers(std::slice::from_ref(name))});
        run.check(refused(
            &run.try_order(run.account()?, &payload)?,
            "",
            &format!("the name {name:?}"),
        ));
        Ok(())
    });
    Ok(())
}

fn c8555_7_1_3_05(run: &Run) -> Judgement {
    let base = run.name("star");
    let front = ["*.*.", "a*.", "*a.", "a.*.", "**."].map(|front| format!("{front}{base}"));
    run.check(refuse_names(run, &front));
    refuse_names(run, &["*".into(), format!("{base}.*"), format!("*{base}")])
}

fn c8555_7_1_3_07(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    let order = run.order(&issued.account, &issued.names)?;
    ensure!(
        order.authorizations().len() == issued.names.len(),
        "the order shows {:?}",
        order.authorizations()
    );
    run.each(order.authorizations(), |url| {
        let object = run.authorization(&issued.account, &url)?;
        ensure!(
            issued
                .names
                .iter()
                .any(|name| object["identifier"]["value"] == name.as_str()),
            "{object}"
        );
        Ok(())
    });
    Ok(())
}

fn c8555_7_1_4_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let order = run.order(account, &[run.name("shape")])?;
    run.each(order.authorizations(), |url| {
        let object = run.authorization(account, &url)?;
        ensure!(
            object["identifier"]["type"].is_string() && object["identifier"]["value"].is_string(),
            "{object}"
        );
        ensure!(
            object["status"] == "pending",
            "a new authorization is {}",
            object["status"]
        );
        let challenges = object["challenges"].as_array();
        ensure!(
            challenges.is_some_and(|all| !all.is_empty()),
            "a pending authorization without challenges"
        );
        run.each(challenges.into_iter().flatten(), |challenge| {
            ensure!(
                challenge["type"].is_string() && challenge["status"].is_string(),
                "{challenge}"
            );
            ensure!(
                challenge["url"].as_str().is_some_and(|url| url.starts_with("https://")),
                "{challenge}"
            );
            Ok(())
        });
        Ok(())
    });
    Ok(())
}

fn c8555_7_1_4_04(run: &Run) -> Judgement {
    let base = run.name("idn");
    let long = "l".repeat(64);
    let whole = format!("{}{base}", "seven7.".repeat(36));
    // In certificates names have the preferred syntax of RFC 1034 and 1123: letters, digits and inner hyphens.
    let names = [
        format!("b\u{fc}cher.{base}"),
        // The Kelvin sign folds to an ASCII k, the long s to an s, the ideographic stop to a dot.
        format!("\u{212a}elvin.{base}"),
        format!("\u{17f}.{base}"),
        format!("a\u{3002}b.{base}"),
        format!("\u{4f8b}\u{3048}.{base}"),
        format!("a..{base}"),
        format!(".{base}"),
        format!("{long}.{base}"),
        whole,
        format!("-a.{base}"),
        format!("a-.{base}"),
        format!("a_b.{base}"),
        format!("a b.{base}"),
        format!("a\0.{base}"),
        format!("a\n.{base}"),
        format!("a/b.{base}"),
        format!("a@{base}"),
        format!("{base}:80"),
        format!("https://{base}/"),
        String::new(),
        ".".to_owned(),
        format!("{base}."),
    ];
    refuse_names(run, &names)
}

fn c8555_7_1_4_05(run: &Run) -> Judgement {
    let base = run.name("idn");
    // The last one decodes, but to a plain ASCII label, which does not come back the same.
    let broken = ["xn--", "xn--a", "xn--0", "xn--\u{e9}", "xn--abc-"];
    run.check(refuse_names(run, &broken.map(|label| format!("{label}.{base}"))));
    let good = json!({"identifiers": identifiers(&[format!("xn--bcher-kva.{base}")])});
    let answer = run.try_order(run.account()?, &good)?;
    run.expect(answer.status == 201, || {
        format!("the sound label xn--bcher-kva: {}", answer.summary())
    });
    Ok(())
}

fn c8555_7_1_6_02(run: &Run) -> Judgement {
    let account = run.account()?;
    let name = run.name("ready");
    let order = run.ready_order(account, std::slice::from_ref(&name)).or_fail()?;
    ensure!(
        order.status() == "ready",
        "after its last authorization the order is {}",
        order.status()
    );
    let again = run.order(account, &[name])?;
    let all_valid = again
        .authorizations()
        .iter()
        .map(|url| Ok(run.authorization(account, url)?["status"] == "valid"))
        .collect::<Judgement<Vec<bool>>>()?
        .into_iter()
        .all(|valid| valid);
    let expected = if all_valid { "ready" } else { "pending" };
    ensure!(
        again.status() == expected,
        "an order with all valid authorizations {all_valid} is {}",
        again.status()
    );
    Ok(())
}

/// How many orders of twenty names have their tokens compared: about two hundred tokens where there is one for each name.
const TOKEN_ORDERS: usize = 10;

fn c8555_8_3_01(run: &Run) -> Judgement {
    let account = run.new_account(crate::keys::Key::p256())?;
    let mut tokens = HashSet::new();
    for _ in 0..TOKEN_ORDERS {
        let names: Vec<String> = (0..20).map(|_| run.name("token")).collect();
        for url in run.order(&account, &names)?.authorizations() {
            let object = run.authorization(&account, &url)?;
            let mut own = HashSet::new();
            run.each(object["challenges"].as_array().into_iter().flatten(), |challenge| {
                let Some(token) = challenge["token"].as_str() else {
                    return Ok(());
                };
                let sound = token
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
                ensure!(token.len() >= 22 && sound, "the token {token:?}");
                own.insert(token.to_owned());
                Ok(())
            });
            run.each(own, |token| {
                ensure!(tokens.insert(token), "a token serves two authorizations");
                Ok(())
            });
        }
    }
    Ok(())
}
