//! Orders that are signed rightly and ask for what cannot be.

use serde_json::{Value, json};
use sigillo_tests::daemon::Daemon;

use super::faults::{Faults, counts};

/// Payloads for a new order that are signed rightly.
fn orders() -> Vec<(&'static str, String, &'static [&'static str])> {
    const NAME: &[&str] = &["malformed", "rejectedIdentifier", "unsupportedIdentifier"];
    let dns = |value: &str| json!({"identifiers": [{"type": "dns", "value": value}]}).to_string();
    let ip = |value: &str| json!({"identifiers": [{"type": "ip", "value": value}]}).to_string();
    let long_label = format!("{}.test", "a".repeat(64));
    let long_name = format!("{}test", "abcdefgh.".repeat(28));
    let many: Vec<Value> = (0..1_000)
        .map(|n| json!({"type": "dns", "value": format!("n{n}.test")}))
        .collect();
    vec![
        ("an empty payload", String::new(), &["malformed"]),
        ("no identifiers", "{}".into(), &["malformed"]),
        ("an empty list", r#"{"identifiers":[]}"#.into(), &["malformed"]),
        ("a list as payload", "[]".into(), &["malformed"]),
        (
            "a list in the place of the payload's members",
            r#"[[{"type":"dns","value":"a.test"}]]"#.into(),
            &["malformed"],
        ),
        (
            "a list in the place of an identifier",
            r#"{"identifiers":[["dns","a.test"]]}"#.into(),
            &["malformed"],
        ),
        (
            "a text as identifiers",
            r#"{"identifiers":"a.test"}"#.into(),
            &["malformed"],
        ),
        ("no value", r#"{"identifiers":[{"type":"dns"}]}"#.into(), &["malformed"]),
        (
            "a number as value",
            r#"{"identifiers":[{"type":"dns","value":1}]}"#.into(),
            &["malformed"],
        ),
        (
            "J13 a member twice",
            r#"{"identifiers":[{"type":"dns","value":"a.test","value":"b.test"}]}"#.into(),
            &["malformed"],
        ),
        (
            "H4 a deep payload",
            format!("{}{}", "[".repeat(500), "]".repeat(500)),
            &["malformed"],
        ),
        (
            "an unknown type",
            r#"{"identifiers":[{"type":"email","value":"a@b.test"}]}"#.into(),
            &["unsupportedIdentifier"],
        ),
        ("an address as dns", dns("127.0.0.1"), NAME),
        ("N2 an empty label", dns("a..test"), NAME),
        ("N2 a leading dot", dns(".test"), NAME),
        ("N2 an empty name", dns(""), NAME),
        ("N2 a trailing dot", dns("a.test."), NAME),
        ("N2 a leading hyphen", dns("-a.test"), NAME),
        ("N2 a trailing hyphen", dns("a-.test"), NAME),
        ("N2 an underscore", dns("a_b.test"), NAME),
        ("N2 a long label", dns(&long_label), NAME),
        ("N2 a long name", dns(&long_name), NAME),
        ("N2 a numeric top label", dns("a.123"), NAME),
        ("N2 bad punycode", dns("xn--0.test"), NAME),
        ("N2 not ASCII", dns("bücher.test"), NAME),
        ("N3 the Kelvin sign", dns("\u{212a}.test"), NAME),
        ("N1 a NUL", dns("a.test\u{0}.evil.test"), NAME),
        ("N1 a line break", dns("a.test\n"), NAME),
        ("N1 a blank", dns(" a.test"), NAME),
        ("a bare star", dns("*"), NAME),
        ("two stars", dns("*.*.test"), NAME),
        ("a star inside", dns("a.*.test"), NAME),
        ("a star in a label", dns("a*.test"), NAME),
        ("a URL", dns("https://a.test/"), NAME),
        ("an address out of range", ip("300.1.1.1"), NAME),
        ("an address with leading zeros", ip("010.1.1.1"), NAME),
        ("an address with a zone", ip("fe80::1%eth0"), NAME),
        ("an address not in RFC 5952's form", ip("2001:DB8:0:0::1"), NAME),
        ("a name as address", ip("a.test"), NAME),
        (
            "a bad notBefore",
            r#"{"identifiers":[{"type":"dns","value":"a.test"}],"notBefore":"soon"}"#.into(),
            &["malformed"],
        ),
        (
            "an unknown profile",
            r#"{"identifiers":[{"type":"dns","value":"a.test"}],"profile":"nonsense"}"#.into(),
            &["invalidProfile"],
        ),
        (
            "a bad replaces",
            r#"{"identifiers":[{"type":"dns","value":"a.test"}],"replaces":"nonsense"}"#.into(),
            &["malformed"],
        ),
        (
            "too many names",
            json!({"identifiers": many}).to_string(),
            &["malformed", "rejectedIdentifier", "rateLimited"],
        ),
    ]
}

#[test]
fn refuses_each_fault_of_an_order() {
    let mut daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    let before = counts(&daemon);
    let mut faults = Faults::default();
    for (name, payload, problems) in orders() {
        match acme.post(&acme.url("newOrder"), payload.as_bytes()) {
            Ok(answer) => faults.compare(name, &answer, &[400, 403, 413, 429], problems),
            Err(error) => faults.note(format!("{name}: {error}")),
        }
    }
    assert!(daemon.alive(), "{}", daemon.log());
    assert_eq!(counts(&daemon), before, "a refused order was stored");
    faults.none();
}
