//! RFC 8659 and RFC 8657: CAA.

use crate::case::{Case, Finding, Judgement, OrFail, ensure, may, must, must_read, should};
use crate::issue::identifiers;
use crate::keys::Key;
use crate::request::Csr;
use crate::responder::dns::{CAA, SERVFAIL, caa};
use crate::suite::{Account, Run};
use serde_json::json;

pub(super) const CASES: &[Case] = &[
    must!(c8555_7_1_1_04, "caaIdentities are the names that CAA is honoured by."),
    must!(c8659_3_01, "A forbidding set stops issuance."),
    must!(c8659_3_02, "Every name of an order is checked."),
    must!(c8659_3_03, "The search climbs to the first set there is."),
    must!(c8659_3_04, "A set that restricts nothing allows."),
    must!(c8659_3_05, "Aliases are followed at each name, not climbed from."),
    must!(c8659_3_06, "For a wildcard the search begins at the base name."),
    must!(
        c8659_4_1_01,
        "An unknown critical property forbids; other flags mean nothing."
    ),
    must!(c8659_4_1_02, "Tags match without case."),
    must_read!(c8659_4_2_01, "issue adds up; an empty one alone forbids."),
    must!(
        c8659_4_2_02,
        "A value off the grammar names nobody; its spaces are tolerated."
    ),
    must!(c8659_4_3_01, "issuewild says nothing about other names."),
    must!(c8659_4_3_02, "issuewild governs wildcards; without it issue does."),
    may!(c8659_4_4_01, "iodef restricts nothing."),
    must!(c8659_5_4_01, "CAA is asked for at its source."),
    may!(c8659_6_3_01, "A failing lookup may be taken as forbidding."),
    must!(c8657_3_01, "accounturi lets in that account alone."),
    must_read!(c8657_3_02, "An accounturi that cannot be read lets nobody in."),
    must!(c8657_3_03, "accounturi does not replace the issuer's name."),
    must!(c8657_4_01, "validationmethods lets in those methods alone."),
    must_read!(c8657_4_02, "An empty or malformed list of methods lets nothing in."),
    should!(c8657_5_5_01, "CAA is checked again near issuance."),
];

const FOREIGN: &str = "ca.elsewhere.example";

/// The target's own name in CAA.
fn identity(run: &Run) -> Judgement<String> {
    run.dns()?;
    let identities = crate::issue::strings(&run.directory["meta"]["caaIdentities"]);
    identities
        .into_iter()
        .next()
        .ok_or_else(|| Finding::NotOffered("no caaIdentities".into()))
}

type Records<'a> = &'a [(u8, &'a str, &'a str)];

/// What became of an order, from the challenge to the certificate: issued, or refused and where.
fn outcome(run: &Run, account: &Account, names: &[String], kind: &str) -> Judgement<Result<(), String>> {
    let answer = run.try_order(account, &json!({"identifiers": identifiers(names)}))?;
    if answer.status != 201 {
        return Ok(Err(answer.summary()));
    }
    let url = answer.header("location").unwrap_or_default().to_owned();
    let order = crate::issue::Order {
        url,
        object: answer.json()?,
    };
    for authorization in order.authorizations() {
        let challenge = run.challenge(account, &authorization, kind)?;
        run.provide(account, &challenge, kind)?;
        let object = run.attempt(account, &challenge).or_fail()?;
        if object["status"] != "valid" {
            return Ok(Err(object.to_string()));
        }
    }
    let order = run.until(account, &order, &["ready"])?;
    let answer = run.finalize(account, &order, &Csr::of(names).sign(&Key::p256()))?;
    if !answer.is_success() {
        return Ok(Err(answer.summary()));
    }
    match run.until(account, &order, &["valid"]) {
        Ok(_) => Ok(Ok(())),
        Err(Finding::Blocked(why)) => Ok(Err(why)),
        Err(other) => Err(other),
    }
}

