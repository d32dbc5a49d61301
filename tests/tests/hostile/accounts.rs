//! Keys and contacts that must not become accounts.

use serde_json::{Value, json};
use sigillo_tests::acme::{AccountKey, base64url};
use sigillo_tests::daemon::Daemon;

use super::faults::{Faults, REFUSED, counts};

fn remove(value: &mut Value, member: &str) {
    value.as_object_mut().expect("invariant: an object").remove(member);
}

/// Keys that must not become accounts.
fn keys(honest: &Value) -> Vec<(&'static str, Value, &'static [&'static str])> {
    const KEY: &[&str] = &["badPublicKey", "malformed"];
    const ANY: &[&str] = &["badPublicKey", "malformed", "badSignatureAlgorithm"];
    let with = |member: &str, value: Value| {
        let mut jwk = honest.clone();
        jwk[member] = value;
        jwk
    };
    let rsa = |octets: usize, last: u8, exponent: &str| {
        let mut modulus = vec![0xc5; octets];
        modulus[octets - 1] = last;
        json!({"kty": "RSA", "n": base64url(modulus), "e": exponent})
    };
    vec![
        ("J6 a point off the curve", with("y", base64url([1; 32]).into()), KEY),
        ("J6 the point at infinity", with("x", base64url([0; 32]).into()), KEY),
        ("a short coordinate", with("x", base64url([1; 31]).into()), KEY),
        ("a long coordinate", with("x", base64url([1; 33]).into()), KEY),
        ("another curve's name", with("crv", "P-384".into()), ANY),
        ("an unknown curve", with("crv", "secp256k1".into()), ANY),
        ("a private member", with("d", base64url([1; 32]).into()), KEY),
        (
            "no x",
            {
                let mut jwk = honest.clone();
                remove(&mut jwk, "x");
                jwk
            },
            KEY,
        ),
        (
            "J2 a shared secret",
            json!({"kty": "oct", "k": base64url([1; 32])}),
            ANY,
        ),
        (
            "J18 a low order point",
            json!({"kty": "OKP", "crv": "Ed25519", "x": base64url([0; 32])}),
            ANY,
        ),
        ("an unknown type", json!({"kty": "PQ", "x": ""}), ANY),
        ("a text as jwk", json!("key"), KEY),
        ("J16 RSA of 1024 bits", rsa(128, 0xc5, "AQAB"), ANY),
        ("J16 RSA with e = 1", rsa(256, 0xc5, "AQ"), ANY),
        ("J16 RSA with an even modulus", rsa(256, 0xc4, "AQAB"), ANY),
        ("J17 RSA of 32768 bits", rsa(4096, 0xc5, "AQAB"), ANY),
        (
            "RSA with a leading zero",
            json!({"kty": "RSA", "n": base64url([0; 256]), "e": "AQAB"}),
            ANY,
        ),
    ]
}

#[test]
fn refuses_each_bad_account() {
    const AGREED: &str = r#"{"termsOfServiceAgreed":true}"#;
    let mut daemon = Daemon::start();
    let mut acme = daemon.register().unwrap();
    let url = acme.url("newAccount");
    let before = counts(&daemon);
    let mut faults = Faults::default();
    for (name, jwk, problems) in keys(&acme.key.jwk()) {
        let alg = match jwk["kty"].as_str() {
            Some("RSA") => "RS256",
            Some("OKP") => "EdDSA",
            Some("oct") => "HS256",
            _ => "ES256",
        };
        let header = json!({"alg": alg, "nonce": acme.nonce().unwrap(), "url": url, "jwk": jwk});
        let body = acme.key.jws(&header.to_string(), AGREED.as_bytes()).to_string();
        match acme.send(&url, body.as_bytes()) {
            Ok(answer) => faults.compare(name, &answer, REFUSED, problems),
            Err(error) => faults.note(format!("{name}: {error}")),
        }
    }
    let with_kid = acme.post(&url, AGREED.as_bytes()).unwrap();
    faults.compare("kid at newAccount", &with_kid, REFUSED, &["malformed"]);
    // From here on as a stranger who shows a correct key.
    acme.key = AccountKey::generate();
    acme.kid.clear();
    const CONTACT: &[&str] = &["invalidContact", "unsupportedContact", "malformed"];
    for (name, payload, problems) in [
        ("an empty payload", "", &["malformed"][..]),
        ("a null payload", "null", &["malformed"]),
        (
            "a member twice",
            r#"{"termsOfServiceAgreed":true,"termsOfServiceAgreed":false}"#,
            &["malformed"],
        ),
        (
            "an unsupported contact",
            r#"{"contact":["tel:+391234"]}"#,
            &["unsupportedContact"],
        ),
        (
            "a contact with header fields",
            r#"{"contact":["mailto:a@b.test?subject=x"]}"#,
            CONTACT,
        ),
        (
            "a contact of two",
            r#"{"contact":["mailto:a@b.test,c@d.test"]}"#,
            CONTACT,
        ),
        ("a contact without domain", r#"{"contact":["mailto:a"]}"#, CONTACT),
        (
            "a contact with a line break",
            r#"{"contact":["mailto:a@b.test\r\nBcc: c"]}"#,
            CONTACT,
        ),
        ("contact no list", r#"{"contact":"mailto:a@b.test"}"#, &["malformed"]),
        (
            "nobody to return",
            r#"{"onlyReturnExisting":true}"#,
            &["accountDoesNotExist"],
        ),
    ] {
        match acme.post(&url, payload.as_bytes()) {
            Ok(answer) => faults.compare(name, &answer, REFUSED, problems),
            Err(error) => faults.note(format!("{name}: {error}")),
        }
    }
    assert!(daemon.alive(), "{}", daemon.log());
    assert_eq!(counts(&daemon), before, "a refused account was stored");
    faults.none();
}
