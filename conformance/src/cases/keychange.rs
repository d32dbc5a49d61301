//! RFC 8555 sections 7.3.4 and 7.3.5: external accounts and key change.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::base64;
use crate::case::{Case, Finding, Judgement, ensure, must, must_read, should};
use crate::http::Answer;
use crate::keys::{Key, random};
use crate::request::Csr;
use crate::suite::{Account, Run, refused};
use crate::weak::RawRsa;
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

/// Makes the inner JWS of a key change that has to be refused.
type MakeInner<'a> = &'a dyn Fn(&Account, &Key) -> Judgement<Signed>;

/// Each of these key changes is refused and changes nothing; where one is taken, the next is of a fresh account.
fn refuse_changes(run: &Run, kind: &str, changes: &[(&str, MakeInner<'_>)]) -> Judgement {
    let mut account = run.new_account(Key::p256())?;
    let mut taken = false;
    run.each(changes, |(what, make)| {
        if taken {
            account = run.new_account(Key::p256())?;
        }
        taken = true;
        let new = Key::p256();
        let answer = submit(run, &account, &make(&account, &new)?)?;
        refused(&answer, kind, what)?;
        unchanged(run, &account, new, what)?;
        taken = false;
        Ok(())
    });
    Ok(())
}

fn c8555_7_3_5_02(run: &Run) -> Judgement {
    let url = &run.url("keyChange")?;
    let draft = |account: &Account, new: &Key| inner(account, url, new);
    let changes: [(&str, MakeInner<'_>); 6] = [
        ("no jwk", &|account, new| {
            Ok(draft(account, new).without("jwk").sign(new))
        }),
        ("a kid", &|account, new| {
            Ok(draft(account, new)
                .without("jwk")
                .with("kid", account.url.as_str())
                .sign(new))
        }),
        ("another key's signature", &|account, new| {
            Ok(draft(account, new).sign(&Key::p256()))
        }),
        ("another url", &|account, new| {
            Ok(draft(account, new).with("url", run.url("newOrder")?).sign(new))
        }),
        ("no url", &|account, new| {
            Ok(draft(account, new).without("url").sign(new))
        }),
        ("a nonce", &|account, new| {
            Ok(draft(account, new).with("nonce", run.nonce()?).sign(new))
        }),
    ];
    refuse_changes(run, "", &changes)
}

fn c8555_7_3_5_03(run: &Run) -> Judgement {
    let url = &run.url("keyChange")?;
    let other = run.other_account()?;
    let with = |account: &Account, new: &Key, payload: Value| {
        let mut draft = inner(account, url, new);
        draft.payload = payload.to_string().into_bytes();
        Ok(draft.sign(new))
    };
    let old = |account: &Account| account.key.jwk();
    let changes: [(&str, MakeInner<'_>); 4] = [
        ("another account", &|account, new| {
            with(account, new, json!({"account": other.url, "oldKey": old(account)}))
        }),
        ("another oldKey", &|account, new| {
            with(account, new, json!({"account": account.url, "oldKey": old(other)}))
        }),
        ("no account", &|account, new| {
            with(account, new, json!({"oldKey": old(account)}))
        }),
        ("no oldKey", &|account, new| {
            with(account, new, json!({"account": account.url}))
        }),
    ];
    refuse_changes(run, "", &changes)
}

fn c8555_7_3_5_04(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let other = run.other_account()?;
    let url = run.url("keyChange")?;
    run.each(
        [("the key of another account", other), ("its own key", &account)],
        |(what, owner)| {
            let answer = submit(run, &account, &inner(&account, &url, &owner.key).sign(&owner.key))?;
            refused(&answer, "", what)?;
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
    let url = &run.url("keyChange")?;
    let small = |account: &Account, key: RawRsa| {
        let draft = inner(account, url, &Key::p256())
            .with("jwk", key.jwk())
            .with("alg", "RS256");
        let protected = base64::url(Value::Object(draft.header.clone()).to_string());
        Ok(Signed::over(protected, base64::url(&draft.payload), |input| {
            key.sign_sha256(input)
        }))
    };
    let off_curve = |new: &Key| {
        let mut jwk = new.jwk();
        jwk["y"] = jwk["x"].clone();
        jwk
    };
    let changes: [(&str, MakeInner<'_>); 4] = [
        ("a new RSA key of 1024 bits", &|account, _| {
            small(account, RawRsa::bits_1024())
        }),
        ("a new RSA key with an exponent of one", &|account, _| {
            small(account, RawRsa::exponent_one())
        }),
        ("a new key off its curve", &|account, new| {
            Ok(inner(account, url, new).with("jwk", off_curve(new)).sign(new))
        }),
        ("alg ES999 inside", &|account, new| {
            Ok(inner(account, url, new).with("alg", "ES999").sign(new))
        }),
    ];
    refuse_changes(run, "", &changes)
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
