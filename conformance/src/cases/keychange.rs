//! RFC 8555 sections 7.3.4 and 7.3.5: external accounts and key change.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::base64;
use crate::case::{Case, Finding, Judgement, ensure, must, must_read, should};
use crate::http::Answer;
use crate::keys::{Key, random};
use crate::request::Csr;
use crate::suite::{Account, Run, refused};
use crate::wire::{Draft, Signed, Signer, external_binding, external_binding_over};

pub(super) const CASES: &[Case] = &[
    must!(c8555_7_3_4_01, "externalAccountRequired tells the truth."),
    should!(c8555_7_3_4_02, "A missing binding is externalAccountRequired."),
    must!(
        c8555_7_3_4_03,
        "A binding that is malformed or not by the MAC key is refused."
    ),
    must!(
        c8555_7_3_4_04,
        "The inner kid is known, nonce absent, url the outer one."
    ),
    must!(c8555_7_3_4_05, "The inner payload is the account's key."),
    must!(
        c8555_7_3_4_06,
        "A verified binding is shown unchanged, another not at all."
    ),
    must_read!(
        c8555_7_3_5_01,
        "After a key change the new key works and the old does not."
    ),
    must!(c8555_7_3_5_02, "The inner JWS has jwk, url and no nonce, and verifies."),
    must!(c8555_7_3_5_03, "account and oldKey are the present ones."),
    must!(c8555_7_3_5_04, "A key that is in use is refused."),
    must_read!(c8555_7_3_5_05, "The new key obeys the key policy."),
    must!(c8555_7_3_5_06, "Open orders survive a key change."),
];

fn is_required(run: &Run) -> bool {
    run.directory["meta"]["externalAccountRequired"] == json!(true)
}

fn register(run: &Run, key: &Key, binding: Option<Value>) -> Judgement<Answer> {
    let mut payload = json!({"termsOfServiceAgreed": true});
    if let Some(binding) = binding {
        payload["externalAccountBinding"] = binding;
    }
    run.post_as(
        Signer::Key(key),
        &run.url("newAccount")?,
        payload.to_string().as_bytes(),
    )
}

/// The operator's key, where there is one and the target uses it.
fn external_key(run: &Run) -> Judgement<(&str, &[u8])> {
    match run.external_account(false) {
        Some((kid, key)) => Ok((kid, key)),
        None if is_required(run) => Err(Finding::Blocked("the run has no key for external accounts".into())),
        None => Err(Finding::NotOffered("external accounts are not required".into())),
    }
}

fn c8555_7_3_4_01(run: &Run) -> Judgement {
    let answer = register(run, &Key::p256(), None)?;
    ensure!(
        answer.is_success() != is_required(run),
        "without a binding: {}",
        answer.summary()
    );
    Ok(())
}

fn c8555_7_3_4_02(run: &Run) -> Judgement {
    if !is_required(run) {
        return Err(Finding::NotOffered("external accounts are not required".into()));
    }
    refused(
        &register(run, &Key::p256(), None)?,
        "externalAccountRequired",
        "no binding",
    )
}

fn c8555_7_3_4_03(run: &Run) -> Judgement {
    let (kid, mac_key) = external_key(run)?;
    let url = run.url("newAccount")?;
    let key = Key::p256();
    let jwk = key.jwk();
    let header = |alg: &str| json!({"alg": alg, "kid": kid, "url": url}).to_string();
    let signed_by_key = Signed::over(base64::url(header("ES256")), base64::url(jwk.to_string()), |input| {
        key.sign(input)
    })
    .json();
    let cases = [
        ("not a JWS", json!("x")),
        ("an empty object", json!({})),
        ("a signature by the account key", signed_by_key),
        (
            "alg none",
            external_binding_over(&header("none"), mac_key, &jwk.to_string()),
        ),
        ("a wrong MAC", external_binding(kid, &random::<32>(), &url, &jwk)),
    ];
    run.each(cases, |(what, binding)| {
        run.check(refused(&register(run, &key, Some(binding))?, "", what));
        Ok(())
    });
    Ok(())
}

