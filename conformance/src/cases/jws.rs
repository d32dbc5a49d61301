//! RFC 8555 section 6.2: the JWS around every request.

use super::transport::no_orders;
use crate::base64;
use crate::case::{Case, Judgement, OrFail, ensure, must, must_read, should};
use crate::http::{Answer, Request};
use crate::issue::identifiers;
use crate::keys::{Key, random};
use crate::suite::{Account, Run, refused};
use crate::weak::RawRsa;
use crate::wire::{Draft, Signed, Signer};
use serde_json::{Value, json};

pub(super) const CASES: &[Case] = &[
    must!(c8555_6_2_01, "A body that is not a JWS is refused."),
    must!(c8555_6_2_02, "Nothing happens before the signature is verified."),
    must!(c8555_6_2_03, "Only flattened JSON with one signature is a request."),
    must!(c8555_6_2_04, "Unencoded and detached payloads are refused."),
    must!(c8555_6_2_05, "An unprotected header is refused."),
    must!(c8555_6_2_06, "alg, nonce, url and one of jwk and kid are all needed."),
    must!(c8555_6_2_07, "none and MAC algorithms are refused."),
    must!(c8555_6_2_08, "ES256 works from account to certificate."),
    should!(c8555_6_2_09, "EdDSA with Ed25519 works from account to certificate."),
    must!(c8555_6_2_10, "jwk and kid together are refused."),
    must!(c8555_6_2_11, "jwk is for newAccount, kid for the rest."),
    must!(c8555_6_2_12, "The key that is named is the key that verifies."),
    must_read!(c8555_6_2_13, "A kid that is no account here is refused."),
    must!(
        c8555_6_2_14,
        "An unsupported alg is badSignatureAlgorithm with the list of good ones."
    ),
    must!(c8555_6_2_15, "A key that cannot be accepted is badPublicKey."),
    must!(c8555_6_2_16, "Another Content-Type is 415."),
];

fn order_payload(run: &Run) -> String {
    json!({"identifiers": identifiers(&[run.name("jws")])}).to_string()
}

/// A sound newOrder that a case then spoils.
pub(super) fn new_order(run: &Run, account: &Account) -> Judgement<(String, Draft)> {
    let url = run.url("newOrder")?;
    let draft = run.draft(account.signer(), &url, order_payload(run))?;
    Ok((url, draft))
}

fn c8555_6_2_01(run: &Run) -> Judgement {
    let url = run.url("newOrder")?;
    run.each(
        [
            order_payload(run),
            String::new(),
            "not json".into(),
            "[]".into(),
            "null".into(),
            "\"x\"".into(),
        ],
        |body| {
            run.check(refused(
                &run.post_body(&url, body.clone())?,
                "",
                &format!("the body {body:?}"),
            ));
            Ok(())
        },
    );
    Ok(())
}

fn c8555_6_2_02(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let flip = |text: &str| {
        let mut octets = base64::from_url(text).unwrap_or_default();
        let middle = octets.len() / 2;
        octets[middle] ^= 1;
        base64::url(octets)
    };
    run.each(["signature", "payload", "protected"], |part| {
        let (url, draft) = new_order(run, &account)?;
        let mut signed = draft.sign(&account.key);
        match part {
            "signature" => signed.signature = flip(&signed.signature),
            "payload" => {
                signed.payload = base64::url(order_payload(run));
            }
            _ => signed.protected = base64::url(Value::Object(draft.clone().with("x", 1).header).to_string()),
        }
        run.check(refused(
            &run.post_signed(&url, &signed)?,
            "",
            &format!("an altered {part}"),
        ));
        Ok(())
    });
    no_orders(run, &account)
}

