//! The command lines keep their promises: exit codes, refusals, JSON, the tour.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::judge::{Papers, openssl};
use sigillo_tests::ports;
use sigillo_tests::process::{Output, run};
use sigillo_tests::programs::own;
use sigillo_tests::webroot::Webroot;

/// How long a command may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);
/// How long the whole tour may take: under a minute is what the README promises.
const TOUR_WITHIN: Duration = Duration::from_secs(60);

fn call(program: &str, arguments: &[&str], folder: &Path) -> Output {
    run(
        Command::new(own(program)).args(arguments).current_dir(folder),
        COMMAND_WITHIN,
    )
}

#[test]
fn wrong_usage_ends_with_two_and_help_with_zero() {
    let folder = tempfile::tempdir().unwrap();
    for program in ["sigillo-ca", "sigillo"] {
        for wrong in [&[][..], &["nonsense"], &["--nonsense"]] {
            let output = call(program, wrong, folder.path()).ended_with(2);
            assert!(output.stdout.is_empty(), "usage errors go to stderr: {output}");
        }
        for right in ["--help", "--version"] {
            let output = call(program, &[right], folder.path()).ended_with(0);
            assert!(!output.stdout.is_empty(), "{output}");
        }
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "help left files behind"
    );
}

#[test]
fn a_failure_ends_with_one_and_its_reason_on_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["serve"][..],
        &["certs", "list"],
        &["crl", "show"],
        &["audit", "verify"],
    ] {
        let output = call("sigillo-ca", arguments, folder.path()).ended_with(1);
        assert!(output.stdout.is_empty(), "{output}");
        let first = output.stderr.lines().next().unwrap_or_default();
        assert!(!first.is_empty() && !first.contains("panicked"), "{output}");
    }
}

#[test]
fn init_refuses_a_folder_that_holds_a_ca() {
    let daemon = Daemon::prepare(Options::default());
    let root = std::fs::read(daemon.root()).unwrap();
    let output = daemon.admin(&["init"]).ended_with(1);
    assert!(!output.stderr.contains("panicked"), "{output}");
    assert_eq!(std::fs::read(daemon.root()).unwrap(), root, "the root was overwritten");
}

#[test]
fn init_keeps_keys_from_other_users() {
    use std::os::unix::fs::PermissionsExt as _;
    let daemon = Daemon::prepare(Options::default());
    let keys = daemon.dir().join("keys");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&keys), 0o700);
    let mut count = 0;
    for entry in std::fs::read_dir(&keys).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
        count += 1;
    }
    assert!(count >= 2, "root and issuing key: {count}");
}

#[test]
fn init_encrypts_keys_under_a_passphrase_and_serves_with_it() {
    let secret = tempfile::tempdir().unwrap();
    let file = secret.path().join("passphrase");
    std::fs::write(&file, "correct horse battery\n").unwrap();
    let file = file.display().to_string();
    let daemon = Daemon::prepare(Options::default().init(&["--passphrase-file", &file]));
    for entry in std::fs::read_dir(daemon.dir().join("keys")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if text.contains("PRIVATE KEY") {
            assert!(text.contains("ENCRYPTED PRIVATE KEY"), "{} is plain", path.display());
        }
    }
    daemon.admin(&["serve"]).ended_with(1);
}

#[test]
fn init_takes_name_and_validity() {
    let init = [
        "--name",
        "Journey CA",
        "--root-validity",
        "10y",
        "--issuer-validity",
        "2y",
    ];
    let daemon = Daemon::prepare(Options::default().init(&init));
    let text = |path: &Path| openssl(&["x509", "-noout", "-subject", "-dates", "-in"], &[path]).succeeded();
    let root = text(&daemon.root());
    assert!(root.stdout.contains("Journey CA"), "{root}");
    let soon = (365 * 24 * 3600).to_string();
    openssl(&["x509", "-noout", "-checkend", &soon, "-in"], &[&daemon.chain()]).succeeded();
    let late = (3 * 365 * 24 * 3600).to_string();
    openssl(&["x509", "-noout", "-checkend", &late, "-in"], &[&daemon.chain()]).ended_with(1);
    openssl(&["x509", "-noout", "-checkend", &late, "-in"], &[&daemon.root()]).succeeded();
}

#[test]
fn quickstart_shows_the_whole_life_of_a_certificate_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        format!("server.https=127.0.0.1:{}", ports::free()),
        format!("server.http=127.0.0.1:{}", ports::free()),
    ];
    let mut command = Command::new(own("sigillo-ca"));
    command
        .args(["quickstart", "--exit", "--dir"])
        .arg(folder.path().join("ca"));
    command.args(settings.iter().flat_map(|setting| ["--set", setting.as_str()]));
    let output = run(&mut command, TOUR_WITHIN).ended_with(0);
    let text = output.stdout.to_lowercase();
    for word in ["issued", "renewed", "revoked", "ocsp", "crl"] {
        assert!(text.contains(word), "the tour does not say {word}: {output}");
    }
    assert!(folder.path().join("ca/root.pem").is_file());
    // A second tour uses the CA that is there.
    let root = std::fs::read(folder.path().join("ca/root.pem")).unwrap();
    run(&mut command, TOUR_WITHIN).ended_with(0);
    assert_eq!(std::fs::read(folder.path().join("ca/root.pem")).unwrap(), root);
}

