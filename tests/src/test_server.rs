//! `sigillo-ca pebble` under test: in the place of Pebble, with its configuration, its environment and a DNS server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::acme::Acme;
use crate::dns::DnsServer;
use crate::http::{Http, HttpError, Response};
use crate::ports;
use crate::process::Background;
use crate::programs;

/// How long it may take to say that it is ready, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What it is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    members: Vec<(String, Value)>,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl Options {
    /// Sets a member of the configuration.
    #[must_use]
    pub fn member(mut self, name: &str, value: Value) -> Self {
        self.members.push((name.to_owned(), value));
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds arguments to the command line.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|text| (*text).to_owned()));
        self
    }

    /// Adds rules of chaos.
    #[must_use]
    pub fn chaos(self, rules: &[&str]) -> Self {
        rules
            .iter()
            .fold(self, |options, rule| options.arguments(&["--chaos", rule]))
    }
}

/// A running test server.
#[derive(Debug)]
pub struct TestServer {
    running: Background,
    folder: TempDir,
    /// The names that validation asks for.
    pub dns: DnsServer,
    /// The ACME directory's URL.
    pub directory: String,
    /// The base of the management interface.
    pub management: String,
    /// The base URL of the status service.
    pub http: String,
    /// The PEM file that makes a client trust its HTTPS.
    pub trust: PathBuf,
    /// Where http-01 connects.
    pub http01_port: u16,
    /// Where tls-alpn-01 connects.
    pub tls_alpn01_port: u16,
}

impl TestServer {
    /// Starts it with Pebble's chance switched off: no pauses, no refused nonces, every valid authorization used again.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[track_caller]
    pub fn start(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let dns = DnsServer::start();
        let [listen, management, http01_port, tls_alpn01_port] = [(); 4].map(|()| ports::free());
        let [trust, certificate, key] = ["root.pem", "server.pem", "server.key"].map(|name| folder.path().join(name));
        server_certificate(&trust, &certificate, &key);
        let mut config = json!({"pebble": {
            // As Pebble's own configuration has it: here it means the loopback.
            "listenAddress": format!("0.0.0.0:{listen}"),
            "managementListenAddress": format!("0.0.0.0:{management}"),
            "certificate": certificate, "privateKey": key,
            "httpPort": http01_port, "tlsPort": tls_alpn01_port,
            "ocspResponderURL": "", "externalAccountBindingRequired": false,
        }});
        for (name, value) in &options.members {
            config["pebble"][name] = value.clone();
        }
        let file = folder.path().join("pebble.json");
        std::fs::write(&file, config.to_string()).expect("a configuration");
        let mut command = Command::new(programs::own("sigillo-ca"));
        command
            .arg("pebble")
            .arg("-config")
            .arg(file)
            .args(["-dnsserver", &dns.address()]);
        command.args(&options.arguments);
        // It is killed in the end, and its state goes with this folder.
        command.env("TMPDIR", folder.path());
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        command.env("PEBBLE_AUTHZREUSE", "100");
        command.envs(options.environment.iter().map(|(name, value)| (name, value)));
        let mut running = Background::start(&mut command, &folder.path().join("pebble.log"));
        let (directory, http) = running.wait_for(READY_WITHIN, |running| ready_line(&running.log()));
        Self {
            running,
            folder,
            dns,
            directory,
            management: format!("https://localhost:{management}"),
            http,
            trust,
            http01_port,
            tls_alpn01_port,
        }
    }

    /// Returns what it has said.
    pub fn log(&self) -> String {
        self.running.log()
    }

    /// Returns a folder for a test's own files.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Returns an HTTP client that trusts its HTTPS.
    pub fn http_client(&self) -> Http {
        Http::trusting(&self.trust)
    }

    /// Registers a new account.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or refuses.
    pub fn register(&self) -> Result<Acme, HttpError> {
        Acme::register(self.http_client(), &self.directory)
    }

    /// Asks the management interface.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    #[track_caller]
    pub fn ask(&self, path: &str) -> Response {
        let url = format!("{}{path}", self.management);
        self.http_client()
            .get(&url)
            .unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// Sends something to the management interface.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    #[track_caller]
    pub fn tell(&self, method: &str, path: &str, body: &str) -> Response {
        let url = format!("{}{path}", self.management);
        let told = self.http_client().request(method, &url, &[], body.as_bytes());
        told.unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// Stops it with SIGTERM; returns whether it ended well.
    ///
    /// # Panics
    ///
    /// If it does not go.
    #[track_caller]
    pub fn stop(self) -> bool {
        self.running.terminate().success()
    }
}

/// Makes a root, and a certificate under it for `localhost` and the loopback.
fn server_certificate(root_file: &Path, certificate: &Path, key_file: &Path) {
    let root_key = rcgen::KeyPair::generate().expect("a key");
    let mut root = rcgen::CertificateParams::default();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    root.distinguished_name
        .push(rcgen::DnType::CommonName, "Root of a test's HTTPS");
    let root_pem = root.self_signed(&root_key).expect("a root").pem();
    let issuer = rcgen::Issuer::new(root, &root_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut names = rcgen::CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(str::to_owned)).expect("names");
    names.use_authority_key_identifier_extension = true;
    let leaf = names.signed_by(&key, &issuer).expect("a certificate");
    for (file, text) in [
        (root_file, root_pem),
        (certificate, leaf.pem()),
        (key_file, key.serialize_pem()),
    ] {
        std::fs::write(file, text).expect("a file for it");
    }
}

fn ready_line(log: &str) -> Option<(String, String)> {
    let whole = &log[..log.rfind('\n')?];
    let line = whole.lines().find_map(|line| line.strip_prefix("ready directory="))?;
    let (directory, http) = line.split_once(" http=")?;
    Some((directory.to_owned(), http.trim().to_owned()))
}
