//! CAA records forbid and allow (RFC 8659, RFC 8657).

use sigillo_tests::acme::{Acme, request};
use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::webroot::Webroot;

use super::expect::{refused, status};

fn ours() -> Options {
    Options::default().set("acme.caa_identities=[\"ca.example\"]")
}

/// Orders and proves; returns the problem that ends the order, empty if there is a certificate.
fn outcome(acme: &Acme, name: &str, webroot: &Webroot) -> String {
    let (url, order) = acme.new_order(&[name]).unwrap();
    acme.prove(&order, webroot).unwrap();
    let standing = acme.wait(&url, "pending").unwrap();
    let problem = if standing["status"] == "ready" {
        acme.finalize(&order, &request(&[name]).0).unwrap().json()["type"].clone()
    } else {
        standing["error"]["type"].clone()
    };
    problem
        .as_str()
        .unwrap_or_default()
        .replace("urn:ietf:params:acme:error:", "")
}

#[test]
fn records_decide_name_by_name() {
    let daemon = Daemon::start_with(ours());
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    assert_eq!(acme.directory["meta"]["caaIdentities"][0], "ca.example");
    let mine = format!("ca.example; accounturi={}", acme.kid);
    for (name, flags, tag, value, expected) in [
        ("none.test", 0, "issue", ";", "caa"),
        ("other.test", 0, "issue", "other.example", "caa"),
        ("ours.test", 0, "issue", "ca.example", ""),
        ("wild.test", 0, "issuewild", ";", ""),
        ("critical.test", 128, "unheardof", "x", "caa"),
        ("mine.test", 0, "issue", mine.as_str(), ""),
        (
            "theirs.test",
            0,
            "issue",
            "ca.example; accounturi=https://a.test/1",
            "caa",
        ),
        ("dns.test", 0, "issue", "ca.example; validationmethods=dns-01", "caa"),
        ("http.test", 0, "issue", "ca.example; validationmethods=http-01", ""),
    ] {
        daemon.dns.add_caa(name, flags, tag, value);
        assert_eq!(outcome(&acme, name, &webroot), expected, "{name}: {tag} {value}");
    }
    daemon.dns.add_caa("parent.test", 0, "issue", ";");
    assert_eq!(
        outcome(&acme, "a.b.parent.test", &webroot),
        "caa",
        "records above count"
    );
    daemon.dns.fail("broken.test", 2);
    assert_ne!(
        outcome(&acme, "www.broken.test", &webroot),
        "",
        "no answer is no permission"
    );
}

#[test]
fn a_ca_without_identity_is_named_by_nobody() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    daemon.dns.add_caa("ours.test", 0, "issue", "ca.example");
    assert_eq!(outcome(&acme, "ours.test", &webroot), "caa");
    assert_eq!(outcome(&acme, "free.test", &webroot), "");
}

#[test]
fn records_that_come_after_the_proof_count_and_the_order_stays_ready() {
    let daemon = Daemon::start_with(ours());
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let (url, order) = acme.new_order(&["late.test"]).unwrap();
    acme.prove(&order, &webroot).unwrap();
    daemon.dns.add_caa("late.test", 0, "issue", "other.example");
    let csr = request(&["late.test"]).0;
    refused(&acme.finalize(&order, &csr).unwrap(), 403, "caa");
    assert_eq!(acme.read(&url).unwrap().json()["status"], "ready");
    daemon.dns.clear("late.test");
    daemon.dns.add_caa("late.test", 0, "issue", "ca.example");
    status(&acme.finalize(&order, &csr).unwrap(), 200);
    acme.download(&url).unwrap();
}
