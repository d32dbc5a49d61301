//! One proof for a name and all below it (RFC 9444).

use serde_json::{Value, json};
use sigillo_tests::acme::{Acme, request};
use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::http::Response;
use sigillo_tests::webroot::Webroot;

use super::dns_challenges::{challenge, decided, key_digest};
use super::expect::{refused, status};

/// Orders names, each with its ancestor (none if empty).
fn order_under(acme: &Acme, names: &[(&str, &str)]) -> Response {
    let identifiers: Vec<Value> = names
        .iter()
        .map(|(name, ancestor)| match ancestor.is_empty() {
            true => json!({"type": "dns", "value": name}),
            false => json!({"type": "dns", "value": name, "ancestorDomain": ancestor}),
        })
        .collect();
    let payload = json!({"identifiers": identifiers}).to_string();
    acme.post(&acme.url("newOrder"), payload.as_bytes()).unwrap()
}

fn opened(answer: Response) -> (String, Value) {
    status(&answer, 201);
    (answer.header("location").unwrap().to_owned(), answer.json())
}

fn authorize_tree(acme: &Acme, name: &str) -> (String, Value) {
    let payload = json!({"identifier": {"type": "dns", "value": name, "subdomainAuthAllowed": true}});
    let url = acme.url("newAuthz");
    let answer = acme.post(&url, payload.to_string().as_bytes()).unwrap();
    opened(answer)
}

/// Proves the one authorization of an order by dns-01.
fn prove_by_dns(daemon: &Daemon, acme: &Acme, order: &Value, name: &str) -> Value {
    let (_, offered) = challenge(acme, order, "dns-01");
    daemon
        .dns
        .add_txt(&format!("_acme-challenge.{name}"), &key_digest(acme, &offered));
    decided(acme, order, "dns-01")
}

fn finalize(acme: &Acme, order: &Value, names: &[&str]) -> Response {
    acme.finalize(order, &request(names).0).unwrap()
}

