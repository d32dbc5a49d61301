//! RFC 8555 sections 7.5 and 8: challenges and how they are validated over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{Case, Finding, Judgement, OrFail, ensure, must, must_read, should, should_read};
use crate::issue::Challenge;
use crate::keys::Key;
use crate::responder::http01::{Reply, challenge_path};
use crate::suite::{Account, Run, refused};

pub(super) const CASES: &[Case] = &[
    must_read!(c8555_7_1_03, "A challenge links up to its authorization."),
    must_read!(c8555_7_5_01, "Only the owner acts on an authorization."),
    must_read!(c8555_7_5_1_01, "A response gives 200 and the challenge."),
    must!(c8555_7_5_1_02, "Fields a challenge does not define are ignored."),
    must!(c8555_7_5_1_03, "A response that is no object is refused."),
    must!(c8555_7_5_1_04, "Polling during validation gives 200."),
    should!(c8555_7_5_1_05, "A failed challenge stays to be seen."),
    must!(c8555_7_5_2_01, "A deactivated authorization is not used again."),
    must!(
        c8555_7_1_6_03,
        "An order is invalid once one of its authorizations is lost."
    ),
    must!(
        c8555_7_1_4_02,
        "Final authorizations show what was validated or failed."
    ),
    should_read!(c8555_7_1_4_06, "One fulfilled challenge is enough, of any type."),
];

pub(super) fn error_type(authorization: &Value) -> String {
    let challenges = authorization["challenges"].as_array().into_iter().flatten();
    let mut types = challenges.filter_map(|challenge| challenge["error"]["type"].as_str());
    types
        .next()
        .unwrap_or_default()
        .trim_start_matches("urn:ietf:params:acme:error:")
        .to_owned()
}

/// A challenge with its script, waiting for a decision.
struct Trial {
    what: String,
    challenge: Challenge,
}

/// Sets up http-01 trials, responds to all of them, and waits for all decisions.
pub(super) fn decide(
    run: &Run,
    account: &Account,
    scripts: Vec<(String, Vec<Reply>)>,
) -> Judgement<Vec<(String, Value)>> {
    let http01 = run.http01()?;
    let mut trials = Vec::new();
    for (what, replies) in scripts {
        let (_, challenge) = run.challenge_for(account, &run.name("trial"), "http-01")?;
        let authorization = account.key_authorization(&challenge.token);
        let fill = |reply| fill(reply, &authorization, &challenge.token);
        http01.script(&challenge_path(&challenge.token), replies.into_iter().map(fill));
        trials.push(Trial { what, challenge });
    }
    for trial in &trials {
        run.respond(account, &trial.challenge)?;
    }
    trials
        .into_iter()
        .map(|trial| {
            Ok((
                trial.what,
                run.decided(account, &trial.challenge.authorization).or_fail()?,
            ))
        })
        .collect()
}

/// Puts key authorization and token where a script names them.
pub(super) fn fill(reply: Reply, authorization: &str, token: &str) -> Reply {
    let text = |text: &str| text.replace("{authorization}", authorization).replace("{token}", token);
    match reply {
        Reply::Body(status, body) => Reply::Body(status, text(&String::from_utf8_lossy(&body)).into_bytes()),
        Reply::Redirect(status, location) => Reply::Redirect(status, text(&location)),
        Reply::Late(pause, reply) => Reply::Late(pause, Box::new(fill(*reply, authorization, token))),
        other => other,
    }
}

pub(super) fn body(status: u16, text: &str) -> Vec<Reply> {
    vec![Reply::Body(status, text.into())]
}

/// Judges that each authorization was decided so; the exchange that showed it is the evidence.
pub(super) fn all_become<N: std::fmt::Display>(run: &Run, decisions: Vec<(N, Value)>, status: &str) {
    for (what, authorization) in decisions {
        run.check_seen(&authorization, became(&authorization, status, &what.to_string()));
    }
}

/// That an authorization has this state; otherwise which, and why as the server tells it.
pub(super) fn became(authorization: &Value, status: &str, what: &str) -> Judgement {
    let shown = authorization["status"].as_str().unwrap_or_default();
    let challenges = authorization["challenges"].as_array().into_iter().flatten();
    let why: Vec<&str> = challenges
        .filter_map(|challenge| challenge["error"]["detail"].as_str())
        .collect();
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(": {}", why.join("; "))
    };
    ensure!(
        shown == status,
        "{what}: the authorization should be {status} and is {shown}{why}"
    );
    Ok(())
}