fn c8555_6_2_03(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    type Shape = fn(&Signed) -> String;
    let shapes: [(&str, Shape); 4] = [
        ("compact form", |s| {
            format!("{}.{}.{}", s.protected, s.payload, s.signature)
        }),
        ("general form", |s| {
            let one = json!({"protected": s.protected, "signature": s.signature});
            json!({"payload": s.payload, "signatures": [one]}).to_string()
        }),
        ("general form with two signatures", |s| {
            let one = json!({"protected": s.protected, "signature": s.signature});
            json!({"payload": s.payload, "signatures": [one, one]}).to_string()
        }),
        ("flattened form with signatures added", |s| {
            let mut body = s.json();
            body["signatures"] = json!([{"protected": s.protected, "signature": s.signature}]);
            body.to_string()
        }),
    ];
    run.each(shapes, |(what, shape)| {
        let (url, draft) = new_order(run, &account)?;
        run.check(refused(
            &run.post_body(&url, shape(&draft.sign(&account.key)))?,
            "",
            what,
        ));
        Ok(())
    });
    no_orders(run, &account)
}

fn c8555_6_2_04(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let (url, draft) = new_order(run, &account)?;
    let draft = draft.with("b64", false).with("crit", json!(["b64"]));
    let protected = base64::url(Value::Object(draft.header.clone()).to_string());
    let payload = String::from_utf8_lossy(&draft.payload).into_owned();
    let signed = Signed::over(protected, payload, |input| account.key.sign(input));
    run.check(refused(&run.post_signed(&url, &signed)?, "", "an unencoded payload"));
    let (url, draft) = new_order(run, &account)?;
    let signed = draft.with("b64", false).with("crit", json!(["b64"])).sign(&account.key);
    run.check(refused(
        &run.post_signed(&url, &signed)?,
        "",
        "b64 false over an encoded payload",
    ));
    let (url, draft) = new_order(run, &account)?;
    let mut body = draft.sign(&account.key).json();
    body.as_object_mut().map(|body| body.remove("payload"));
    run.check(refused(
        &run.post_body(&url, body.to_string())?,
        "",
        "a detached payload",
    ));
    no_orders(run, &account)
}

fn c8555_6_2_05(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let (url, draft) = new_order(run, &account)?;
    let mut body = draft.sign(&account.key).json();
    body["header"] = json!({"x-harmless": "yes"});
    run.check(refused(
        &run.post_body(&url, body.to_string())?,
        "",
        "a harmless unprotected header",
    ));
    let (url, draft) = new_order(run, &account)?;
    let mut body = draft.without("nonce").sign(&account.key).json();
    body["header"] = json!({"nonce": run.nonce()?});
    run.check(refused(
        &run.post_body(&url, body.to_string())?,
        "",
        "the nonce in an unprotected header",
    ));
    no_orders(run, &account)
}

fn c8555_6_2_06(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    run.each(["alg", "nonce", "url", "kid"], |name| {
        let (url, draft) = new_order(run, &account)?;
        let answer = run.post_signed(&url, &draft.without(name).sign(&account.key))?;
        run.check(refused(&answer, "", &format!("a header without {name}")));
        Ok(())
    });
    let key = Key::p256();
    let url = run.url("newAccount")?;
    let draft = run
        .draft(Signer::Key(&key), &url, run.account_payload(&key)?.to_string())?
        .without("jwk");
    run.check(refused(
        &run.post_signed(&url, &draft.sign(&key))?,
        "",
        "newAccount without jwk",
    ));
    no_orders(run, &account)
}

fn c8555_6_2_07(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let (url, draft) = new_order(run, &account)?;
    let mut signed = draft.with("alg", "none").sign(&account.key);
    signed.signature = String::new();
    run.check(refused(&run.post_signed(&url, &signed)?, "", "alg none"));
    let public = account.key.spki();
    run.each(
        [
            ("HS256", aws_lc_rs::hmac::HMAC_SHA256),
            ("HS384", aws_lc_rs::hmac::HMAC_SHA384),
            ("HS512", aws_lc_rs::hmac::HMAC_SHA512),
        ],
        |(alg, hash)| {
            run.each([public.as_slice(), account.key.public()], |secret| {
                let (url, draft) = new_order(run, &account)?;
                let draft = draft.with("alg", alg);
                let sound = draft.sign(&account.key);
                let key = aws_lc_rs::hmac::Key::new(hash, secret);
                let signed = Signed::over(sound.protected, sound.payload, |i| {
                    aws_lc_rs::hmac::sign(&key, i).as_ref().to_vec()
                });
                run.check(refused(&run.post_signed(&url, &signed)?, "", alg));
                Ok(())
            });
            Ok(())
        },
    );
    no_orders(run, &account)
}

