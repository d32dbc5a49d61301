//! A daemon with the man in the middle before it, and the suite that judges the two.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::Value;

use super::authority::Authority;
use super::fault::{Fault, Scene, none};
use super::proxy::{self, Current, Route, current};
use super::{Mutation, Stage, wires};
use crate::daemon::{Daemon, Options};
use crate::ports;
use crate::process::run;
use crate::programs::own;

/// How long one run of a few cases may take.
const JUDGED_WITHIN: Duration = Duration::from_secs(180);
/// How long a run of all of them may take.
const ALL_JUDGED_WITHIN: Duration = Duration::from_secs(14 * 60);
/// How long the suite waits for a validation: three tries take seven seconds.
const PATIENCE: &str = "12";
/// A program that says yes to everything.
const DOES_NOTHING: &str = "/bin/true";
/// How many new accounts one run may make.
const EXTERNAL_ACCOUNTS: usize = 40;

/// What the suite made of one case.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The requirement's id.
    pub id: String,
    /// `pass`, `fail` and so on.
    pub verdict: String,
    /// Why.
    pub notes: String,
}

/// A daemon with the man in the middle before it.
pub struct Bench {
    daemon: Daemon,
    stage: Stage,
    fault: Current,
    route: Arc<Route>,
    directory: String,
    http01_port: u16,
    tls_alpn01_port: u16,
    dns_port: u16,
}

impl Bench {
    /// Starts both.
    ///
    /// # Panics
    ///
    /// If one does not come up.
    #[track_caller]
    pub fn open(stage: Stage) -> Self {
        let [https, http, dns_inside, dns_port, http01_port, tls_alpn01_port] = [(); 6].map(|()| ports::free());
        let (origin, files) = (format!("https://localhost:{https}"), format!("http://localhost:{http}"));
        let options = stage
            .options()
            .set(format!("server.public_https={origin}"))
            .set(format!("server.public_http={files}"))
            .set(format!("validation.resolver=127.0.0.1:{dns_inside}"))
            .set("acme.caa_identities=[\"ca.conformance.test\"]")
            .set("acme.auto_renewal.min_lifetime=20s")
            // The man in the middle offers these in the daemon's place, wrongly.
            .set("acme.dns_account=false")
            .set("acme.subdomain_authorizations=false")
            .set("acme.terms=https://ca.conformance.test/terms");
        let daemon = Daemon::prepare(options);
        let (trust, tls) = proxy::identity();
        std::fs::write(daemon.scratch().join("trust.pem"), trust).expect("a file for the trust anchor");
        let mut daemon = daemon;
        daemon.serve();
        let port = |url: &str| {
            let authority = url.split('/').nth(2).unwrap_or_default();
            authority
                .rsplit(':')
                .next()
                .and_then(|port| port.parse().ok())
                .unwrap_or_default()
        };
        let settings = daemon.settings_arguments();
        let listens = |key: &str| {
            let line = settings.iter().find_map(|one| one.strip_prefix(key));
            line.map(|address| port(&format!("http://{address}")))
                .expect("invariant: the harness sets it")
        };
        let route = Arc::new(Route {
            scene: Scene::new(Authority::of(&daemon.dir()), origin.clone(), files),
            http: daemon.http_client(),
            https_port: listens("server.https="),
            http_port: listens("server.http="),
        });
        let fault: Current = Arc::new(RwLock::new(Arc::new(none())));
        wires::dns(dns_inside, dns_port, &fault);
        wires::http01(daemon.http01_port, http01_port, &fault);
        wires::tls_alpn01(daemon.tls_alpn01_port, tls_alpn01_port, &fault);
        let bench = Self {
            stage,
            fault,
            route,
            directory: format!("{origin}/acme/directory"),
            daemon,
            http01_port,
            tls_alpn01_port,
            dns_port,
        };
        bench.listen(https, http, tls);
        bench
    }

