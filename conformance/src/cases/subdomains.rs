//! RFC 9444: authorizations that cover subdomains.

use serde_json::{Value, json};

use crate::case::{Case, Finding, Judgement, OrFail, ensure, may, must, must_read};
use crate::http::Answer;
use crate::issue::{Order, identifiers};
use crate::keys::Key;
use crate::request::Csr;
use crate::suite::{Account, Run};

pub(super) const CASES: &[Case] = &[
    may!(c9444_4_4_01, "meta.subdomainAuthAllowed shows support."),
    must!(
        c9444_4_1_01,
        "subdomainAuthAllowed stands in what covers subdomains, and there alone."
    ),
    must_read!(
        c9444_4_2_01,
        "newAuthz with the flag gives an authorization with it, or an ordinary one."
    ),
    must_read!(
        c9444_4_2_02,
        "Deactivating the ancestor's authorization ends issuance under it."
    ),
    must_read!(c9444_4_3_01, "ancestorDomain is answered with a name on the path."),
    must_read!(c9444_4_3_02, "ancestorDomain is an ancestor by whole labels."),
];

/// Cases go on only where the directory says so.
pub(super) fn offered(run: &Run) -> Judgement {
    match &run.directory["meta"]["subdomainAuthAllowed"] {
        Value::Bool(true) => Ok(()),
        other => Err(Finding::NotOffered(format!("meta.subdomainAuthAllowed is {other}"))),
    }
}

/// The flag of an authorization; absent means false.
fn flag(authorization: &Value) -> Judgement<bool> {
    match &authorization["subdomainAuthAllowed"] {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(*flag),
        other => Err(Finding::Fail(format!("subdomainAuthAllowed is {other}"))),
    }
}

fn value(authorization: &Value) -> &str {
    authorization["identifier"]["value"].as_str().unwrap_or_default()
}

/// Whether `name` is `ancestor` or below it.
fn is_at_or_below(name: &str, ancestor: &str) -> bool {
    name == ancestor || name.strip_suffix(ancestor).is_some_and(|front| front.ends_with('.'))
}

/// Asks for an authorization for a name and everything below it.
fn authorize(run: &Run, account: &Account, name: &str) -> Judgement<Answer> {
    let identifier = json!({"type": "dns", "value": name, "subdomainAuthAllowed": true});
    run.post(
        account,
        &run.optional_url("newAuthz")?,
        &json!({"identifier": identifier}),
    )
}

/// A valid authorization that covers the subdomains of a fresh name.
fn covering(run: &Run, account: &Account) -> Judgement<(String, String)> {
    let base = run.name("ancestor");
    let answer = authorize(run, account, &base)?;
    let Some(url) = answer.header("location").map(str::to_owned) else {
        return Err(Finding::Blocked(format!("newAuthz: {}", answer.summary())));
    };
    if !flag(&answer.json()?)? {
        return Err(Finding::NotOffered("this authorization covers no subdomains".into()));
    }
    let object = run.fulfil(account, &url)?;
    ensure!(flag(&object)?, "once valid it covers no subdomains: {object}");
    Ok((base, url))
}

/// An order for one name under an ancestor.
fn under(run: &Run, account: &Account, name: &str, ancestor: &str) -> Judgement<Answer> {
    let identifier = json!({"type": "dns", "value": name, "ancestorDomain": ancestor});
    run.try_order(account, &json!({"identifiers": [identifier]}))
}

fn taken(answer: &Answer) -> Judgement<Order> {
    match answer.header("location") {
        Some(url) if answer.status == 201 => Ok(Order {
            url: url.to_owned(),
            object: answer.json()?,
        }),
        _ => Err(Finding::Blocked(format!("no order: {}", answer.summary()))),
    }
}

fn c9444_4_4_01(run: &Run) -> Judgement {
    let flag = &run.directory["meta"]["subdomainAuthAllowed"];
    ensure!(
        flag.is_null() || flag.is_boolean(),
        "meta.subdomainAuthAllowed is {flag}"
    );
    offered(run)
}

fn c9444_4_1_01(run: &Run) -> Judgement {
    offered(run)?;
    let account = run.account()?;
    let order = run.order(account, &[run.name("plain")])?;
    for url in order.authorizations() {
        let object = run.authorization(account, &url)?;
        ensure!(!flag(&object)?, "nobody asked for subdomains: {object}");
    }
    covering(run, account).map(|_| ())
}

fn c9444_4_2_01(run: &Run) -> Judgement {
    offered(run)?;
    let account = run.account()?;
    let base = run.name("ancestor");
    let answer = authorize(run, account, &base)?;
    ensure!(answer.status == 201, "newAuthz with the flag: {}", answer.summary());
    let object = answer.json()?;
    ensure!(
        object["identifier"]["value"] == base.as_str() && object["identifier"]["type"] == "dns",
        "the authorization is for {}",
        object["identifier"]
    );
    if !flag(&object)? {
        return Ok(());
    }
    // What it promises has to hold: names below it need no challenge of their own.
    let (base, _) = covering(run, account)?;
    let name = format!("a.b.{base}");
    let order = run.order(account, std::slice::from_ref(&name)).or_fail()?;
    for url in order.authorizations() {
        let object = run.authorization(account, &url)?;
        ensure!(object["status"] == "valid", "{name} still needs {object}");
    }
    let order = run.until(account, &order, &["ready"]).or_fail()?;
    let key = Key::p256();
    let csr = Csr::of(std::slice::from_ref(&name)).sign(&key);
    let issued = run
        .finish(account, &order, &csr, key, std::slice::from_ref(&name))
        .or_fail()?;
    let names = issued.leaf().dns_names();
    ensure!(names == [name.as_str()], "the certificate is for {names:?}");
    Ok(())
}

