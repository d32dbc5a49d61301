//! RFC 8555 sections 8.4 and 11.2: dns-01.

use serde_json::{Value, json};

use super::challenges::error_type;
use super::dnssec;
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
    should!(
        c8555_11_2_01,
        "A truncated answer is asked for again over TCP, a bogus one is refused."
    ),
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

/// Responds to all challenges and waits for all decisions, which have to be this one; those that are.
pub(super) fn all_become<W: AsRef<str>>(
    run: &Run,
    account: &Account,
    trials: Vec<(W, Challenge)>,
    status: &str,
) -> Judgement<Vec<(W, Value)>> {
    let mut responded = Vec::new();
    for (what, challenge) in trials {
        let answer = run.respond(account, &challenge)?;
        run.demand(answer.status == 200, || {
            format!("{}: the response gives {}", what.as_ref(), answer.summary())
        });
        if answer.status == 200 {
            responded.push((what, challenge));
        }
    }
    let mut decisions = Vec::new();
    run.each(responded, |(what, challenge)| {
        let object = run.decided(account, &challenge.authorization).or_fail()?;
        super::challenges::became(&object, status, what.as_ref())?;
        decisions.push((what, object));
        Ok(())
    });
    Ok(decisions)
}

fn c8555_8_4_01(run: &Run) -> Judgement {
    let challenge = challenge(run)?;
    run.provide(run.account()?, &challenge, "dns-01")?;
    let name = place(&challenge);
    all_become(run, run.account()?, vec![("the right record", challenge)], "valid")?;
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
        account,
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
    run.each(
        all_become(run, account, mismatched, "invalid")?,
        |(what, authorization)| {
            let kind = error_type(&authorization);
            ensure!(
                ["unauthorized", "incorrectResponse"].contains(&kind.as_str()),
                "{what} is {kind:?}"
            );
            Ok(())
        },
    );
    run.each(all_become(run, account, absent, "invalid")?, |(what, authorization)| {
        let kind = error_type(&authorization);
        ensure!(
            ["dns", "unauthorized", "incorrectResponse"].contains(&kind.as_str()),
            "{what} is {kind:?}"
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
        all_become(run, run.account()?, vec![("a wildcard", challenge)], "valid")?;
        let asked = run.dns()?.questions(&name).iter().any(|question| question.kind == TXT);
        ensure!(asked, "no TXT question for {name}");
        Ok(())
    });
    Ok(())
}

fn c8555_11_2_01(run: &Run) -> Judgement {
    let truncated = challenge(run)?;
    run.provide(run.account()?, &truncated, "dns-01")?;
    let name = place(&truncated);
    run.dns()?.truncate(&name);
    all_become(run, run.account()?, vec![("a truncated answer", truncated)], "valid")?;
    ensure!(
        run.dns()?.questions(&name).iter().any(|question| question.tcp),
        "valid, and no question over TCP"
    );
    // The other half of the requirement needs a target that knows the suite's key.
    if run.dns()?.signs() {
        dnssec::bogus_txt_is_refused(run, run.account()?, "dns-01", |account, challenge| {
            (place(challenge), digest(account, challenge))
        })?;
    }
    Ok(())
}
