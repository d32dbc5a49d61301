//! The audit log from outside: proofs of certificates, heads that continue each other, and what is found in a copy.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::process::{Output, run};
use sigillo_tests::programs::{own, python_with, workspace};
use sigillo_tests::webroot::Webroot;

use super::program::Sigillo;

/// How long one look may take.
const WITHIN: Duration = Duration::from_secs(60);

/// What the log is asked by: an implementation that shares nothing with ours.
struct Outsider {
    url: String,
    key: String,
}

impl Outsider {
    fn of(daemon: &Daemon) -> Self {
        let key = std::fs::read_to_string(daemon.dir().join("log.vkey")).expect("the log's key");
        Self {
            url: format!("{}/log", daemon.http),
            key: key.trim().to_owned(),
        }
    }

    /// Runs `log.py`; `None` where Python or its package is missing.
    fn ask(&self, what: &str, file: Option<&Path>) -> Option<Output> {
        let mut python = python_with("cryptography")?;
        python.arg(workspace().join("tests/python/log.py"));
        python.args([what, &self.url, &self.key]).args(file);
        Some(run(&mut python, WITHIN))
    }

    #[track_caller]
    fn agrees(&self, what: &str, file: Option<&Path>) {
        if let Some(output) = self.ask(what, file) {
            output.succeeded();
        }
    }
}

/// Verifies a copy on a machine that has no CA.
fn verify_copy(copy: &Path, checkpoint: Option<&Path>, key: &str) -> Output {
    let mut command = Command::new(own("sigillo-ca"));
    command.args(["--dir", "/nonexistent", "audit", "verify", "--key", key, "--file"]);
    command.arg(copy);
    if let Some(checkpoint) = checkpoint {
        command.arg("--checkpoint").arg(checkpoint);
    }
    run(&mut command, WITHIN)
}

#[test]
fn a_certificate_is_proven_and_heads_continue_each_other_over_a_kill() {
    let mut daemon = Daemon::start_with(Options::default().set("audit.gather=50ms"));
    let sigillo = Sigillo::at(&daemon);
    let [option, port] = sigillo.http01();
    let kept = sigillo.order(&["proof.test", &option, &port]);
    let first = sigillo.run(&["check", "proof.test", "--proof"]).succeeded().stdout;
    assert!(first.contains("seen for the first time"), "{first}");
    let home = sigillo.home;
    let outsider = Outsider::of(&daemon);
    outsider.agrees("certificate", Some(&kept.join("cert.pem")));
    outsider.agrees("tree", None);
    let old = daemon.scratch().join("old");
    std::fs::copy(daemon.dir().join("log.checkpoint"), &old).expect("the head is put into the folder");

    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    for at in 0..60 {
        acme.obtain(&[&format!("n{at}.test")], &webroot).unwrap();
    }
    daemon.kill9();
    daemon.serve();
    daemon.admin(&["audit", "verify"]).succeeded();
    outsider.agrees("consistent", Some(&old));
    outsider.agrees("tree", None);
    let sigillo = Sigillo { daemon: &daemon, home };
    let second = sigillo.run(&["check", "proof.test", "--proof"]).succeeded().stdout;
    assert!(second.contains("which continues the log of"), "{second}");

    // A log that is put in the place of the one that was seen is not believed.
    let seen = std::fs::read_dir(sigillo.home.path().join("logs")).unwrap();
    let seen = seen.map(|entry| entry.unwrap().path()).next().expect("what was seen");
    let text = std::fs::read_to_string(&seen).unwrap();
    std::fs::write(&seen, text.replace("\"key\": \"", "\"key\": \"other")).unwrap();
    let other = sigillo.run(&["check", "proof.test", "--proof"]).ended_with(1);
    assert!(other.text().contains("another log"), "{other}");
    sigillo
        .run(&["check", "proof.test", "--proof", "--accept-new-log"])
        .succeeded();
}

#[test]
fn a_copy_that_was_altered_is_found_out_without_the_ca() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    daemon.register().unwrap().obtain(&["copy.test"], &webroot).unwrap();
    let key = daemon.admin(&["audit", "key"]).succeeded().stdout.trim().to_owned();
    let text = daemon.admin(&["audit", "export"]).succeeded().stdout;
    let (copy, checkpoint) = (daemon.scratch().join("copy"), daemon.scratch().join("checkpoint"));
    std::fs::copy(daemon.dir().join("log.checkpoint"), &checkpoint).unwrap();
    std::fs::write(&copy, &text).unwrap();
    verify_copy(&copy, Some(&checkpoint), &key).succeeded();

    // Some octets here; audit's own tests flip each bit of each.
    for at in (0..text.len()).step_by(text.len() / 40) {
        let mut octets = text.clone().into_bytes();
        octets[at] ^= 1;
        let line = 1 + text.as_bytes()[..at].iter().filter(|octet| **octet == b'\n').count();
        std::fs::write(&copy, octets).unwrap();
        let found = verify_copy(&copy, None, &key).ended_with(1);
        assert!(found.text().contains(&format!("line {line}: ")), "octet {at}: {found}");
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    std::fs::write(&copy, lines[..lines.len() - 2].concat()).unwrap();
    let cut = verify_copy(&copy, Some(&checkpoint), &key).ended_with(1);
    assert!(cut.text().contains("the end was cut off"), "{cut}");
}
