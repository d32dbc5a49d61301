//! The challenges whose records name the account: dns-account-01 and dns-persist-01.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use sigillo_tests::acme::{AccountKey, Acme, base64url, request};
use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::http::Response;

use super::accounts::change_key;
use super::expect::{refused, status};

/// The issuer's name in records.
const ISSUER: &str = "ca.example";

fn persisting() -> Options {
    Options::default()
        .set("acme.dns_persist=true")
        .set(format!("acme.caa_identities=[{ISSUER:?}]"))
}

/// Returns the challenge of a kind in the one authorization of an order, with the authorization's URL.
pub(super) fn challenge(acme: &Acme, order: &Value, kind: &str) -> (String, Value) {
    let url = order["authorizations"][0].as_str().unwrap().to_owned();
    let authorization = acme.read(&url).unwrap().json();
    let all = authorization["challenges"].as_array().unwrap();
    let found = all.iter().find(|challenge| challenge["type"] == kind);
    (
        url,
        found.unwrap_or_else(|| panic!("no {kind}: {authorization}")).clone(),
    )
}

pub(super) fn respond(acme: &Acme, challenge: &Value) -> Response {
    acme.post(challenge["url"].as_str().unwrap(), b"{}").unwrap()
}

/// The TXT value of dns-01 and of dns-account-01.
pub(super) fn key_digest(acme: &Acme, challenge: &Value) -> String {
    let token = challenge["token"].as_str().unwrap();
    let key_authorization = format!("{token}.{}", acme.key.thumbprint());
    base64url(digest(&SHA256, key_authorization.as_bytes()))
}

/// Answers the challenge of a kind and returns the authorization as it was decided.
pub(super) fn decided(acme: &Acme, order: &Value, kind: &str) -> Value {
    let (url, challenge) = challenge(acme, order, kind);
    status(&respond(acme, &challenge), 200);
    acme.wait(&url, "pending").unwrap()
}

/// Orders a name, answers the challenge of a kind, and returns the authorization as it was decided.
fn outcome(acme: &Acme, name: &str, kind: &str) -> Value {
    let (_, order) = acme.new_order(&[name]).unwrap();
    decided(acme, &order, kind)
}

/// The labels of dns-account-01, in upper case: names in the DNS are compared without regard to it.
fn account_label(account_url: &str) -> String {
    let digest = digest(&SHA256, account_url.as_bytes());
    let mut number = digest.as_ref()[..10]
        .iter()
        .fold(0_u128, |n, octet| n << 8 | u128::from(*octet));
    let mut letters = Vec::new();
    for _ in 0..16 {
        letters.push(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(number % 32) as usize]);
        number /= 32;
    }
    letters.reverse();
    format!("_{}._ACME-CHALLENGE", String::from_utf8(letters).unwrap())
}

/// A record of dns-persist-01 for a name (`*` for any) under a key.
fn record(acme: &Acme, name: &str, key: &AccountKey, rest: &str) -> String {
    let mut hashed = vec![u8::try_from(name.len()).unwrap()];
    hashed.extend(format!("{name}{}{}", key.thumbprint(), acme.kid).bytes());
    let prefix = acme.directory["meta"]["accountHashPrefix"].as_str().unwrap();
    let hash = base64url(digest(&SHA256, &hashed));
    format!("{ISSUER}; accounturi={prefix}sha-256/{hash}{rest}")
}

fn publish(daemon: &Daemon, name: &str, record: &str) {
    daemon.dns.add_txt(&format!("_validation-persist.{name}"), record);
}

