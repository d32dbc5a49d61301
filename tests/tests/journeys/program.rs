//! Our own client program `sigillo`, from the first registration to the last revocation.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::judge::Papers;
use sigillo_tests::place::serial_of;
use sigillo_tests::process::{Output, run};
use sigillo_tests::programs::own;
use tempfile::TempDir;

/// How long a command may take, with the validation it waits for.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);

/// The program with a folder of its own, at one server.
pub struct Sigillo<'a> {
    pub daemon: &'a Daemon,
    pub home: TempDir,
}

impl<'a> Sigillo<'a> {
    pub fn at(daemon: &'a Daemon) -> Self {
        let home = tempfile::tempdir().expect("a folder for the client");
        Self { daemon, home }
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments), COMMAND_WITHIN)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(own("sigillo"));
        command
            .args(arguments)
            .args(["--directory", &self.daemon.directory])
            .arg("--ca-root")
            .arg(self.daemon.root())
            .arg("--home")
            .arg(self.home.path());
        command
    }

    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let with_json: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let output = self.run(&with_json).succeeded();
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{output}"))
    }

    /// Orders with options; returns where the certificate is kept.
    #[track_caller]
    pub fn order(&self, arguments: &[&str]) -> PathBuf {
        let all: Vec<&str> = ["order"].iter().chain(arguments).copied().collect();
        PathBuf::from(self.run(&all).succeeded().stdout.trim())
    }

    pub fn http01(&self) -> [String; 2] {
        ["--http01-port".to_owned(), self.daemon.http01_port.to_string()]
    }
}

/// Lets the outsiders judge a kept certificate.
#[track_caller]
pub fn papers(daemon: &Daemon, kept: &std::path::Path, name: &str) -> Papers {
    let chain = std::fs::read_to_string(kept.join("fullchain.pem")).expect("the kept chain");
    Papers::sort(&chain, &daemon.root(), &daemon.scratch().join(name))
}

#[test]
fn registers_once_and_finds_the_account_again() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let first = sigillo.run(&["register", "--contact", "a@example.test"]).succeeded();
    let again = sigillo.run(&["register"]).succeeded();
    assert_eq!(first.stdout, again.stdout, "one key, one account");
    let shown = sigillo.json(&["account", "show"]);
    assert_eq!(shown["url"], first.stdout.trim());
    assert_eq!(shown["account"]["status"], "valid");
    assert_eq!(shown["account"]["contact"][0], "mailto:a@example.test");
    assert_eq!(
        daemon.admin_json(&["accounts", "list"]).as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn orders_over_http01_lists_and_checks() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let [option, port] = sigillo.http01();
    let kept = sigillo.order(&["http.test", "www.http.test", &option, &port]);
    papers(&daemon, &kept, "http").all_find_it_good(&daemon.http_client());
    let key = std::fs::metadata(kept.join("key.pem")).unwrap();
    assert_eq!(key.permissions().mode() & 0o077, 0, "the key is for its owner alone");

    let listed = sigillo.json(&["list"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed[0]["name"], "http.test");
    assert_eq!(listed[0]["revoked"], false);
    assert_eq!(listed[0]["days_left"], 89, "90 days, of which some seconds are gone");
    let names: Vec<&str> = listed[0]["names"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(names, ["http.test", "www.http.test"]);

    let report = sigillo.json(&["check", "http.test"]);
    assert_eq!(report["passed"], true, "{report}");
    assert_eq!(report["ocsp"]["status"], "good", "{report}");
    assert_eq!(report["crl"]["status"], "good", "{report}");
    sigillo.run(&["check", "http.test"]).succeeded();
}

#[test]
fn orders_over_tls_alpn01() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let port = daemon.tls_alpn01_port.to_string();
    let kept = sigillo.order(&["alpn.test", "--tls-alpn01-port", &port]);
    papers(&daemon, &kept, "alpn").all_find_it_good(&daemon.http_client());
}

#[test]
fn orders_a_wildcard_with_its_base_over_dns01_by_a_hook() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let hook = daemon.scratch().join("hook.sh");
    let texts = daemon.dns.texts().display().to_string();
    let body = format!(
        "#!/bin/sh\nset -e\nfile='{texts}/'\"$2\"\ncase $1 in\npresent) printf '%s\\n' \"$3\" >> \"$file\" ;;\n\
         remove) grep -vxF -e \"$3\" \"$file\" > \"$file.new\" || true; mv \"$file.new\" \"$file\" ;;\nesac\n"
    );
    std::fs::write(&hook, body).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o700)).unwrap();
    let hook = hook.display().to_string();
    let kept = sigillo.order(&["*.wild.test", "wild.test", "--name", "wild", "--dns-hook", &hook]);
    papers(&daemon, &kept, "wild").all_find_it_good(&daemon.http_client());
    let left = std::fs::read_to_string(daemon.dns.texts().join("_acme-challenge.wild.test")).unwrap();
    assert_eq!(left, "", "the values are taken away again");
}

#[test]
fn orders_for_an_address_over_both_of_its_challenges() {
    let daemon = Daemon::start_with(Options::default().set("acme.reuse_authorizations=false"));
    let sigillo = Sigillo::at(&daemon);
    let [option, port] = sigillo.http01();
    let alpn = daemon.tls_alpn01_port.to_string();
    for (name, option, port) in [("http", option.as_str(), &port), ("alpn", "--tls-alpn01-port", &alpn)] {
        let kept = sigillo.order(&["127.0.0.1", "--name", name, option, port]);
        papers(&daemon, &kept, name).all_find_it_good(&daemon.http_client());
    }
}

