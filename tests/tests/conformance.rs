//! Our own conformance suite judges our own daemon: no MUST fails, no SHOULD warns.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::operator::Operator;
use sigillo_tests::ports;
use sigillo_tests::process::run;
use sigillo_tests::programs::own;

/// Rows whose features are switched on here: none of them may be "not offered" or blocked.
const SWITCHED_ON: &[&str] = &[
    "acct-",
    "persist-",
    "9444-",
    "8739-",
    "br-3.2.2.8-01",
    "8659-5.1-01",
    "8657-5.6-01",
    "8555-11.2-01",
];

/// Most of a run is waiting for validations that are meant to fail, and for what is to end.
const JUDGED_WITHIN: Duration = Duration::from_secs(25 * 60);

/// What the operator is asked to change stands in the configuration; the rest is given to the daemon as it is started.
const CONFIGURATION: [&str; 10] = [
    "acme.caa_identities = [\"ca.conformance.test\"]",
    "acme.dns_persist = true",
    "acme.terms = \"https://ca.conformance.test/terms\"",
    "acme.order_lifetime = \"7d\"",
    "keys.blocklist = \"blocklist.dat\"",
    // A run makes more of these than any client; how often one may fail by dns-persist-01 is judged.
    "limits.enabled = true",
    "limits.new_accounts_per_hour = 1000000",
    "limits.new_orders_per_hour = 1000000",
    "ocsp.validity = \"12h\"",
    "profiles.passing.description = \"Here today\"",
];

/// The record of badkeys' `blocklist.dat` for the key of CVE-2008-0166 that the suite shows: SHA-256 of its modulus, of which
/// 15 octets count.
const DEBIAN_KEY: [u8; 16] = [
    0xc2, 0xbe, 0x9b, 0x48, 0x65, 0x05, 0x0e, 0x5e, 0xa6, 0x8b, 0x30, 0x85, 0x68, 0x7a, 0x47, 0x00,
];

/// Requirements that are judged through the operator, or that end with the certificates they wait for: the run must not
/// block on them.
const THROUGH_THE_OPERATOR: [&str; 9] = [
    "8555-6.6-01",
    "8555-6.6-02",
    "8555-7.1.6-04",
    "8555-7.3.3-01",
    "prof-4-05",
    "5280-3.3-01",
    "br-4.9.9-04",
    "br-6.1.1.3-01",
    "9919-7.1-01",
];

/// Requirements that only show when the clock is moved.
const BY_THE_CLOCK: [&str; 1] = ["6960-2.3-03"];

/// Making a key and writing it down takes no time to speak of, but the machine may be busy.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn the_daemon_keeps_every_requirement_that_has_a_case() {
    let dns = ports::free();
    let operator = Operator::new(&CONFIGURATION.map(str::to_owned));
    let scratch = tempfile::tempdir().expect("a folder for keys");
    let [key, anchor] = ["zone.key", "zone.anchor"].map(|name| scratch.path().join(name));
    let mut anchors = Command::new(own("sigillo-conformance"));
    let anchors = run(anchors.args(["trust-anchor", "--dnssec-key"]).arg(&key), WRITTEN_WITHIN).succeeded();
    std::fs::write(&anchor, anchors.stdout).expect("a file of trust anchors");
    let options = Options::default()
        .leave_out("limits.enabled")
        .set(format!("validation.resolver=127.0.0.1:{dns}"))
        .set("validation.dnssec=validate")
        .set(format!("validation.trust_anchors={:?}", anchor.display().to_string()))
        .set("acme.auto_renewal.min_lifetime=20s");
    let (options, has_clock) = operator.equip(options);
    let mut daemon = Daemon::prepare(options);
    std::fs::write(daemon.dir().join("blocklist.dat"), DEBIAN_KEY).expect("a list of keys");
    operator.configure(&daemon);
    daemon.serve();
    operator.take_charge(&daemon);
    let report = judged(&daemon, dns, &key, &operator.hook());
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
    assert!(count("pass") > 435, "only {} cases passed", count("pass"));
    let by_the_clock: &[&str] = if has_clock { &BY_THE_CLOCK } else { &[] };
    for id in THROUGH_THE_OPERATOR.iter().chain(by_the_clock) {
        let outcome = outcomes.iter().find(|outcome| outcome["id"] == *id);
        let passed = outcome.is_some_and(|outcome| outcome["verdict"] == "pass");
        assert!(passed, "not judged: {outcome:#?}");
    }
}

/// The suite's JSON report about a daemon.
#[track_caller]
fn judged(daemon: &Daemon, dns: u16, key: &Path, hook: &Path) -> serde_json::Value {
    let mut suite = Command::new(own("sigillo-conformance"));
    suite
        .args(["--directory", &daemon.directory, "--ca-root"])
        .arg(daemon.dir().join("root.pem"))
        .args(["--http01-port", &daemon.http01_port.to_string()])
        .args(["--tls-alpn01-port", &daemon.tls_alpn01_port.to_string()])
        .args(["--dns-port", &dns.to_string(), "--dnssec-key"])
        .arg(key)
        .args(["--public-trust", "--report", "json", "--hook"])
        .arg(hook);
    let output = run(&mut suite, JUDGED_WITHIN).succeeded();
    serde_json::from_str(&output.stdout).expect("a JSON report")
}
