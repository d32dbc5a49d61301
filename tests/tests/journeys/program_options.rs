//! What our own client program can be told: keys, requests, hooks, profiles, and to go on by itself.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use sigillo_tests::daemon::Daemon;
use sigillo_tests::judge::openssl;
use sigillo_tests::place::serial_of;
use sigillo_tests::process::Background;
use sigillo_tests::webroot::Webroot;

use super::program::{Sigillo, papers};

/// How long the client that runs by itself may take for a renewal that is due.
const RENEWED_WITHIN: Duration = Duration::from_secs(60);

fn text_of(certificate: &Path) -> String {
    openssl(&["x509", "-noout", "-text", "-in"], &[certificate])
        .succeeded()
        .stdout
}

#[test]
fn makes_each_kind_of_key() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let [option, port] = sigillo.http01();
    for (kind, mark) in [
        ("ecdsa-p256", "P-256"),
        ("ecdsa-p384", "P-384"),
        ("rsa-2048", "(2048 bit)"),
    ] {
        let kept = sigillo.order(&["keys.test", "--name", kind, "--key-type", kind, &option, &port]);
        let text = text_of(&kept.join("cert.pem"));
        assert!(text.contains(mark), "{kind}: {text}");
        papers(&daemon, &kept, kind).openssl_accepts_the_chain();
    }
    sigillo
        .run(&["order", "keys.test", "--key-type", "rsa-1024", &option, &port])
        .ended_with(2);
}

#[test]
fn keeps_the_key_when_told_and_changes_it_otherwise() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let [option, port] = sigillo.http01();
    for (name, reuse) in [("kept.test", true), ("changed.test", false)] {
        let mut arguments = vec![name, option.as_str(), port.as_str()];
        if reuse {
            arguments.push("--reuse-key");
        }
        let kept = sigillo.order(&arguments);
        let read = || std::fs::read_to_string(kept.join("key.pem")).expect("a key");
        let (key, serial) = (read(), serial_of(&kept.join("cert.pem").display().to_string()));
        sigillo.run(&["renew", name]).succeeded();
        assert_ne!(serial_of(&kept.join("cert.pem").display().to_string()), serial);
        assert_eq!(read() == key, reuse, "{name}");
        papers(&daemon, &kept, name).all_find_it_good(&daemon.http_client());
    }
}

#[test]
fn sends_a_request_made_elsewhere() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let webroot = Webroot::serve(daemon.http01_port);
    let (csr, key_pem) = sigillo_tests::acme::request(&["csr.test"]);
    let file = daemon.scratch().join("request.der");
    std::fs::write(&file, csr).unwrap();
    let (file, root) = (file.display().to_string(), webroot.path().display().to_string());
    let kept = sigillo.order(&["--csr", &file, "--webroot", &root]);
    papers(&daemon, &kept, "csr").all_find_it_good(&daemon.http_client());
    assert!(!kept.join("key.pem").exists(), "the key stays with its owner");
    let key = daemon.scratch().join("request.key");
    std::fs::write(&key, key_pem).unwrap();
    let certified = openssl(&["x509", "-noout", "-pubkey", "-in"], &[&kept.join("cert.pem")]).succeeded();
    let owned = openssl(&["pkey", "-pubout", "-in"], &[&key]).succeeded();
    assert_eq!(certified.stdout, owned.stdout);
    assert_eq!(
        std::fs::read_dir(webroot.challenges()).unwrap().count(),
        0,
        "the proofs are taken away"
    );
}

#[test]
fn orders_under_a_profile_and_keeps_to_it() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let [option, port] = sigillo.http01();
    sigillo.order(&["short.test", "--profile", "shortlived", &option, &port]);
    sigillo.run(&["renew", "short.test"]).succeeded();
    let listed = sigillo.json(&["list"]);
    assert_eq!(listed[0]["profile"], "shortlived", "{listed}");
    assert_eq!(listed[0]["days_left"], 5, "{listed}");
    let refused = sigillo
        .run(&["order", "other.test", "--profile", "nonsense", &option, &port])
        .ended_with(2);
    assert!(
        refused.stderr.contains("shortlived"),
        "it says what is offered: {refused}"
    );
}

#[test]
fn a_failed_proof_is_told_and_leaves_what_is_kept_alone() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let [option, port] = sigillo.http01();
    let kept = sigillo.order(&["told.test", &option, &port]);
    let before = std::fs::read(kept.join("fullchain.pem")).unwrap();
    daemon.dns.remove("gone.test");
    let refused = sigillo
        .run(&["order", "told.test", "gone.test", &option, &port])
        .ended_with(1);
    assert!(
        refused.stdout.is_empty() && refused.stderr.contains("gone.test"),
        "{refused}"
    );
    assert_eq!(std::fs::read(kept.join("fullchain.pem")).unwrap(), before);
}

#[test]
fn goes_on_by_itself_renews_what_is_due_and_runs_the_hook() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let webroot = Webroot::serve(daemon.http01_port);
    let (hook, told) = (daemon.scratch().join("deploy.sh"), daemon.scratch().join("told"));
    let body = format!(
        "#!/bin/sh\necho \"$SIGILLO_NAME $SIGILLO_CERT\" >> '{}'\n",
        told.display()
    );
    std::fs::write(&hook, body).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o700)).unwrap();
    let (hook, root) = (hook.display().to_string(), webroot.path().display().to_string());
    let kept = sigillo.order(&["daemon.test", "--webroot", &root, "--deploy-hook", &hook]);
    let certificate = kept.join("cert.pem").display().to_string();
    let line = format!("daemon.test {certificate}\n");
    assert_eq!(std::fs::read_to_string(&told).unwrap(), line);
    let first = serial_of(&certificate);
    daemon.admin(&["certs", "renew-now", &first]).succeeded();
    let mut running = Background::start(&mut sigillo.command(&["daemon"]), &daemon.scratch().join("daemon.log"));
    running.wait_for(RENEWED_WITHIN, |_| {
        let deployed = std::fs::read_to_string(&told).unwrap_or_default();
        (deployed == line.repeat(2)).then_some(())
    });
    assert_ne!(serial_of(&certificate), first);
    papers(&daemon, &kept, "daemon").all_find_it_good(&daemon.http_client());
    let ended = running.terminate();
    assert!(ended.success(), "SIGTERM ended the client with {ended}");
}
