//! The quick ones of the suites that other people's clients are tested with, at our Pebble personality.
//!
//! `tests/peers/run` has them all; the others fetch and build for minutes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sigillo_tests::process::run;
use sigillo_tests::programs::{INTEROP_VARIABLE, available, find, own, workspace};

/// How long the suites may take together: under a minute on a quiet machine.
const SUITES_WITHIN: Duration = Duration::from_secs(600);
/// What the runner ends with where it cannot make a network of its own.
const SKIPPED: i32 = 77;

#[test]
fn suites_made_for_pebble_pass() {
    if !available(&["certbot", "certbot-current", "openssl", "unshare", "ip", "mount"]) {
        return;
    }
    // The newest certbot lies in a Python environment with its library, which is what the suites want.
    let certbot = find("certbot-current").and_then(|link| link.canonicalize().ok());
    let environment = certbot.as_deref().and_then(Path::parent).and_then(Path::parent);
    let folder = tempfile::tempdir().expect("a folder for the suites");
    let mut command = Command::new(workspace().join("tests/peers/run"));
    command.args(["--against", "sigillo", "acme", "certbot-debian"]);
    command.env("SIGILLO_PEERS_DIR", folder.path());
    command.env("SIGILLO_PEERS_PYTHON", environment.expect("certbot in an environment"));
    command.env(
        "SIGILLO_BIN_DIR",
        own("sigillo-ca").parent().expect("a folder of programs"),
    );
    let output = run(&mut command, SUITES_WITHIN);
    let required = std::env::var_os(INTEROP_VARIABLE).is_some_and(|value| value != "0");
    if output.code() == SKIPPED && !required {
        eprintln!("SKIPPED: {}", output.stdout);
        return;
    }
    let output = output.succeeded();
    assert!(output.stdout.contains("2 passed, 0 failed, 0 skipped"), "{output}");
}
