//! RFC 8659 and RFC 8657: CAA.

use crate::case::{Case, Finding, Judgement, OrFail, ensure, may, must, must_read, should};
use crate::issue::identifiers;
use crate::keys::Key;
use crate::request::Csr;
use crate::responder::dns::{CAA, Dns, SERVFAIL, caa};
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

/// The test zone, at a target that says it heeds CAA, or at least asks this run for names.
fn zone(run: &Run) -> Judgement<&Dns> {
    let dns = run.dns()?;
    if own(run).is_some() {
        return Ok(dns);
    }
    // Whatever becomes of it, the target has to ask for the name.
    let _ = run.certificate();
    if dns.is_asked() {
        Ok(dns)
    } else {
        Err(Finding::Blocked(
            "the target does not ask this run's DNS for names".into(),
        ))
    }
}

/// The target's own name in CAA; without it cases judge only what forbids everybody.
fn own(run: &Run) -> Option<String> {
    let identities = crate::issue::strings(&run.directory["meta"]["caaIdentities"]);
    identities.into_iter().next()
}

/// The same in cases that are about that name.
pub(super) fn identity(run: &Run) -> Judgement<String> {
    zone(run)?;
    own(run).ok_or_else(|| Finding::NotOffered("no caaIdentities".into()))
}

type Records<'a> = &'a [(u8, &'a str, &'a str)];

