//! RFC 7515, 7517, 7518, 7638 and 8037: JOSE in detail.

use std::time::Duration;

use super::jws::new_order;
use super::transport::no_orders;
use crate::base64;
use crate::case::{Case, Judgement, ensure, may, must, must_read};
use crate::keys::Key;
use crate::responder::http01::Reply;
use crate::suite::{Account, Run, refused};
use crate::wire::{Draft, Signed};
use serde_json::{Value, json};

pub(super) const CASES: &[Case] = &[
    must_read!(c7515_2_01, "Base64url has no other characters."),
    must!(c7515_4_01, "A header name appears once, or the last one counts."),
    must!(c7515_4_02, "Unknown header parameters are ignored."),
    must_read!(c7515_4_1_2_01, "jku, x5u and x5c are not followed."),
    must!(c7515_4_1_11_01, "crit with an unknown name makes the JWS invalid."),
    may!(c7515_4_1_11_02, "A malformed crit is refused."),
    must_read!(c7515_5_2_01, "What is signed is the text as received."),
    must!(c7515_7_2_2_01, "Unknown members of the JWS are ignored."),
    must!(c7515_10_12_01, "What is not JSON, or more than JSON, is refused."),
    must_read!(c7515_10_13_01, "Names are compared after unescaping, with case."),
];

/// Ways to put one fault into something sound.
type SpoilText = fn(&str) -> String;
/// Sends a newOrder made from a sound draft.
pub(super) fn post_order(
    run: &Run,
    account: &Account,
    make: impl FnOnce(Draft) -> Signed,
) -> Judgement<crate::http::Answer> {
    let (url, draft) = new_order(run, account)?;
    run.post_signed(&url, &make(draft))
}

fn header_text(draft: &Draft) -> String {
    Value::Object(draft.header.clone()).to_string()
}

fn c7515_2_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    run.each(["+", "/", "=", " ", "\n", "\r\n"], |wrong| {
        // In the middle, so that it cannot be taken for padding; the signature is made over the altered text.
        let spoil = |text: &str| format!("{}{wrong}{}", &text[..4], &text[4..]);
        run.each(["protected", "payload", "signature"], |part| {
            let answer = post_order(run, &account, |draft| {
                let sound = draft.sign(&account.key);
                let sign = |input: &[u8]| account.key.sign(input);
                match part {
                    "protected" => Signed::over(spoil(&sound.protected), sound.payload, sign),
                    "payload" => Signed::over(sound.protected, spoil(&sound.payload), sign),
                    _ => Signed {
                        signature: spoil(&sound.signature),
                        ..sound
                    },
                }
            })?;
            run.check(refused(&answer, "", &format!("{wrong:?} in {part}")));
            Ok(())
        });
        Ok(())
    });
    no_orders(run, &account)
}

fn c7515_4_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    run.each(
        [
            ("alg", "none"),
            ("url", "https://elsewhere.example/"),
            ("nonce", "AAAA"),
        ],
        |(name, wrong)| {
            let right_last = post_order(run, &account, |draft| {
                let text = header_text(&draft).replacen('{', &format!("{{\"{name}\":\"{wrong}\","), 1);
                draft.sign_text(&text, &account.key)
            })?;
            let wrong_last = post_order(run, &account, |draft| {
                let text = header_text(&draft);
                let text = format!("{},\"{name}\":\"{wrong}\"}}", &text[..text.len() - 1]);
                draft.sign_text(&text, &account.key)
            })?;
            run.check(refused(&wrong_last, "", &format!("two {name}, the wrong one last")));
            if !right_last.is_success() {
                run.check(refused(&right_last, "", &format!("two {name}, the right one last")));
            }
            Ok(())
        },
    );
    // The text is about the header; a reader that takes one of two members elsewhere is as easily led astray.
    let (url, draft) = new_order(run, &account)?;
    let body = draft.sign(&account.key).json().to_string();
    let twice = body.replacen('{', &format!("{{\"payload\":\"{}\",", base64::url("{}")), 1);
    let answer = run.post_body(&url, twice)?;
    run.expect(answer.is_refusal(), || "a JWS with two payload members is taken".into());
    let answer = post_order(run, &account, |mut draft| {
        let text = String::from_utf8_lossy(&draft.payload).into_owned();
        draft.payload = text.replacen('{', "{\"identifiers\":[],", 1).into_bytes();
        draft.sign(&account.key)
    })?;
    run.expect(answer.is_refusal(), || {
        "a payload with two identifiers members is taken".into()
    });
    Ok(())
}

fn c7515_4_02(run: &Run) -> Judgement {
    let account = run.account()?;
    let answer = post_order(run, account, |draft| {
        draft
            .with("x-foo", json!({"y": [1]}))
            .with("typ", "JOSE")
            .with("cty", "json")
            .sign(&account.key)
    })?;
    ensure!(answer.status == 201, "unknown header parameters: {}", answer.summary());
    Ok(())
}

