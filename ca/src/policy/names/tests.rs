//! Patterns and constraints, and what they hold.

use super::*;

fn name(text: &str) -> Name {
    Name::from_ip_value(text)
        .or_else(|_| Name::from_dns_value(text))
        .unwrap()
}

fn list(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn patterns_hold_what_they_say() {
    let cases: [(&str, &[&str], &[&str]); 6] = [
        (
            "example.org",
            &["example.org"],
            &["a.example.org", "*.example.org", "xexample.org"],
        ),
        (
            ".example.org",
            &["example.org", "a.b.example.org", "*.example.org"],
            &["xexample.org", "org", "*.org"],
        ),
        (
            "*.example.org",
            &["a.example.org", "*.example.org", "*.a.example.org"],
            &["example.org", "*.org"],
        ),
        ("10.0.0.0/8", &["10.1.2.3"], &["11.0.0.1", "a.example", "::a00:1"]),
        ("fd00::/8", &["fd12::1"], &["fe80::1", "10.0.0.1"]),
        ("*", &["localhost", "*.x", "::1"], &[]),
    ];
    for (pattern, inside, outside) in cases {
        let rules = NameRules::parse(&list(&[pattern]), &[]).unwrap();
        for text in inside {
            assert!(rules.permits(&name(text)).is_ok(), "{pattern} {text}");
        }
        for text in outside {
            let refusal = rules.permits(&name(text)).unwrap_err();
            assert_eq!(refusal.kind, ErrorType::RejectedIdentifier, "{pattern} {text}");
        }
    }
}

#[test]
fn nothing_written_permits_internal_names() {
    for text in ["localhost", "db", "*.internal", "10.0.0.1", "fd00::1"] {
        assert!(NameRules::default().permits(&name(text)).is_ok(), "{text}");
    }
}

#[test]
fn a_denied_name_is_not_reached_by_a_wildcard() {
    let rules = NameRules::parse(&[], &list(&["secret.example.org", "*.deny.org", "10.0.0.1"])).unwrap();
    for text in [
        "secret.example.org",
        "*.example.org",
        "a.deny.org",
        "*.deny.org",
        "10.0.0.1",
    ] {
        assert!(rules.permits(&name(text)).is_err(), "{text}");
    }
    for text in [
        "example.org",
        "a.example.org",
        "deny.org",
        "*.a.example.org",
        "10.0.0.2",
    ] {
        assert!(rules.permits(&name(text)).is_ok(), "{text}");
    }
}

#[test]
fn patterns_that_mean_nothing_are_refused() {
    for text in [
        "",
        ".",
        "*.",
        "a b",
        "10.1.2.3/8",
        "10.0.0.0/33",
        "*.10.0.0.1",
        "b\u{fc}cher.example",
    ] {
        assert!(text.parse::<Pattern>().is_err(), "{text}");
    }
}

#[test]
fn constraints_are_obeyed_for_names_and_addresses() {
    let constraints = NameConstraints::parse(&list(&[".corp", "!hr.corp", "10.0.0.0/8"])).unwrap();
    for text in ["corp", "a.corp", "*.a.corp", "10.1.1.1"] {
        assert!(constraints.permits(&name(text)).is_ok(), "{text}");
    }
    for text in [
        "hr.corp",
        "x.hr.corp",
        "*.corp",
        "acorp",
        "example.org",
        "11.0.0.1",
        "::1",
    ] {
        assert!(constraints.permits(&name(text)).is_err(), "{text}");
    }
}

#[test]
fn permitting_one_form_excludes_the_other() {
    let names = NameConstraints::parse(&list(&["corp"])).unwrap();
    assert!(names.permits(&name("10.0.0.1")).is_err() && names.permits(&name("::1")).is_err());
    let addresses = NameConstraints::parse(&list(&["10.0.0.0/8"])).unwrap();
    assert!(addresses.permits(&name("a.corp")).is_err());
    let excluded = NameConstraints::parse(&list(&["!corp"])).unwrap();
    assert!(excluded.permits(&name("10.0.0.1")).is_ok() && excluded.permits(&name("x.org")).is_ok());
    assert!(NameConstraints::parse(&list(&["*.corp"])).is_err());
}

#[test]
fn constraint_octets_need_a_mask_without_gaps() {
    let read = |octets: &[u8]| Network::from_constraint(octets).map(|network| network.to_string());
    assert_eq!(read(&[10, 0, 0, 0, 255, 0, 0, 0]).as_deref(), Some("10.0.0.0/8"));
    assert_eq!(read(&[0; 8]).as_deref(), Some("0.0.0.0/0"));
    assert_eq!(read(&[0; 32]).as_deref(), Some("::/0"));
    assert_eq!(read(&[10, 0, 0, 0, 255, 0, 255, 0]), None);
    assert_eq!(read(&[10, 0, 0, 0]), None);
}
