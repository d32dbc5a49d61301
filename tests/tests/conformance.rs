//! Our own conformance suite judges our own daemon: no MUST fails, no SHOULD warns.

use std::process::Command;
use std::time::Duration;

use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::ports;
use sigillo_tests::process::run;
use sigillo_tests::programs::own;

/// Most of a run is waiting for validations that are meant to fail.
const JUDGED_WITHIN: Duration = Duration::from_secs(20 * 60);

#[test]
fn the_daemon_keeps_every_requirement_that_has_a_case() {
    let dns = ports::free();
    let daemon = Daemon::start_with(
        Options::default()
            .set(format!("validation.resolver=127.0.0.1:{dns}"))
            .set("acme.caa_identities=[\"ca.conformance.test\"]")
            .set("acme.terms=https://ca.conformance.test/terms"),
    );
    let mut suite = Command::new(own("sigillo-conformance"));
    suite
        .args(["--directory", &daemon.directory, "--ca-root"])
        .arg(daemon.dir().join("root.pem"))
        .args(["--http01-port", &daemon.http01_port.to_string()])
        .args(["--tls-alpn01-port", &daemon.tls_alpn01_port.to_string()])
        .args(["--dns-port", &dns.to_string(), "--public-trust", "--report", "json"]);
    let output = run(&mut suite, JUDGED_WITHIN).succeeded();
    let report: serde_json::Value = serde_json::from_str(&output.stdout).expect("a JSON report");
    let outcomes = report["cases"].as_array().expect("a list of outcomes");
    let count = |wanted: &str| outcomes.iter().filter(|outcome| outcome["verdict"] == wanted).count();
    let warned: Vec<_> = outcomes.iter().filter(|outcome| outcome["verdict"] == "warn").collect();
    assert_eq!(count("fail"), 0);
    assert!(warned.is_empty(), "SHOULDs that are not kept: {warned:#?}");
    // What is "not offered" or "blocked" judges nothing: the run must have judged most of the standards.
    assert!(count("pass") > 350, "only {} cases passed", count("pass"));
}
