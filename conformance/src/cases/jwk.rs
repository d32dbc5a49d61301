//! RFC 7517, 7518, 7638 and 8037: keys, signatures and thumbprints.

use std::time::{Duration, Instant};

use super::jose::post_order;
use super::jws::{account_with_jwk, account_with_rsa, new_order};
use super::transport::no_orders;
use crate::base64;
use crate::case::{Case, Finding, Judgement, ensure, must, must_read, should_read};
use crate::der;
use crate::keys::{Key, random, thumbprint};
use crate::suite::{Account, Run, refused};
use crate::weak::RawRsa;
use crate::wire::{Signed, Signer};
use serde_json::{Value, json};

pub(super) const CASES: &[Case] = &[
    must!(c7517_4_01, "A JWK has kty; unknown members are ignored."),
    should_read!(c7517_9_2_01, "A private key is not kept or shown."),
    must!(c7518_3_3_01, "RSA keys have 2048 bits."),
    must!(c7518_3_4_01, "ECDSA signatures are R and S in full length."),
    must!(c7518_6_2_01, "EC coordinates are in full length and on the curve."),
    must!(c7518_6_3_01, "RSA members have the least number of octets."),
    must!(c7638_3_01, "Thumbprints are over the required members."),
    must_read!(c7638_3_02, "One key in another dress is one account."),
    must!(c8037_2_01, "OKP keys have crv and x and no d."),
    must!(c8037_3_1_01, "EdDSA is not for X25519."),
    must_read!(c8037_3_1_02, "Ed25519 signatures are 64 octets and not malleable."),
];

type SpoilSignature = fn(Vec<u8>) -> Vec<u8>;
type SpoilJwk = Box<dyn Fn(&mut Value)>;

/// newAccount with the key's JWK changed.
fn register(run: &Run, key: &Key, change: impl FnOnce(&mut Value)) -> Judgement<crate::http::Answer> {
    let mut jwk = key.jwk();
    change(&mut jwk);
    let url = run.url("newAccount")?;
    let payload = run.account_payload(key)?.to_string();
    let draft = run.draft(Signer::Key(key), &url, payload)?.with("jwk", jwk);
    run.post_signed(&url, &draft.sign(key))
}

fn c7517_4_01(run: &Run) -> Judgement {
    let answer = register(run, &Key::p256(), |jwk| {
        jwk["use"] = json!("sig");
        jwk["key_ops"] = json!(["verify"]);
        jwk["x-foo"] = json!("x");
    })?;
    ensure!(answer.is_success(), "a JWK with more members: {}", answer.summary());
    let answer = register(run, &Key::p256(), |jwk| {
        jwk.as_object_mut().map(|jwk| jwk.remove("kty"));
    })?;
    run.check(refused(&answer, "", "a JWK without kty"));
    let other = Key::p256().jwk()["x"].to_string();
    // Whoever takes the first of two members verifies with another key than whoever takes the last.
    for (what, behind) in [
        ("two x, the wrong one first", "kty"),
        ("two x, the wrong one last", "y"),
    ] {
        let key = Key::p256();
        let url = run.url("newAccount")?;
        let draft = run.draft(Signer::Key(&key), &url, run.account_payload(&key)?.to_string())?;
        // Members are written in the order of their names: crv, kty, x, y.
        let text = Value::Object(draft.header.clone()).to_string();
        let twice = text.replacen(&format!("\"{behind}\":"), &format!("\"x\":{other},\"{behind}\":"), 1);
        let answer = run.post_signed(&url, &draft.sign_text(&twice, &key))?;
        if behind == "y" {
            run.check(refused(&answer, "", what));
        } else {
            run.expect(answer.is_refusal(), || format!("a JWK with {what} is accepted"));
        }
    }
    Ok(())
}

fn c7517_9_2_01(run: &Run) -> Judgement {
    let secret = base64::url(random::<32>());
    let answer = register(run, &Key::p256(), |jwk| jwk["d"] = json!(secret))?;
    ensure!(!answer.text().contains(&secret), "the private part comes back");
    if answer.is_success() {
        run.warn("a JWK with a private part is accepted");
    }
    Ok(())
}

fn rsa_jwk(n: &[u8], e: &str) -> Value {
    json!({"kty": "RSA", "n": base64::url(n), "e": e})
}

fn odd_modulus<const N: usize>() -> [u8; N] {
    let mut modulus = random::<N>();
    modulus[0] |= 0x80;
    modulus[N - 1] |= 1;
    modulus
}

fn c7518_3_3_01(run: &Run) -> Judgement {
    let short = [("1024 bits", RawRsa::bits_1024()), ("2047 bits", RawRsa::bits_2047())];
    run.each(short, |(what, key)| {
        let answer = account_with_rsa(run, &key)?;
        refused(&answer, "badPublicKey|badSignatureAlgorithm", &format!("RSA of {what}"))
    });
    Ok(())
}