#[test]
fn operators_see_and_revoke_certificates() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let issued = acme.obtain(&["operator.test"], &webroot).unwrap();
    let serial = issued.serial();
    for what in ["certs", "accounts", "orders", "eab"] {
        assert!(daemon.admin_json(&[what, "list"]).is_array(), "{what}");
        daemon.admin(&[what, "list"]).succeeded();
    }
    let found = daemon.admin_json(&["certs", "list", "--name", "operator.test"]);
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    let shown = daemon.admin_json(&["certs", "show", &serial]);
    assert!(
        shown["serial"].as_str().unwrap().to_uppercase().ends_with(&serial),
        "{shown}"
    );
    let exported = daemon.admin(&["certs", "export", &serial]).succeeded().stdout;
    assert_eq!(pem::parse_many(exported).unwrap()[0].contents(), issued.leaf_der());
    daemon.admin(&["certs", "renew-now", &serial]).succeeded();

    daemon
        .admin(&["certs", "revoke", "00FF", "--reason", "superseded"])
        .ended_with(1);
    daemon
        .admin(&["certs", "revoke", &serial, "--reason", "nonsense"])
        .ended_with(2);
    daemon
        .admin(&["certs", "revoke", &serial, "--reason", "superseded"])
        .succeeded();
    daemon
        .admin(&["certs", "revoke", &serial, "--reason", "superseded"])
        .ended_with(1);
    let papers = Papers::sort(&issued.chain_pem, &daemon.root(), &daemon.scratch().join("papers"));
    papers.all_find_it_revoked(&daemon.http_client(), "superseded");
    daemon.admin(&["crl", "publish"]).succeeded();
    daemon.admin_json(&["crl", "show"]);
    daemon.admin(&["audit", "verify"]).succeeded();
    let log = daemon.admin(&["audit", "export"]).succeeded().stdout;
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    }
    assert!(log.contains(&serial.to_lowercase()) || log.contains(&serial), "{log}");
}

#[test]
fn operators_sign_a_request_from_a_file() {
    let daemon = Daemon::start();
    let (csr, key) = (daemon.scratch().join("a.csr"), daemon.scratch().join("a.key"));
    openssl(
        &[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/",
            "-addext",
            "subjectAltName=DNS:file.test",
            "-keyout",
        ],
        &[&key, Path::new("-out"), &csr],
    )
    .succeeded();
    let out = daemon.scratch().join("a.pem");
    let (csr, out) = (csr.display().to_string(), out.display().to_string());
    daemon.admin(&["sign", &csr, "--out", &out]).succeeded();
    let chain = std::fs::read_to_string(&out).unwrap();
    let papers = Papers::sort(&chain, &daemon.root(), &daemon.scratch().join("papers"));
    papers.all_find_it_good(&daemon.http_client());
    daemon.admin(&["sign", "/nonexistent.csr"]).ended_with(1);
}

#[test]
fn operators_work_while_the_daemon_is_down() {
    let mut daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let issued = daemon.register().unwrap().obtain(&["offline.test"], &webroot).unwrap();
    assert!(daemon.stop().success());
    let listed = daemon.admin_json(&["certs", "list"]).to_string().to_uppercase();
    assert!(listed.contains(&issued.serial()), "{listed}");
    daemon.admin(&["audit", "verify"]).succeeded();
    daemon.admin(&["config", "check"]).succeeded();
    daemon
        .admin(&["certs", "revoke", &issued.serial(), "--reason", "superseded"])
        .succeeded();
    daemon.serve();
    let papers = Papers::sort(&issued.chain_pem, &daemon.root(), &daemon.scratch().join("papers"));
    papers.all_find_it_revoked(&daemon.http_client(), "superseded");
}

#[test]
fn eab_keys_are_shown_once_and_can_be_withdrawn() {
    let daemon = Daemon::start();
    let pair = daemon.admin_json(&["eab", "create"]);
    let (kid, hmac) = (pair["kid"].as_str().unwrap(), pair["hmac"].as_str().unwrap());
    // dehydrated wants multiples of 16 octets; 32 octets are 43 characters of base64url.
    assert_eq!(hmac.len(), 43, "{pair}");
    let listed = daemon.admin_json(&["eab", "list"]).to_string();
    assert!(listed.contains(kid) && !listed.contains(hmac), "{listed}");
    daemon.admin(&["eab", "disable", kid]).succeeded();
    assert!(!daemon.log().contains(hmac), "H8: a secret is in the log");
}

#[test]
fn a_backup_is_whole_and_refuses_to_overwrite() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    daemon.register().unwrap().obtain(&["backup.test"], &webroot).unwrap();
    let file = daemon.scratch().join("backup").display().to_string();
    daemon.admin(&["backup", &file]).succeeded();
    let size = std::fs::metadata(&file).unwrap().len();
    assert!(size > 0);
    daemon.admin(&["backup", &file]).ended_with(1);
    assert_eq!(
        std::fs::metadata(&file).unwrap().len(),
        size,
        "the first backup was touched"
    );
}

#[test]
fn settings_are_checked_and_shown() {
    let daemon = Daemon::prepare(Options::default());
    daemon.admin(&["config", "check"]).succeeded();
    let shown = daemon.admin(&["config", "show"]).succeeded().stdout;
    assert!(shown.contains("server.https"), "{shown}");
    for wrong in [
        "server.nonsense=1",
        "acme.eab_required=perhaps",
        "server.https=nowhere",
        "nonsense",
    ] {
        let output = daemon.admin(&["config", "check", "--set", wrong]).ended_with(1);
        assert!(!output.stderr.trim().is_empty(), "{wrong}: {output}");
    }
}

#[test]
fn completions_and_the_manual_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = call("sigillo-ca", &["completions", shell], folder.path()).succeeded();
        assert!(output.stdout.contains("sigillo"), "{output}");
    }
    let manual = call("sigillo-ca", &["man"], folder.path()).succeeded();
    assert!(manual.stdout.contains(".TH"), "{manual}");
}
