//! RFC 8555 sections 7.1.2 and 7.3: accounts, except key change and external accounts.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::base64;
use crate::case::{Case, Finding, Judgement, OrFail, ensure, must, must_read, should};
use crate::http::Answer;
use crate::issue::{identifiers, strings};
use crate::keys::Key;
use crate::request::Csr;
use crate::suite::{Account, Run, refused};
use crate::wire::Signer;

pub(super) const CASES: &[Case] = &[
    must_read!(c8555_7_1_2_01, "An account has status and orders."),
    must!(c8555_7_1_2_1_01, "The orders URL lists the account's orders."),
    should!(c8555_7_1_2_1_02, "The list has pending orders and not invalid ones."),
    must_read!(c8555_7_3_01, "A new account is 201 with Location and object."),
    must!(
        c8555_7_3_02,
        "Fields that are not the client's are ignored and not shown."
    ),
    must!(c8555_7_3_03, "mailto contacts work, with one plain address."),
    must!(c8555_7_3_04, "A contact that is refused says why by its type."),
    must!(c8555_7_3_05, "Terms that bind are named, and not agreeing is refused."),
    must!(
        c8555_7_3_1_01,
        "newAccount with a known key finds the account unchanged."
    ),
    must!(c8555_7_3_1_02, "onlyReturnExisting creates nothing."),
    must!(c8555_7_3_2_01, "An update gives the resulting account."),
    must!(
        c8555_7_3_2_02,
        "Only what can be updated is updated, by the account alone."
    ),
    must_read!(c8555_7_3_6_01, "An account can be deactivated."),
    must!(c8555_7_3_6_02, "A deactivated account can do nothing."),
    should!(c8555_7_3_6_03, "Deactivation ends open orders and revokes nothing."),
];

fn register(run: &Run, key: &Key, extra: Value) -> Judgement<Answer> {
    let mut payload = run.account_payload(key)?;
    if let (Some(payload), Some(extra)) = (payload.as_object_mut(), extra.as_object()) {
        payload.extend(extra.clone());
    }
    run.post_as(
        Signer::Key(key),
        &run.url("newAccount")?,
        payload.to_string().as_bytes(),
    )
}

fn check_account(object: &Value) -> Judgement {
    let status = object["status"].as_str().unwrap_or_default();
    ensure!(
        ["valid", "deactivated", "revoked"].contains(&status),
        "an account's status is {}",
        object["status"]
    );
    ensure!(
        object["orders"].as_str().is_some_and(|url| url.starts_with("https://")),
        "orders is {}",
        object["orders"]
    );
    let contact = &object["contact"];
    ensure!(
        contact.is_null() || contact.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
        "contact is {contact}"
    );
    Ok(())
}

fn c8555_7_1_2_01(run: &Run) -> Judgement {
    let account = run.account()?;
    check_account(&account.object)?;
    check_account(&run.fetch_object(account, &account.url)?)
}

/// A list of a few orders has no more pages than this.
const PAGES_MAX: usize = 100;

/// Every order the account's list shows.
fn listed(run: &Run, account: &Account) -> Judgement<Vec<String>> {
    let Some(url) = account.object["orders"].as_str() else {
        return Err(Finding::Fail("the account has no orders URL".into()));
    };
    let mut next = Some(url.to_owned());
    let mut seen = HashSet::new();
    let mut orders = Vec::new();
    while let Some(url) = next {
        ensure!(seen.insert(url.clone()), "the pages of the orders list run in a circle");
        ensure!(
            seen.len() <= PAGES_MAX,
            "the orders list has more than {PAGES_MAX} pages"
        );
        let answer = run.fetch(account, &url)?;
        ensure!(answer.status == 200, "{url}: {}", answer.summary());
        let page = answer.json()?;
        ensure!(page["orders"].is_array(), "the orders list is {page}");
        orders.extend(strings(&page["orders"]));
        next = answer.links("next").into_iter().next();
    }
    Ok(orders)
}

fn c8555_7_1_2_1_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let made: HashSet<String> = (0..3)
        .map(|_| Ok(run.order(&account, &[run.name("list")])?.url))
        .collect::<Judgement<_>>()?;
    let shown: HashSet<String> = listed(run, &account)?.into_iter().collect();
    ensure!(shown == made, "three orders were made, the list has {shown:?}");
    for url in shown {
        run.fetch_object(&account, &url)?;
    }
    Ok(())
}

fn c8555_7_1_2_1_02(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let pending = run.order(&account, &[run.name("pending")])?;
    let (spoilt, challenge) = run.challenge_for(&account, &run.name("spoilt"), "http-01")?;
    run.http01()?.provide(&challenge.token, "wrong");
    run.attempt(&account, &challenge)?;
    run.poll(&account, &spoilt.url, |order| order["status"] == "invalid")?;
    let shown = listed(run, &account)?;
    ensure!(shown.contains(&pending.url), "the pending order is not listed");
    ensure!(!shown.contains(&spoilt.url), "the invalid order is listed");
    Ok(())
}