/// How many signatures are tried for one with a leading zero: one in 128 has it.
const SIGNATURES: usize = 4000;

fn c7518_3_4_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let spoil: [(&str, SpoilSignature); 4] = [
        ("DER", |signature| {
            der::sequence(&[der::unsigned(&signature[..32]), der::unsigned(&signature[32..])])
        }),
        ("63 octets", |signature| signature[..63].to_vec()),
        ("65 octets", |signature| [signature, vec![0]].concat()),
        ("zeros", |_| vec![0; 64]),
    ];
    run.each(spoil, |(what, spoil)| {
        let answer = post_order(run, &account, |draft| {
            let sound = draft.sign(&account.key);
            Signed::over(sound.protected, sound.payload, |input| spoil(account.key.sign(input)))
        })?;
        run.check(refused(&answer, "", &format!("a signature as {what}")));
        Ok(())
    });
    let answer = account_with_jwk(run, &Key::p384(), "ES256", Key::p384().jwk())?;
    run.check(refused(&answer, "", "ES256 with a P-384 key"));
    run.check(no_orders(run, &account));
    let (url, draft) = new_order(run, &account)?;
    let Some(zero) = (0..SIGNATURES)
        .map(|_| draft.sign(&account.key))
        .find(|signed| base64::from_url(&signed.signature).is_some_and(|octets| octets[0] == 0 || octets[32] == 0))
    else {
        return Err(Finding::Blocked("no signature with a leading zero came about".into()));
    };
    let answer = run.post_signed(&url, &zero)?;
    ensure!(
        answer.status == 201,
        "a signature with a leading zero: {}",
        answer.summary()
    );
    let shortened = post_order(run, &account, |draft| {
        let signed = (0..SIGNATURES)
            .map(|_| draft.sign(&account.key))
            .find(|signed| base64::from_url(&signed.signature).is_some_and(|octets| octets[0] == 0));
        let mut signed = signed.unwrap_or_else(|| draft.sign(&account.key));
        let octets = base64::from_url(&signed.signature).unwrap_or_default();
        signed.signature = base64::url(&octets[1..]);
        signed
    })?;
    refused(&shortened, "", "a signature without its leading zero")
}

fn c7518_6_2_01(run: &Run) -> Judgement {
    let key = Key::p256();
    let coordinate = |name: &str| base64::from_url(key.jwk()[name].as_str().unwrap_or_default()).unwrap_or_default();
    let x = coordinate("x");
    let cases: [(&str, SpoilJwk); 7] = [
        (
            "a shortened x",
            Box::new({
                let x = x.clone();
                move |jwk| jwk["x"] = base64::url(&x[1..]).into()
            }),
        ),
        (
            "x with a zero in front",
            Box::new({
                let x = x.clone();
                move |jwk| jwk["x"] = base64::url([vec![0], x.clone()].concat()).into()
            }),
        ),
        (
            "a point off the curve",
            Box::new(|jwk| jwk["y"] = base64::url([1; 32]).into()),
        ),
        (
            "the point at infinity",
            Box::new(|jwk| {
                jwk["x"] = base64::url([0; 32]).into();
                jwk["y"] = jwk["x"].clone();
            }),
        ),
        ("crv p-256", Box::new(|jwk| jwk["crv"] = "p-256".into())),
        (
            "no y",
            Box::new(|jwk| {
                jwk.as_object_mut().map(|jwk| jwk.remove("y"));
            }),
        ),
        (
            "crv P-384 over P-256 coordinates",
            Box::new(|jwk| jwk["crv"] = "P-384".into()),
        ),
    ];
    run.each(cases, |(what, change)| {
        let mut jwk = key.jwk();
        change(&mut jwk);
        run.check(refused(
            &account_with_jwk(run, &key, "ES256", jwk)?,
            "badPublicKey|malformed",
            what,
        ));
        Ok(())
    });
    Ok(())
}

/// A key of any size has to be answered about this quickly.
const ANSWER_MAX: Duration = Duration::from_secs(5);

fn c7518_6_3_01(run: &Run) -> Judgement {
    let key = Key::rsa();
    let (n, _) = key.rsa_members().unwrap_or_default();
    let mut even = n.clone();
    if let Some(last) = even.last_mut() {
        *last &= 0xfe;
    }
    let padded = [&[0], n.as_slice()].concat();
    run.each(
        [
            ("a zero-prefixed n", rsa_jwk(&padded, "AQAB"), false),
            ("a zero-prefixed e", rsa_jwk(&n, "AAEAAQ"), false),
            ("e of 1", rsa_jwk(&n, "AQ"), true),
            ("an even e", rsa_jwk(&n, "AQAC"), true),
            ("an even n", rsa_jwk(&even, "AQAB"), true),
        ],
        |(what, jwk, must_refuse)| {
            let answer = account_with_jwk(run, &key, "RS256", jwk)?;
            if must_refuse {
                run.check(refused(&answer, "", what));
            } else {
                run.expect(answer.is_refusal(), || format!("{what} is accepted"));
            }
            Ok(())
        },
    );
    let began = Instant::now();
    let answer = account_with_jwk(run, &key, "RS256", rsa_jwk(&odd_modulus::<8192>(), "AQAB"))?;
    ensure!(answer.is_refusal(), "a key of 65,536 bits: {}", answer.summary());
    ensure!(
        began.elapsed() < ANSWER_MAX,
        "a key of 65,536 bits took {:?}",
        began.elapsed()
    );
    Ok(())
}

