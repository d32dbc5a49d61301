//! A CA with everything around it that other people's clients need.
//!
//! Usually the CA is ours. With `SIGILLO_INTEROP_PEER=pebble` the same journeys run against
//! Pebble: when one fails here and there, the fault is the journey's. With `SIGILLO_INTEROP_PEER=sigillo-pebble` they run
//! against our own server in Pebble's place.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::daemon::{Daemon, Options};
use crate::dns::DnsServer;
use crate::http::Http;
use crate::judge::{Papers, openssl};
use crate::ports;
use crate::process::{Background, Output, run};
use crate::programs;
use crate::test_server::{self, TestServer};
use crate::webroot::Webroot;

/// The environment variable that swaps the CA.
const PEER_VARIABLE: &str = "SIGILLO_INTEROP_PEER";
/// How long another people's client may take for one command.
pub const CLIENT_WITHIN: Duration = Duration::from_secs(120);
/// How long Pebble may take to start.
const PEER_WITHIN: Duration = Duration::from_secs(20);

enum Authority {
    Sigillo(Box<Daemon>),
    Pebble { _running: Background, dns: DnsServer },
    TestServer(Box<TestServer>),
}

/// The CA, its ports and a folder for the client.
pub struct Place {
    authority: Authority,
    folder: TempDir,
    /// The ACME directory's URL.
    pub directory: String,
    /// The PEM file that makes a client trust the CA's HTTPS.
    pub trust: PathBuf,
    /// Where http-01 connects.
    pub http01_port: u16,
    /// Where tls-alpn-01 connects.
    pub tls_alpn01_port: u16,
}

impl Place {
    /// Opens a place with a fresh CA.
    ///
    /// # Panics
    ///
    /// If the CA does not start.
    #[track_caller]
    pub fn open() -> Self {
        Self::open_with(Options::default())
    }

    /// Opens a place with a fresh CA of ours made in a given way.
    ///
    /// # Panics
    ///
    /// If the CA does not start.
    #[track_caller]
    pub fn open_with(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a client's folder");
        match std::env::var(PEER_VARIABLE).as_deref() {
            Ok("pebble") => Self::with_pebble(folder),
            Ok("sigillo-pebble") => Self::with_test_server(test_server::Options::default()),
            Ok(other) => panic!("{PEER_VARIABLE}={other} is not known"),
            Err(_) => Self::with_sigillo(folder, options),
        }
    }

    fn with_sigillo(folder: TempDir, options: Options) -> Self {
        let daemon = Daemon::start_with(options);
        Self {
            directory: daemon.directory.clone(),
            trust: daemon.root(),
            http01_port: daemon.http01_port,
            tls_alpn01_port: daemon.tls_alpn01_port,
            authority: Authority::Sigillo(Box::new(daemon)),
            folder,
        }
    }

    /// Opens a place with our own server in Pebble's place.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[track_caller]
    pub fn with_test_server(options: test_server::Options) -> Self {
        let server = TestServer::start(options);
        Self {
            directory: server.directory.clone(),
            trust: server.trust.clone(),
            http01_port: server.http01_port,
            tls_alpn01_port: server.tls_alpn01_port,
            authority: Authority::TestServer(Box::new(server)),
            folder: tempfile::tempdir().expect("a client's folder"),
        }
    }