fn allowed(run: &Run, records: Records<'_>, what: &str) -> Judgement {
    let name = run.name("caa");
    run.dns()?.set_caa(&name, records);
    if let Err(why) = outcome(run, run.account()?, &[name], "http-01")? {
        return Err(Finding::Fail(format!("{what}: expected a certificate, got {why}")));
    }
    Ok(())
}

fn is_caa_refusal(result: Result<(), String>, what: &str) -> Judgement {
    match result {
        Ok(()) => Err(Finding::Fail(format!("{what}: a certificate was issued"))),
        Err(why) if why.contains(":caa") => Ok(()),
        Err(why) => Err(Finding::Fail(format!("{what}: refused, but not for caa: {why}"))),
    }
}

fn forbidden(run: &Run, records: Records<'_>, what: &str) -> Judgement {
    let name = run.name("caa");
    run.dns()?.set_caa(&name, records);
    is_caa_refusal(outcome(run, run.account()?, &[name], "http-01")?, what)
}

fn c8555_7_1_1_04(run: &Run) -> Judgement {
    let own = identity(run)?;
    for identity in crate::issue::strings(&run.directory["meta"]["caaIdentities"]) {
        allowed(run, &[(0, "issue", &identity)], &format!("issue {identity}"))?;
    }
    forbidden(run, &[(0, "issue", &format!("x{own}"))], "issue by a name not listed")
}

fn c8659_3_01(run: &Run) -> Judgement {
    identity(run)?;
    forbidden(run, &[(0, "issue", FOREIGN)], "issue for another CA")
}

fn c8659_3_02(run: &Run) -> Judgement {
    identity(run)?;
    let names = [run.name("free"), run.name("bound")];
    run.dns()?.set_caa(&names[1], &[(0, "issue", FOREIGN)]);
    is_caa_refusal(
        outcome(run, run.account()?, &names, "http-01")?,
        "one of two names is forbidden",
    )
}

fn c8659_3_03(run: &Run) -> Judgement {
    let own = identity(run)?;
    let dns = run.dns()?;
    let top = run.name("climb");
    dns.set_caa(&top, &[(0, "issue", FOREIGN)]);
    dns.set_caa(&format!("b.{top}"), &[(0, "issue", &own)]);
    let below = outcome(run, run.account()?, &[format!("a.b.{top}")], "http-01")?;
    ensure!(below.is_ok(), "the nearer set allows: {below:?}");
    is_caa_refusal(
        outcome(run, run.account()?, &[format!("a.c.{top}")], "http-01")?,
        "the farther set forbids",
    )
}

fn c8659_3_04(run: &Run) -> Judgement {
    identity(run)?;
    allowed(run, &[], "no set")?;
    allowed(run, &[(0, "iodef", "mailto:a@conformance.test")], "iodef alone")?;
    allowed(run, &[(0, "unknown", "x")], "an unknown property")
}

fn c8659_3_05(run: &Run) -> Judgement {
    identity(run)?;
    let dns = run.dns()?;
    let parent = run.name("target");
    dns.set_caa(&parent, &[(0, "issue", FOREIGN)]);
    let name = run.name("alias");
    dns.set_alias(&name, &format!("x.{parent}"));
    let climbed = outcome(run, run.account()?, &[name], "http-01")?;
    ensure!(climbed.is_ok(), "the set above an alias's target was used: {climbed:?}");
    let target = run.name("target");
    dns.set_caa(&target, &[(0, "issue", FOREIGN)]);
    let name = run.name("alias");
    dns.set_alias(&name, &target);
    is_caa_refusal(
        outcome(run, run.account()?, &[name], "http-01")?,
        "the set at an alias's target",
    )
}

fn wildcard(run: &Run, records: Records<'_>) -> Judgement<(String, Result<(), String>)> {
    let base = run.name("wild");
    run.dns()?.set_caa(&base, records);
    let result = outcome(run, run.account()?, &[format!("*.{base}")], "dns-01")?;
    Ok((base, result))
}