fn c7638_3_01(run: &Run) -> Judgement {
    let vector = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    ensure!(
        thumbprint(&vector) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "the suite's own thumbprint is off"
    );
    run.each([Key::p256(), Key::rsa(), Key::ed25519()], |key| {
        let alg = key.alg();
        let answer = register(run, &key, |jwk| {
            jwk["alg"] = json!(alg);
            jwk["kid"] = json!("a");
            jwk["use"] = json!("sig");
        })?;
        if !answer.is_success() {
            run.expect(alg != "ES256", || format!("{alg}: {}", answer.summary()));
            return Ok(());
        }
        let url = answer.header("location").unwrap_or_default().to_owned();
        let account = Account {
            key: key.into(),
            url,
            object: answer.json()?,
        };
        let (_, challenge) = run.challenge_for(&account, &run.name("thumb"), "http-01")?;
        run.provide(&account, &challenge, "http-01")?;
        let object = run.attempt(&account, &challenge)?;
        ensure!(
            object["status"] == "valid",
            "{alg}: the thumbprint of the required members made {object}"
        );
        Ok(())
    });
    Ok(())
}

fn c7638_3_02(run: &Run) -> Judgement {
    let account = run.account()?;
    let answer = register(run, &account.key, |jwk| jwk["use"] = json!("sig"))?;
    ensure!(
        answer.status == 200,
        "the same key with another member: {}",
        answer.summary()
    );
    ensure!(
        answer.header("location") == Some(&account.url),
        "the Location is {:?}",
        answer.header("location")
    );
    Ok(())
}

fn takes_ed25519(run: &Run) -> Judgement<Account> {
    run.new_account(Key::ed25519())
        .map_err(|_| Finding::NotOffered("no Ed25519 accounts".into()))
}

fn c8037_2_01(run: &Run) -> Judgement {
    takes_ed25519(run)?;
    let key = Key::ed25519();
    run.each(["x", "crv"], |member| {
        let mut jwk = key.jwk();
        jwk.as_object_mut().map(|jwk| jwk.remove(member));
        run.check(refused(
            &account_with_jwk(run, &key, "EdDSA", jwk)?,
            "",
            &format!("no {member}"),
        ));
        Ok(())
    });
    Ok(())
}

fn c8037_3_1_01(run: &Run) -> Judgement {
    takes_ed25519(run)?;
    let key = Key::ed25519();
    run.each([("X25519", 32), ("X448", 56)], |(curve, length)| {
        let jwk = json!({"kty": "OKP", "crv": curve, "x": base64::url(&random::<56>()[..length])});
        run.check(refused(
            &account_with_jwk(run, &key, "EdDSA", jwk)?,
            "badPublicKey",
            curve,
        ));
        Ok(())
    });
    Ok(())
}

/// The order of the group, little-endian: adding it to S gives the malleable twin.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn twin(mut signature: Vec<u8>) -> Vec<u8> {
    let mut carry = 0u16;
    for (octet, add) in signature[32..].iter_mut().zip(ORDER) {
        carry += u16::from(*octet) + u16::from(add);
        *octet = carry as u8;
        carry >>= 8;
    }
    signature
}

fn c8037_3_1_02(run: &Run) -> Judgement {
    let account = takes_ed25519(run)?;
    let spoil: [(&str, SpoilSignature); 3] = [
        ("63 octets", |signature| signature[..63].to_vec()),
        ("65 octets", |signature| [signature, vec![0]].concat()),
        ("S not reduced", twin),
    ];
    run.each(spoil, |(what, spoil)| {
        let answer = post_order(run, &account, |draft| {
            let sound = draft.sign(&account.key);
            Signed::over(sound.protected, sound.payload, |input| spoil(account.key.sign(input)))
        })?;
        run.check(refused(&answer, "", what));
        Ok(())
    });
    let key = Key::ed25519();
    let mut small = [0; 32];
    small[0] = 1;
    run.each(
        [
            ("a key of small order", small.to_vec()),
            ("a key of 31 octets", vec![7; 31]),
        ],
        |(what, x)| {
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": base64::url(x)});
            run.check(refused(&account_with_jwk(run, &key, "EdDSA", jwk)?, "", what));
            Ok(())
        },
    );
    no_orders(run, &account)
}
