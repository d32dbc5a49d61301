//! Requests that are read, and every form that is refused.

use serde_json::json;

use super::*;
use crate::jose::SigningKey;

const URL: &str = "https://ca.example/new-order";

fn key() -> SigningKey {
    SigningKey::from_pkcs8(&rcgen::KeyPair::generate().unwrap().serialize_der()).unwrap()
}

/// Signs any header text over any payload.
fn signed(key: &SigningKey, header: &str, payload: &[u8]) -> Value {
    let (protected, payload) = (base64url::encode(header), base64url::encode(payload));
    let signature = key.sign(format!("{protected}.{payload}").as_bytes()).unwrap();
    json!({"protected": protected, "payload": payload, "signature": base64url::encode(signature)})
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": "https://ca.example/account/1", "nonce": "abc_-9", "url": URL})
}

fn parse(body: &Value) -> Result<UnverifiedJws, JwsError> {
    UnverifiedJws::parse(body.to_string().as_bytes())
}

#[track_caller]
fn refused(body: &Value, kind: &ErrorType) {
    let error = parse(body).expect_err("refused");
    let problem = error.problem();
    assert_eq!((&problem.kind, problem.status), (kind, Some(400)), "{body}: {error}");
}

#[test]
fn reads_and_verifies_a_request() {
    let key = key();
    let request = parse(&signed(&key, &header().to_string(), b"{\"a\":1}")).unwrap();
    assert_eq!(
        (request.alg(), request.nonce(), request.url()),
        (Algorithm::Es256, Some("abc_-9"), URL)
    );
    assert_eq!(request.key(), &KeyRef::Kid("https://ca.example/account/1".to_owned()));
    let verified = request.verify(key.jwk()).unwrap();
    assert_eq!(
        (verified.payload(), verified.is_post_as_get()),
        (&b"{\"a\":1}"[..], false)
    );
}

#[test]
fn c7515_5_2_01_the_received_text_is_what_was_signed() {
    let key = key();
    let spaced = format!(
        "{{ \"url\" :\t\"{URL}\",\n \"x-foo\":[1,{{}}], \"typ\":\"JWT\", \"cty\":null, \"jku\":\"https://evil.example\",\
         \"x5u\":\"https://evil.example\", \"x5c\":[], \"\\u0061lg\" : \"ES256\", \"kid\":\"k\", \"nonce\":\"n\" }}"
    );
    let mut body = signed(&key, &spaced, b"");
    body["x"] = json!({"ignored": true});
    let verified = parse(&body).unwrap().verify(key.jwk()).unwrap();
    assert!(verified.is_post_as_get());
}

#[test]
fn c8555_6_2_02_refuses_every_flipped_bit() {
    let key = key();
    let body = signed(&key, &header().to_string(), b"{\"a\":1}");
    for name in ["protected", "payload", "signature"] {
        let octets = base64url::decode(body[name].as_str().unwrap()).unwrap();
        for at in 0..octets.len() {
            let mut flipped = octets.clone();
            flipped[at] ^= 1;
            let mut body = body.clone();
            body[name] = json!(base64url::encode(flipped));
            let outcome = parse(&body).and_then(|request| request.verify(key.jwk()));
            assert!(outcome.is_err(), "{name} {at}");
        }
    }
}

#[test]
fn c8555_6_2_12_verifies_under_no_other_key() {
    let (key, other) = (key(), key());
    let request = parse(&signed(&key, &header().to_string(), b"")).unwrap();
    assert_eq!(request.verify(other.jwk()), Err(JwsError::Signature));
    let mut shown = json!({"alg": "ES256", "nonce": "n", "url": URL});
    shown["jwk"] = serde_json::from_str(&other.jwk().to_json()).unwrap();
    let request = parse(&signed(&key, &shown.to_string(), b"")).unwrap();
    assert_eq!(request.verify_embedded(), Err(JwsError::Signature));
    let request = parse(&signed(&key, &shown.to_string(), b"")).unwrap();
    assert_eq!(
        request.verify(key.jwk()),
        Err(JwsError::Signature),
        "the header shows another key"
    );
    let request = parse(&signed(&key, &header().to_string(), b"")).unwrap();
    assert!(matches!(request.verify_embedded(), Err(JwsError::Malformed(_))));
}