fn c8555_7_3_01(run: &Run) -> Judgement {
    let answer = register(run, &Key::p256(), json!({})).or_fail()?;
    ensure!(answer.status == 201, "a new account: {}", answer.summary());
    ensure!(answer.header("location").is_some(), "a new account without Location");
    check_account(&answer.json()?)
}

fn c8555_7_3_02(run: &Run) -> Judgement {
    let extra = json!({
        "orders": "https://elsewhere.example/orders",
        "status": "revoked",
        "x-unknown": "x",
        "onlyReturnExisting": false,
    });
    let answer = register(run, &Key::p256(), extra)?;
    ensure!(answer.status == 201, "with fields to ignore: {}", answer.summary());
    let object = answer.json()?;
    ensure!(
        object["status"] == "valid",
        "the request set the status to {}",
        object["status"]
    );
    ensure!(
        object["orders"] != "https://elsewhere.example/orders",
        "the request set the orders URL"
    );
    run.each(["x-unknown", "onlyReturnExisting"], |name| {
        ensure!(object[name].is_null(), "{name} is shown in the account");
        Ok(())
    });
    Ok(())
}

fn c8555_7_3_03(run: &Run) -> Judgement {
    let zone = &run.options.zone;
    let answer = register(run, &Key::p256(), json!({"contact": [format!("mailto:admin@{zone}")]}))?;
    ensure!(answer.is_success(), "a plain mailto: {}", answer.summary());
    run.each(
        [
            format!("mailto:a@{zone}?subject=x"),
            format!("mailto:a@{zone},b@{zone}"),
        ],
        |contact| {
            let answer = register(run, &Key::p256(), json!({"contact": [contact]}))?;
            run.expect(answer.is_refusal(), || format!("{contact} is accepted"));
            if answer.is_refusal() {
                run.check(refused(
                    &answer,
                    "invalidContact|unsupportedContact|malformed",
                    &contact,
                ));
            }
            Ok(())
        },
    );
    Ok(())
}

fn c8555_7_3_04(run: &Run) -> Judgement {
    let zone = &run.options.zone;
    let cases = [
        ("tel:+12025551212".to_owned(), "unsupportedContact"),
        (format!("https://{zone}"), "unsupportedContact"),
        ("mailto:".to_owned(), "invalidContact"),
        ("mailto:not-an-address".to_owned(), "invalidContact"),
        (format!("mailto:@{zone}"), "invalidContact"),
        (format!("mailto:a b@{zone}"), "invalidContact"),
        (format!("mailto:a@{zone}\r\nbcc: b@{zone}"), "invalidContact"),
        (format!("gopher://{zone}/"), "unsupportedContact"),
        ("no scheme at all".to_owned(), "unsupportedContact|invalidContact"),
        (String::new(), "unsupportedContact|invalidContact"),
    ];
    run.each(cases, |(contact, kind)| {
        let answer = register(run, &Key::p256(), json!({"contact": [contact]}))?;
        if answer.is_success() {
            // A server need not look at contacts at all.
            run.warn(format!("{contact} is accepted"));
        } else {
            run.check(refused(&answer, kind, &contact));
        }
        Ok(())
    });
    Ok(())
}

fn c8555_7_3_05(run: &Run) -> Judgement {
    if !run.directory["meta"]["termsOfService"].is_string() {
        let answer = register(run, &Key::p256(), json!({"termsOfServiceAgreed": false}))?;
        ensure!(
            answer.is_success(),
            "no terms are named, not agreeing is answered {}",
            answer.summary()
        );
        return Err(Finding::NotOffered("no terms of service".into()));
    }
    run.each([Value::Null, json!(false), json!("true")], |agreed| {
        let answer = register(run, &Key::p256(), json!({"termsOfServiceAgreed": agreed}))?;
        run.check(refused(&answer, "", &format!("termsOfServiceAgreed {agreed}")));
        Ok(())
    });
    Ok(())
}

fn c8555_7_3_1_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let contact = json!({"contact": [format!("mailto:other@{}", run.options.zone)]});
    let answer = register(run, &account.key, contact)?;
    ensure!(answer.status == 200, "a known key: {}", answer.summary());
    ensure!(
        answer.header("location") == Some(&account.url),
        "the Location is {:?}",
        answer.header("location")
    );
    let object = run.fetch_object(&account, &account.url)?;
    ensure!(
        object["contact"] == account.object["contact"],
        "the contact became {}",
        object["contact"]
    );
    Ok(())
}

fn c8555_7_3_1_02(run: &Run) -> Judgement {
    let key = Key::p256();
    run.each(0..2, |_| {
        let answer = register(run, &key, json!({"onlyReturnExisting": true}))?;
        run.check(refused(
            &answer,
            "accountDoesNotExist",
            "onlyReturnExisting with a new key",
        ));
        ensure!(
            answer.status == 400,
            "onlyReturnExisting with a new key: {}",
            answer.summary()
        );
        Ok(())
    });
    let account = run.account()?;
    let answer = register(run, &account.key, json!({"onlyReturnExisting": true}))?;
    ensure!(
        answer.status == 200,
        "onlyReturnExisting with a known key: {}",
        answer.summary()
    );
    ensure!(
        answer.header("location") == Some(&account.url),
        "the Location is {:?}",
        answer.header("location")
    );
    Ok(())
}

