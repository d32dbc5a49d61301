//! RFC 8555 sections 8.1 to 8.3: validation over HTTP.

use super::challenges::{all_become, body, decide, error_type, fill};
use super::keychange::change_key;
use crate::case::{Case, Finding, Judgement, OrFail, ensure, must, must_read, should, should_read};
use crate::keys::Key;
use crate::responder::http01::{Reply, challenge_path};
use crate::suite::{Account, Run, refused};
use crate::wire::Signer;
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    must_read!(c8555_8_1_01, "The key authorization is token, dot, thumbprint."),
    must!(
        c8555_8_1_02,
        "A zero-prefixed RSA modulus does not change the thumbprint."
    ),
    should!(c8555_8_2_01, "A failed first query is tried again."),
    must!(
        c8555_8_2_02,
        "A challenge between tries shows the error and Retry-After."
    ),
    must!(c8555_8_3_02, "http-01 is a GET at port 80 of the well-known path."),
    should!(c8555_8_3_03, "Whitespace behind the key authorization is ignored."),
    should!(c8555_8_3_04, "Redirects are followed, in a bounded way."),
    must_read!(c8555_8_3_05, "A failing query or a wrong body fails the challenge."),
    must_read!(
        c8555_8_3_06,
        "The thumbprint is of the key at the time of the response."
    ),
    must_read!(c8555_6_7_06, "The error of a failed validation tells its cause."),
    should_read!(c8555_10_3_01, "Validation is bounded in time and size."),
    should_read!(c8555_10_4_02, "Error details do not repeat what was fetched."),
];

fn c8555_8_1_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let stranger = Key::p256().thumbprint();
    let scripts = vec![
        (
            "a foreign thumbprint".to_owned(),
            body(200, &format!("{{token}}.{stranger}")),
        ),
        (
            "another token".to_owned(),
            body(200, &format!("AAAAAAAAAAAAAAAAAAAAAA.{}", account.key.thumbprint())),
        ),
        (
            "no dot".to_owned(),
            body(200, &format!("{{token}}{}", account.key.thumbprint())),
        ),
        ("the token alone".to_owned(), body(200, "{token}")),
    ];
    all_become(run, decide(run, account, scripts)?, "invalid");
    all_become(
        run,
        decide(
            run,
            account,
            vec![("the right answer".into(), body(200, "{authorization}"))],
        )?,
        "valid",
    );
    Ok(())
}

fn c8555_8_1_02(run: &Run) -> Judgement {
    let key = Key::rsa();
    let (n, _) = key.rsa_members().unwrap_or_default();
    let mut jwk = key.jwk();
    jwk["n"] = crate::base64::url([&[0], n.as_slice()].concat()).into();
    let url = run.url("newAccount")?;
    let payload = run.account_payload(&key)?.to_string();
    let draft = run.draft(Signer::Key(&key), &url, payload)?.with("jwk", jwk);
    let answer = run.post_signed(&url, &draft.sign(&key))?;
    if !answer.is_success() {
        return refused(&answer, "badPublicKey|malformed", "a zero-prefixed modulus");
    }
    let url = answer.header("location").unwrap_or_default().to_owned();
    let account = Account {
        key: key.into(),
        url,
        object: answer.json()?,
    };
    all_become(
        run,
        decide(
            run,
            &account,
            vec![("the canonical thumbprint".into(), body(200, "{authorization}"))],
        )?,
        "valid",
    );
    Ok(())
}

fn c8555_8_2_01(run: &Run) -> Judgement {
    let right = Reply::Body(200, b"{authorization}".to_vec());
    let scripts = vec![
        (
            "a 503 first".to_owned(),
            vec![Reply::Body(503, b"later".to_vec()), right.clone()],
        ),
        ("silence first".to_owned(), vec![Reply::Nothing, right]),
    ];
    all_become(run, decide(run, run.account()?, scripts)?, "valid");
    Ok(())
}

