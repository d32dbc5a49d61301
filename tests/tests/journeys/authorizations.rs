//! Authorizations before an order, reused, and given up (RFC 8555 sections 7.4.1 and 7.5.2).

use serde_json::json;
use sigillo_tests::acme::Acme;
use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::http::Response;
use sigillo_tests::webroot::Webroot;

use super::expect::{refused, status};

fn authorize(acme: &Acme, kind: &str, name: &str) -> Response {
    let payload = json!({"identifier": {"type": kind, "value": name}});
    acme.post(&acme.url("newAuthz"), payload.to_string().as_bytes())
        .expect("an answer")
}

#[test]
fn an_order_is_ready_at_once_for_what_was_authorized_before() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let mut authorized = Vec::new();
    for (kind, name) in [("dns", "before.test"), ("ip", "127.0.0.1")] {
        let answer = authorize(&acme, kind, name);
        status(&answer, 201);
        let authorization = answer.json();
        assert_eq!(authorization["status"], "pending");
        assert_eq!(authorization["identifier"]["value"], name);
        let url = answer.header("location").unwrap().to_owned();
        acme.prove(&json!({"authorizations": [&url]}), &webroot).unwrap();
        assert_eq!(acme.wait(&url, "pending").unwrap()["status"], "valid");
        authorized.push(url);
    }
    let names = ["before.test", "127.0.0.1"];
    let (_, order) = acme.new_order(&names).unwrap();
    assert_eq!(order["status"], "ready");
    let used: Vec<&str> = order["authorizations"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|url| url.as_str())
        .collect();
    for url in &authorized {
        assert!(used.contains(&url.as_str()), "{order}");
    }
    acme.obtain(&names, &webroot).unwrap();
    let stranger = daemon.register().unwrap();
    let (_, order) = stranger.new_order(&["before.test"]).unwrap();
    assert_eq!(order["status"], "pending", "one account's proof is no other's");
}

#[test]
fn wildcards_and_nonsense_are_not_authorized_before() {
    let daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    status(&authorize(&acme, "dns", "*.before.test"), 400);
    refused(
        &authorize(&acme, "email", "a@before.test"),
        403,
        "unsupportedIdentifier",
    );
}

#[test]
fn an_order_whose_authorization_is_given_up_is_invalid() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let (pending, order) = acme.new_order(&["up.test"]).unwrap();
    let give_up = |order: &serde_json::Value| {
        let url = order["authorizations"][0].as_str().unwrap();
        let answer = acme.post(url, br#"{"status":"deactivated"}"#).unwrap();
        status(&answer, 200);
        assert_eq!(answer.json()["status"], "deactivated");
        assert_eq!(acme.read(url).unwrap().json()["status"], "deactivated");
    };
    give_up(&order);
    assert_eq!(acme.read(&pending).unwrap().json()["status"], "invalid");

    let (ready, order) = acme.new_order(&["up.test"]).unwrap();
    acme.prove(&order, &webroot).unwrap();
    assert_eq!(acme.wait(&ready, "pending").unwrap()["status"], "ready");
    give_up(&order);
    let invalid = acme.read(&ready).unwrap().json();
    assert_eq!(invalid["status"], "invalid");
    assert!(invalid["error"]["type"].is_string(), "{invalid}");
    let csr = sigillo_tests::acme::request(&["up.test"]).0;
    refused(&acme.finalize(&order, &csr).unwrap(), 403, "orderNotReady");
    let (_, next) = acme.new_order(&["up.test"]).unwrap();
    assert_eq!(next["status"], "pending", "what was given up is proven anew");
}

#[test]
fn authorizations_are_not_reused_where_the_operator_forbids_it() {
    let daemon = Daemon::start_with(Options::default().set("acme.reuse_authorizations=false"));
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    acme.obtain(&["anew.test"], &webroot).unwrap();
    let (_, order) = acme.new_order(&["anew.test"]).unwrap();
    assert_eq!(order["status"], "pending");
}