#[test]
fn renews_when_the_server_advises_and_says_what_it_replaces() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let [option, port] = sigillo.http01();
    let kept = sigillo.order(&["renew.test", &option, &port]);
    let first = serial_of(&kept.join("cert.pem").display().to_string());
    daemon.admin(&["certs", "renew-now", &first]).succeeded();

    let outcome = sigillo.json(&["renew", "--due"]);
    assert_eq!(outcome[0]["outcome"], "renewed", "{outcome}");
    let second = serial_of(&kept.join("cert.pem").display().to_string());
    assert_ne!(first, second, "a renewal is another certificate");
    papers(&daemon, &kept, "renewed").all_find_it_good(&daemon.http_client());
    let log = daemon.admin(&["audit", "export"]).succeeded().stdout;
    let orders: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"))
        .filter(|event| event.to_string().contains("\"replaces\":\""))
        .collect();
    assert_eq!(orders.len(), 1, "one order names what it replaces: {orders:?}");

    let rest = sigillo.json(&["renew", "--due"]);
    assert_eq!(rest[0]["outcome"], "not due", "{rest}");
    let unchanged = serial_of(&kept.join("cert.pem").display().to_string());
    assert_eq!(unchanged, second);
    sigillo.run(&["renew", "renew.test"]).succeeded();
    assert_ne!(
        serial_of(&kept.join("cert.pem").display().to_string()),
        second,
        "told to, it renews"
    );
}

#[test]
fn revokes_with_a_reason_and_the_check_fails_then() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let [option, port] = sigillo.http01();
    let kept = sigillo.order(&["revoke.test", &option, &port]);
    let papers = papers(&daemon, &kept, "revoke");
    sigillo
        .run(&["revoke", "revoke.test", "--reason", "nonsense"])
        .ended_with(2);
    sigillo
        .run(&["revoke", "revoke.test", "--reason", "cessationOfOperation"])
        .succeeded();
    papers.all_find_it_revoked(&daemon.http_client(), "cessationOfOperation");
    let checked = sigillo.run(&["check", "revoke.test", "--json"]).ended_with(1);
    let report: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(report["passed"], false, "{report}");
    for source in ["ocsp", "crl"] {
        assert_eq!(report[source]["status"], "revoked", "{report}");
        assert_eq!(report[source]["reason"], "cessationOfOperation", "{report}");
    }
    assert_eq!(sigillo.json(&["list"])[0]["revoked"], true);
    // The server refuses a second time; whoever looks only at the exit code must see it.
    sigillo.run(&["revoke", "revoke.test"]).ended_with(1);
}

#[test]
fn revokes_by_the_certificate_key_from_another_machine() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let [option, port] = sigillo.http01();
    let kept = sigillo.order(&["key.test", &option, &port]);
    let papers = papers(&daemon, &kept, "key");
    let [cert, key] = ["cert.pem", "key.pem"].map(|file| kept.join(file).display().to_string());
    let stranger = Sigillo::at(&daemon);
    stranger
        .run(&["revoke", &cert, "--key", &key, "--reason", "keyCompromise"])
        .succeeded();
    papers.all_find_it_revoked(&daemon.http_client(), "keyCompromise");
}

#[test]
fn rolls_its_account_key_over_and_goes_on() {
    let daemon = Daemon::start();
    let sigillo = Sigillo::at(&daemon);
    let before = sigillo.run(&["register"]).succeeded().stdout;
    sigillo.run(&["account", "rollover"]).succeeded();
    assert_eq!(sigillo.json(&["account", "show"])["url"], before.trim());
    let [option, port] = sigillo.http01();
    sigillo.order(&["rolled.test", &option, &port]);
    sigillo.run(&["account", "deactivate"]).ended_with(2);
    sigillo.run(&["account", "deactivate", "--yes"]).succeeded();
    sigillo.run(&["account", "show"]).ended_with(2);
    // What is closed stays closed: the next order makes another account.
    sigillo.order(&["after.test", &option, &port]);
    assert_ne!(sigillo.json(&["account", "show"])["url"], before.trim());
}

#[test]
fn registers_with_the_operators_key_where_one_is_required() {
    let daemon = Daemon::start_with(Options::default().set("acme.eab_required=true"));
    let sigillo = Sigillo::at(&daemon);
    let refused = sigillo.run(&["register"]).ended_with(2);
    assert!(refused.stderr.contains("--eab-kid"), "it says what to give: {refused}");
    let pair = daemon.admin_json(&["eab", "create"]);
    let (kid, hmac) = (pair["kid"].as_str().unwrap(), pair["hmac"].as_str().unwrap());
    let other = daemon.admin_json(&["eab", "create"]);
    let wrong = other["hmac"].as_str().unwrap();
    sigillo
        .run(&["register", "--eab-kid", kid, "--eab-hmac", wrong])
        .ended_with(1);
    sigillo
        .run(&["register", "--eab-kid", kid, "--eab-hmac", hmac])
        .succeeded();
    let [option, port] = sigillo.http01();
    sigillo.order(&["bound.test", &option, &port]);
    let second = Sigillo::at(&daemon);
    second
        .run(&["register", "--eab-kid", kid, "--eab-hmac", hmac])
        .ended_with(1);
}