#[test]
fn dns_account_01_is_proven_at_the_label_of_the_account() {
    let daemon = Daemon::start();
    let mut acme = daemon.register().unwrap();
    let other = daemon.register().unwrap();
    assert_eq!(acme.directory["meta"].get("issuerDomainNames"), None);

    let (order_url, order) = acme.new_order(&["*.label.test"]).unwrap();
    let (_, offered) = challenge(&acme, &order, "dns-account-01");
    daemon
        .dns
        .add_txt(&format!("{}.label.test", account_label(&acme.kid)), "decoy");
    daemon.dns.add_txt(
        &format!("{}.label.test", account_label(&acme.kid)),
        &key_digest(&acme, &offered),
    );
    assert_eq!(decided(&acme, &order, "dns-account-01")["status"], "valid");
    assert_eq!(acme.wait(&order_url, "pending").unwrap()["status"], "ready");
    let answer = acme.finalize(&order, &request(&["*.label.test"]).0).unwrap();
    status(&answer, 200);
    acme.download(&order_url).unwrap();

    // After a change of keys the label is the same, since it is of the account and not of the key.
    let new = AccountKey::generate();
    status(&change_key(&acme, &new), 200);
    acme.key = new;
    let (_, order) = acme.new_order(&["changed.test"]).unwrap();
    let (_, offered) = challenge(&acme, &order, "dns-account-01");
    daemon
        .dns
        .add_cname(&format!("{}.changed.test", account_label(&acme.kid)), "elsewhere.test");
    daemon.dns.add_txt("elsewhere.test", &key_digest(&acme, &offered));
    assert_eq!(decided(&acme, &order, "dns-account-01")["status"], "valid");

    // What stands where dns-01 or another account would look is not looked at.
    let (_, order) = acme.new_order(&["other.test"]).unwrap();
    let (_, offered) = challenge(&acme, &order, "dns-account-01");
    for label in ["_acme-challenge".to_owned(), account_label(&other.kid)] {
        daemon
            .dns
            .add_txt(&format!("{label}.other.test"), &key_digest(&acme, &offered));
    }
    let failed = decided(&acme, &order, "dns-account-01");
    assert_eq!(failed["status"], "invalid");
    let detail = failed["challenges"][0]["error"]["detail"].as_str().unwrap();
    assert!(detail.contains(&acme.kid), "{detail}");
}

#[test]
fn dns_account_01_can_be_left_out() {
    let daemon = Daemon::start_with(Options::default().set("acme.dns_account=false"));
    let acme = daemon.register().unwrap();
    let (_, order) = acme.new_order(&["few.test"]).unwrap();
    let authorization = acme.read(order["authorizations"][0].as_str().unwrap()).unwrap().json();
    let all = authorization["challenges"].as_array().unwrap();
    let kinds: Vec<&str> = all.iter().filter_map(|challenge| challenge["type"].as_str()).collect();
    assert_eq!(kinds, ["http-01", "dns-01", "tls-alpn-01"]);
}

#[test]
fn a_record_that_stays_proves_a_name_again_and_again() {
    let daemon = Daemon::start_with(persisting().set("acme.reuse_authorizations=false"));
    let mut acme = daemon.register().unwrap();
    assert_eq!(acme.directory["meta"]["issuerDomainNames"], json!([ISSUER]));
    let (_, order) = acme.new_order(&["stays.test"]).unwrap();
    let (_, offered) = challenge(&acme, &order, "dns-persist-01");
    assert_eq!(offered["issuerDomainNames"], json!([ISSUER]));
    assert_eq!(offered.get("token"), None, "{offered}");

    let old = std::mem::take(&mut acme.key);
    let under_old = record(&acme, "stays.test", &old, "; unheardof=1");
    let new = std::mem::replace(&mut acme.key, old);
    publish(
        &daemon,
        "stays.test",
        "other.example; accounturi=https://other.example/1",
    );
    publish(&daemon, "stays.test", &under_old);
    assert_eq!(decided(&acme, &order, "dns-persist-01")["status"], "valid");
    status(&change_key(&acme, &new), 200);
    let old = std::mem::replace(&mut acme.key, new);
    assert_eq!(
        outcome(&acme, "stays.test", "dns-persist-01")["status"],
        "valid",
        "under an earlier key"
    );
    publish(&daemon, "any.test", &record(&acme, "*", &old, ""));
    assert_eq!(
        outcome(&acme, "any.test", "dns-persist-01")["status"],
        "valid",
        "for any name"
    );

    // The record is looked at each time.
    daemon.dns.clear("_validation-persist.stays.test");
    let gone = outcome(&acme, "stays.test", "dns-persist-01");
    assert_eq!(gone["status"], "invalid");
    let error = &gone["challenges"][0]["error"];
    assert!(error["type"].as_str().unwrap().ends_with(":unauthorized"), "{error}");

    // Another account is not named by it.
    let other = daemon.register().unwrap();
    publish(&daemon, "stays.test", &under_old);
    assert_eq!(outcome(&other, "stays.test", "dns-persist-01")["status"], "invalid");
}

