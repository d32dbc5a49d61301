//! RFC 8555 sections 6.7, 7.1.1 and 10.5: directory, errors that can be provoked, and URLs.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::case::{Case, Finding, Judgement, ensure, must, must_read, should, should_read};
use crate::http::Request;
use crate::issue::identifiers;
use crate::suite::{Run, refused};

pub(super) const CASES: &[Case] = &[
    must!(c8555_7_1_01, "Directory and newNonce exist."),
    must_read!(c8555_7_1_1_01, "The directory names its resources by absolute URLs."),
    must!(c8555_7_1_1_02, "newAuthz is named only where it works."),
    must!(c8555_7_1_1_03, "meta has the registered types."),
    must_read!(
        c8555_6_7_04,
        "An identifier type that is not known is unsupportedIdentifier."
    ),
    must_read!(c8555_6_7_05, "A name that policy refuses is rejectedIdentifier."),
    must!(c8555_6_7_1_02, "A subproblem's identifier is an identifier object."),
    must!(c8555_6_1_03, "Accept-Language leaves problem documents whole."),
    should!(c8555_10_5_01, "URLs of resources cannot be guessed."),
    should_read!(
        c8555_10_5_02,
        "A foreign resource and a missing one are answered alike."
    ),
];

fn c8555_7_1_01(run: &Run) -> Judgement {
    let answer = run.get(&run.options.directory)?;
    ensure!(answer.status == 200, "the directory: {}", answer.summary());
    let answer = run.send(&Request::new("HEAD", &run.url("newNonce")?))?;
    ensure!(answer.is_success(), "newNonce: {}", answer.summary());
    Ok(())
}

fn c8555_7_1_1_01(run: &Run) -> Judgement {
    let answer = run.get(&run.options.directory)?;
    ensure!(
        answer.media_type() == "application/json",
        "the directory is {:?}",
        answer.media_type()
    );
    let mut seen = HashSet::from([run.options.directory.clone()]);
    run.each(
        ["newNonce", "newAccount", "newOrder", "revokeCert", "keyChange"],
        |name| {
            let Some(url) = run.directory[name].as_str() else {
                return Err(Finding::Fail(format!("the directory has no {name}")));
            };
            ensure!(url.starts_with("https://"), "{name} is {url}");
            ensure!(seen.insert(url.to_owned()), "{name} has the URL of another resource");
            Ok(())
        },
    );
    Ok(())
}

fn c8555_7_1_1_02(run: &Run) -> Judgement {
    let url = run.optional_url("newAuthz")?;
    let payload = json!({"identifier": {"type": "dns", "value": run.name("pre")}});
    let answer = run.post(run.account()?, &url, &payload)?;
    ensure!(
        answer.status == 201,
        "newAuthz is named and answers {}",
        answer.summary()
    );
    Ok(())
}