#[test]
fn an_order_names_an_ancestor_and_rests_on_its_authorization() {
    let daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    assert_eq!(acme.directory["meta"]["subdomainAuthAllowed"], true);
    let names = ["a.b.tree.test", "c.tree.test", "tree.test", "*.tree.test"];
    let under = names.map(|name| (name, "tree.test"));
    let (order_url, order) = opened(order_under(&acme, &under));
    assert_eq!(
        order["authorizations"].as_array().unwrap().len(),
        1,
        "one proof for all: {order}"
    );
    assert_eq!(order["identifiers"].as_array().unwrap().len(), names.len());
    assert_eq!(
        order["identifiers"][0],
        json!({"type": "dns", "value": "a.b.tree.test"})
    );
    let url = order["authorizations"][0].as_str().unwrap();
    let authorization = acme.read(url).unwrap().json();
    assert_eq!(
        authorization["identifier"],
        json!({"type": "dns", "value": "tree.test"})
    );
    assert_eq!(authorization["subdomainAuthAllowed"], true);
    let offered = authorization["challenges"].as_array().unwrap();
    assert!(
        offered.iter().all(|c| c["type"].as_str().unwrap().starts_with("dns-")),
        "{authorization}"
    );

    assert_eq!(prove_by_dns(&daemon, &acme, &order, "tree.test")["status"], "valid");
    assert_eq!(acme.wait(&order_url, "pending").unwrap()["status"], "ready");
    status(&finalize(&acme, &order, &names), 200);
    let chain = acme.download(&order_url).unwrap().1;
    let leaf = pem::parse_many(&chain).unwrap().remove(0).into_contents();

    // Later orders rest on it unasked, as long as it stands.
    let (next_url, next) = acme.new_order(&["d.tree.test"]).unwrap();
    assert_eq!(
        (&next["status"], &next["authorizations"][0]),
        (&json!("ready"), &json!(url))
    );
    status(&finalize(&acme, &next, &["d.tree.test"]), 200);
    acme.download(&next_url).unwrap();
    let (waiting_url, waiting) = acme.new_order(&["e.tree.test"]).unwrap();
    assert_eq!(waiting["status"], "ready");
    let (_, beside) = acme.new_order(&["badtree.test"]).unwrap();
    assert_eq!(beside["status"], "pending");
    let stranger = daemon.register().unwrap();
    let (_, foreign) = stranger.new_order(&["d.tree.test"]).unwrap();
    assert_eq!(foreign["status"], "pending");
    // Who may have certificates for all names of one may have it revoked (RFC 8555 section 7.6).
    let (_, theirs) = opened(order_under(&stranger, &[("x.tree.test", "tree.test")]));
    daemon.dns.clear("_acme-challenge.tree.test");
    prove_by_dns(&daemon, &stranger, &theirs, "tree.test");
    status(&stranger.revoke(&leaf, 0).unwrap(), 200);

    status(&acme.post(url, br#"{"status":"deactivated"}"#).unwrap(), 200);
    refused(&finalize(&acme, &waiting, &["e.tree.test"]), 403, "orderNotReady");
    assert_eq!(acme.read(&waiting_url).unwrap().json()["status"], "invalid");
    let (_, after) = acme.new_order(&["d.tree.test"]).unwrap();
    assert_eq!(after["status"], "pending", "what was given up covers nothing");
}

#[test]
fn a_tree_is_authorized_before_any_order() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let (url, made) = authorize_tree(&acme, "before.test");
    assert_eq!(
        (&made["status"], &made["subdomainAuthAllowed"]),
        (&json!("pending"), &json!(true))
    );
    assert_eq!(authorize_tree(&acme, "before.test").0, url, "the one that stands");
    let plain = json!({"identifier": {"type": "dns", "value": "before.test"}}).to_string();
    let (plain_url, plain) = opened(acme.post(&acme.url("newAuthz"), plain.as_bytes()).unwrap());
    assert_ne!(plain_url, url, "an ordinary one is another");
    assert_eq!(plain.get("subdomainAuthAllowed"), None, "{plain}");

    // A proof of the host alone says nothing of the names below.
    acme.prove(&json!({"authorizations": [plain_url]}), &webroot).unwrap();
    let (_, order) = acme.new_order(&["sub.before.test"]).unwrap();
    assert_eq!(order["status"], "pending");
    let proven = prove_by_dns(&daemon, &acme, &json!({"authorizations": [url]}), "before.test");
    assert_eq!(proven["status"], "valid");
    let (_, order) = acme
        .new_order(&["sub.before.test", "*.before.test", "before.test"])
        .unwrap();
    assert_eq!(order["status"], "ready");
    status(
        &finalize(&acme, &order, &["sub.before.test", "*.before.test", "before.test"]),
        200,
    );
}

#[test]
fn caa_is_asked_for_the_name_and_not_for_the_ancestor() {
    let daemon = Daemon::start_with(Options::default().set("acme.caa_identities=[\"ca.example\"]"));
    let acme = daemon.register().unwrap();
    let (url, _) = authorize_tree(&acme, "caa.test");
    prove_by_dns(&daemon, &acme, &json!({"authorizations": [url]}), "caa.test");
    daemon.dns.add_caa("no.caa.test", 0, "issue", ";");
    daemon
        .dns
        .add_caa("http.caa.test", 0, "issue", "ca.example; validationmethods=http-01");
    daemon
        .dns
        .add_caa("dns.caa.test", 0, "issue", "ca.example; validationmethods=dns-01");
    for (name, allowed) in [("no.caa.test", false), ("http.caa.test", false), ("dns.caa.test", true)] {
        let (_, order) = acme.new_order(&[name]).unwrap();
        assert_eq!(order["status"], "ready", "{name}");
        let answer = finalize(&acme, &order, &[name]);
        match allowed {
            true => status(&answer, 200),
            false => refused(&answer, 403, "caa"),
        }
    }
}

#[test]
fn what_is_no_ancestor_is_refused() {
    let daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    for (name, ancestor) in [
        ("badexample.test", "example.test"),
        ("www.example.test", "other.test"),
        ("example.test", "www.example.test"),
        ("www.example.test", "not a name"),
    ] {
        refused(&order_under(&acme, &[(name, ancestor)]), 400, "malformed");
    }
}

#[test]
fn where_the_operator_wants_none_each_name_is_proven() {
    let daemon = Daemon::start_with(Options::default().set("acme.subdomain_authorizations=false"));
    let acme = daemon.register().unwrap();
    assert_eq!(acme.directory["meta"].get("subdomainAuthAllowed"), None);
    let (_, order) = opened(order_under(&acme, &[("www.each.test", "each.test")]));
    let authorization = acme.read(order["authorizations"][0].as_str().unwrap()).unwrap().json();
    assert_eq!(authorization["identifier"]["value"], "www.each.test");
    assert_eq!(authorization.get("subdomainAuthAllowed"), None);
    let (_, made) = authorize_tree(&acme, "each.test");
    assert_eq!(made.get("subdomainAuthAllowed"), None, "{made}");
}