fn c7515_4_1_2_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let stranger = Key::p256();
    let http01 = run.http01()?;
    let path = format!("/jku-{}", run.name("x"));
    http01.script(
        &path,
        [Reply::Body(200, json!({"keys": [stranger.jwk()]}).to_string().into())],
    );
    let url = format!("http://{}{path}", http01.address);
    run.each(["jku", "x5u"], |name| {
        let answer = post_order(run, account, |draft| draft.with(name, url.as_str()).sign(&stranger))?;
        run.check(refused(&answer, "", &format!("a key behind {name}")));
        Ok(())
    });
    let certificate = crate::request::self_signed(&stranger, &[], &[]);
    let chain = json!([base64::standard(certificate)]);
    let answer = post_order(run, account, |draft| draft.with("x5c", chain).sign(&stranger))?;
    run.check(refused(&answer, "", "a key in x5c"));
    std::thread::sleep(Duration::from_millis(300));
    ensure!(http01.queries(&path).is_empty(), "the server fetched {url}");
    Ok(())
}

fn c7515_4_1_11_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let with = post_order(run, &account, |draft| {
        draft
            .with("crit", json!(["x-foo"]))
            .with("x-foo", true)
            .sign(&account.key)
    })?;
    run.check(refused(&with, "", "crit with a member that nobody knows"));
    let without = post_order(run, &account, |draft| {
        draft.with("crit", json!(["x-foo"])).sign(&account.key)
    })?;
    run.check(refused(&without, "", "crit with a member that is not there"));
    no_orders(run, &account)
}

fn c7515_4_1_11_02(run: &Run) -> Judgement {
    let account = run.account()?;
    run.each(
        [json!([]), json!(["alg"]), json!(["x", "x"]), json!("x"), json!([1])],
        |crit| {
            let answer = post_order(run, account, |draft| {
                draft.with("crit", crit.clone()).sign(&account.key)
            })?;
            run.expect(answer.is_refusal(), || format!("crit {crit} is accepted"));
            Ok(())
        },
    );
    Ok(())
}

fn c7515_5_2_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let answer = post_order(run, account, |draft| {
        let mut members: Vec<String> = draft
            .header
            .iter()
            .map(|(name, value)| format!("  \"{name}\" :\t{value}"))
            .collect();
        members.reverse();
        draft.sign_text(&format!("{{\n{}\n}}\n", members.join(" ,\n")), &account.key)
    })?;
    ensure!(
        answer.status == 201,
        "a header with unusual spacing: {}",
        answer.summary()
    );
    Ok(())
}

fn c7515_7_2_2_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let (url, draft) = new_order(run, account)?;
    let mut body = draft.sign(&account.key).json();
    body["x"] = json!([1, 2]);
    let answer = run.post_body(&url, body.to_string())?;
    ensure!(answer.status == 201, "an unknown member: {}", answer.summary());
    Ok(())
}

fn c7515_10_12_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let spoilt: [(&str, SpoilText); 4] = [
        ("characters behind", |text| format!("{text}ABCD")),
        ("a second value behind", |text| format!("{text}{{}}")),
        ("a comment", |text| text.replacen('{', "{/* */", 1)),
        ("single quotes", |text| text.replace('"', "'")),
    ];
    run.each(spoilt, |(what, spoil)| {
        let (url, draft) = new_order(run, &account)?;
        let body = draft.sign(&account.key).json().to_string();
        run.check(refused(
            &run.post_body(&url, spoil(&body))?,
            "",
            &format!("{what} in the body"),
        ));
        let answer = post_order(run, &account, |draft| {
            draft.sign_text(&spoil(&header_text(&draft)), &account.key)
        })?;
        run.check(refused(&answer, "", &format!("{what} in the header")));
        let answer = post_order(run, &account, |mut draft| {
            draft.payload = spoil(&String::from_utf8_lossy(&draft.payload)).into_bytes();
            draft.sign(&account.key)
        })?;
        run.check(refused(&answer, "", &format!("{what} in the payload")));
        Ok(())
    });
    let answer = post_order(run, &account, |mut draft| {
        draft.payload = String::from_utf8_lossy(&draft.payload)
            .replacen('{', "{\"x\":NaN,", 1)
            .into_bytes();
        draft.sign(&account.key)
    })?;
    run.check(refused(&answer, "", "NaN in the payload"));
    no_orders(run, &account)
}

fn c7515_10_13_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let answer = post_order(run, account, |draft| {
        draft.sign_text(&header_text(&draft).replace("\"alg\"", "\"\\u0061lg\""), &account.key)
    })?;
    ensure!(answer.status == 201, "an escaped alg: {}", answer.summary());
    let answer = post_order(run, account, |draft| {
        draft.sign_text(&header_text(&draft).replace("\"alg\"", "\"ALG\""), &account.key)
    })?;
    refused(&answer, "", "ALG")
}
