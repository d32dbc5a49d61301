//! The certificate authority under test: its own folder, its own ports, killed when dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::acme::Acme;
use crate::dns::DnsServer;
use crate::http::{Http, HttpError};
use crate::ports;
use crate::process::{Background, Output, run};
use crate::programs;

/// How long `init` may take: it makes keys, RSA in some tests.
const INIT_WITHIN: Duration = Duration::from_secs(60);
/// How long `serve` may take to say that it is ready, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long an operator's command may take.
const ADMIN_WITHIN: Duration = Duration::from_secs(60);

/// What a daemon is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    init: Vec<String>,
    settings: Vec<String>,
    left_out: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Options {
    /// Adds arguments to `init`.
    #[must_use]
    pub fn init(mut self, arguments: &[&str]) -> Self {
        self.init
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Sets a configuration key, as `section.key=value`.
    #[must_use]
    pub fn set(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// Does not set a key that every daemon of the harness is given otherwise: the configuration in its folder says it.
    #[must_use]
    pub fn leave_out(mut self, key: impl Into<String>) -> Self {
        self.left_out.push(key.into());
        self
    }

    /// Sets a variable of the serving daemon's environment.
    #[must_use]
    pub fn environment(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }
}

/// A running `sigillo-ca` with its DNS server.
#[derive(Debug)]
pub struct Daemon {
    /// Stands first, so that its log is still there to be shown when a test fails and all is dropped.
    running: Option<Background>,
    /// The state folder's parent: the folder itself is [`Daemon::dir`].
    scratch: TempDir,
    settings: Vec<String>,
    environment: Vec<(String, String)>,
    /// The names that validation asks for.
    pub dns: DnsServer,
    /// The ACME directory's URL.
    pub directory: String,
    /// The base URL of the status service.
    pub http: String,
    /// Where http-01 connects.
    pub http01_port: u16,
    /// Where tls-alpn-01 connects.
    pub tls_alpn01_port: u16,
}

impl Daemon {
    /// Makes a CA and serves it.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Makes a CA in the given way and serves it.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[track_caller]
    pub fn start_with(options: Options) -> Self {
        let mut daemon = Self::prepare(options);
        daemon.serve();
        daemon
    }

    /// Makes a CA without serving it.
    ///
    /// # Panics
    ///
    /// If `init` fails.
    #[track_caller]
    pub fn prepare(options: Options) -> Self {
        let scratch = tempfile::tempdir().expect("a state folder");
        let dns = DnsServer::start();
        let [https, http, http01_port, tls_alpn01_port] = [(); 4].map(|()| ports::free());
        let mut settings = vec![
            format!("server.https=127.0.0.1:{https}"),
            format!("server.http=127.0.0.1:{http}"),
            format!("server.public_http=http://127.0.0.1:{http}"),
            format!("validation.http01_port={http01_port}"),
            format!("validation.tls_alpn01_port={tls_alpn01_port}"),
            format!("validation.resolver={}", dns.address()),
            "limits.enabled=false".to_owned(),
        ];
        settings.retain(|setting| {
            setting
                .split('=')
                .next()
                .is_none_or(|key| !options.left_out.iter().any(|left| left == key))
        });
        settings.extend(options.settings);
        let daemon = Self {
            scratch,
            settings,
            environment: options.environment,
            running: None,
            dns,
            directory: String::new(),
            http: String::new(),
            http01_port,
            tls_alpn01_port,
        };
        let mut init = daemon.command("init", &daemon.settings_arguments());
        run(init.args(options.init), INIT_WITHIN).succeeded();
        daemon
    }

    /// Serves.
    ///
    /// # Panics
    ///
    /// If the daemon does not say in time that it is ready.
    #[track_caller]
    pub fn serve(&mut self) {
        let log = self.log_path();
        // What an earlier run said must not count.
        let _ = std::fs::remove_file(&log);
        let mut command = self.command("serve", &self.settings_arguments());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut running = Background::start(&mut command, &log);
        let (directory, http) = running.wait_for(READY_WITHIN, |running| ready_line(&running.log()));
        (self.directory, self.http) = (directory, http);
        self.running = Some(running);
    }

    /// Stops with SIGTERM; returns how the daemon ended.
    ///
    /// # Panics
    ///
    /// If it is not running or does not go.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.running.take().expect("a running daemon").terminate()
    }

    /// Kills it at once.
    ///
    /// # Panics
    ///
    /// If it is not running.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.running.take().expect("a running daemon").kill9();
    }

    /// Stops and serves again.
    ///
    /// # Panics
    ///
    /// If either does not happen in time.
    #[track_caller]
    pub fn restart(&mut self) {
        let status = self.stop();
        assert!(status.success(), "SIGTERM ended the daemon with {status}");
        self.serve();
    }

    /// Sends a signal to the daemon.
    ///
    /// # Panics
    ///
    /// If it is not running.
    pub fn signal(&self, name: &str) {
        self.running.as_ref().expect("a running daemon").signal(name);
    }

    /// Returns its process id.
    ///
    /// # Panics
    ///
    /// If it is not running.
    pub fn id(&self) -> u32 {
        self.running.as_ref().expect("a running daemon").id()
    }

    /// Returns the file that it writes its log to.
    pub fn log_path(&self) -> PathBuf {
        self.scratch.path().join("serve.log")
    }

    /// Returns what the daemon has said since it was started.
    pub fn log(&self) -> String {
        self.running.as_ref().map(Background::log).unwrap_or_default()
    }

    /// Says whether the daemon is still there.
    pub fn alive(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| running.ended().is_none())
    }

    /// Runs `sigillo-ca ARGUMENTS --dir DIR` to its end.
    ///
    /// # Panics
    ///
    /// If it takes too long.
    #[track_caller]
    pub fn admin(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(programs::own("sigillo-ca"));
        run(command.args(arguments).arg("--dir").arg(self.dir()), ADMIN_WITHIN)
    }

    /// Runs an operator's command with `--json`; returns what it printed.
    ///
    /// # Panics
    ///
    /// If it fails or prints no JSON.
    #[track_caller]
    pub fn admin_json(&self, arguments: &[&str]) -> Value {
        let with_json: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let output = self.admin(&with_json).succeeded();
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{output}"))
    }

    /// Returns the state folder.
    pub fn dir(&self) -> PathBuf {
        self.scratch.path().join("ca")
    }

    /// Returns a folder beside the state folder, for a test's own files.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns the root certificate's file.
    pub fn root(&self) -> PathBuf {
        self.dir().join("root.pem")
    }

    /// Returns the file of the issuing certificate and what is above it.
    pub fn chain(&self) -> PathBuf {
        self.dir().join("chain.pem")
    }

    /// Returns an HTTP client that trusts this CA.
    pub fn http_client(&self) -> Http {
        Http::trusting(&self.root())
    }

    /// Registers a new account.
    ///
    /// # Errors
    ///
    /// If the daemon cannot be reached or refuses.
    pub fn register(&self) -> Result<Acme, HttpError> {
        Acme::register(self.http_client(), &self.directory)
    }

    /// Returns the `--set` arguments that this daemon serves with.
    pub fn settings_arguments(&self) -> Vec<String> {
        self.settings
            .iter()
            .flat_map(|setting| ["--set".to_owned(), setting.clone()])
            .collect()
    }

    fn command(&self, name: &str, arguments: &[String]) -> Command {
        let mut command = Command::new(programs::own("sigillo-ca"));
        command.arg(name).arg("--dir").arg(self.dir()).args(arguments);
        command
    }
}

/// Finds `ready directory=<URL> http=<URL>` as a whole line.
fn ready_line(log: &str) -> Option<(String, String)> {
    let whole = &log[..log.rfind('\n')?];
    let line = whole.lines().find_map(|line| line.strip_prefix("ready directory="))?;
    let (directory, http) = line.split_once(" http=")?;
    Some((
        directory.trim().to_owned(),
        http.trim().trim_end_matches('/').to_owned(),
    ))
}
