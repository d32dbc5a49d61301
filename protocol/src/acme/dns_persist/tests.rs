//! The records of the draft, and what people make of them.

use super::*;

const RSA_THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
const OF_NAME: &str = "5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw";
const OF_ANY: &str = "NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug";
const PREFIX: &str = "https://ca.example/hash/";
const NOW: i64 = 1_800_000_000;

fn applicant() -> Applicant {
    Applicant {
        account_url: "https://ca.example/acct/123".into(),
        hash_prefix: PREFIX.into(),
        thumbprints: vec![Thumbprint([9; 32]), RSA_THUMBPRINT.parse().unwrap()],
    }
}

fn ask(records: &[&str], at: &str, wide: bool) -> Result<Proof, Refusal> {
    let records: Vec<Vec<u8>> = records.iter().map(|record| record.as_bytes().to_vec()).collect();
    let question = Question {
        at: &at.parse().unwrap(),
        wide,
        issuer_names: &["ca.example".to_owned(), "authority.example".to_owned()],
        applicant: &applicant(),
        now: NOW,
    };
    find(&records, &question)
}

fn ours(rest: &str) -> String {
    format!("ca.example; accounturi={PREFIX}sha-256/{OF_NAME}{rest}")
}

#[test]
fn the_hashes_are_those_of_the_draft() {
    let (name, key) = ("example.com".parse().unwrap(), RSA_THUMBPRINT.parse().unwrap());
    let uri = |name| applicant().account_uri(name, key);
    assert_eq!(uri(Some(&name)), format!("{PREFIX}sha-256/{OF_NAME}"));
    assert_eq!(uri(None), format!("{PREFIX}sha-256/{OF_ANY}"));
}

#[test]
fn a_record_of_this_account_for_this_issuer_is_proof() {
    for record in [
        ours(""),
        format!("ca.example; accounturi={PREFIX}sha-256/{OF_ANY}"),
        ours("; unheardof=1"),
        ours(";policy=other"),
        ours("; persistUntil=1800000001"),
        ours("; persistUntil=99999999999999999999999"),
        ours("").replace("ca.example;", "CA.Example.;"),
        ours("").replace("ca.example;", " \tAuthority.example.\t;\t"),
        ours("").replace("accounturi", "AccountURI"),
    ] {
        let proof = ask(&[&record], "example.com", false);
        assert!(proof.is_ok(), "{record}: {proof:?}");
    }
}

#[test]
fn other_records_do_not_matter() {
    let own = ours("");
    let records = ["other.example; accounturi=x", "%%%", &own, "v=spf1 -all"];
    assert_eq!(ask(&records, "example.com", false), Ok(Proof { until: None }));
}

#[test]
fn only_the_hash_of_this_account_at_this_name_counts() {
    let other_key = applicant().account_uri(Some(&"example.com".parse().unwrap()), Thumbprint([1; 32]));
    for (at, uri) in [
        ("example.com", other_key),
        ("www.example.com", format!("{PREFIX}sha-256/{OF_NAME}")),
        ("example.com", format!("{PREFIX}sha-256/{}", OF_NAME.to_lowercase())),
    ] {
        let verdict = ask(&[&format!("ca.example; accounturi={uri}")], at, false);
        // A hash in another case is another hash, or none.
        assert!(
            matches!(
                verdict,
                Err(Refusal::Mismatch(Mismatch::Account) | Refusal::Malformed { .. })
            ),
            "{uri}: {verdict:?}"
        );
    }
}

#[test]
fn what_cannot_be_an_account_here_is_told_as_such() {
    for uri in [
        "https://ca.example/acct/123".to_owned(),
        format!("{PREFIX}sha-256/{}", &OF_NAME[..42]),
        format!("{PREFIX}sha-256/{OF_NAME}="),
        format!("{PREFIX}sha-256{OF_NAME}"),
        format!("{PREFIX}SHA-256/{OF_NAME}"),
        format!("{PREFIX}sha-512/{OF_NAME}"),
        format!("https://CA.example/hash/sha-256/{OF_NAME}"),
        String::new(),
    ] {
        let refusal = ask(&[&format!("ca.example; accounturi={uri}")], "example.com", false).expect_err(&uri);
        assert!(refusal.is_about_syntax(), "{uri}: {refusal}");
    }
}

#[test]
fn only_the_wildcard_policy_reaches_further() {
    for (policy, reaches) in [
        ("; policy=wildcard", true),
        ("; Policy=WildCard", true),
        ("", false),
        ("; policy=wildcards", false),
        ("; policy=", false),
        ("; unheardof=wildcard", false),
    ] {
        assert_eq!(ask(&[&ours(policy)], "example.com", true).is_ok(), reaches, "{policy}");
        assert!(ask(&[&ours(policy)], "example.com", false).is_ok(), "{policy}");
    }
}

#[test]
fn time_ends_a_record() {
    for until in ["1800000000", "0", "-1", "-99999999999999999999999"] {
        let verdict = ask(&[&ours(&format!("; persistUntil={until}"))], "example.com", false);
        assert_eq!(verdict, Err(Refusal::Mismatch(Mismatch::Over)), "{until}");
    }
    let two = [ours("; persistUntil=1800000009"), ours("; persistUntil=1800000007")];
    let found = ask(&[&two[0], &two[1]], "example.com", false);
    assert_eq!(found, Ok(Proof { until: Some(NOW + 9) }), "the longest counts");
}

#[test]
fn what_cannot_be_read_is_told_as_such() {
    for record in [
        ours("; persistUntil=1e9"),
        ours("; persistUntil=0x1"),
        ours("; persistUntil=+1"),
        ours("; persistUntil="),
        ours("; persistUntil=2000000000; persistUntil=2000000001"),
        ours("; accounturi=x"),
        ours("; policy=wildcard; policy=x"),
        ours(";"),
        ours("; a b=c"),
        "ca.example".into(),
        "ca.example;".into(),
        "ca.example; accounturi".into(),
        "%%%%".into(),
        String::new(),
        "ca_example; accounturi=x".into(),
    ] {
        let refusal = ask(&[&record], "example.com", false).expect_err(&record);
        assert!(refusal.is_about_syntax(), "{record}: {refusal}");
    }
}

#[test]
fn the_most_telling_refusal_is_given() {
    assert_eq!(ask(&[], "example.com", false), Err(Refusal::Absent));
    let foreign = "other.example; accounturi=x";
    let verdict = ask(&[foreign], "example.com", false).unwrap_err();
    assert!(matches!(verdict, Refusal::OtherIssuer { .. }) && !verdict.is_about_syntax());
    let over = ours("; persistUntil=1");
    let verdict = ask(&[foreign, &over, "%"], "example.com", false);
    assert_eq!(verdict, Err(Refusal::Mismatch(Mismatch::Over)));
}

#[test]
fn nothing_in_a_record_is_too_much() {
    let long = "a".repeat(70_000);
    for record in [
        vec![0xff; 300],
        vec![0; 300],
        long.clone().into_bytes(),
        format!("ca.example; {long}").into_bytes(),
        ";".repeat(60_000).into_bytes(),
        format!("ca.example{}", "; a=b".repeat(10_000)).into_bytes(),
        "ca.example; accounturi=\u{212a}".into(),
    ] {
        let question = Question {
            at: &"example.com".parse().unwrap(),
            wide: false,
            issuer_names: &["ca.example".to_owned()],
            applicant: &applicant(),
            now: NOW,
        };
        let refusal = find(&[record], &question).unwrap_err();
        assert!(refusal.to_string().len() < 400, "{refusal}");
    }
}