/// What became of an order, from the challenge to the certificate: issued, or refused and where.
pub(super) fn outcome(run: &Run, account: &Account, names: &[String], kind: &str) -> Judgement<Result<(), String>> {
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

fn is_issued(result: Result<(), String>, what: &str) -> Judgement {
    result.map_err(|why| Finding::Fail(format!("{what}: expected a certificate, got {why}")))
}

fn is_caa_refusal(result: Result<(), String>, what: &str) -> Judgement {
    match result {
        Ok(()) => Err(Finding::Fail(format!("{what}: a certificate was issued"))),
        Err(why) if why.contains(":caa") => Ok(()),
        Err(why) => Err(Finding::Fail(format!("{what}: refused, but not for caa: {why}"))),
    }
}

/// What became of an order for a name with these records.
fn with(run: &Run, records: Records<'_>) -> Judgement<Result<(), String>> {
    let name = run.name("caa");
    run.dns()?.set_caa(&name, records);
    outcome(run, run.account()?, &[name], "http-01")
}

/// The same for a wildcard.
fn wildcard(run: &Run, records: Records<'_>) -> Judgement<Result<(), String>> {
    let base = run.name("wild");
    run.dns()?.set_caa(&base, records);
    outcome(run, run.account()?, &[format!("*.{base}")], "dns-01")
}

/// Records that let the target issue, each set with its name.
fn allow(run: &Run, sets: &[(&str, Records<'_>)]) {
    run.each(sets, |(what, records)| is_issued(with(run, records)?, what));
}

/// Records that forbid the target to issue.
fn forbid(run: &Run, sets: &[(&str, Records<'_>)]) {
    run.each(sets, |(what, records)| is_caa_refusal(with(run, records)?, what));
}

fn c8555_7_1_1_04(run: &Run) -> Judgement {
    let own = identity(run)?;
    run.each(
        crate::issue::strings(&run.directory["meta"]["caaIdentities"]),
        |identity| is_issued(with(run, &[(0, "issue", &identity)])?, &format!("issue {identity}")),
    );
    forbid(
        run,
        &[("issue by a name not listed", &[(0, "issue", &format!("x{own}"))])],
    );
    Ok(())
}

fn c8659_3_01(run: &Run) -> Judgement {
    zone(run)?;
    forbid(run, &[("issue for another CA", &[(0, "issue", FOREIGN)])]);
    Ok(())
}

fn c8659_3_02(run: &Run) -> Judgement {
    let dns = zone(run)?;
    let names = [run.name("free"), run.name("bound")];
    dns.set_caa(&names[1], &[(0, "issue", FOREIGN)]);
    let result = outcome(run, run.account()?, &names, "http-01")?;
    run.check(is_caa_refusal(result, "one of two names is forbidden"));
    let base = run.name("bound");
    dns.set_caa(&base, &[(0, "issue", FOREIGN)]);
    let names = [run.name("free"), format!("*.{base}")];
    let result = outcome(run, run.account()?, &names, "dns-01")?;
    is_caa_refusal(result, "a wildcard beside a free name is forbidden")
}

fn c8659_3_03(run: &Run) -> Judgement {
    let dns = zone(run)?;
    let top = run.name("climb");
    dns.set_caa(&top, &[(0, "issue", FOREIGN)]);
    // It restricts nothing, and ends the search.
    dns.set_caa(&format!("b.{top}"), &[(0, "iodef", "mailto:a@conformance.test")]);
    let nearer = outcome(run, run.account()?, &[format!("a.b.{top}")], "http-01")?;
    run.check(is_issued(nearer, "the nearer set allows"));
    if let Some(own) = own(run) {
        dns.set_caa(&format!("d.{top}"), &[(0, "issue", &own)]);
        let nearer = outcome(run, run.account()?, &[format!("a.d.{top}")], "http-01")?;
        run.check(is_issued(nearer, "the nearer set names this CA"));
    }
    run.each(["c", "x.y.z"], |below| {
        let farther = outcome(run, run.account()?, &[format!("{below}.{top}")], "http-01")?;
        is_caa_refusal(farther, &format!("the set above {below} forbids"))
    });
    Ok(())
}

fn c8659_3_04(run: &Run) -> Judgement {
    zone(run)?;
    allow(
        run,
        &[
            ("no set", &[]),
            ("iodef alone", &[(0, "iodef", "mailto:a@conformance.test")]),
            ("an unknown property", &[(0, "unknown", "x")]),
        ],
    );
    Ok(())
}

fn c8659_3_05(run: &Run) -> Judgement {
    let dns = zone(run)?;
    let parent = run.name("target");
    dns.set_caa(&parent, &[(0, "issue", FOREIGN)]);
    let name = run.name("alias");
    dns.set_alias(&name, &format!("x.{parent}"));
    let climbed = outcome(run, run.account()?, &[name], "http-01")?;
    run.check(is_issued(climbed, "a set above an alias's target"));
    let target = run.name("target");
    dns.set_caa(&target, &[(0, "issue", FOREIGN)]);
    let name = run.name("alias");
    dns.set_alias(&name, &target);
    is_caa_refusal(
        outcome(run, run.account()?, &[name], "http-01")?,
        "the set at an alias's target",
    )
}

fn c8659_3_06(run: &Run) -> Judgement {
    let dns = zone(run)?;
    let base = run.name("wild");
    dns.set_caa(&base, &[(0, "iodef", "mailto:a@conformance.test")]);
    let result = outcome(run, run.account()?, &[format!("*.{base}")], "dns-01")?;
    run.check(is_issued(result, "a wildcard whose base allows"));
    let asked = dns.questions(&base).iter().any(|question| question.kind == CAA);
    run.demand(asked, || "no CAA question for the base name of a wildcard".into());
    let result = wildcard(run, &[(0, "issue", FOREIGN)])?;
    is_caa_refusal(result, "a wildcard whose base forbids")
}

fn c8659_4_1_01(run: &Run) -> Judgement {
    zone(run)?;
    run.each([128u8, 129, 255], |flags| {
        let what = format!("an unknown property with flags {flags}");
        is_caa_refusal(with(run, &[(flags, "tbs", "x")])?, &what)
    });
    run.each([1u8, 127], |flags| {
        let what = format!("an unknown property with flags {flags}");
        is_issued(with(run, &[(flags, "tbs", "x")])?, &what)
    });
    if let Some(own) = own(run) {
        forbid(
            run,
            &[(
                "a critical unknown property beside issue",
                &[(0, "issue", &own), (128, "tbs", "x")],
            )],
        );
        allow(run, &[("a known property with flags 128", &[(128, "issue", &own)])]);
    }
    Ok(())
}

fn c8659_4_1_02(run: &Run) -> Judgement {
    zone(run)?;
    forbid(
        run,
        &[
            ("ISSUE for another CA", &[(0, "ISSUE", FOREIGN)]),
            ("IsSuE for another CA", &[(0, "IsSuE", FOREIGN)]),
        ],
    );
    let result = wildcard(run, &[(0, "IssueWild", FOREIGN)])?;
    run.check(is_caa_refusal(result, "IssueWild for another CA"));
    if let Some(own) = own(run) {
        allow(run, &[("IsSue", &[(0, "IsSue", &own)])]);
    }
    Ok(())
}

fn c8659_4_2_01(run: &Run) -> Judgement {
    zone(run)?;
    forbid(
        run,
        &[
            ("an empty one alone", &[(0, "issue", ";")]),
            ("no value", &[(0, "issue", "")]),
            (
                "an empty one beside a foreign one",
                &[(0, "issue", ";"), (0, "issue", FOREIGN)],
            ),
        ],
    );
    if let Some(own) = own(run) {
        allow(
            run,
            &[
                ("own and foreign together", &[(0, "issue", FOREIGN), (0, "issue", &own)]),
                ("an empty one beside the own", &[(0, "issue", ";"), (0, "issue", &own)]),
            ],
        );
    }
    Ok(())
}

fn c8659_4_2_02(run: &Run) -> Judgement {
    zone(run)?;
    let mut off = vec!["%%%%%".to_owned(), "-".to_owned(), "a b".to_owned(), "=".to_owned()];
    let mut odd = Vec::new();
    if let Some(own) = own(run) {
        off.extend([format!("{own}."), format!("{own}; =x"), format!("{own} x")]);
        odd.extend([format!(" {own} "), format!("\t{own}\t;"), format!("{own} ; x=y ; z=1")]);
    }
    run.each(off, |value| {
        is_caa_refusal(with(run, &[(0, "issue", &value)])?, &format!("the value {value:?}"))
    });
    run.each(odd, |value| {
        is_issued(with(run, &[(0, "issue", &value)])?, &format!("the value {value:?}"))
    });
    Ok(())
}

fn c8659_4_3_01(run: &Run) -> Judgement {
    zone(run)?;
    allow(run, &[("issuewild for another CA", &[(0, "issuewild", FOREIGN)])]);
    Ok(())
}

fn c8659_4_3_02(run: &Run) -> Judgement {
    zone(run)?;
    let result = wildcard(run, &[(0, "issuewild", FOREIGN)])?;
    run.check(is_caa_refusal(result, "issuewild for another CA"));
    let result = wildcard(run, &[(0, "issue", FOREIGN)])?;
    run.check(is_caa_refusal(result, "issue for another CA"));
    if let Some(own) = own(run) {
        let result = wildcard(run, &[(0, "issue", &own), (0, "issuewild", FOREIGN)])?;
        run.check(is_caa_refusal(result, "issuewild for another CA beside the own issue"));
        let result = wildcard(run, &[(0, "issue", FOREIGN), (0, "issuewild", &own)])?;
        run.check(is_issued(result, "issuewild for this CA"));
    }
    Ok(())
}

fn c8659_4_4_01(run: &Run) -> Judgement {
    zone(run)?;
    allow(run, &[("iodef alone", &[(0, "iodef", "https://reports.example/")])]);
    Ok(())
}

fn c8659_5_4_01(run: &Run) -> Judgement {
    let dns = zone(run)?;
    let name = run.name("source");
    let result = outcome(run, run.account()?, std::slice::from_ref(&name), "http-01")?;
    run.check(is_issued(result, "a free name"));
    let asked = dns.questions(&name).iter().any(|question| question.kind == CAA);
    ensure!(asked, "a certificate was issued and no CAA question came");
    Ok(())
}

fn c8659_6_3_01(run: &Run) -> Judgement {
    let dns = zone(run)?;
    let name = run.name("broken");
    dns.fail(&name, CAA, SERVFAIL);
    let result = outcome(run, run.account()?, &[name], "http-01")?;
    run.expect(result.is_err(), || {
        "a certificate was issued although CAA could not be had".into()
    });
    Ok(())
}

fn c8657_3_01(run: &Run) -> Judgement {
    let own = identity(run)?;
    let value = format!("{own}; accounturi={}", run.account()?.url);
    allow(run, &[("the account's own URL", &[(0, "issue", &value)])]);
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
    let parameters = [
        ("not a URI", "accounturi=not-a-uri".to_owned()),
        ("empty", "accounturi=".to_owned()),
        ("of elsewhere", "accounturi=https://elsewhere.example/acct/1".to_owned()),
        ("twice", format!("accounturi={url}; accounturi={url}")),
    ];
    run.each(parameters, |(what, parameter)| {
        let value = format!("{own}; {parameter}");
        is_caa_refusal(with(run, &[(0, "issue", &value)])?, &format!("an accounturi {what}"))
    });
    let odd = format!("{own}; accounturi=x");
    allow(
        run,
        &[("another property without it", &[(0, "issue", &odd), (0, "issue", &own)])],
    );
    Ok(())
}

fn c8657_3_03(run: &Run) -> Judgement {
    zone(run)?;
    let value = format!("{FOREIGN}; accounturi={}", run.account()?.url);
    forbid(
        run,
        &[("a foreign issuer with the account's URL", &[(0, "issue", &value)])],
    );
    Ok(())
}

fn c8657_4_01(run: &Run) -> Judgement {
    let own = identity(run)?;
    let listing = |methods: &str| format!("{own}; validationmethods={methods}");
    allow(
        run,
        &[
            ("http-01 is listed", &[(0, "issue", &listing("http-01"))]),
            ("both are listed", &[(0, "issue", &listing("dns-01,http-01"))]),
        ],
    );
    forbid(run, &[("only dns-01 is listed", &[(0, "issue", &listing("dns-01"))])]);
    let name = run.name("caa");
    run.dns()?.set_caa(&name, &[(0, "issue", &listing("http-01"))]);
    is_caa_refusal(
        outcome(run, run.account()?, &[name], "dns-01")?,
        "only http-01 is listed",
    )
}

fn c8657_4_02(run: &Run) -> Judgement {
    let own = identity(run)?;
    run.each(["", "http-01,,dns-01", "x-1,dns-01"], |list| {
        let value = format!("{own}; validationmethods={list}");
        is_caa_refusal(with(run, &[(0, "issue", &value)])?, &format!("the methods {list:?}"))
    });
    let value = format!("{own}; validationmethods=x-1,http-01");
    allow(run, &[("an unknown method beside", &[(0, "issue", &value)])]);
    Ok(())
}

fn c8657_5_5_01(run: &Run) -> Judgement {
    zone(run)?;
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