fn c9444_4_2_02(run: &Run) -> Judgement {
    offered(run)?;
    let account = run.account()?;
    let (base, url) = covering(run, account)?;
    let name = format!("open.{base}");
    let open = run.order(account, std::slice::from_ref(&name))?;
    let answer = run.post(account, &url, &json!({"status": "deactivated"}))?;
    if answer.status != 200 {
        return Err(Finding::Blocked(format!("deactivation: {}", answer.summary())));
    }
    let answer = run.finalize(account, &open, &Csr::of(&[name]).sign(&Key::p256()))?;
    ensure!(
        !answer.is_success(),
        "an order that relied on it was finalized: {}",
        answer.summary()
    );
    let later = run.order(account, &[format!("later.{base}")])?;
    ensure!(later.status() != "ready", "a later order is {}", later.object);
    for url in later.authorizations() {
        let object = run.authorization(account, &url)?;
        ensure!(object["status"] == "pending", "a later order relies on {object}");
    }
    Ok(())
}

fn c9444_4_3_01(run: &Run) -> Judgement {
    offered(run)?;
    let account = run.account()?;
    // A base for each: what is valid for the first one would serve the other order too.
    let (base, other) = (run.name("ancestor"), run.name("ancestor"));
    for (name, ancestor) in [
        (format!("a.b.{base}"), base.clone()),
        (format!("c.d.{other}"), format!("d.{other}")),
    ] {
        let order = taken(&under(run, account, &name, &ancestor)?).or_fail()?;
        let identifiers = &order.object["identifiers"];
        ensure!(
            identifiers[0]["value"] == name.as_str(),
            "the order is for {identifiers}, not {name}"
        );
        let authorizations = order.authorizations();
        ensure!(authorizations.len() == 1, "one name has {authorizations:?}");
        let object = run.authorization(account, &authorizations[0])?;
        let chosen = value(&object);
        ensure!(
            is_at_or_below(&name, chosen) && is_at_or_below(chosen, &ancestor),
            "{name} under {ancestor} is authorized by {chosen}"
        );
        ensure!(
            chosen == name || flag(&object)?,
            "the authorization of {chosen} does not cover {name}: {object}"
        );
        run.fulfil(account, &authorizations[0]).or_fail()?;
        let order = run.until(account, &order, &["ready"]).or_fail()?;
        let key = Key::p256();
        let csr = Csr::of(std::slice::from_ref(&name)).sign(&key);
        run.finish(account, &order, &csr, key, &[name]).or_fail()?;
    }
    Ok(())
}

/// The order was refused, or nothing but the name itself authorizes it.
fn is_not_covered(run: &Run, account: &Account, answer: &Answer, name: &str, what: &str) -> Judgement {
    if answer.is_refusal() {
        ensure!(
            !answer.problem().is_empty(),
            "{what}: refused without a problem: {}",
            answer.summary()
        );
        return Ok(());
    }
    let order = taken(answer).or_fail()?;
    ensure!(order.status() != "ready", "{what}: the order is {}", order.object);
    for url in order.authorizations() {
        let object = run.authorization(account, &url)?;
        ensure!(
            value(&object) == name && object["status"] != "valid",
            "{what}: {name} is authorized by {object}"
        );
    }
    Ok(())
}

fn c9444_4_3_02(run: &Run) -> Judgement {
    offered(run)?;
    let account = run.account()?;
    let (base, elsewhere) = (run.name("ancestor"), run.name("elsewhere"));
    let strangers = [
        ("another domain", format!("a.{base}"), elsewhere.clone()),
        ("a suffix that is no label", format!("a.bad{base}"), base.clone()),
        ("a name below", base.clone(), format!("a.{base}")),
        ("a wildcard", format!("a.b.{base}"), format!("*.{base}")),
        ("an empty name", format!("a.{base}"), String::new()),
    ];
    run.each(strangers, |(what, name, ancestor)| {
        is_not_covered(run, account, &under(run, account, &name, &ancestor)?, &name, what)
    });
    // Nor is a neighbour covered by what is valid already.
    let (base, _) = covering(run, account)?;
    run.each(
        [format!("bad{base}"), format!("a.bad{base}"), run.options.zone.clone()],
        |name| {
            let answer = run.try_order(
                account,
                &json!({"identifiers": identifiers(std::slice::from_ref(&name))}),
            )?;
            is_not_covered(run, account, &answer, &name, "beside a valid ancestor")?;
            Ok(())
        },
    );
    // Nor does another account gain by it.
    let name = format!("a.{base}");
    let other = run.other_account()?;
    is_not_covered(run, other, &under(run, other, &name, &name)?, &name, "another account")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_are_whole_labels() {
        assert!(is_at_or_below("a.b.test", "b.test") && is_at_or_below("b.test", "b.test"));
        assert!(!is_at_or_below("ab.test", "b.test") && !is_at_or_below("test", "b.test"));
    }
}
