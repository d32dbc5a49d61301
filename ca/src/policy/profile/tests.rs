//! Profiles as they are written, and dates to the second.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn validity_counts_its_last_second_and_leap_days() {
    let cases = [
        ("90d", "2026-01-01T00:00:00Z", "2026-03-31T23:59:59Z"),
        ("1d", "2024-02-28T12:00:00Z", "2024-02-29T11:59:59Z"),
        ("1y", "2024-02-29T00:00:00Z", "2025-02-27T23:59:59Z"),
        ("4y", "2024-02-29T00:00:00Z", "2028-02-28T23:59:59Z"),
        ("1mo", "2026-01-31T00:00:00Z", "2026-02-27T23:59:59Z"),
        ("1mo", "2024-01-31T00:00:00Z", "2024-02-28T23:59:59Z"),
        ("3y", "2025-03-01T01:02:03Z", "2028-03-01T01:02:02Z"),
        ("1y6mo2d", "2025-08-30T00:00:00Z", "2027-03-01T23:59:59Z"),
        ("47d12h", "2026-01-01T00:00:00Z", "2026-02-17T11:59:59Z"),
        ("1s", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("20y", "2040-01-01T00:00:00Z", "2059-12-31T23:59:59Z"),
    ];
    for (span, first, last) in cases {
        let span = CalendarSpan::parse(span).unwrap();
        assert_eq!(span.last_second(at(first)), Some(at(last)), "{span} from {first}");
    }
    for text in ["", "90", "-1d", "0d", "1.5d", "10ms", "forever"] {
        assert!(CalendarSpan::parse(text).is_err(), "{text}");
    }
    let long = CalendarSpan::parse("9000y").unwrap();
    assert_eq!(long.last_second(at("2026-01-01T00:00:00Z")), None);
}

fn rule(longest: &str, dates: bool) -> ValidityRule {
    let raw = RawProfile {
        validity: Some("10d".into()),
        validity_max: Some(longest.into()),
        dates: Some(dates),
        ..RawProfile::default()
    };
    raw.check("test").unwrap().validity
}