fn c8555_7_1_03(run: &Run) -> Judgement {
    let account = run.account()?;
    let (_, challenge) = run.challenge_for(account, &run.name("up"), "http-01")?;
    run.http01()?
        .provide(&challenge.token, &account.key_authorization(&challenge.token));
    run.each(
        [run.fetch(account, &challenge.url)?, run.respond(account, &challenge)?],
        |answer| {
            let up = answer.links("up");
            ensure!(
                up == [challenge.authorization.as_str()],
                "Link rel=up is {up:?}, not {}",
                challenge.authorization
            );
            Ok(())
        },
    );
    Ok(())
}

fn c8555_7_5_01(run: &Run) -> Judgement {
    let (account, other) = (run.account()?, run.other_account()?);
    let (_, challenge) = run.challenge_for(account, &run.name("owner"), "http-01")?;
    run.check(refused(
        &run.respond(other, &challenge)?,
        "",
        "another account's response",
    ));
    let answer = run.post(other, &challenge.authorization, &json!({"status": "deactivated"}))?;
    run.check(refused(&answer, "", "another account's deactivation"));
    let object = run.authorization(account, &challenge.authorization)?;
    ensure!(
        object["status"] == "pending",
        "after that the authorization is {}",
        object["status"]
    );
    Ok(())
}

fn c8555_7_5_1_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let (_, challenge) = run.challenge_for(account, &run.name("respond"), "http-01")?;
    run.http01()?
        .provide(&challenge.token, &account.key_authorization(&challenge.token));
    let answer = run.respond(account, &challenge)?;
    ensure!(answer.status == 200, "a response: {}", answer.summary());
    let object = answer.json()?;
    ensure!(
        object["url"] == challenge.url.as_str() && object["type"] == "http-01",
        "the answer is {object}"
    );
    Ok(())
}

fn c8555_7_5_1_02(run: &Run) -> Judgement {
    let account = run.account()?;
    let responses = [
        ("a keyAuthorization", json!({"keyAuthorization": "wrong"})),
        ("an unknown field", json!({"x-unknown": [1]})),
        (
            "fields of the challenge",
            json!({"status": "valid", "token": "x", "url": "https://elsewhere.example/"}),
        ),
    ];
    run.each(responses, |(what, payload)| {
        let (_, challenge) = run.challenge_for(account, &run.name("extra"), "http-01")?;
        run.provide(account, &challenge, "http-01")?;
        let answer = run.post(account, &challenge.url, &payload)?;
        ensure!(answer.status == 200, "a response with {what}: {}", answer.summary());
        let object = run.decided(account, &challenge.authorization).or_fail()?;
        ensure!(
            object["status"] == "valid",
            "after {what} the authorization is {object}"
        );
        Ok(())
    });
    Ok(())
}

fn c8555_7_5_1_03(run: &Run) -> Judgement {
    let account = run.account()?;
    let (_, challenge) = run.challenge_for(account, &run.name("unusable"), "http-01")?;
    run.each(["[]", "\"x\"", "7", "{", "{}{}"], |payload| {
        let answer = run.post_as(account.signer(), &challenge.url, payload.as_bytes())?;
        run.check(refused(&answer, "", &format!("the response {payload}")));
        Ok(())
    });
    let object = run.authorization(account, &challenge.authorization)?;
    ensure!(
        object["status"] == "pending",
        "after that the authorization is {}",
        object["status"]
    );
    Ok(())
}

fn c8555_7_5_1_04(run: &Run) -> Judgement {
    let account = run.account()?;
    let (_, challenge) = run.challenge_for(account, &run.name("poll"), "http-01")?;
    let right = Reply::Body(200, account.key_authorization(&challenge.token).into_bytes());
    let late = Reply::Late(Duration::from_secs(2), Box::new(right));
    run.http01()?.script(&challenge_path(&challenge.token), [late]);
    run.respond(account, &challenge)?;
    run.each(0..4, |_| {
        run.each([&challenge.authorization, &challenge.url], |url| {
            let answer = run.fetch(account, url)?;
            ensure!(answer.status == 200, "polling {url}: {}", answer.summary());
            Ok(())
        });
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    });
    let object = run.decided(account, &challenge.authorization).or_fail()?;
    ensure!(object["status"] == "valid", "the authorization is {object}");
    Ok(())
}

