//! The program against Pebble, a test CA that is not ours: what works here is ACME, not a dialect. And against our own
//! server in Pebble's place, with the same configuration, flags and environment.
//!
//! Pebble is no dependency of the build: where it is missing the test says so and passes, unless
//! `SIGILLO_INTEROP=1` demands it, as the continuous integration does.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long Pebble may take to listen.
const START_PATIENCE: Duration = Duration::from_secs(20);

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Begins a command line.
type Start = Box<dyn Fn() -> Command>;

/// Who stands in the place of Pebble.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Server {
    /// Let's Encrypt's.
    Theirs,
    /// `sigillo-ca pebble`.
    Ours,
}

/// Builds our server's program as it is; cargo builds the programs of other packages for no test.
fn our_server() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build_ours).clone()
}

fn build_ours() -> PathBuf {
    if let Some(folder) = std::env::var_os("SIGILLO_BIN_DIR") {
        return PathBuf::from(folder).join("sigillo-ca");
    }
    let own = Path::new(env!("CARGO_BIN_EXE_sigillo")).parent().unwrap();
    let profile = match own.file_name().unwrap().to_str() {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let output = Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args([
            "build",
            "--quiet",
            "--workspace",
            "--bins",
            "--profile",
            profile,
            "--target-dir",
        ])
        .arg(own.parent().unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    own.join("sigillo-ca")
}

/// Pebble with its DNS server, and a home for the client.
struct Pebble {
    dir: tempfile::TempDir,
    directory: String,
    http01_port: u16,
    tls_alpn01_port: u16,
    dns_management: String,
    _processes: [Running; 2],
}

impl Pebble {
    /// Starts both, or returns `None` where they are not installed and nobody insists.
    fn start(server: Server, binding_required: bool) -> Option<Self> {
        let (pebble, dns) = Self::programs(server)?;
        let dir = tempfile::tempdir().unwrap();
        let [api, management, http01_port, tls_alpn01_port, dns_port, dns_management] = [(); 6].map(|()| free_port());
        write_server_certificate(dir.path());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{api}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": dir.path().join("server.pem"),
            "privateKey": dir.path().join("server.key"),
            "httpPort": http01_port,
            "tlsPort": tls_alpn01_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": binding_required,
            "externalAccountMACKeys": { "kid-1": "bWFjIGtleSBtYWMga2V5IG1hYyBrZXkgbWFjIGtleSBtYWMga2V5" },
        }});
        let config_path = dir.path().join("pebble.json");
        std::fs::write(&config_path, config.to_string()).unwrap();
        let quiet = |command: &mut Command| {
            // What they say is kept for the one who looks into a failure.
            let log = std::fs::File::create(dir.path().join(format!("{}.log", free_port()))).unwrap();
            let command = command
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log);
            Running(command.spawn().unwrap())
        };
        // Newer versions also listen for DNS over HTTPS, on one fixed port unless told not to.
        let help = dns().arg("-h").output().unwrap();
        let no_doh: &[&str] = match String::from_utf8_lossy(&help.stderr).contains("  -doh") {
            true => &["-doh", ""],
            false => &[],
        };
        let dns_server = quiet(
            dns()
                .args(no_doh)
                .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""])
                .args(["-defaultIPv4", "127.0.0.1"])
                .args(["-dns01", &format!("127.0.0.1:{dns_port}")])
                .args(["-management", &format!("127.0.0.1:{dns_management}")]),
        );
        let server = quiet(
            pebble()
                .args(["-config", config_path.to_str().unwrap()])
                .args(["-dnsserver", &format!("127.0.0.1:{dns_port}")])
                .env("TMPDIR", dir.path())
                .env("PEBBLE_VA_NOSLEEP", "1")
                // A third of all requests is met with badNonce.
                .env("PEBBLE_WFE_NONCEREJECT", "33"),
        );
        for port in [api, dns_management] {
            wait_for(port, dir.path());
        }
        Some(Self {
            directory: format!("https://localhost:{api}/dir"),
            http01_port,
            tls_alpn01_port,
            dns_management: format!("http://127.0.0.1:{dns_management}"),
            dir,
            _processes: [dns_server, server],
        })
    }

    /// Finds server and DNS server; `None` where they are not installed and nobody insists.
    fn programs(server: Server) -> Option<(Start, Start)> {
        if server == Server::Ours {
            let start = |name: &'static str| -> Start {
                Box::new(move || {
                    let mut command = Command::new(our_server());
                    command.arg(name);
                    command
                })
            };
            return Some((start("pebble"), start("challtestsrv")));
        }
        let (Some(pebble), Some(dns)) = (find("pebble"), find("pebble-challtestsrv")) else {
            assert!(
                std::env::var("SIGILLO_INTEROP").is_err(),
                "SIGILLO_INTEROP is set, but pebble is not installed"
            );
            // Past the test harness, which keeps the words of passing tests to itself.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED: pebble is not installed\n");
            return None;
        };
        Some((
            Box::new(move || Command::new(&pebble)),
            Box::new(move || Command::new(&dns)),
        ))
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_sigillo"))
            .args(args)
            .env("SIGILLO_DIRECTORY", &self.directory)
            .env("SIGILLO_CA_ROOT", self.dir.path().join("root.pem"))
            .env("SIGILLO_HOME", self.home())
            .output()
            .unwrap()
    }

    /// Runs a command that has to succeed and returns what it printed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "sigillo {}: {errors}", args.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that has to fail with a status and returns its complaint.
    fn fails(&self, status: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(status),
            "sigillo {}: {errors}",
            args.join(" ")
        );
        errors
    }

    fn certificate(&self, name: &str, file: &str) -> String {
        std::fs::read_to_string(self.home().join("certs").join(name).join(file)).unwrap()
    }

    fn serial(&self, name: &str) -> String {
        let listed: serde_json::Value = serde_json::from_str(&self.ok(&["list", "--json"])).unwrap();
        let entry = listed
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["name"] == name)
            .unwrap();
        entry["serial"].as_str().unwrap().to_owned()
    }
}