#[test]
fn dates_are_met_exactly_or_refused() {
    let now = at("2026-06-01T12:00:00.5Z");
    let usual = rule("20d", true).decide(None, None, now).unwrap();
    assert_eq!(usual.not_before, at("2026-06-01T11:00:00Z"));
    assert_eq!(usual.not_after, at("2026-06-11T10:59:59Z"));

    let day = |day: &str| Some(at(&format!("2026-06-{day}Z")));
    let cases = [
        (
            day("01T12:00:00"),
            day("20T00:00:00"),
            Ok(("01T12:00:00", "20T00:00:00")),
        ),
        (day("02T00:00:00"), None, Ok(("02T00:00:00", "11T23:59:59"))),
        (None, day("05T00:00:00"), Ok(("01T11:00:00", "05T00:00:00"))),
        // The longest time from now on gives up the hour back.
        (None, day("21T11:59:59"), Ok(("01T12:00:00", "21T11:59:59"))),
        (
            None,
            day("21T12:00:00"),
            Err(DatesError::TooLong(at("2026-06-21T11:59:59Z"))),
        ),
        (day("04T00:00:00"), None, Err(DatesError::NotBefore)),
        (None, day("01T12:00:00"), Err(DatesError::NotAfter)),
        (day("02T00:00:00"), day("01T23:00:00"), Err(DatesError::NotAfter)),
        (None, day("05T00:00:00.5"), Err(DatesError::Fraction)),
    ];
    for (not_before, not_after, expected) in cases {
        let found = rule("20d", true).decide(not_before, not_after, now);
        let expected = expected.map(|(first, last)| Validity {
            not_before: day(first).unwrap(),
            not_after: day(last).unwrap(),
        });
        assert_eq!(found, expected, "{not_before:?} {not_after:?}");
    }
    let refused = rule("20d", false).decide(None, day("05T00:00:00"), now);
    assert_eq!(refused, Err(DatesError::NotTaken));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let cases = [
        ("validity = '90 parsecs'", ProfileError::Span("90 parsecs".into())),
        ("validity = '90d'\nvalidity_max = '89d'", ProfileError::LongestTooShort),
        ("backdate = '25h'", ProfileError::Backdate),
        ("backdate = '-1h'", ProfileError::Backdate),
        ("extended_key_usage = []", ProfileError::Empty("extended_key_usage")),
        (
            "extended_key_usage = ['OCSPSigning']",
            ProfileError::ExtendedUsage("OCSPSigning".into()),
        ),
        (
            "extended_key_usage = ['serverAuth', 'serverAuth']",
            ProfileError::Repeated("extended_key_usage"),
        ),
        ("key_usage = ['keyCertSign']", ProfileError::Usage("keyCertSign".into())),
        ("identifiers = ['email']", ProfileError::Identifier("email".into())),
        ("names_max = 0", ProfileError::NamesMax),
        ("names_max = 101", ProfileError::NamesMax),
        ("policies = ['1.2.x']", ProfileError::Policy("1.2.x".into())),
        ("policies = ['1.2.3', '1.2.3']", ProfileError::Repeated("policies")),
        ("deny = ['']", ProfileError::Pattern(PatternError(String::new()))),
        ("keys.kinds = []", ProfileError::Keys(KeysError::Empty)),
        ("ocsp = false\nmust_staple = 'allow'", ProfileError::StapleWithoutOcsp),
        ("ocsp = false\nmust_staple = 'require'", ProfileError::StapleWithoutOcsp),
    ];
    for (text, error) in cases {
        let raw: RawProfile = toml::from_str(text).unwrap();
        assert_eq!(raw.check("test"), Err(error), "{text}");
    }
    assert!(toml::from_str::<RawProfile>("validty = '90d'").is_err());
    assert!(toml::from_str::<RawProfile>("common_name = 'given'").is_err());
    for name in ["", "a b", Profile::OCSP_RESPONDER, Profile::CA_SERVER] {
        assert!(RawProfile::default().check(name).is_err(), "{name}");
    }
}

#[test]
fn a_profile_without_ocsp_issues_no_must_staple() {
    let rule = |text: &str| {
        toml::from_str::<RawProfile>(text)
            .unwrap()
            .check("test")
            .unwrap()
            .must_staple
    };
    assert_eq!(rule(""), MustStaple::Allow);
    assert_eq!(rule("ocsp = false"), MustStaple::Refuse);
    assert_eq!(rule("ocsp = false\nmust_staple = 'refuse'"), MustStaple::Refuse);
}

#[test]
fn the_default_profile_comes_first_and_can_be_written_anew() {
    let profiles = Profiles::check(&BTreeMap::new()).unwrap();
    let names: Vec<_> = profiles.iter().map(|profile| profile.name.as_str()).collect();
    assert_eq!(names, ["default", "client", "server", "shortlived"]);
    assert!(
        profiles
            .iter()
            .all(|profile| profile.crl && profile.ocsp && profile.issuer)
    );

    let raw: RawProfile = toml::from_str("validity = '1y'\nwildcard = false\nidentifiers = ['dns']").unwrap();
    let profiles = Profiles::check(&BTreeMap::from([("default".to_owned(), raw)])).unwrap();
    let profile = profiles.default_profile();
    assert_eq!(profile.validity.usual, CalendarSpan::parse("1y").unwrap());
    let name = |text: &str| {
        Name::from_ip_value(text)
            .or_else(|_| Name::from_dns_value(text))
            .unwrap()
    };
    assert!(profile.permits(&[name("a.example")]).is_ok());
    let refusals = profile
        .permits(&[name("a.example"), name("*.a.example"), name("10.0.0.1")])
        .unwrap_err();
    assert_eq!(refusals.len(), 2);
    assert!(profiles.get(Profile::OCSP_RESPONDER).is_none());
}
