//! Each kind of fault, as a client meets it.

use std::time::Instant;

use serde_json::{Value, json};
use sigillo_tests::acme::{Acme, base64url, problem};
use sigillo_tests::test_server::{Options, TestServer};
use sigillo_tests::webroot::Webroot;

fn server(rules: &[&str]) -> (TestServer, Acme) {
    let server = TestServer::start(Options::default().chaos(rules).arguments(&["--chaos-seed", "7"]));
    let acme = server.register().expect("an account");
    (server, acme)
}

/// Sends one request with one nonce, and takes the answer as it is.
fn once(acme: &Acme, url: &str, nonce: &str, payload: &str) -> sigillo_tests::http::Response {
    let header = acme.protected(nonce, url).to_string();
    let jws = acme.key.jws(&header, payload.as_bytes()).to_string();
    acme.send(url, jws.as_bytes()).expect("an answer")
}

fn struck(server: &TestServer, rule: &str) -> u64 {
    let shown = server.ask("/chaos").json();
    let rules = shown["rules"].as_array().unwrap().clone();
    let found = rules
        .iter()
        .find(|shown| shown["rule"] == rule)
        .unwrap_or_else(|| panic!("{rule}: {shown}"));
    found["struck"].as_u64().unwrap()
}

#[test]
fn a_status_is_a_problem_so_many_times() {
    let rule = "new-order:status=503,retry-after=2,times=2";
    let (server, acme) = server(&[rule, "new-order:status=429,after=2,times=1"]);
    for (status, kind) in [(503, "serverInternal"), (503, "serverInternal"), (429, "rateLimited")] {
        let refused = acme.ask_for_order(&["status.test"], json!({})).unwrap();
        assert_eq!((refused.status, problem(&refused).as_str()), (status, kind));
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        // The nonce that comes with it is a good one.
        let nonce = refused.header("replay-nonce").expect("a nonce");
        assert_eq!(once(&acme, &acme.kid, nonce, "").status, 200);
        if status == 503 {
            assert_eq!(refused.header("retry-after"), Some("2"));
        }
    }
    acme.new_order(&["status.test"]).expect("an order");
    assert_eq!(struck(&server, rule), 2);
    let lines = server.log().lines().filter(|line| line.contains(rule)).count();
    assert_eq!(lines, 2, "one line for each fault");
}

#[test]
fn a_refused_nonce_is_refused_for_good() {
    let (server, acme) = server(&[]);
    server.tell("POST", "/chaos", "nonce:reject,times=1");
    let nonce = acme.nonce().unwrap();
    let refused = once(&acme, &acme.kid, &nonce, "");
    assert_eq!((refused.status, problem(&refused).as_str()), (400, "badNonce"));
    let again = once(&acme, &acme.kid, &nonce, "");
    assert_eq!(
        problem(&again),
        "badNonce",
        "a client that repeats a nonce gets no further"
    );
    let fresh = again.header("replay-nonce").unwrap();
    assert_eq!(once(&acme, &acme.kid, fresh, "").status, 200);
}

#[test]
fn nonces_are_refused_in_about_the_share_that_was_asked_for() {
    let server = TestServer::start(Options::default().variable("PEBBLE_WFE_NONCEREJECT", "50"));
    // The harness's client tries five times, so that this is unlikely to fail once, and hopeless to fail often.
    let acme = (0..5).find_map(|_| server.register().ok()).expect("an account");
    let refused = (0..60)
        .filter(|_| problem(&once(&acme, &acme.kid, &acme.nonce().unwrap(), "")) == "badNonce")
        .count();
    assert!((12..=48).contains(&refused), "{refused} of 60");
}

#[test]
fn a_dropped_request_does_nothing_and_a_lost_one_does() {
    let (server, acme) = server(&["new-order:drop,times=1", "new-order:lose,after=1,times=1"]);
    let orders = || {
        let url = acme.read(&acme.kid).unwrap().json()["orders"]
            .as_str()
            .unwrap()
            .to_owned();
        acme.read(&url).unwrap().json()["orders"].as_array().map(Vec::len)
    };
    assert!(acme.new_order(&["drop.test"]).is_err(), "no answer");
    assert_eq!(orders(), Some(0));
    assert!(acme.new_order(&["lose.test"]).is_err(), "no answer");
    assert_eq!(orders(), Some(1), "the order is there all the same");
    acme.new_order(&["third.test"]).unwrap();
    assert!(server.log().contains("new-order:lose"));
}

#[test]
fn answers_are_cut_truncated_or_not_json_at_all() {
    let rules = [
        "directory:cut,times=1",
        "directory:truncate,after=1,times=1",
        "directory:html,after=2,times=1",
    ];
    let server = TestServer::start(Options::default().chaos(&rules));
    let http = server.http_client();
    assert!(
        http.get(&server.directory).is_err(),
        "an answer that breaks off is none"
    );
    let half = http.get(&server.directory).unwrap();
    assert_eq!((half.status, half.json()), (200, Value::Null));
    assert!(half.text().starts_with('{'), "{}", half.text());
    let page = http.get(&server.directory).unwrap();
    assert_eq!(page.status, 502);
    assert_eq!(page.header("content-type"), Some("text/html"));
    assert!(http.get(&server.directory).unwrap().json()["newOrder"].is_string());
}