fn c8555_8_2_02(run: &Run) -> Judgement {
    let account = run.account()?;
    let (_, challenge) = run.challenge_for(account, &run.name("between"), "http-01")?;
    run.http01()?
        .script(&challenge_path(&challenge.token), [Reply::Nothing]);
    run.respond(account, &challenge)?;
    let began = Instant::now();
    while began.elapsed() < run.patience() {
        let answer = run.fetch(account, &challenge.url)?;
        let object = answer.json()?;
        if object["status"] == "invalid" {
            return Err(Finding::NotOffered("the server does not try again".into()));
        }
        if run.http01()?.queries(&challenge_path(&challenge.token)).len() >= 2 || object["error"].is_object() {
            ensure!(
                object["error"].is_object(),
                "between tries the challenge shows no error: {object}"
            );
            ensure!(
                answer.header("retry-after").is_some(),
                "between tries there is no Retry-After"
            );
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Err(Finding::Fail("nothing became of the challenge".into()))
}

fn c8555_8_3_02(run: &Run) -> Judgement {
    let account = run.account()?;
    let (_, challenge) = run.challenge_for(account, &run.name("query"), "http-01")?;
    run.provide(account, &challenge, "http-01")?;
    let object = run.attempt(account, &challenge)?;
    ensure!(object["status"] == "valid", "the right answer made {object}");
    let queries = run.http01()?.queries(&challenge_path(&challenge.token));
    ensure!(!queries.is_empty(), "no query came");
    run.each(queries, |query| {
        ensure!(query.method == "GET", "the query is a {}", query.method);
        let host = query.host.split(':').next().unwrap_or_default();
        ensure!(host == challenge.identifier, "the Host is {:?}", query.host);
        Ok(())
    });
    Ok(())
}

fn c8555_8_3_03(run: &Run) -> Judgement {
    let account = run.account()?;
    let trailing = ["\r\n", "\n", " \t\r\n"];
    let scripts = trailing.map(|space| {
        (
            format!("{space:?} behind"),
            body(200, &format!("{{authorization}}{space}")),
        )
    });
    all_become(run, decide(run, account, scripts.into())?, "valid");
    all_become(
        run,
        decide(
            run,
            account,
            vec![("a space in front".into(), body(200, " {authorization}"))],
        )?,
        "invalid",
    );
    Ok(())
}

fn c8555_8_3_04(run: &Run) -> Judgement {
    let account = run.account()?;
    let http01 = run.http01()?;
    let port = http01.address.port();
    let elsewhere = run.name("elsewhere");
    let mut scripts = Vec::new();
    for status in [301, 302, 307, 308] {
        let path = format!("/moved/{status}");
        http01.script(&path, [Reply::Body(404, b"filled below".to_vec())]);
        let target = format!("http://{elsewhere}:{port}{path}/{{token}}");
        scripts.push((format!("a redirect by {status}"), vec![Reply::Redirect(status, target)]));
    }
    let mut trials = Vec::new();
    for (what, replies) in scripts {
        let (_, challenge) = run.challenge_for(account, &run.name("moved"), "http-01")?;
        let authorization = account.key_authorization(&challenge.token);
        for reply in replies {
            if let Reply::Redirect(status, target) = fill(reply, &authorization, &challenge.token) {
                http01.script(
                    &format!("/moved/{status}/{}", challenge.token),
                    [Reply::Body(200, authorization.clone().into())],
                );
                http01.script(&challenge_path(&challenge.token), [Reply::Redirect(status, target)]);
            }
        }
        run.respond(account, &challenge)?;
        trials.push((what, challenge));
    }
    run.each(trials, |(what, challenge)| {
        let object = run.decided(account, &challenge.authorization).or_fail()?;
        ensure!(object["status"] == "valid", "{what}: {object}");
        Ok(())
    });
    let circle = vec![Reply::Redirect(302, "/.well-known/acme-challenge/{token}".into())];
    all_become(
        run,
        decide(run, account, vec![("a redirect to itself".into(), circle)])?,
        "invalid",
    );
    Ok(())
}

fn c8555_8_3_05(run: &Run) -> Judgement {
    let scripts = vec![
        ("404".to_owned(), body(404, "{authorization}")),
        ("500".to_owned(), body(500, "{authorization}")),
        ("an empty body".to_owned(), body(200, "")),
        ("another body".to_owned(), body(200, "<html>hello</html>")),
        ("no answer".to_owned(), vec![Reply::Nothing]),
    ];
    all_become(run, decide(run, run.account()?, scripts)?, "invalid");
    Ok(())
}

fn c8555_8_3_06(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let (_, challenge) = run.challenge_for(&account, &run.name("newkey"), "http-01")?;
    let (account, answer) = change_key(run, &account, Key::p256())?;
    ensure!(answer.status == 200, "the key change: {}", answer.summary());
    run.provide(&account, &challenge, "http-01")?;
    let object = run.attempt(&account, &challenge)?;
    ensure!(object["status"] == "valid", "the new thumbprint made {object}");
    Ok(())
}

fn c8555_6_7_06(run: &Run) -> Judgement {
    let account = run.account()?;
    let scripts = vec![
        ("another body".to_owned(), body(200, "wrong")),
        ("404".to_owned(), body(404, "no")),
    ];
    run.each(decide(run, account, scripts)?, |(what, authorization)| {
        let kind = error_type(&authorization);
        ensure!(
            ["unauthorized", "incorrectResponse"].contains(&kind.as_str()),
            "{what}: the error is {kind:?}"
        );
        Ok(())
    });
    let Ok(dns) = run.dns() else { return Ok(()) };
    let nowhere = run.name("nowhere");
    dns.fail(&nowhere, crate::responder::dns::A, crate::responder::dns::NXDOMAIN);
    dns.fail(&nowhere, crate::responder::dns::AAAA, crate::responder::dns::NXDOMAIN);
    let closed = run.name("closed");
    // An address of the loopback network at which the suite does not listen.
    dns.set(&closed, crate::responder::dns::A, vec![vec![127, 77, 77, 77]]);
    let mut trials = Vec::new();
    for (name, kinds) in [(nowhere, ["dns", "connection"]), (closed, ["connection", "connection"])] {
        let (_, challenge) = run.challenge_for(account, &name, "http-01")?;
        run.respond(account, &challenge)?;
        trials.push((challenge, kinds));
    }
    run.each(trials, |(challenge, kinds)| {
        let object = run.decided(account, &challenge.authorization).or_fail()?;
        let kind = error_type(&object);
        ensure!(
            kinds.contains(&kind.as_str()),
            "{}: the error is {kind:?}, not {}",
            challenge.identifier,
            kinds[0]
        );
        run.expect(kind == kinds[0], || {
            format!("{}: the error is {kind}", challenge.identifier)
        });
        Ok(())
    });
    Ok(())
}

fn c8555_10_3_01(run: &Run) -> Judgement {
    let scripts = vec![
        ("a body without end".to_owned(), vec![Reply::Endless(4 * 1024 * 1024)]),
        ("an octet a second".to_owned(), vec![Reply::Endless(1)]),
        ("headers without end".to_owned(), vec![Reply::EndlessHeaders]),
    ];
    all_become(run, decide(run, run.account()?, scripts)?, "invalid");
    Ok(())
}

fn c8555_10_4_02(run: &Run) -> Judgement {
    let marker = "marker-that-must-not-come-back";
    let long = format!("{}{marker}", "filler ".repeat(150));
    let decisions = decide(run, run.account()?, vec![("a long page".into(), body(200, &long))])?;
    run.each(decisions, |(_, authorization)| {
        ensure!(authorization["status"] == "invalid", "a long page made {authorization}");
        ensure!(
            !authorization.to_string().contains(marker),
            "the fetched page comes back in the error"
        );
        Ok(())
    });
    Ok(())
}
