//! RFC 8555 sections 8.4 and 11.2: dns-01.

use serde_json::{Value, json};

use crate::base64;
use crate::case::{Case, Finding, Judgement, OrFail, ensure, must_read, should};
use crate::issue::{Challenge, identifiers, strings};
use crate::keys::sha256;
use crate::responder::dns::{NXDOMAIN, SERVFAIL, TXT, text};
use crate::suite::{Account, Run};

pub(super) const CASES: &[Case] = &[
    must_read!(c8555_8_4_01, "dns-01 asks for TXT at _acme-challenge."),
    must_read!(
        c8555_8_4_02,
        "One matching record is enough; strings are joined, aliases followed."
    ),
    must_read!(c8555_8_4_03, "A wrong digest or no record fails."),
    must_read!(c8555_8_4_04, "A wildcard is looked up at its base name."),
    should!(c8555_11_2_01, "A truncated answer is asked for again over TCP."),
];

fn digest(account: &Account, challenge: &Challenge) -> String {
    base64::url(sha256(account.key_authorization(&challenge.token)))
}

fn place(challenge: &Challenge) -> String {
    format!("_acme-challenge.{}", challenge.identifier)
}

fn challenge(run: &Run) -> Judgement<Challenge> {
    run.dns()?;
    Ok(run.challenge_for(run.account()?, &run.name("txt"), "dns-01")?.1)
}

/// Waits for all decisions, which have to be this one.
fn all_become(run: &Run, trials: Vec<(&str, Challenge)>, status: &str) -> Judgement<Vec<Value>> {
    let account = run.account()?;
    for (_, challenge) in &trials {
        run.respond(account, challenge)?;
    }
    let mut decisions = Vec::new();
    for (what, challenge) in trials {
        let object = run.decided(account, &challenge.authorization).or_fail()?;
        ensure!(object["status"] == status, "{what}: the authorization is {object}");
        decisions.push(object);
    }
    Ok(decisions)
}

fn c8555_8_4_01(run: &Run) -> Judgement {
    let challenge = challenge(run)?;
    run.provide(run.account()?, &challenge, "dns-01")?;
    let name = place(&challenge);
    all_become(run, vec![("the right record", challenge)], "valid")?;
    ensure!(
        run.dns()?.questions(&name).iter().any(|question| question.kind == TXT),
        "no TXT question for {name}"
    );
    Ok(())
}

fn c8555_8_4_02(run: &Run) -> Judgement {
    let (account, dns) = (run.account()?, run.dns()?);
    let decoys = challenge(run)?;
    let right = digest(account, &decoys);
    dns.set_txt(&place(&decoys), &["a", "b", "v=spf1 -all", &right, "c", "d"]);
    let split = challenge(run)?;
    let right = digest(account, &split);
    dns.set(&place(&split), TXT, vec![text(&[&right[..20], &right[20..]])]);
    let alias = challenge(run)?;
    let target = run.name("delegated");
    dns.set_alias(&place(&alias), &target);
    dns.set_txt(&target, &[&digest(account, &alias)]);
    all_become(
        run,
        vec![
            ("among decoys", decoys),
            ("in two strings", split),
            ("behind an alias", alias),
        ],
        "valid",
    )
    .map(|_| ())
}

fn c8555_8_4_03(run: &Run) -> Judgement {
    let (account, dns) = (run.account()?, run.dns()?);
    let mut mismatched = Vec::new();
    for what in [
        "a wrong digest",
        "a padded digest",
        "a hex digest",
        "the key authorization itself",
    ] {
        let challenge = challenge(run)?;
        let authorization = account.key_authorization(&challenge.token);
        let value = match what {
            "a wrong digest" => base64::url(sha256("x")),
            "a padded digest" => format!("{}=", digest(account, &challenge)),
            "a hex digest" => sha256(&authorization)
                .iter()
                .map(|octet| format!("{octet:02x}"))
                .collect(),
            _ => authorization,
        };
        dns.set_txt(&place(&challenge), &[&value]);
        mismatched.push((what, challenge));
    }
    let mut absent = Vec::new();
    for (what, code) in [("no record", 0), ("NXDOMAIN", NXDOMAIN), ("SERVFAIL", SERVFAIL)] {
        let challenge = challenge(run)?;
        if code != 0 {
            dns.fail(&place(&challenge), TXT, code);
        }
        absent.push((what, challenge));
    }
    let kinds = |authorization: &Value| {
        let challenges = authorization["challenges"].as_array().into_iter().flatten();
        let mut kinds = challenges.filter_map(|one| one["error"]["type"].as_str());
        kinds
            .next()
            .unwrap_or_default()
            .trim_start_matches("urn:ietf:params:acme:error:")
            .to_owned()
    };
    run.each(all_become(run, mismatched, "invalid")?, |authorization| {
        let kind = kinds(&authorization);
        ensure!(
            ["unauthorized", "incorrectResponse"].contains(&kind.as_str()),
            "a mismatch is {kind:?}"
        );
        Ok(())
    });
    run.each(all_become(run, absent, "invalid")?, |authorization| {
        let kind = kinds(&authorization);
        ensure!(
            ["dns", "unauthorized", "incorrectResponse"].contains(&kind.as_str()),
            "no record is {kind:?}"
        );
        Ok(())
    });
    Ok(())
}

fn c8555_8_4_04(run: &Run) -> Judgement {
    let account = run.account()?;
    run.dns()?;
    let base = run.name("wild");
    let answer = run.try_order(account, &json!({"identifiers": identifiers(&[format!("*.{base}")])}))?;
    if answer.status != 201 {
        return Err(Finding::NotOffered(format!("wildcards: {}", answer.summary())));
    }
    run.each(strings(&answer.json()?["authorizations"]), |authorization| {
        let challenge = run.challenge(account, &authorization, "dns-01")?;
        ensure!(
            challenge.identifier == base,
            "the authorization is for {}",
            challenge.identifier
        );
        run.provide(account, &challenge, "dns-01")?;
        let name = place(&challenge);
        all_become(run, vec![("a wildcard", challenge)], "valid")?;
        let asked = run.dns()?.questions(&name).iter().any(|question| question.kind == TXT);
        ensure!(asked, "no TXT question for {name}");
        Ok(())
    });
    Ok(())
}

fn c8555_11_2_01(run: &Run) -> Judgement {
    let challenge = challenge(run)?;
    run.provide(run.account()?, &challenge, "dns-01")?;
    let name = place(&challenge);
    run.dns()?.truncate(&name);
    all_become(run, vec![("a truncated answer", challenge)], "valid")?;
    ensure!(
        run.dns()?.questions(&name).iter().any(|question| question.tcp),
        "valid, and no question over TCP"
    );
    Ok(())
}