fn c8659_3_06(run: &Run) -> Judgement {
    let own = identity(run)?;
    let (base, result) = wildcard(run, &[(0, "issue", &own)])?;
    ensure!(result.is_ok(), "a wildcard whose base allows: {result:?}");
    let asked = run.dns()?.questions(&base).iter().any(|question| question.kind == CAA);
    ensure!(asked, "no CAA question for {base}");
    Ok(())
}

fn c8659_4_1_01(run: &Run) -> Judgement {
    let own = identity(run)?;
    for flags in [128, 129, 255] {
        forbidden(
            run,
            &[(0, "issue", &own), (flags, "tbs", "x")],
            &format!("an unknown property with flags {flags}"),
        )?;
    }
    for flags in [1, 127] {
        allowed(
            run,
            &[(0, "issue", &own), (flags, "tbs", "x")],
            &format!("an unknown property with flags {flags}"),
        )?;
    }
    allowed(run, &[(128, "issue", &own)], "a known property with flags 128")
}

fn c8659_4_1_02(run: &Run) -> Judgement {
    let own = identity(run)?;
    forbidden(run, &[(0, "ISSUE", FOREIGN)], "ISSUE for another CA")?;
    allowed(run, &[(0, "IsSue", &own)], "IsSue")?;
    let (_, result) = wildcard(run, &[(0, "issue", &own), (0, "IssueWild", FOREIGN)])?;
    is_caa_refusal(result, "IssueWild for another CA")
}

fn c8659_4_2_01(run: &Run) -> Judgement {
    let own = identity(run)?;
    allowed(
        run,
        &[(0, "issue", FOREIGN), (0, "issue", &own)],
        "own and foreign together",
    )?;
    allowed(
        run,
        &[(0, "issue", ";"), (0, "issue", &own)],
        "an empty one beside the own",
    )?;
    forbidden(run, &[(0, "issue", ";")], "an empty one alone")?;
    forbidden(run, &[(0, "issue", "")], "no value")
}

fn c8659_4_2_02(run: &Run) -> Judgement {
    let own = identity(run)?;
    for value in [
        "%%%%%".to_owned(),
        format!("{own}."),
        format!("{own}; =x"),
        format!("{own} x"),
    ] {
        forbidden(run, &[(0, "issue", &value)], &format!("the value {value:?}"))?;
    }
    for value in [format!(" {own} "), format!("\t{own}\t;"), format!("{own} ; x=y ; z=1")] {
        allowed(run, &[(0, "issue", &value)], &format!("the value {value:?}"))?;
    }
    Ok(())
}

fn c8659_4_3_01(run: &Run) -> Judgement {
    identity(run)?;
    allowed(run, &[(0, "issuewild", FOREIGN)], "issuewild for another CA")
}

fn c8659_4_3_02(run: &Run) -> Judgement {
    let own = identity(run)?;
    let (_, result) = wildcard(run, &[(0, "issue", &own), (0, "issuewild", FOREIGN)])?;
    is_caa_refusal(result, "issuewild for another CA")?;
    let (_, result) = wildcard(run, &[(0, "issue", FOREIGN)])?;
    is_caa_refusal(result, "issue for another CA")?;
    let (_, result) = wildcard(run, &[(0, "issue", FOREIGN), (0, "issuewild", &own)])?;
    ensure!(result.is_ok(), "issuewild for this CA: {result:?}");
    Ok(())
}

fn c8659_4_4_01(run: &Run) -> Judgement {
    identity(run)?;
    allowed(run, &[(0, "iodef", "https://reports.example/")], "iodef alone")
}

fn c8659_5_4_01(run: &Run) -> Judgement {
    identity(run)?;
    let name = run.name("source");
    let result = outcome(run, run.account()?, std::slice::from_ref(&name), "http-01")?;
    ensure!(result.is_ok(), "a free name: {result:?}");
    let asked = run.dns()?.questions(&name).iter().any(|question| question.kind == CAA);
    ensure!(asked, "no CAA question came for {name}");
    Ok(())
}