#[test]
fn j5_j15_takes_only_the_flattened_serialization() {
    let key = key();
    let body = signed(&key, &header().to_string(), b"{}");
    let (protected, payload, signature) = (&body["protected"], &body["payload"], &body["signature"]);
    let one = json!({"protected": protected, "signature": signature});
    for bad in [
        json!({"payload": payload, "signatures": [one]}),
        json!({"payload": payload, "signatures": [one, one]}),
        json!({"protected": protected, "payload": payload, "signature": signature, "signatures": [one]}),
        json!({"protected": protected, "payload": payload, "signature": signature, "signatures": null}),
        json!({"protected": protected, "payload": payload, "signature": signature, "header": {}}),
        json!({"protected": protected, "payload": payload, "signature": signature, "header": {"x": 1}}),
        json!({"protected": protected, "signature": signature}),
        json!({"protected": protected, "payload": null, "signature": signature}),
        json!({"protected": protected, "payload": {}, "signature": signature}),
        json!({"protected": protected, "payload": payload}),
        json!({"payload": payload, "signature": signature}),
        json!({"protected": header(), "payload": payload, "signature": signature}),
        json!({"protected": "", "payload": payload, "signature": signature}),
        json!([]),
        json!("text"),
        json!({"identifiers": []}),
    ] {
        refused(&bad, &ErrorType::Malformed);
    }
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let compact = format!("{}.{}.{}", text(protected), text(payload), text(signature));
    let twice =
        format!(r#"{{"protected":{protected},"payload":{payload},"signature":{signature},"payl\u006fad":{payload}}}"#);
    let behind = format!("{body}ABCD");
    for bad in [
        "",
        "not JSON",
        "{}",
        "{'a':1}",
        &compact,
        &twice,
        &behind,
        "{\"payload\":NaN}",
    ] {
        assert!(
            matches!(UnverifiedJws::parse(bad.as_bytes()), Err(JwsError::Malformed(_))),
            "{bad}"
        );
    }
    assert!(UnverifiedJws::parse(b"\xff\xfe{}").is_err());
}

#[test]
fn j14_refuses_lenient_base64url() {
    let key = key();
    let body = signed(&key, &header().to_string(), b"{}!");
    for name in ["protected", "payload", "signature"] {
        let text = body[name].as_str().unwrap();
        let last = text.len() - 1;
        for dressed in [
            format!("{text}="),
            format!("{text}=="),
            format!("{text}\n"),
            format!(" {text}"),
            format!("{}+{}", &text[..last], &text[last..]),
            format!("{}/{}", &text[..last], &text[last..]),
        ] {
            // The signature is made over the altered text, so that only the text can be wrong.
            let mut body = body.clone();
            body[name] = json!(dressed);
            if name != "signature" {
                let input = format!(
                    "{}.{}",
                    body["protected"].as_str().unwrap(),
                    body["payload"].as_str().unwrap()
                );
                body["signature"] = json!(base64url::encode(key.sign(input.as_bytes()).unwrap()));
            }
            refused(&body, &ErrorType::Malformed);
        }
    }
}

#[test]
fn c8555_6_2_06_refuses_a_header_that_lacks_or_doubles_a_parameter() {
    let key = key();
    let with = |name: &str, value: Value| {
        let mut header = header();
        header[name] = value;
        header.to_string()
    };
    let without = |name: &str| {
        let mut header = header();
        header.as_object_mut().unwrap().remove(name);
        header.to_string()
    };
    let jwk: Value = serde_json::from_str(&key.jwk().to_json()).unwrap();
    let mut headers = vec![without("alg"), without("url"), without("kid"), with("jwk", jwk.clone())];
    for name in ["alg", "kid", "nonce", "url"] {
        headers.extend([json!(1), json!(["x"]), json!({}), Value::Null, json!(true)].map(|value| with(name, value)));
    }
    headers.extend(["", "abc=", "a+b/", "a b", "a\n", "\u{e4}"].map(|nonce| with("nonce", json!(nonce))));
    headers.extend([json!(["x-foo"]), json!([]), json!(["alg"]), json!("x"), Value::Null].map(|c| with("crit", c)));
    headers.extend([json!(false), json!(true)].map(|b64| with("b64", b64)));
    headers.push(header().to_string().replacen('{', r#"{"alg":"ES256","#, 1));
    headers.push(
        header()
            .to_string()
            .replacen('{', r#"{"u\u0072l":"https://x.example","#, 1),
    );
    headers.push(header().to_string().replacen("\"alg\"", "\"ALG\"", 1));
    headers.push(format!("{}x", header()));
    headers.extend(["[]", "null", "", "\"x\""].map(str::to_owned));
    for shown in [json!("text"), json!([]), json!(1), Value::Null] {
        let mut header = json!({"alg": "ES256", "nonce": "n", "url": URL});
        header["jwk"] = shown;
        headers.push(header.to_string());
    }
    for header in headers {
        refused(&signed(&key, &header, b"{}"), &ErrorType::Malformed);
    }
    let request = parse(&signed(&key, &without("nonce"), b"{}")).unwrap();
    assert_eq!(
        request.nonce(),
        None,
        "a missing nonce is answered with badNonce elsewhere"
    );
}

#[test]
fn j1_j2_refuses_unsupported_algorithms_and_lists_the_others() {
    let key = key();
    for alg in [
        "none", "HS256", "HS512", "ES512", "ES256K", "RS384", "PS512", "es256", "Ed25519", "ES999", "",
    ] {
        let mut header = header();
        header["alg"] = json!(alg);
        let mut body = signed(&key, &header.to_string(), b"{}");
        refused(&body, &ErrorType::BadSignatureAlgorithm);
        body["signature"] = json!("");
        refused(&body, &ErrorType::BadSignatureAlgorithm);
        let listed = parse(&body).unwrap_err().problem().algorithms.unwrap();
        assert_eq!(listed, ["ES256", "ES384", "EdDSA", "RS256", "PS256"]);
    }
}

#[test]
fn c8555_6_2_15_refuses_a_key_that_is_weak_or_of_another_type() {
    let key = key();
    let jwk: Value = serde_json::from_str(&key.jwk().to_json()).unwrap();
    let (mut off_curve, mut private) = (jwk.clone(), jwk.clone());
    off_curve["y"] = jwk["x"].clone();
    private["d"] = jwk["x"].clone();
    for (alg, shown) in [
        ("ES384", jwk.clone()),
        ("EdDSA", jwk.clone()),
        ("RS256", jwk.clone()),
        ("ES256", off_curve),
        ("ES256", private),
        ("ES256", json!({"kty": "oct", "k": "AAAA"})),
        ("ES256", json!({})),
        ("EdDSA", json!({"kty": "OKP", "crv": "Ed448", "x": "AAAA"})),
        (
            "EdDSA",
            json!({"kty": "OKP", "crv": "X25519", "x": base64url::encode([9; 32])}),
        ),
        (
            "RS256",
            json!({"kty": "RSA", "n": base64url::encode([0xff; 128]), "e": "AQAB"}),
        ),
    ] {
        let header = json!({"alg": alg, "nonce": "n", "url": URL, "jwk": shown});
        refused(&signed(&key, &header.to_string(), b"{}"), &ErrorType::BadPublicKey);
    }
    let mut header = header();
    header["alg"] = json!("RS256");
    let error = parse(&signed(&key, &header.to_string(), b"{}"))
        .unwrap()
        .verify(key.jwk())
        .unwrap_err();
    assert_eq!(
        error.problem().kind,
        ErrorType::BadPublicKey,
        "an account's key and another type's algorithm"
    );
    assert!(error.to_string().contains("ES256"), "{error}");
}

#[test]
fn an_inner_jws_has_no_nonce() {
    let key = key();
    let inner = sign(&key, None, URL, SignWith::Jwk, b"{}").unwrap();
    let verified = UnverifiedJws::parse(inner.as_bytes())
        .unwrap()
        .verify_embedded()
        .unwrap();
    assert_eq!(verified.nonce(), None);
    assert!(!inner.contains("nonce") && !inner.contains('='));
}

#[test]
fn spoilt_bodies_never_panic() {
    let key = key();
    let body = sign(&key, Some("n"), URL, SignWith::Jwk, b"{}").unwrap().into_bytes();
    for at in 0..body.len() {
        for bit in [1, 4, 0x20, 0x80] {
            let mut spoilt = body.clone();
            spoilt[at] ^= bit;
            let outcome = UnverifiedJws::parse(&spoilt).and_then(UnverifiedJws::verify_embedded);
            // Only a member that is ignored may change without harm, and this body has none.
            assert!(outcome.is_err(), "{}", String::from_utf8_lossy(&spoilt));
        }
        assert!(UnverifiedJws::parse(&body[..at]).is_err());
    }
}
