//! What is a name and what is none.

use super::*;

fn dns(value: &str) -> Result<Name, NameError> {
    Name::from_dns_value(value)
}

#[test]
fn accepts_and_lowers_dns_names() {
    let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    assert_eq!(long.len(), MAX_NAME);
    for (value, name) in [
        ("example.org", "example.org"),
        ("EXAMPLE.Org", "example.org"),
        ("localhost", "localhost"),
        ("1.2.3.4.example", "1.2.3.4.example"),
        ("a-b.0x7f.internal", "a-b.0x7f.internal"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("xn--bcher-kva.xn--p1ai", "xn--bcher-kva.xn--p1ai"),
        ("*.Example.org", "*.example.org"),
        (&long, &long),
    ] {
        assert_eq!(dns(value).map(|n| n.to_string()), Ok(name.to_owned()), "{value}");
    }
}

#[test]
fn n1_n2_refuses_what_is_no_dns_name() {
    let long_label = format!("{}.example", "a".repeat(64));
    let long_name = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(62));
    for value in [
        "",
        ".",
        "..",
        ".example.org",
        "example..org",
        "example.org.",
        "exa mple.org",
        "example.org\0",
        "exa\0mple.org",
        "example.org\n",
        "_acme.example.org",
        "-a.example",
        "a-.example",
        "a.example-",
        "example.123",
        "123",
        "1.2.3",
        "256.1.1.1",
        "0x7f.1",
        "ab--cd.example",
        "a.*.example",
        "*",
        "*.",
        "**.example",
        "*.*.example",
        "*a.example",
        "*.1.2.3.4",
        "*.example.",
        "http://example.org",
        "example.org:443",
        "user@example.org",
        "a,b.example",
        &long_label,
        &long_name,
    ] {
        assert!(dns(value).is_err(), "{value:?} gave {:?}", dns(value));
    }
}

#[test]
fn c8555_7_1_4_05_refuses_malformed_a_labels() {
    for value in [
        "xn--.example",         // nothing behind the prefix
        "xn--a.example",        // no code point
        "xn--a-.example",       // hyphen at the end
        "xn--example-.org",     // decodes to ASCII alone
        "xn--99999999.example", // overflows
        "xn--mnchen-3yA-.example",
        "xn--xn--a-8ya.example",
        "xn--ls8h=.example",
        "xn--zca-.example",
        "xn--aa-----.example",
    ] {
        assert!(dns(value).is_err(), "{value:?} gave {:?}", dns(value));
    }
    let lowered = dns("XN--Mnchen-3YA.example").map(|name| name.to_string());
    assert_eq!(
        lowered,
        Ok("xn--mnchen-3ya.example".to_owned()),
        "its case does not matter"
    );
}

#[test]
fn n3_refuses_letters_that_only_lower_to_ascii() {
    for value in [
        "\u{212a}elvin.example",
        "m\u{fc}nchen.example",
        "example\u{3002}org",
        "ex\u{430}mple.org",
    ] {
        assert_eq!(dns(value), Err(NameError::NotAscii), "{value}");
    }
}

#[test]
fn names_the_type_ip_when_an_address_is_ordered_as_dns() {
    for value in ["192.0.2.1", "2001:db8::1", "::1"] {
        let refused = Identifier::dns(value).check().unwrap_err();
        assert_eq!(refused.kind, ErrorType::Malformed);
        assert!(refused.detail.contains("type ip"), "{}", refused.detail);
        assert_eq!(refused.identifier, Some(Identifier::dns(value)));
    }
}

#[test]
fn c8738_3_02_takes_only_the_canonical_form_of_an_address() {
    for value in [
        "192.0.2.1",
        "0.0.0.0",
        "2001:db8::1",
        "::",
        "::1",
        "2001:db8:0:1:1:1:1:1",
        "::ffff:192.0.2.1",
    ] {
        let name = Identifier {
            kind: IP.into(),
            value: value.into(),
        }
        .check()
        .unwrap();
        assert_eq!(name.to_string(), value);
        assert_eq!(name.identifier().value, value);
    }
    for value in [
        "",
        "127.1",
        "0177.0.0.1",
        "01.2.3.4",
        "1.2.3.4 ",
        "1.2.3.4.5",
        "0x7f.0.0.1",
        "2130706433",
        "256.0.0.1",
        "2001:DB8::1",
        "2001:0db8::1",
        "2001:db8:0:0:0:0:0:1",
        "[::1]",
        "fe80::1%eth0",
        "::ffff:c000:201",
        "2001:db8::0:1",
        "1:2:3:4:5:6::8",
        "1::2::3",
        "::1/128",
        "example.org",
        "\u{661}.2.3.4",
    ] {
        let refused = Identifier {
            kind: IP.into(),
            value: value.into(),
        }
        .check()
        .unwrap_err();
        assert_eq!(refused.kind, ErrorType::Malformed, "{value:?}");
    }
}

#[test]
fn refuses_an_unknown_type() {
    for kind in ["", "DNS", "email", "TNAuthList"] {
        let identifier = Identifier {
            kind: kind.into(),
            value: "example.org".into(),
        };
        assert_eq!(identifier.check().unwrap_err().kind, ErrorType::UnsupportedIdentifier);
    }
}

#[test]
fn a_wildcard_is_authorized_by_its_base() {
    let name = dns("*.example.org").unwrap();
    assert!(name.is_wildcard());
    assert_eq!(name.identifier(), Identifier::dns("*.example.org"));
    assert_eq!(name.authorization_identifier(), Identifier::dns("example.org"));
    assert_eq!(name.base(), dns("example.org").unwrap());
    assert_eq!(name.dns_name().unwrap().as_str(), "example.org");
}

#[test]
fn travels_as_an_identifier_and_is_checked_on_the_way_in() {
    let name: Name = "*.Example.org".parse().unwrap();
    let text = serde_json::to_string(&name).unwrap();
    assert_eq!(text, r#"{"type":"dns","value":"*.example.org"}"#);
    assert_eq!(serde_json::from_str::<Name>(&text).unwrap(), name);
    assert!(serde_json::from_str::<Name>(r#"{"type":"dns","value":"a b"}"#).is_err());
    assert!(serde_json::from_str::<DnsName>(r#""a..b""#).is_err());
}

#[test]
fn a_person_may_type_an_address_in_any_form() {
    assert_eq!("2001:DB8::1".parse::<Name>().unwrap().to_string(), "2001:db8::1");
    assert_eq!("192.0.2.1".parse::<Name>().unwrap().identifier().kind, IP);
}

#[test]
fn climbs_to_the_parent() {
    let mut name: DnsName = "a.b.example".parse().unwrap();
    let mut seen = vec![name.to_string()];
    while let Some(parent) = name.parent() {
        seen.push(parent.to_string());
        name = parent;
    }
    assert_eq!(seen, ["a.b.example", "b.example", "example"]);
}