fn c8555_7_3_4_04(run: &Run) -> Judgement {
    let (kid, mac_key) = external_key(run)?;
    let url = run.url("newAccount")?;
    let key = Key::p256();
    let cases = [
        ("no kid", json!({"alg": "HS256", "url": url})),
        (
            "an unknown kid",
            json!({"alg": "HS256", "kid": "no-such-key", "url": url}),
        ),
        (
            "a nonce",
            json!({"alg": "HS256", "kid": kid, "url": url, "nonce": run.nonce()?}),
        ),
        (
            "another url",
            json!({"alg": "HS256", "kid": kid, "url": run.url("newOrder")?}),
        ),
    ];
    run.each(cases, |(what, header)| {
        let binding = external_binding_over(&header.to_string(), mac_key, &key.jwk().to_string());
        run.check(refused(&register(run, &key, Some(binding))?, "", what));
        Ok(())
    });
    Ok(())
}

fn c8555_7_3_4_05(run: &Run) -> Judgement {
    let (kid, mac_key) = external_key(run)?;
    let url = run.url("newAccount")?;
    let binding = external_binding(kid, mac_key, &url, &Key::p256().jwk());
    refused(
        &register(run, &Key::p256(), Some(binding))?,
        "",
        "a binding for another key",
    )
}

fn c8555_7_3_4_06(run: &Run) -> Judgement {
    let url = run.url("newAccount")?;
    let key = Key::p256();
    if let Ok((kid, mac_key)) = external_key(run) {
        let binding = external_binding(kid, mac_key, &url, &key.jwk());
        let answer = register(run, &key, Some(binding.clone()))?;
        run.external_account(true);
        ensure!(answer.is_success(), "a right binding: {}", answer.summary());
        let shown = &answer.json()?["externalAccountBinding"];
        ensure!(*shown == binding, "the binding is shown as {shown}");
        return Ok(());
    }
    let binding = external_binding("no-such-key", &random::<32>(), &url, &key.jwk());
    let answer = register(run, &key, Some(binding))?;
    if answer.is_success() {
        ensure!(
            answer.json()?["externalAccountBinding"].is_null(),
            "a binding that was not verified is shown"
        );
    }
    Ok(())
}

/// The inner JWS of a key change, before it is signed.
fn inner(account: &Account, url: &str, new: &Key) -> Draft {
    let payload = json!({"account": account.url, "oldKey": account.key.jwk()}).to_string();
    Draft::new(Signer::Key(new), "", url, payload).without("nonce")
}

fn submit(run: &Run, account: &Account, inner: &Signed) -> Judgement<Answer> {
    run.post(account, &run.url("keyChange")?, &inner.json())
}

/// Changes the key rightly.
pub(super) fn change_key(run: &Run, account: &Account, new: Key) -> Judgement<(Account, Answer)> {
    let url = run.url("keyChange")?;
    let answer = submit(run, account, &inner(account, &url, &new).sign(&new))?;
    Ok((
        Account {
            key: Arc::new(new),
            ..account.clone()
        },
        answer,
    ))
}

fn c8555_7_3_5_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let (changed, answer) = change_key(run, &account, Key::p256())?;
    ensure!(answer.status == 200, "a right key change: {}", answer.summary());
    let answer = run.fetch(&changed, &account.url)?;
    ensure!(answer.status == 200, "the new key: {}", answer.summary());
    refused(&run.fetch(&account, &account.url)?, "", "the old key")
}

/// Nothing changed: the old key still works and the new one does not.
fn unchanged(run: &Run, account: &Account, new: Key, what: &str) -> Judgement {
    let answer = run.fetch(account, &account.url)?;
    ensure!(
        answer.status == 200,
        "after {what} the old key gets {}",
        answer.summary()
    );
    let changed = Account {
        key: Arc::new(new),
        ..account.clone()
    };
    refused(
        &run.fetch(&changed, &account.url)?,
        "",
        &format!("the new key after {what}"),
    )
}