#[test]
fn the_policy_of_a_record_decides_how_far_it_reaches() {
    let daemon = Daemon::start_with(persisting());
    let acme = daemon.register().unwrap();
    publish(
        &daemon,
        "wide.test",
        &record(&acme, "wide.test", &acme.key, "; policy=WildCard"),
    );
    publish(&daemon, "narrow.test", &record(&acme, "narrow.test", &acme.key, ""));
    for (name, wanted) in [
        ("*.wide.test", "valid"),
        ("sub.wide.test", "valid"),
        ("narrow.test", "valid"),
        ("*.narrow.test", "invalid"),
        ("sub.narrow.test", "invalid"),
        ("notwide.test", "invalid"),
    ] {
        assert_eq!(outcome(&acme, name, "dns-persist-01")["status"], wanted, "{name}");
    }
    let (order_url, order) = acme.new_order(&["*.wide.test"]).unwrap();
    assert_eq!(order["status"], "ready");
    status(&acme.finalize(&order, &request(&["*.wide.test"]).0).unwrap(), 200);
    acme.download(&order_url).unwrap();
}

#[test]
fn nothing_rests_on_a_record_after_its_end() {
    let daemon = Daemon::start_with(persisting());
    let acme = daemon.register().unwrap();
    let seconds = |ahead: i64| jiff::Timestamp::now().as_second() + ahead;
    let until = seconds(8);
    publish(
        &daemon,
        "soon.test",
        &record(&acme, "soon.test", &acme.key, &format!("; persistUntil={until}")),
    );
    let (order_url, order) = acme.new_order(&["soon.test"]).unwrap();
    let valid = decided(&acme, &order, "dns-persist-01");
    assert_eq!(valid["status"], "valid");
    let expires: jiff::Timestamp = valid["expires"].as_str().unwrap().parse().unwrap();
    assert_eq!(expires.as_second(), until);
    assert_eq!(acme.read(&order_url).unwrap().json()["status"], "ready");
    while seconds(0) <= until {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let answer = acme.finalize(&order, &request(&["soon.test"]).0).unwrap();
    refused(&answer, 403, "orderNotReady");

    for (name, value, kind) in [
        ("past.test", seconds(-86_400).to_string(), "unauthorized"),
        ("float.test", "1e9".to_owned(), "malformed"),
    ] {
        let rest = format!("; persistUntil={value}");
        publish(&daemon, name, &record(&acme, name, &acme.key, &rest));
        let failed = outcome(&acme, name, "dns-persist-01");
        let found = failed["challenges"][0]["error"]["type"].as_str().unwrap_or_default();
        assert!(found.ends_with(kind), "{name}: {failed}");
    }
}

#[test]
fn persisting_failures_of_a_name_are_slowed_down() {
    let daemon = Daemon::start_with(
        persisting()
            .set("limits.enabled=true")
            .set("limits.failed_persist_per_hour=1"),
    );
    let acme = daemon.register().unwrap();
    assert_eq!(outcome(&acme, "fails.test", "dns-persist-01")["status"], "invalid");
    publish(&daemon, "fails.test", &record(&acme, "fails.test", &acme.key, ""));
    let (_, order) = acme.new_order(&["fails.test"]).unwrap();
    let (_, offered) = challenge(&acme, &order, "dns-persist-01");
    let answer = respond(&acme, &offered);
    refused(&answer, 429, "rateLimited");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((3000..=3601).contains(&seconds), "{seconds}");
    publish(&daemon, "free.test", &record(&acme, "free.test", &acme.key, ""));
    assert_eq!(
        outcome(&acme, "free.test", "dns-persist-01")["status"],
        "valid",
        "another name"
    );
    let other = daemon.register().unwrap();
    publish(&daemon, "fails.test", &record(&other, "fails.test", &other.key, ""));
    assert_eq!(
        outcome(&other, "fails.test", "dns-persist-01")["status"],
        "valid",
        "another account"
    );
}