fn c8555_7_1_1_03(run: &Run) -> Judgement {
    let meta = &run.directory["meta"];
    if meta.is_null() {
        return Err(Finding::NotOffered("no meta".into()));
    }
    ensure!(meta.is_object(), "meta is {meta}");
    let is_text = |value: &Value| value.is_string();
    let is_texts = |value: &Value| value.as_array().is_some_and(|all| all.iter().all(Value::is_string));
    let is_text_map = |value: &Value| value.as_object().is_some_and(|all| all.values().all(Value::is_string));
    type Check<'a> = &'a dyn Fn(&Value) -> bool;
    let checks: [(&str, Check<'_>); 9] = [
        ("termsOfService", &is_text),
        ("website", &is_text),
        ("caaIdentities", &is_texts),
        ("externalAccountRequired", &Value::is_boolean),
        ("profiles", &is_text_map),
        ("auto-renewal", &Value::is_object),
        ("allow-certificate-get", &Value::is_boolean),
        ("subdomainAuthAllowed", &Value::is_boolean),
        ("issuerDomainNames", &is_texts),
    ];
    run.each(checks, |(name, check)| {
        ensure!(
            meta[name].is_null() || check(&meta[name]),
            "meta.{name} is {}",
            meta[name]
        );
        Ok(())
    });
    Ok(())
}

fn c8555_6_7_04(run: &Run) -> Judgement {
    let payload = json!({"identifiers": [{"type": "example-type", "value": "x"}]});
    refused(
        &run.try_order(run.account()?, &payload)?,
        "unsupportedIdentifier",
        "type example-type",
    )
}

fn c8555_6_7_05(run: &Run) -> Judgement {
    let mut judged = 0;
    run.each(["localhost", "host.invalid", "www.example", "host.localhost"], |name| {
        let payload = json!({"identifiers": identifiers(&[name.into()])});
        let answer = run.try_order(run.account()?, &payload)?;
        if answer.status != 201 {
            judged += 1;
            run.check(refused(&answer, "rejectedIdentifier", name));
        }
        Ok(())
    });
    if judged == 0 {
        return Err(Finding::NotOffered(
            "policy refuses none of the reserved names tried".into(),
        ));
    }
    Ok(())
}

fn c8555_6_7_1_02(run: &Run) -> Judgement {
    let wrong = [
        json!({"type": "dns", "value": "-bad-.invalid"}),
        json!({"type": "example-type", "value": "x"}),
    ];
    let good = json!({"type": "dns", "value": run.name("good")});
    let payload = json!({"identifiers": [wrong[0], good, wrong[1]]});
    let answer = run.try_order(run.account()?, &payload)?;
    run.check(refused(&answer, "", "two names that cannot be had"));
    let body = answer.json()?;
    let Some(subproblems) = body["subproblems"].as_array() else {
        ensure!(answer.problem() != "compound", "compound without subproblems");
        return Err(Finding::NotOffered("no subproblems".into()));
    };
    run.each(subproblems, |subproblem| {
        ensure!(
            subproblem["type"].is_string(),
            "a subproblem without type: {subproblem}"
        );
        let identifier = &subproblem["identifier"];
        let sound = identifier["type"].is_string() && identifier["value"].is_string();
        ensure!(
            identifier.is_null() || sound,
            "a subproblem's identifier is {identifier}"
        );
        Ok(())
    });
    Ok(())
}

fn c8555_6_1_03(run: &Run) -> Judgement {
    let account = run.account()?;
    let url = run.url("newOrder")?;
    let signed = run.draft(account.signer(), &url, "{}")?.sign(&account.key);
    let request = Request::new("POST", &url)
        .header("Content-Type", "application/jose+json")
        .header("Accept-Language", "it, fr;q=0.5, *;q=0.1")
        .body(signed.body());
    let answer = run.send(&request)?;
    run.check(refused(&answer, "", "an empty order with Accept-Language"));
    if let Some(language) = answer.header("content-language") {
        let is_tag = |tag: &str| {
            let subtag = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
            !tag.is_empty() && tag.split('-').all(subtag)
        };
        ensure!(
            language.split(',').all(|tag| is_tag(tag.trim())),
            "Content-Language is {language:?}"
        );
    }
    Ok(())
}

/// How many of each kind are compared.
const SAMPLE: usize = 20;

fn c8555_10_5_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let mut kinds: [(&str, Vec<String>); 3] = [("order", vec![]), ("authorization", vec![]), ("challenge", vec![])];
    for _ in 0..SAMPLE {
        let order = run.order(account, &[run.name("guess")])?;
        for authorization in order.authorizations() {
            let object = run.authorization(account, &authorization)?;
            kinds[2]
                .1
                .extend(object["challenges"][0]["url"].as_str().map(str::to_owned));
            kinds[1].1.push(authorization);
        }
        kinds[0].1.push(order.url);
    }
    run.each(kinds, |(kind, urls)| {
        let distinct: HashSet<&String> = urls.iter().collect();
        ensure!(distinct.len() == urls.len(), "two {kind}s have one URL");
        // The part that is not the same in all of them has to be long and to vary at its front.
        let first = urls.first().map(String::as_str).unwrap_or_default();
        let shared = (0..first.len()).find(|&at| {
            urls.iter()
                .any(|url| url.as_bytes().get(at) != first.as_bytes().get(at))
        });
        let varying = first.len() - shared.unwrap_or(first.len());
        ensure!(varying >= 11, "{kind} URLs differ in {varying} characters: {first}");
        Ok(())
    });
    Ok(())
}

fn c8555_10_5_02(run: &Run) -> Judgement {
    let (account, other) = (run.account()?, run.other_account()?);
    let (order, challenge) = run.challenge_for(account, &run.name("foreign"), "http-01")?;
    run.each([order.url, challenge.authorization], |url| {
        let (front, last) = url.rsplit_once('/').unwrap_or((&url, ""));
        let missing = crate::base64::url(crate::keys::random::<64>()).replace(['-', '_'], "x");
        let missing: String = missing.chars().take(last.len()).collect();
        let foreign = run.fetch(other, &url)?;
        let missing = run.fetch(other, &format!("{front}/{missing}"))?;
        let same = foreign.status == missing.status && foreign.problem() == missing.problem();
        ensure!(
            same,
            "{url}: foreign is {}, missing is {}",
            foreign.summary(),
            missing.summary()
        );
        Ok(())
    });
    Ok(())
}