fn whole_flow(run: &Run, key: Key) -> Judgement {
    let account = run.new_account(key).or_fail()?;
    let name = run.name("flow");
    let issued = run.issue(&account, std::slice::from_ref(&name))?;
    ensure!(
        issued.leaf().dns_names() == [name.as_str()],
        "the certificate is for {:?}",
        issued.leaf().dns_names()
    );
    Ok(())
}

fn c8555_6_2_08(run: &Run) -> Judgement {
    whole_flow(run, Key::p256())
}

fn c8555_6_2_09(run: &Run) -> Judgement {
    whole_flow(run, Key::ed25519())
}

fn c8555_6_2_10(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let (url, draft) = new_order(run, &account)?;
    let answer = run.post_signed(&url, &draft.with("jwk", account.key.jwk()).sign(&account.key))?;
    run.check(refused(&answer, "", "jwk and kid together"));
    no_orders(run, &account)
}

fn c8555_6_2_11(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let url = run.url("newAccount")?;
    let payload = run.account_payload(&account.key)?.to_string();
    let draft = run.draft(account.signer(), &url, payload)?;
    run.check(refused(
        &run.post_signed(&url, &draft.sign(&account.key))?,
        "",
        "newAccount with kid",
    ));
    let by_key = Signer::Key(&account.key);
    run.each(
        [run.url("newOrder")?, account.url.clone(), run.url("keyChange")?],
        |url| {
            let payload = if url == account.url {
                String::new()
            } else {
                order_payload(run)
            };
            let draft = run.draft(by_key, &url, payload)?;
            run.check(refused(
                &run.post_signed(&url, &draft.sign(&account.key))?,
                "",
                &format!("{url} with jwk"),
            ));
            Ok(())
        },
    );
    no_orders(run, &account)
}

fn c8555_6_2_12(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let stranger = Key::p256();
    let (url, draft) = new_order(run, &account)?;
    run.check(refused(
        &run.post_signed(&url, &draft.sign(&stranger))?,
        "",
        "a kid signed by another key",
    ));
    let url = run.url("newAccount")?;
    let key = Key::p256();
    let draft = run.draft(Signer::Key(&key), &url, run.account_payload(&key)?.to_string())?;
    run.check(refused(
        &run.post_signed(&url, &draft.sign(&stranger))?,
        "",
        "a jwk signed by another key",
    ));
    no_orders(run, &account)
}

fn c8555_6_2_13(run: &Run) -> Judgement {
    let account = run.account()?;
    let order = run.order(account, &[run.name("kid")])?;
    let (front, last) = account.url.rsplit_once('/').unwrap_or((&account.url, ""));
    let unknown: String = base64::url(random::<64>())
        .replace(['-', '_'], "x")
        .chars()
        .take(last.len().max(1))
        .collect();
    let digits: String = random::<12>()
        .iter()
        .map(|octet| char::from(b'1' + octet % 9))
        .collect();
    let path = crate::http::Url::parse(&account.url)
        .map(|url| url.path)
        .unwrap_or_default();
    let wrong = [
        (format!("{front}/{unknown}"), "accountDoesNotExist"),
        (format!("{front}/{digits}"), "accountDoesNotExist"),
        (format!("https://elsewhere.example{path}"), ""),
        (order.url, ""),
        (path, ""),
    ];
    run.each(wrong, |(kid, kind)| {
        let (url, draft) = new_order(run, account)?;
        let answer = run.post_signed(&url, &draft.with("kid", kid.as_str()).sign(&account.key))?;
        run.check(refused(&answer, "", &format!("the kid {kid}")));
        if !kind.is_empty() {
            run.check(refused(&answer, kind, &format!("the kid {kid}")));
        }
        Ok(())
    });
    Ok(())
}

fn unsupported(run: &Run) -> Judgement<Answer> {
    let account = run.account()?;
    let (url, draft) = new_order(run, account)?;
    run.post_signed(&url, &draft.with("alg", "ES999").sign(&account.key))
}

