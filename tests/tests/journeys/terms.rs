//! Terms of service that change (RFC 8555 section 7.3.3).

use serde_json::json;
use sigillo_tests::acme::AccountKey;
use sigillo_tests::daemon::Daemon;
use sigillo_tests::process::eventually;
use sigillo_tests::webroot::Webroot;

use super::expect::{link, refused, status};
use super::reload::{RELOADED_WITHIN, add_settings};

const OLD: &str = "https://ca.example/terms/1";
const NEW: &str = "https://ca.example/terms/2";

#[test]
fn new_terms_are_agreed_to_at_the_instance_url() {
    let mut daemon = Daemon::prepare(sigillo_tests::daemon::Options::default());
    add_settings(&daemon, &format!("[acme]\nterms = \"{OLD}\"\n"));
    daemon.serve();
    let webroot = Webroot::serve(daemon.http01_port);
    let mut acme = daemon.register().unwrap();
    assert_eq!(acme.directory["meta"]["termsOfService"], OLD);
    acme.obtain(&["terms.test"], &webroot).unwrap();

    let config = daemon.dir().join("sigillo.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace(OLD, NEW);
    std::fs::write(&config, text).unwrap();
    daemon.signal("HUP");
    eventually("the new terms are in force", RELOADED_WITHIN, || {
        let directory = acme.http.get(&daemon.directory).ok()?.json();
        (directory["meta"]["termsOfService"] == NEW).then_some(())
    });

    let answer = acme.ask_for_order(&["terms.test"], json!({})).unwrap();
    refused(&answer, 403, "userActionRequired");
    assert_eq!(link(&answer, "terms-of-service").as_deref(), Some(NEW));
    let instance = answer.json()["instance"].as_str().expect("an instance").to_owned();
    let page = acme.http.get(&instance).unwrap();
    status(&page, 200);
    assert!(page.text().contains(NEW), "{}", page.text());
    let answer = acme.ask_for_order(&["terms.test"], json!({})).unwrap();
    refused(&answer, 403, "userActionRequired");
    status(&acme.http.request("POST", &instance, &[], b"").unwrap(), 200);
    acme.obtain(&["terms.test"], &webroot).unwrap();

    // A new account agrees as it is made, or is not made.
    acme.key = AccountKey::generate();
    acme.kid.clear();
    let answer = acme.post(&acme.url("newAccount"), b"{}").unwrap();
    refused(&answer, 403, "userActionRequired");
    let answer = acme
        .post(&acme.url("newAccount"), br#"{"termsOfServiceAgreed":true}"#)
        .unwrap();
    status(&answer, 201);
}