fn c8659_6_3_01(run: &Run) -> Judgement {
    identity(run)?;
    let name = run.name("broken");
    run.dns()?.fail(&name, CAA, SERVFAIL);
    let result = outcome(run, run.account()?, &[name], "http-01")?;
    run.expect(result.is_err(), || {
        "a certificate was issued although CAA could not be had".into()
    });
    Ok(())
}

fn c8657_3_01(run: &Run) -> Judgement {
    let own = identity(run)?;
    let value = format!("{own}; accounturi={}", run.account()?.url);
    allowed(run, &[(0, "issue", &value)], "the account's own URL")?;
    let name = run.name("caa");
    run.dns()?.set_caa(&name, &[(0, "issue", &value)]);
    is_caa_refusal(
        outcome(run, run.other_account()?, &[name], "http-01")?,
        "another account's URL",
    )
}

fn c8657_3_02(run: &Run) -> Judgement {
    let own = identity(run)?;
    let url = &run.account()?.url;
    for parameter in [
        "accounturi=not-a-uri".to_owned(),
        "accounturi=".to_owned(),
        "accounturi=https://elsewhere.example/acct/1".to_owned(),
        format!("accounturi={url}; accounturi={url}"),
    ] {
        forbidden(run, &[(0, "issue", &format!("{own}; {parameter}"))], &parameter)?;
    }
    let odd = format!("{own}; accounturi=x");
    allowed(
        run,
        &[(0, "issue", &odd), (0, "issue", &own)],
        "another property without it",
    )
}

fn c8657_3_03(run: &Run) -> Judgement {
    identity(run)?;
    let value = format!("{FOREIGN}; accounturi={}", run.account()?.url);
    forbidden(run, &[(0, "issue", &value)], "a foreign issuer with the account's URL")
}

fn c8657_4_01(run: &Run) -> Judgement {
    let own = identity(run)?;
    allowed(
        run,
        &[(0, "issue", &format!("{own}; validationmethods=http-01"))],
        "http-01 is listed",
    )?;
    allowed(
        run,
        &[(0, "issue", &format!("{own}; validationmethods=dns-01,http-01"))],
        "both are listed",
    )?;
    forbidden(
        run,
        &[(0, "issue", &format!("{own}; validationmethods=dns-01"))],
        "only dns-01 is listed",
    )?;
    let name = run.name("caa");
    run.dns()?
        .set_caa(&name, &[(0, "issue", &format!("{own}; validationmethods=http-01"))]);
    is_caa_refusal(
        outcome(run, run.account()?, &[name], "dns-01")?,
        "only http-01 is listed",
    )
}

fn c8657_4_02(run: &Run) -> Judgement {
    let own = identity(run)?;
    for list in ["", "http-01,,dns-01", "x-1,dns-01"] {
        forbidden(
            run,
            &[(0, "issue", &format!("{own}; validationmethods={list}"))],
            &format!("the methods {list:?}"),
        )?;
    }
    allowed(
        run,
        &[(0, "issue", &format!("{own}; validationmethods=x-1,http-01"))],
        "an unknown method beside",
    )
}

fn c8657_5_5_01(run: &Run) -> Judgement {
    identity(run)?;
    let account = run.account()?;
    let name = run.name("late");
    let order = run.ready_order(account, std::slice::from_ref(&name))?;
    run.dns()?.set(&name, CAA, vec![caa(0, "issue", FOREIGN)]);
    // The answer before had a time to live of a second.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let answer = run.finalize(account, &order, &Csr::of(&[name]).sign(&Key::p256()))?;
    if answer.is_success() {
        let later = run.until(account, &order, &["valid"]);
        ensure!(later.is_err(), "a set that came after validation did not stop issuance");
    }
    Ok(())
}