fn c8555_6_2_14(run: &Run) -> Judgement {
    let answer = unsupported(run)?;
    run.check(refused(&answer, "badSignatureAlgorithm", "alg ES999"));
    ensure!(answer.status == 400, "alg ES999 gives {}", answer.summary());
    let algorithms = crate::issue::strings(&answer.json()?["algorithms"]);
    ensure!(
        algorithms.iter().any(|alg| alg == "ES256"),
        "algorithms are {algorithms:?}"
    );
    for alg in &algorithms {
        let key = match alg.as_str() {
            "ES256" => Key::p256(),
            "ES384" => Key::p384(),
            "EdDSA" => Key::ed25519(),
            "RS256" => Key::rsa(),
            _ => continue,
        };
        run.new_account(key)
            .map_err(|finding| crate::case::Finding::Fail(format!("{alg} is listed: {finding:?}")))?;
    }
    Ok(())
}

/// newAccount with a JWK of the case's own; the signature is of `key`.
pub(super) fn account_with_jwk(run: &Run, key: &Key, alg: &str, jwk: Value) -> Judgement<Answer> {
    let url = run.url("newAccount")?;
    let payload = json!({"termsOfServiceAgreed": true}).to_string();
    let draft = run
        .draft(Signer::Key(key), &url, payload)?
        .with("alg", alg)
        .with("jwk", jwk);
    run.post_signed(&url, &draft.sign(key))
}

/// newAccount with an RSA key that no sound library would sign with; its signature is right.
pub(super) fn account_with_rsa(run: &Run, key: &RawRsa) -> Judgement<Answer> {
    let url = run.url("newAccount")?;
    let payload = run.account_payload_for(&key.jwk())?.to_string();
    let any = Key::p256();
    let draft = run
        .draft(Signer::Key(&any), &url, payload)?
        .with("alg", "RS256")
        .with("jwk", key.jwk());
    let protected = base64::url(Value::Object(draft.header.clone()).to_string());
    let signed = Signed::over(protected, base64::url(&draft.payload), |input| key.sign_sha256(input));
    run.post_signed(&url, &signed)
}

fn c8555_6_2_15(run: &Run) -> Judgement {
    let key = Key::p256();
    let listed = crate::issue::strings(&unsupported(run)?.json()?["algorithms"]);
    let is_listed = |alg: &str| listed.iter().any(|known| known == alg);
    if listed.is_empty() || is_listed("RS256") {
        let answer = account_with_rsa(run, &RawRsa::bits_1024())?;
        run.check(refused(&answer, "badPublicKey", "RSA of 1024 bits"));
    }
    let mut off_curve = key.jwk();
    off_curve["y"] = off_curve["x"].clone();
    let mut cases = vec![
        ("a point off the curve", "ES256", off_curve),
        ("an Ed25519 key with ES256", "ES256", Key::ed25519().jwk()),
        ("a P-384 key with ES256", "ES256", Key::p384().jwk()),
        (
            "a symmetric key with ES256",
            "ES256",
            json!({"kty": "oct", "k": base64::url(random::<32>())}),
        ),
        (
            "a key of an unknown type",
            "ES256",
            json!({"kty": "XX", "x": base64::url(random::<32>())}),
        ),
        ("an RSA key with ES256", "ES256", RawRsa::bits_2048().jwk()),
    ];
    if is_listed("EdDSA") {
        let ed448 = json!({"kty": "OKP", "crv": "Ed448", "x": base64::url(random::<57>())});
        cases.push(("Ed448", "EdDSA", ed448));
    }
    run.each(cases, |(what, alg, jwk)| {
        let answer = account_with_jwk(run, &key, alg, jwk)?;
        refused(&answer, "badPublicKey", what)?;
        ensure!(answer.status == 400, "{what}: {}", answer.summary());
        Ok(())
    });
    Ok(())
}

fn c8555_6_2_16(run: &Run) -> Judgement {
    let account = run.account()?;
    run.each([Some("application/json"), Some("text/plain"), None], |kind| {
        let (url, draft) = new_order(run, account)?;
        let mut request = Request::new("POST", &url).body(draft.sign(&account.key).body());
        if let Some(kind) = kind {
            request = request.header("Content-Type", kind);
        }
        let answer = run.send(&request)?;
        ensure!(answer.status == 415, "Content-Type {kind:?}: {}", answer.summary());
        Ok(())
    });
    Ok(())
}