    fn with_pebble(folder: TempDir) -> Self {
        let dns = DnsServer::start();
        let [listen, management, http01_port, tls_alpn01_port] = [(); 4].map(|()| ports::free());
        let (trust, key) = (folder.path().join("peer.pem"), folder.path().join("peer.key"));
        let subject = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ];
        let names = [
            "-subj",
            "/CN=peer",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ];
        let arguments: Vec<&str> = subject.into_iter().chain(names).chain(["-keyout"]).collect();
        openssl(&arguments, &[&key, Path::new("-out"), &trust]).succeeded();
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{listen}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": trust, "privateKey": key,
            "httpPort": http01_port, "tlsPort": tls_alpn01_port,
            "ocspResponderURL": "", "externalAccountBindingRequired": false,
        }});
        let file = folder.path().join("peer.json");
        std::fs::write(&file, config.to_string()).expect("the peer's configuration");
        let mut command = programs::third_party("pebble");
        command.arg("-config").arg(file).args(["-dnsserver", &dns.address()]);
        // What Pebble does to toughen clients would only make these runs differ from each other.
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        command.env("PEBBLE_AUTHZREUSE", "0");
        let log = folder.path().join("peer.log");
        let mut running = Background::start(&mut command, &log);
        running.wait_for(PEER_WITHIN, |peer| peer.log().contains("ACME directory").then_some(()));
        Self {
            directory: format!("https://localhost:{listen}/dir"),
            trust,
            http01_port,
            tls_alpn01_port,
            authority: Authority::Pebble { _running: running, dns },
            folder,
        }
    }

    /// Returns our daemon; `None` where a peer stands in.
    pub fn daemon(&self) -> Option<&Daemon> {
        match &self.authority {
            Authority::Sigillo(daemon) => Some(daemon),
            Authority::Pebble { .. } | Authority::TestServer(_) => None,
        }
    }

    /// Returns the DNS server that the CA asks.
    pub fn dns(&self) -> &DnsServer {
        match &self.authority {
            Authority::Sigillo(daemon) => &daemon.dns,
            Authority::Pebble { dns, .. } => dns,
            Authority::TestServer(server) => &server.dns,
        }
    }

    /// Returns the client's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a path in the client's folder as text.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Serves a webroot where http-01 connects.
    ///
    /// # Panics
    ///
    /// If the port is taken.
    pub fn webroot(&self) -> Webroot {
        Webroot::serve(self.http01_port)
    }

    /// Writes an executable script into the client's folder; returns its path.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn script(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a script");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("an executable script");
        path.display().to_string()
    }

    /// Starts the command line of a client whose home is the client's folder.
    ///
    /// # Panics
    ///
    /// If the client is missing.
    #[track_caller]
    pub fn client(&self, name: &str) -> Command {
        let mut command = programs::third_party(name);
        command.current_dir(self.folder());
        self.surround(&mut command);
        command
    }

    /// Gives a command the environment in which HTTPS to the CA is trusted by the usual libraries.
    pub fn surround(&self, command: &mut Command) {
        command
            .env("HOME", self.folder())
            .env("SSL_CERT_FILE", &self.trust)
            .env("REQUESTS_CA_BUNDLE", &self.trust)
            .env("CURL_CA_BUNDLE", &self.trust)
            .env("LEGO_CA_CERTIFICATES", &self.trust);
    }

    /// Runs a client's command, which must succeed.
    ///
    /// # Panics
    ///
    /// If it does not, or not in time.
    #[track_caller]
    pub fn succeed(&self, command: &mut Command) -> Output {
        run(command, CLIENT_WITHIN).succeeded()
    }

    /// Sorts a chain that the client stored; `None` where a peer without status service stands in.
    ///
    /// # Panics
    ///
    /// If the files hold no chain.
    #[track_caller]
    fn papers(&self, files: &[&str]) -> Option<Papers> {
        let read = |file: &&str| std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let chain: String = files.iter().map(read).collect::<Vec<_>>().join("\n");
        let blocks = pem::parse_many(&chain).expect("PEM");
        assert!(blocks.len() >= 2, "no chain in {files:?}");
        let daemon = self.daemon()?;
        let place = self.folder().join("papers");
        Some(Papers::sort(&chain, &daemon.root(), &place))
    }

    /// Lets the judges find the stored certificate good; returns its serial number.
    ///
    /// `files` hold the chain, leaf first, as the client has stored it.
    ///
    /// # Panics
    ///
    /// If a judge disagrees.
    #[track_caller]
    pub fn good(&self, files: &[&str]) -> String {
        let Some(papers) = self.papers(files) else {
            return serial_of(files[0]);
        };
        papers.all_find_it_good(&self.http());
        papers.serial()
    }

    /// Lets the judges find the stored certificate revoked for a reason.
    ///
    /// # Panics
    ///
    /// If a judge disagrees.
    #[track_caller]
    pub fn revoked(&self, files: &[&str], reason: &str) {
        if let Some(papers) = self.papers(files) {
            papers.all_find_it_revoked(&self.http(), reason);
        }
    }

    fn http(&self) -> Http {
        Http::trusting(&self.trust)
    }
}

/// Returns the serial number of a PEM certificate.
///
/// # Panics
///
/// If the file holds none.
#[track_caller]
pub fn serial_of(file: &str) -> String {
    let output = openssl(&["x509", "-noout", "-serial", "-in"], &[Path::new(file)]).succeeded();
    output.stdout.trim().trim_start_matches("serial=").to_owned()
}
