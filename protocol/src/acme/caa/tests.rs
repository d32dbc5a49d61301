//! Rows of RFC 8659 and RFC 8657 as data.

use super::*;

const ACCOUNT: &str = "https://ca.example/acme/account/1";

fn ask(wildcard: bool, records: &[(u8, &str, &str)]) -> Result<(), CaaRefusal> {
    let records: Vec<_> = records
        .iter()
        .map(|(flags, tag, value)| CaaRecord {
            flags: *flags,
            tag: (*tag).to_owned(),
            value: value.as_bytes().to_vec(),
        })
        .collect();
    let names = ["ca.example".to_owned(), "other-name.example".to_owned()];
    let question = CaaQuestion {
        wildcard,
        issuer_names: &names,
        account_uri: Some(ACCOUNT),
        method: Some(ChallengeType::Dns01),
    };
    permits(&records, &question)
}

#[track_caller]
fn check(name: &str, records: &[(u8, &str, &str)], plain: bool, wildcard: bool) {
    assert_eq!(
        ask(false, records).is_ok(),
        plain,
        "{name}, plain name: {:?}",
        ask(false, records)
    );
    assert_eq!(
        ask(true, records).is_ok(),
        wildcard,
        "{name}, wildcard: {:?}",
        ask(true, records)
    );
}

#[test]
fn c8659_3_04_nothing_that_restricts_allows() {
    check("no record", &[], true, true);
    check("iodef only", &[(0, "iodef", "mailto:a@example.org")], true, true);
    check("critical iodef", &[(128, "iodef", "mailto:a@example.org")], true, true);
    check("unknown, not critical", &[(0, "tbs", "x")], true, true);
}

#[test]
fn c8659_4_1_01_an_unknown_critical_property_forbids() {
    for flags in [128, 129, 255] {
        check("critical", &[(flags, "tbs", "x")], false, false);
        check(
            "critical beside ours",
            &[(0, "issue", "ca.example"), (flags, "tbs", "")],
            false,
            false,
        );
    }
    for flags in [1, 2, 64, 127] {
        check("another bit", &[(flags, "tbs", "x")], true, true);
    }
    check("critical but known", &[(128, "issue", "ca.example")], true, true);
    let refusal = ask(false, &[(128, "tbs", "x")]);
    assert_eq!(refusal, Err(CaaRefusal::UnknownCritical { tag: "tbs".to_owned() }));
}

#[test]
fn c8659_4_1_02_tags_match_without_regard_to_case() {
    check("ISSUE", &[(0, "ISSUE", "foreign.example")], false, false);
    check("IssueWild", &[(0, "IssueWild", "foreign.example")], true, false);
    check("issuer name", &[(0, "issue", "CA.Example")], true, true);
}

#[test]
fn c8659_4_2_01_issue_decides() {
    check("ours", &[(0, "issue", "ca.example")], true, true);
    check("our other name", &[(0, "issue", "other-name.example")], true, true);
    check("foreign", &[(0, "issue", "foreign.example")], false, false);
    check(
        "a name that begins with ours",
        &[(0, "issue", "ca.example.org")],
        false,
        false,
    );
    check("below ours", &[(0, "issue", "sub.ca.example")], false, false);
    check(
        "both",
        &[(0, "issue", "foreign.example"), (0, "issue", "ca.example")],
        true,
        true,
    );
    check("nobody", &[(0, "issue", ";")], false, false);
    check("empty", &[(0, "issue", "")], false, false);
    check(
        "nobody and ours",
        &[(0, "issue", ";"), (0, "issue", "ca.example")],
        true,
        true,
    );
}

#[test]
fn c8659_4_2_02_a_value_off_the_grammar_allows_nobody() {
    for value in [
        "%%%%%",
        "ca.example.",
        ".ca.example",
        "ca..example",
        "ca.example; =x",
        "ca.example; x",
        "ca.example; a b=c",
        "ca.example; a=b;",
        "ca.example;; a=b",
        "ca.example a=b",
        "ca.example; a=b c",
        "ca.example; -a=b",
        "-ca.example",
        "ca-.example",
        "\"ca.example\"",
        "ca.example\n",
        "ca.example\0",
        "ca.exa mple",
        "c\u{e1}.example",
        "ca.example; a=\u{e1}",
        "ca.example, foreign.example",
        "https://ca.example",
    ] {
        check(value, &[(0, "issue", value)], false, false);
    }
    let raw = CaaRecord {
        flags: 0,
        tag: "issue".to_owned(),
        value: b"ca.example\xff".to_vec(),
    };
    assert_eq!(IssueValue::parse(&raw.value), IssueValue::default());
    for value in [
        "ca.example;",
        " \t ca.example\t ",
        "ca.example ; ",
        "ca.example;a=b",
        " ca.example\t; \t a \t= b ; c-d=e ",
        "ca.example; a=",
        "ca.example; a=b=c",
        "ca.example; accounturi2=x; policy=ev",
    ] {
        check(value, &[(0, "issue", value)], true, true);
    }
}

