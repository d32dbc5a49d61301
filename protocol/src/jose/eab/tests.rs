//! Bindings that hold, and every way in which one does not.

use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::*;
use crate::acme::problem::ErrorType;

const URL: &str = "https://ca.example/new-account";
const KEY: [u8; 64] = [7; 64];

fn account_key() -> Jwk {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    Jwk::from_json(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#)).unwrap()
}

fn other_key() -> Jwk {
    let (x, y) = (
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    );
    Jwk::from_json(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#)).unwrap()
}

/// Makes a binding with any header and payload, and a MAC that jsonwebtoken computes.
fn made(header: &Value, payload: &str) -> String {
    let (protected, payload) = (base64url::encode(header.to_string()), base64url::encode(payload));
    let input = format!("{protected}.{payload}");
    let mac = jsonwebtoken::crypto::sign(
        input.as_bytes(),
        &EncodingKey::from_secret(&KEY),
        jsonwebtoken::Algorithm::HS256,
    );
    json!({"protected": protected, "payload": payload, "signature": mac.unwrap()}).to_string()
}

fn header() -> Value {
    json!({"alg": "HS256", "kid": "kid-1", "url": URL})
}

#[test]
fn a_binding_holds_with_every_algorithm() {
    for alg in MacAlgorithm::ALL {
        let text = bind("kid-1", &KEY, alg, URL, &account_key());
        let binding = UnverifiedBinding::parse(&text).unwrap();
        assert_eq!((binding.kid(), binding.alg()), ("kid-1", alg));
        assert_eq!(binding.verify(&KEY, URL, &account_key()), Ok(()));
    }
}

#[test]
fn jsonwebtoken_makes_the_same_mac() {
    let text = made(&header(), &account_key().to_json());
    assert_eq!(
        UnverifiedBinding::parse(&text)
            .unwrap()
            .verify(&KEY, URL, &account_key()),
        Ok(())
    );
    let ours: Value = serde_json::from_str(&bind("kid-1", &KEY, MacAlgorithm::Hs256, URL, &account_key())).unwrap();
    let theirs: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(ours, theirs);
}

#[test]
fn a13_refuses_a_binding_of_the_wrong_form() {
    let with = |name: &str, value: Value| {
        let mut header = header();
        header[name] = value;
        header
    };
    let without = |name: &str| {
        let mut header = header();
        header.as_object_mut().unwrap().remove(name);
        header
    };
    let mut headers: Vec<Value> = ["none", "ES256", "RS256", "hs256", ""]
        .map(|alg| with("alg", json!(alg)))
        .to_vec();
    headers.extend(["alg", "kid", "url"].map(without));
    headers.extend(["alg", "kid", "url"].map(|name| with(name, json!(1))));
    headers.push(with("nonce", json!("abc")));
    headers.push(with("nonce", Value::Null));
    headers.push(with("jwk", json!({})));
    headers.push(with("crit", json!(["exp"])));
    headers.push(with("b64", json!(true)));
    for header in headers {
        let refused = UnverifiedBinding::parse(&made(&header, &account_key().to_json())).err();
        assert_eq!(refused.expect("refused").kind, ErrorType::Malformed, "{header}");
    }
    for payload in ["", "{}", "null", r#"{"kty":"oct","k":"AA"}"#, "\"x\""] {
        assert!(
            UnverifiedBinding::parse(&made(&header(), payload)).is_err(),
            "{payload}"
        );
    }
    for text in ["", "null", "{}", "\"x\"", "a.b.c"] {
        assert!(UnverifiedBinding::parse(text).is_err(), "{text}");
    }
}

#[test]
fn c8555_7_3_4_refuses_another_mac_url_or_key() {
    let binding = UnverifiedBinding::parse(&made(&header(), &account_key().to_json())).unwrap();
    let kind = |outcome: Result<(), Problem>| outcome.unwrap_err().kind;
    assert_eq!(
        kind(binding.verify(&[8; 64], URL, &account_key())),
        ErrorType::Unauthorized
    );
    assert_eq!(
        kind(binding.verify(&KEY, "https://ca.example/other", &account_key())),
        ErrorType::Malformed
    );
    assert_eq!(kind(binding.verify(&KEY, URL, &other_key())), ErrorType::Unauthorized);
    let mut cut: Value = serde_json::from_str(&made(&header(), &account_key().to_json())).unwrap();
    cut["signature"] = json!("");
    let cut = UnverifiedBinding::parse(&cut.to_string()).unwrap();
    assert_eq!(kind(cut.verify(&KEY, URL, &account_key())), ErrorType::Unauthorized);
}

#[test]
fn c8555_7_3_4_05_knows_the_same_key_in_another_dress() {
    let dressed = r#"{"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"sig","crv":"Ed25519","kty":"OKP"}"#;
    let binding = UnverifiedBinding::parse(&made(&header(), dressed)).unwrap();
    assert_eq!(binding.verify(&KEY, URL, &account_key()), Ok(()));
}

#[test]
fn c7518_3_2_01_refuses_a_key_shorter_than_the_hash() {
    for (alg, len) in [
        (MacAlgorithm::Hs256, 31),
        (MacAlgorithm::Hs384, 47),
        (MacAlgorithm::Hs512, 63),
    ] {
        let short = &KEY[..len];
        let binding = UnverifiedBinding::parse(&bind("k", short, alg, URL, &account_key())).unwrap();
        assert!(binding.verify(short, URL, &account_key()).is_err(), "{alg}");
        let enough = &KEY[..=len];
        let binding = UnverifiedBinding::parse(&bind("k", enough, alg, URL, &account_key())).unwrap();
        assert_eq!(binding.verify(enough, URL, &account_key()), Ok(()), "{alg}");
    }
}