fn wait_for(port: u16, logs: &Path) {
    let deadline = Instant::now() + START_PATIENCE;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "nobody listens on {port}: {}", said(logs));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the processes have said.
fn said(logs: &Path) -> String {
    let files = std::fs::read_dir(logs).unwrap().flatten().map(|entry| entry.path());
    let logs = files.filter(|path| path.extension().is_some_and(|e| e == "log"));
    logs.map(|path| std::fs::read_to_string(path).unwrap_or_default())
        .collect()
}

fn write_server_certificate(dir: &Path) {
    let root_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&root_key).unwrap();
    let issuer = rcgen::Issuer::new(params, &root_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = rcgen::CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    std::fs::write(dir.join("root.pem"), root.pem()).unwrap();
    std::fs::write(dir.join("server.pem"), server.pem()).unwrap();
    std::fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
}

fn write_script(path: &Path, body: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, format!("#!/bin/sh\nset -e\n{body}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn issues_renews_and_revokes_by_every_challenge() {
    issues_renews_and_revokes_by_every_challenge_at(Server::Theirs);
}

#[test]
fn issues_renews_and_revokes_by_every_challenge_in_our_pebble() {
    issues_renews_and_revokes_by_every_challenge_at(Server::Ours);
}

fn issues_renews_and_revokes_by_every_challenge_at(server: Server) {
    let Some(pebble) = Pebble::start(server, false) else {
        return;
    };
    let http = pebble.http01_port.to_string();
    let tls = pebble.tls_alpn01_port.to_string();

    // Terms have to be agreed to, and a refusal to do so is wrong usage.
    let refused = pebble.fails(2, &["register", "--contact", "me@a.example"]);
    assert!(refused.contains("--agree-tos"), "{refused}");
    let url = pebble.ok(&["register", "--contact", "me@a.example", "--agree-tos"]);
    assert_eq!(
        pebble.ok(&["register", "--agree-tos"]),
        url,
        "the key's account is found again"
    );

    // http-01 for two names and an address, with a deploy hook.
    let hook = pebble.dir.path().join("deploy");
    let told = pebble.dir.path().join("deployed");
    write_script(
        &hook,
        &format!(
            "test -s \"$SIGILLO_KEY\"; echo \"$SIGILLO_NAME $SIGILLO_DOMAINS\" >> {}",
            told.display()
        ),
    );
    let deploy = hook.to_str().unwrap();
    pebble.ok(&[
        "order",
        "a.example",
        "b.example",
        "127.0.0.1",
        "--http01-port",
        &http,
        "--deploy-hook",
        deploy,
    ]);
    assert_eq!(
        std::fs::read_to_string(&told).unwrap(),
        "a.example a.example b.example 127.0.0.1\n"
    );
    let first = pebble.serial("a.example");
    let key = pebble.certificate("a.example", "key.pem");

    // Renewal keeps the terms, and makes a new key.
    pebble.ok(&["renew", "a.example"]);
    assert_ne!(pebble.serial("a.example"), first);
    assert_ne!(pebble.certificate("a.example", "key.pem"), key);
    assert_eq!(std::fs::read_to_string(&told).unwrap().lines().count(), 2);

    // tls-alpn-01 with an RSA key that stays.
    let options = ["--tls-alpn01-port", &tls, "--key-type", "rsa-2048", "--reuse-key"];
    pebble.ok(&[&["order", "c.example"], options.as_slice()].concat());
    let key = pebble.certificate("c.example", "key.pem");
    pebble.ok(&["renew", "c.example"]);
    assert_eq!(pebble.certificate("c.example", "key.pem"), key);

    // A wildcard needs dns-01, here by a hook.
    let refused = pebble.fails(2, &["order", "*.d.example", "--http01-port", &http]);
    assert!(refused.contains("a wildcard needs dns-01"), "{refused}");
    let hook = pebble.dir.path().join("dns");
    let post = format!("curl -sf -d \"$body\" {}/$what", pebble.dns_management);
    write_script(
        &hook,
        &format!(
            "case \"$1\" in\n\
             present) what=set-txt; body='{{\"host\":\"'$2'.\",\"value\":\"'$3'\"}}';;\n\
             remove) what=clear-txt; body='{{\"host\":\"'$2'.\"}}';;\nesac\n{post}"
        ),
    );
    pebble.ok(&[
        "order",
        "*.d.example",
        "--dns-hook",
        hook.to_str().unwrap(),
        "--key-type",
        "ecdsa-p384",
    ]);
    assert!(
        pebble
            .certificate("_wildcard.d.example", "fullchain.pem")
            .contains("BEGIN CERTIFICATE")
    );

    // A request of the user's own: no key is kept.
    let own = rcgen::KeyPair::generate().unwrap();
    let mut request = rcgen::CertificateParams::new(["e.example".to_owned()]).unwrap();
    request.distinguished_name = rcgen::DistinguishedName::new();
    let csr = pebble.dir.path().join("own.csr");
    std::fs::write(&csr, request.serialize_request(&own).unwrap().pem().unwrap()).unwrap();
    pebble.ok(&["order", "--csr", csr.to_str().unwrap(), "--http01-port", &http]);
    assert!(!pebble.home().join("certs/e.example/key.pem").exists());
    pebble.ok(&["renew", "e.example"]);

    // Nothing is due, everything is listed.
    let due: serde_json::Value = serde_json::from_str(&pebble.ok(&["renew", "--due", "--json"])).unwrap();
    assert!(
        due.as_array()
            .unwrap()
            .iter()
            .all(|entry| entry["outcome"] == "not due"),
        "{due}"
    );
    assert_eq!(due.as_array().unwrap().len(), 4);

    // Revocation, once: by the account, and by the certificate's key.
    pebble.ok(&["revoke", "a.example", "--reason", "superseded"]);
    let again = pebble.fails(1, &["revoke", "a.example"]);
    assert!(again.contains("alreadyRevoked"), "{again}");
    let c = pebble.home().join("certs/c.example");
    let (cert, key) = (c.join("cert.pem"), c.join("key.pem"));
    pebble.ok(&["revoke", cert.to_str().unwrap(), "--key", key.to_str().unwrap()]);

    // The account: shown, changed, given a new key that works, closed.
    pebble.ok(&["account", "update", "--contact", "mailto:you@a.example"]);
    assert!(pebble.ok(&["account", "show"]).contains("mailto:you@a.example"));
    pebble.ok(&["account", "rollover"]);
    pebble.ok(&["renew", "e.example"]);
    pebble.fails(2, &["account", "deactivate"]);
    pebble.ok(&["account", "deactivate", "--yes"]);
    pebble.fails(2, &["renew", "e.example"]);
}

#[test]
fn a_failed_validation_says_why_and_leaves_nothing() {
    a_failed_validation_says_why_and_leaves_nothing_at(Server::Theirs);
}

#[test]
fn a_failed_validation_says_why_and_leaves_nothing_in_our_pebble() {
    a_failed_validation_says_why_and_leaves_nothing_at(Server::Ours);
}

fn a_failed_validation_says_why_and_leaves_nothing_at(server: Server) {
    let Some(pebble) = Pebble::start(server, false) else {
        return;
    };
    // Somebody else answers on the validation port.
    let root = pebble.dir.path().join("www");
    std::fs::create_dir(&root).unwrap();
    let complaint = pebble.fails(
        1,
        &["order", "a.example", "--agree-tos", "--webroot", root.to_str().unwrap()],
    );
    let first = complaint.lines().find(|line| line.starts_with("sigillo: ")).unwrap();
    assert!(first.contains("control of a.example is not proven"), "{complaint}");
    assert!(complaint.contains("urn:ietf:params:acme:error:"), "{complaint}");
    assert_eq!(
        std::fs::read_dir(root.join(".well-known/acme-challenge"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(pebble.ok(&["list"]), "");
    let profile = pebble.fails(2, &["order", "a.example", "--profile", "none-such"]);
    assert!(profile.contains("profile"), "{profile}");
    // A server that is not trusted is not spoken to.
    let other = pebble.dir.path().join("server.pem");
    let untrusted = pebble.fails(1, &["--ca-root", other.to_str().unwrap(), "account", "show"]);
    assert!(untrusted.contains("certificate"), "{untrusted}");
}

#[test]
fn an_account_is_bound_to_the_operators_key_where_that_is_asked_for() {
    an_account_is_bound_to_the_operators_key_where_that_is_asked_for_at(Server::Theirs);
}

#[test]
fn an_account_is_bound_to_the_operators_key_where_that_is_asked_for_in_our_pebble() {
    an_account_is_bound_to_the_operators_key_where_that_is_asked_for_at(Server::Ours);
}

fn an_account_is_bound_to_the_operators_key_where_that_is_asked_for_at(server: Server) {
    let Some(pebble) = Pebble::start(server, true) else {
        return;
    };
    let refused = pebble.fails(2, &["register", "--agree-tos"]);
    assert!(refused.contains("--eab-kid"), "{refused}");
    let wrong = [
        "register",
        "--agree-tos",
        "--eab-kid",
        "kid-1",
        "--eab-hmac",
        "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmc",
    ];
    pebble.fails(1, &wrong);
    let right = "bWFjIGtleSBtYWMga2V5IG1hYyBrZXkgbWFjIGtleSBtYWMga2V5";
    pebble.ok(&["register", "--agree-tos", "--eab-kid", "kid-1", "--eab-hmac", right]);
    pebble.ok(&["order", "a.example", "--http01-port", &pebble.http01_port.to_string()]);
}