fn c8555_7_5_1_05(run: &Run) -> Judgement {
    let decisions = decide(run, run.account()?, vec![("a wrong body".into(), body(200, "wrong"))])?;
    run.each(decisions, |(_, authorization)| {
        let kept = authorization["challenges"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|one| one["status"] == "invalid");
        ensure!(kept, "the failed challenge is gone: {authorization}");
        Ok(())
    });
    Ok(())
}

fn c8555_7_5_2_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let name = run.name("given-up");
    let order = run.ready_order(&account, std::slice::from_ref(&name))?;
    let authorization = order.authorizations().into_iter().next().unwrap_or_default();
    let answer = run.post(&account, &authorization, &json!({"status": "deactivated"}))?;
    ensure!(answer.status == 200, "deactivation: {}", answer.summary());
    ensure!(
        answer.json()?["status"] == "deactivated",
        "deactivation: {}",
        answer.summary()
    );
    let key = Key::p256();
    let csr = crate::request::Csr::of(std::slice::from_ref(&name)).sign(&key);
    let answer = run.finalize(&account, &order, &csr)?;
    if answer.is_success() {
        std::thread::sleep(Duration::from_secs(2));
        let order = run.look(&account, &order)?;
        ensure!(
            order.status() != "valid",
            "a deactivated authorization led to a certificate"
        );
    }
    let again = run.order(&account, &[name])?;
    let object = run.authorization(&account, &again.authorizations().into_iter().next().unwrap_or_default())?;
    ensure!(
        object["status"] == "pending",
        "the next order has a {} authorization",
        object["status"]
    );
    Ok(())
}

fn c8555_7_1_6_03(run: &Run) -> Judgement {
    let account = run.account()?;
    let order = run.order(account, &[run.name("good"), run.name("bad")])?;
    let authorizations = order.authorizations();
    let [first, second] = authorizations.as_slice() else {
        return Err(Finding::Fail(format!(
            "two names have {} authorizations",
            authorizations.len()
        )));
    };
    run.fulfil(account, first)?;
    let challenge = run.challenge(account, second, "http-01")?;
    run.http01()?.provide(&challenge.token, "wrong");
    let object = run.attempt(account, &challenge)?;
    ensure!(
        object["status"] == "invalid",
        "a wrong answer made the authorization {object}"
    );
    let object = run
        .poll(account, &order.url, |order| order["status"] != "pending")
        .or_fail()?;
    ensure!(
        object["status"] == "invalid",
        "the order with a failed authorization is {object}"
    );
    let order = run.ready_order(account, &[run.name("withdrawn")])?;
    for authorization in order.authorizations() {
        run.post(account, &authorization, &json!({"status": "deactivated"}))?;
    }
    let object = run.look(account, &order)?.object;
    ensure!(
        object["status"] == "invalid",
        "the order with a deactivated authorization is {object}"
    );
    Ok(())
}

fn c8555_7_1_4_02(run: &Run) -> Judgement {
    let scripts = vec![
        ("right".to_owned(), body(200, "{authorization}")),
        ("wrong".to_owned(), body(200, "wrong")),
    ];
    run.each(decide(run, run.account()?, scripts)?, |(what, authorization)| {
        let status = if what == "right" { "valid" } else { "invalid" };
        ensure!(
            authorization["status"] == status,
            "the {what} answer made {authorization}"
        );
        let shown = authorization["challenges"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|one| one["status"] == status);
        ensure!(
            shown,
            "a {status} authorization does not show the challenge: {authorization}"
        );
        let expires = authorization["expires"].as_str().map(crate::read::time::rfc3339);
        ensure!(
            what == "wrong" || matches!(expires, Some(Ok(_))),
            "a valid authorization's expires: {authorization}"
        );
        Ok(())
    });
    Ok(())
}

fn c8555_7_1_4_06(run: &Run) -> Judgement {
    let account = run.account()?;
    let mut tried = Vec::new();
    run.each(["http-01", "dns-01", "tls-alpn-01"], |kind| {
        let (_, challenge) = match run.challenge_for(account, &run.name("any"), kind) {
            Err(Finding::NotOffered(_)) => return Ok(()),
            other => other?,
        };
        match run.provide(account, &challenge, kind) {
            Err(Finding::Blocked(_)) => return Ok(()),
            other => other?,
        }
        let object = run.attempt(account, &challenge)?;
        ensure!(
            object["status"] == "valid",
            "{kind} alone made the authorization {object}"
        );
        tried.push(kind);
        Ok(())
    });
    if tried.len() < 2 {
        return Err(Finding::Blocked(format!("the run can answer only {tried:?}")));
    }
    Ok(())
}
