//! Our own conformance suite judges our own daemon: no MUST fails, no SHOULD warns.

use std::process::Command;
use std::time::Duration;

use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::ports;
use sigillo_tests::process::run;
use sigillo_tests::programs::own;

/// Rows whose features are switched on here: none of them may be "not offered" or blocked.
const SWITCHED_ON: &[&str] = &["8739-", "8659-5.1-01", "8657-5.6-01", "8555-11.2-01"];

/// Most of a run is waiting for validations that are meant to fail.
const JUDGED_WITHIN: Duration = Duration::from_secs(20 * 60);

/// Making a key and writing it down takes no time to speak of, but the machine may be busy.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn the_daemon_keeps_every_requirement_that_has_a_case() {
    let dns = ports::free();
    let scratch = tempfile::tempdir().expect("a folder for keys");
    let [key, anchor] = ["zone.key", "zone.anchor"].map(|name| scratch.path().join(name));
    let mut anchors = Command::new(own("sigillo-conformance"));
    let anchors = run(anchors.args(["trust-anchor", "--dnssec-key"]).arg(&key), WRITTEN_WITHIN).succeeded();
    std::fs::write(&anchor, anchors.stdout).expect("a file of trust anchors");
    let daemon = Daemon::start_with(
        Options::default()
            .set(format!("validation.resolver=127.0.0.1:{dns}"))
            .set("validation.dnssec=validate")
            .set(format!("validation.trust_anchors={:?}", anchor.display().to_string()))
            .set("acme.auto_renewal.min_lifetime=20s")
            .set("acme.caa_identities=[\"ca.conformance.test\"]")
            .set("acme.terms=https://ca.conformance.test/terms"),
    );
    let mut suite = Command::new(own("sigillo-conformance"));
    suite
        .args(["--directory", &daemon.directory, "--ca-root"])
        .arg(daemon.dir().join("root.pem"))
        .args(["--http01-port", &daemon.http01_port.to_string()])
        .args(["--tls-alpn01-port", &daemon.tls_alpn01_port.to_string()])
        .args(["--dns-port", &dns.to_string(), "--dnssec-key"])
        .arg(&key)
        .args(["--limits-off", "--public-trust", "--report", "json"]);
    let output = run(&mut suite, JUDGED_WITHIN).succeeded();
    let report: serde_json::Value = serde_json::from_str(&output.stdout).expect("a JSON report");
    let outcomes = report["cases"].as_array().expect("a list of outcomes");
    let count = |wanted: &str| outcomes.iter().filter(|outcome| outcome["verdict"] == wanted).count();
    let warned: Vec<_> = outcomes.iter().filter(|outcome| outcome["verdict"] == "warn").collect();
    assert_eq!(count("fail"), 0);
    assert!(warned.is_empty(), "SHOULDs that are not kept: {warned:#?}");
    let is_switched_on = |id: &str| SWITCHED_ON.iter().any(|prefix| id.starts_with(prefix));
    let unjudged: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome["id"].as_str().is_some_and(is_switched_on) && outcome["verdict"] != "pass")
        .collect();
    assert!(unjudged.is_empty(), "switched on, and yet: {unjudged:#?}");
    // What is "not offered" or "blocked" judges nothing: the run must have judged most of the standards.
    assert!(count("pass") > 380, "only {} cases passed", count("pass"));
}