#[test]
fn c8659_4_3_issuewild_governs_wildcards_alone() {
    check("foreign issuewild", &[(0, "issuewild", "foreign.example")], true, false);
    check("own issuewild", &[(0, "issuewild", "ca.example")], true, true);
    check(
        "issue own, wild foreign",
        &[(0, "issue", "ca.example"), (0, "issuewild", "x.example")],
        true,
        false,
    );
    check(
        "issue foreign, wild own",
        &[(0, "issue", "x.example"), (0, "issuewild", "ca.example")],
        false,
        true,
    );
    check(
        "issue own, wild nobody",
        &[(0, "issue", "ca.example"), (0, "issuewild", ";")],
        true,
        false,
    );
    check(
        "a malformed issuewild is there",
        &[(0, "issue", "ca.example"), (0, "issuewild", "%")],
        true,
        false,
    );
}

#[test]
fn c8657_3_accounturi_limits_to_one_account() {
    let one = |value: &str| {
        let value = format!("ca.example; {value}");
        ask(false, &[(0, "issue", &value)])
    };
    assert_eq!(one(&format!("accounturi={ACCOUNT}")), Ok(()));
    assert_eq!(one(&format!("AccountURI = {ACCOUNT}")), Ok(()));
    let not_met = Err(CaaRefusal::NotMet {
        property: "issue",
        parameter: "accounturi",
    });
    for value in [
        "accounturi=https://ca.example/acme/account/2".to_owned(),
        format!("accounturi={ACCOUNT}/"),
        format!("accounturi={}", ACCOUNT.to_uppercase()),
        "accounturi=".to_owned(),
        "accounturi=nonsense".to_owned(),
        "ACCOUNTURI=nonsense".to_owned(),
        format!("accounturi={ACCOUNT}; accounturi={ACCOUNT}"),
        format!("accounturi={ACCOUNT}; accounturi=https://x.example"),
    ] {
        assert_eq!(one(&value), not_met, "{value}");
    }
    let foreign = format!("foreign.example; accounturi={ACCOUNT}");
    check(
        "8657-3-03 the issuer still counts",
        &[(0, "issue", &foreign)],
        false,
        false,
    );
    check(
        "another property without it",
        &[(0, "issue", "ca.example; accounturi=x"), (0, "issue", "ca.example")],
        true,
        true,
    );
}

#[test]
fn c8657_4_validationmethods_limits_the_method() {
    let one = |value: &str| {
        ask(
            false,
            &[(0, "issue", &format!("ca.example; validationmethods={value}"))],
        )
    };
    for value in ["dns-01", "http-01,dns-01", "x-1,dns-01", "ca-own,dns-01,tls-alpn-01"] {
        assert_eq!(one(value), Ok(()), "{value}");
    }
    let not_met = Err(CaaRefusal::NotMet {
        property: "issue",
        parameter: "validationmethods",
    });
    for value in [
        "",
        "http-01",
        "DNS-01",
        "dns-01,",
        ",dns-01",
        "dns-01,,http-01",
        "dns_01,dns-01",
        "dns-01x",
        "dns-01; validationmethods=dns-01",
    ] {
        assert_eq!(one(value), not_met, "{value}");
    }
}

#[test]
fn without_account_or_method_a_limited_property_is_not_met() {
    let names = ["ca.example".to_owned()];
    let question = CaaQuestion {
        wildcard: false,
        issuer_names: &names,
        account_uri: None,
        method: None,
    };
    for (value, allowed) in [
        ("ca.example", true),
        ("ca.example; accounturi=", false),
        ("ca.example; validationmethods=", false),
    ] {
        let record = CaaRecord {
            flags: 0,
            tag: "issue".to_owned(),
            value: value.as_bytes().to_vec(),
        };
        assert_eq!(permits(&[record], &question).is_ok(), allowed, "{value}");
    }
}
