//! Without chance, the test server keeps the requirements that the daemon keeps; a part of the suite sees to it.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sigillo_tests::process::run;
use sigillo_tests::programs::own;
use sigillo_tests::test_server::{Options, TestServer};

/// How long the part may take.
const JUDGED_WITHIN: Duration = Duration::from_secs(240);

/// What differs between this server and the daemon: the front's paths, nonces, orders, chains, renewal information.
const PARTS: [&str; 5] = ["8555-6", "8555-7.1", "8555-7.4", "9773", "8555-7.2"];

#[test]
fn it_keeps_what_the_daemon_keeps() {
    let server = TestServer::start(
        Options::default()
            .member("certificate", json!("no/such/cert.pem"))
            .variable("PEBBLE_ALTERNATE_ROOTS", "1"),
    );
    let log = server.log();
    let root = log.lines().find_map(|line| line.split_once("its root is ")).unwrap().1;
    let mut suite = Command::new(own("sigillo-conformance"));
    suite
        .args(["--directory", &server.directory, "--ca-root", root])
        .args(["--http01-port", &server.http01_port.to_string()])
        .args(["--tls-alpn01-port", &server.tls_alpn01_port.to_string()])
        .args(PARTS.iter().flat_map(|part| ["--only", *part]))
        .args(["--report", "json"]);
    let output = run(&mut suite, JUDGED_WITHIN).succeeded();
    let report: Value = serde_json::from_str(&output.stdout).expect("a JSON report");
    let cases = report["cases"].as_array().expect("a list of outcomes");
    let failed: Vec<&Value> = cases.iter().filter(|case| case["verdict"] == "fail").collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let passed = cases.iter().filter(|case| case["verdict"] == "pass").count();
    assert!(passed > 50, "only {passed} passed of {}", cases.len());
}