fn c8555_7_3_5_02(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let url = run.url("keyChange")?;
    run.each(
        [
            "no jwk",
            "a kid",
            "another key's signature",
            "another url",
            "no url",
            "a nonce",
        ],
        |what| {
            let new = Key::p256();
            let draft = inner(&account, &url, &new);
            let signed = match what {
                "no jwk" => draft.without("jwk").sign(&new),
                "a kid" => draft.without("jwk").with("kid", account.url.as_str()).sign(&new),
                "another key's signature" => draft.sign(&Key::p256()),
                "another url" => draft.with("url", run.url("newOrder")?).sign(&new),
                "no url" => draft.without("url").sign(&new),
                _ => draft.with("nonce", run.nonce()?).sign(&new),
            };
            run.check(refused(&submit(run, &account, &signed)?, "", what));
            run.check(unchanged(run, &account, new, what));
            Ok(())
        },
    );
    Ok(())
}

fn c8555_7_3_5_03(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let url = run.url("keyChange")?;
    let other = run.other_account()?;
    let payloads = [
        (
            "another account",
            json!({"account": other.url, "oldKey": account.key.jwk()}),
        ),
        (
            "another oldKey",
            json!({"account": account.url, "oldKey": other.key.jwk()}),
        ),
        ("no account", json!({"oldKey": account.key.jwk()})),
        ("no oldKey", json!({"account": account.url})),
    ];
    run.each(payloads, |(what, payload)| {
        let new = Key::p256();
        let mut draft = inner(&account, &url, &new);
        draft.payload = payload.to_string().into_bytes();
        run.check(refused(&submit(run, &account, &draft.sign(&new))?, "", what));
        run.check(unchanged(run, &account, new, what));
        Ok(())
    });
    Ok(())
}

fn c8555_7_3_5_04(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let other = run.other_account()?;
    let url = run.url("keyChange")?;
    run.each(
        [("the key of another account", other), ("its own key", &account)],
        |(what, owner)| {
            let answer = submit(run, &account, &inner(&account, &url, &owner.key).sign(&owner.key))?;
            run.check(refused(&answer, "", what));
            run.expect(answer.status == 409, || {
                format!("{what}: {} where 409 is recommended", answer.status)
            });
            let location = answer.header("location");
            run.expect(location == Some(&owner.url), || {
                format!("{what}: Location is {location:?}")
            });
            Ok(())
        },
    );
    let answer = run.fetch(&account, &account.url)?;
    ensure!(
        answer.status == 200,
        "the old key no longer works: {}",
        answer.summary()
    );
    Ok(())
}

fn c8555_7_3_5_05(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let url = run.url("keyChange")?;
    let new = Key::p256();
    let mut modulus = random::<128>();
    modulus[0] |= 0x80;
    modulus[127] |= 1;
    let small = json!({"kty": "RSA", "n": base64::url(modulus), "e": "AQAB"});
    let draft = inner(&account, &url, &new).with("jwk", small).with("alg", "RS256");
    run.check(refused(
        &submit(run, &account, &draft.sign(&new))?,
        "",
        "a new RSA key of 1024 bits",
    ));
    let draft = inner(&account, &url, &new).with("alg", "ES999");
    run.check(refused(
        &submit(run, &account, &draft.sign(&new))?,
        "badSignatureAlgorithm|malformed",
        "alg ES999 inside",
    ));
    unchanged(run, &account, new, "refused key changes")
}

fn c8555_7_3_5_06(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let name = run.name("carried");
    let order = run.order(&account, std::slice::from_ref(&name))?;
    let (account, answer) = change_key(run, &account, Key::p256())?;
    ensure!(answer.status == 200, "the key change: {}", answer.summary());
    for authorization in order.authorizations() {
        run.fulfil(&account, &authorization)?;
    }
    let order = run.until(&account, &order, &["ready"])?;
    let key = Key::p256();
    let csr = Csr::of(std::slice::from_ref(&name)).sign(&key);
    run.finish(&account, &order, &csr, key, &[name])?;
    Ok(())
}