    fn listen(&self, https: u16, http: u16, tls: Arc<rustls::ServerConfig>) {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a port for the man in the middle");
        let (fault, route) = (Arc::clone(&self.fault), Arc::clone(&self.route));
        proxy::accept(bind(https), move |stream| {
            route.serve_acme(&current(&fault), &tls, stream)
        });
        let (fault, route) = (Arc::clone(&self.fault), Arc::clone(&self.route));
        proxy::accept(bind(http), move |stream| route.serve_status(&current(&fault), stream));
    }

    /// Lets the suite judge the cases of a mutation while it is in force.
    ///
    /// # Panics
    ///
    /// If the suite does not come to an end.
    #[track_caller]
    pub fn judge(&self, mutation: &Mutation) -> Vec<Judged> {
        assert_eq!(
            self.stage, mutation.stage,
            "another daemon belongs to {}",
            mutation.name
        );
        self.put(Arc::clone(&mutation.fault));
        let ids = mutation.catches.iter().chain(mutation.beside).copied();
        let mut more = Vec::new();
        if mutation.names_responder {
            more.extend(["--ocsp".to_owned(), format!("{}/ocsp", self.route.scene.files)]);
        }
        if mutation.signed {
            let key = self.daemon.scratch().join("zone.key");
            more.extend(["--dnssec-key".to_owned(), key.display().to_string()]);
        }
        if mutation.hooked {
            more.extend(["--hook", DOES_NOTHING].map(str::to_owned));
        }
        let judged = self.judge_with(&ids.collect::<Vec<_>>(), &more, JUDGED_WITHIN);
        self.put(Arc::new(none()));
        judged
    }

    fn put(&self, fault: Arc<Fault>) {
        self.route.scene.authority.forget();
        *self.fault.write().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Lets the suite judge cases.
    ///
    /// # Panics
    ///
    /// If the suite does not come to an end.
    #[track_caller]
    pub fn judge_only(&self, ids: &[&str]) -> Vec<Judged> {
        self.judge_with(ids, &[], ALL_JUDGED_WITHIN)
    }

    fn judge_with(&self, ids: &[&str], more: &[String], within: Duration) -> Vec<Judged> {
        let mut suite = Command::new(own("sigillo-conformance"));
        suite
            .args(["--directory", &self.directory, "--ca-root"])
            .arg(self.daemon.scratch().join("trust.pem"))
            .arg("--issuer-root")
            .arg(self.daemon.root())
            .args(["--http01-port", &self.http01_port.to_string()])
            .args(["--tls-alpn01-port", &self.tls_alpn01_port.to_string()])
            .args(["--dns-port", &self.dns_port.to_string()])
            .args(["--public-trust", "--report", "json", "--patience", PATIENCE]);
        if self.stage == Stage::Bound {
            suite.arg("--eab-keys").arg(self.external_accounts());
        }
        suite.args(more);
        for id in ids {
            suite.args(["--only", id]);
        }
        let output = run(&mut suite, within);
        let report: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{output}"));
        let cases = report["cases"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        cases
            .map(|one| Judged {
                id: text(&one["id"]),
                verdict: text(&one["verdict"]),
                notes: one["notes"].to_string(),
            })
            .collect()
    }

    /// A file of fresh keys for external accounts.
    fn external_accounts(&self) -> std::path::PathBuf {
        let path = self.daemon.scratch().join("external-accounts");
        let mut file = std::fs::File::create(&path).expect("a file of keys");
        for _ in 0..EXTERNAL_ACCOUNTS {
            let made = self.daemon.admin_json(&["eab", "create"]);
            let text = |name: &str| made[name].as_str().expect("a key").to_owned();
            writeln!(file, "{} {}", text("kid"), text("hmac")).expect("a file of keys");
        }
        path
    }
}

impl Stage {
    /// How its daemon is started.
    fn options(self) -> Options {
        let options = Options::default();
        match self {
            Self::Sound => options,
            Self::Careless => options.set("validation.always_valid=true"),
            Self::Heedless => options.set("validation.caa=off"),
            Self::Bound => options.set("acme.eab_required=true"),
            Self::Constrained => options.init(&["--name-constraint", "conformance.test"]),
        }
    }
}