fn c8555_7_3_2_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let contact = json!([format!("mailto:new@{}", run.options.zone)]);
    let answer = run.post(&account, &account.url, &json!({"contact": contact}))?;
    ensure!(answer.status == 200, "an update of contact: {}", answer.summary());
    let object = answer.json()?;
    check_account(&object)?;
    if !object["contact"].is_null() {
        ensure!(object["contact"] == contact, "the contact is {}", object["contact"]);
        let object = run.fetch_object(&account, &account.url)?;
        ensure!(
            object["contact"] == contact,
            "later the contact is {}",
            object["contact"]
        );
    }
    Ok(())
}

fn c8555_7_3_2_02(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let before = run.fetch_object(&account, &account.url)?;
    run.each(
        [
            json!({"orders": "https://elsewhere.example/"}),
            json!({"termsOfServiceAgreed": false}),
            json!({"status": "revoked"}),
            json!({"status": "valid"}),
            json!({"x-unknown": true}),
        ],
        |update| {
            let answer = run.post(&account, &account.url, &update)?;
            run.expect(answer.status == 200, || {
                format!("{update} alone is refused: {}", answer.summary())
            });
            let after = run.fetch_object(&account, &account.url)?;
            run.each(["status", "orders", "contact"], |name| {
                ensure!(
                    after[name] == before[name],
                    "{update} changed {name} to {}",
                    after[name]
                );
                Ok(())
            });
            ensure!(after["x-unknown"].is_null(), "an unknown field was kept");
            Ok(())
        },
    );
    // Of its own: a server that looks at the key alone deactivates the stranger.
    let stranger = run.new_account(Key::p256())?;
    let answer = run.post(&stranger, &account.url, &json!({"status": "deactivated"}))?;
    run.check(refused(&answer, "unauthorized", "another account's update"));
    let after = run.fetch_object(&account, &account.url)?;
    ensure!(after["status"] == "valid", "another account deactivated it");
    Ok(())
}

fn deactivate(run: &Run, account: &Account) -> Judgement<Answer> {
    run.post(account, &account.url, &json!({"status": "deactivated"}))
}

fn c8555_7_3_6_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let answer = deactivate(run, &account)?;
    ensure!(answer.status == 200, "deactivation: {}", answer.summary());
    ensure!(
        answer.json()?["status"] == "deactivated",
        "deactivation: {}",
        answer.summary()
    );
    Ok(())
}

fn c8555_7_3_6_02(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let issued = run.issue(&account, &[run.name("late")])?;
    let name = run.name("late");
    let ready = run.ready_order(&account, std::slice::from_ref(&name))?;
    let order = run.order(&account, &[run.name("late")])?;
    let authorization = order.authorizations().into_iter().next().unwrap_or_default();
    deactivate(run, &account)?;
    let by_account = account.signer();
    let new_order = json!({"identifiers": identifiers(&[run.name("late")])}).to_string();
    let csr = json!({"csr": base64::url(Csr::of(&[name]).sign(&Key::p256()))}).to_string();
    let revocation = json!({"certificate": base64::url(&issued.leaf().der)}).to_string();
    let mut requests = vec![
        ("fetching the account", by_account, account.url.clone(), String::new()),
        ("fetching an order", by_account, order.url.clone(), String::new()),
        ("fetching an authorization", by_account, authorization, String::new()),
        (
            "fetching the certificate",
            by_account,
            issued.url.clone(),
            String::new(),
        ),
        ("finalizing a ready order", by_account, ready.finalize().to_owned(), csr),
        ("a new order", by_account, run.url("newOrder")?, new_order),
        ("a key change", by_account, run.url("keyChange")?, "{}".to_owned()),
        (
            "revoking its certificate",
            by_account,
            run.url("revokeCert")?,
            revocation,
        ),
        (
            "becoming valid again",
            by_account,
            account.url.clone(),
            json!({"status": "valid"}).to_string(),
        ),
        (
            "newAccount with its key",
            Signer::Key(&account.key),
            run.url("newAccount")?,
            run.account_payload(&account.key)?.to_string(),
        ),
    ];
    if let Some(orders) = account.object["orders"].as_str() {
        requests.push((
            "fetching the list of orders",
            by_account,
            orders.to_owned(),
            String::new(),
        ));
    }
    run.each(requests, |(what, signer, url, payload)| {
        let answer = run.post_as(signer, &url, payload.as_bytes())?;
        refused(&answer, "unauthorized", &format!("{what} after deactivation"))?;
        ensure!(answer.status == 401, "{what} after deactivation: {}", answer.summary());
        Ok(())
    });
    run.still_good(&issued, "a revocation by a deactivated account")
}

fn c8555_7_3_6_03(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let issued = run.issue(&account, &[run.name("kept")])?;
    deactivate(run, &account)?;
    run.still_good(&issued, "deactivation of its account")
}