#[test]
fn requests_wait_and_headers_are_missing() {
    let (_server, acme) = server(&["new-nonce:delay=1s,after=6,times=1", "new-order:omit=location"]);
    let slow = (0..8).map(|_| {
        let begun = Instant::now();
        acme.nonce().unwrap();
        begun.elapsed().as_millis() >= 1000
    });
    assert_eq!(slow.filter(|slow| *slow).count(), 1);
    let answer = acme.ask_for_order(&["omit.test"], json!({})).unwrap();
    assert_eq!((answer.status, answer.header("location")), (201, None));
}

#[test]
fn states_last_as_long_as_the_rule_says() {
    let (server, acme) = server(&[
        "order:processing=3s",
        "authz:pending=2s",
        "authz:retry-after=9,form=date",
    ]);
    let webroot = Webroot::serve(server.http01_port);
    let (order_url, order) = acme.new_order(&["slow.test"]).unwrap();
    let begun = Instant::now();
    acme.prove(&order, &webroot).unwrap();
    assert!(
        begun.elapsed().as_millis() >= 2000,
        "the authorization was shown as pending"
    );
    let authz = order["authorizations"][0].as_str().unwrap();
    assert_eq!(acme.read(authz).unwrap().json()["status"], "valid");
    let (csr, _) = sigillo_tests::acme::request(&["slow.test"]);
    let begun = Instant::now();
    let finalized = acme.finalize(&order, &csr).unwrap();
    assert_eq!(finalized.json()["status"], "processing");
    assert!(finalized.json().get("certificate").is_none());
    assert!(finalized.header("retry-after").is_some());
    acme.download(&order_url).expect("a certificate in the end");
    assert!(begun.elapsed().as_millis() >= 3000);

    let (_, waiting) = acme.new_order(&["other.test"]).unwrap();
    let pending = acme.read(waiting["authorizations"][0].as_str().unwrap()).unwrap();
    let wait = pending.header("retry-after").unwrap().to_owned();
    assert!(wait.ends_with(" GMT"), "{wait}");
}

#[test]
fn an_order_is_shown_as_invalid_with_its_reason() {
    let (_server, acme) = server(&["order:invalid"]);
    let (url, _) = acme.new_order(&["invalid.test"]).unwrap();
    let shown = acme.read(&url).unwrap().json();
    assert_eq!(shown["status"], "invalid");
    assert!(shown["error"]["type"].is_string());
}

#[test]
fn what_is_unknown_is_there_to_be_ignored_and_order_means_nothing() {
    let (_server, acme) = server(&["any:unknown", "authz:unknown-challenge"]);
    let names: Vec<String> = (0..20).map(|number| format!("n{number}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (_, order) = acme.new_order(&names).unwrap();
    assert!(order.get("sigilloUnknownMember").is_some());
    let shown: Vec<&str> = order["identifiers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["value"].as_str().unwrap())
        .collect();
    assert_ne!(shown, names, "shuffled");
    let authz = acme.read(order["authorizations"][0].as_str().unwrap()).unwrap().json();
    let first = &authz["challenges"][0];
    assert_eq!(first["type"], "sigillo-unknown-01");
}

#[test]
fn rules_change_while_it_runs() {
    let (server, acme) = server(&["new-order:status=500"]);
    assert_eq!(acme.ask_for_order(&["a.test"], json!({})).unwrap().status, 500);
    let refused = server.tell("POST", "/chaos", "any:drop,times=1\nnonsense");
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("nonsense"), "{}", refused.text());
    assert_eq!(
        acme.ask_for_order(&["a.test"], json!({})).unwrap().status,
        500,
        "the old rules stay"
    );
    assert_eq!(server.tell("DELETE", "/chaos", "").status, 200);
    assert_eq!(acme.ask_for_order(&["a.test"], json!({})).unwrap().status, 201);
}

#[test]
fn the_same_seed_brings_the_same_faults() {
    let faults = || {
        let (_server, acme) = server(&["account:status=503,share=50%"]);
        (0..24)
            .map(|_| acme.read(&acme.kid).unwrap().status)
            .collect::<Vec<_>>()
    };
    let first = faults();
    assert_eq!(first, faults());
    assert!(first.contains(&200) && first.contains(&503), "{first:?}");
}

#[test]
fn a_request_that_is_too_large_is_refused_under_chaos_too() {
    let (_server, acme) = server(&["nonce:reject=1%"]);
    let body = format!(r#"{{"protected":"{}"}}"#, base64url(vec![b'x'; 70_000]));
    assert_eq!(acme.send(&acme.kid, body.as_bytes()).unwrap().status, 413);
}
