//! `quickstart`: from nothing to a certificate issued, renewed and revoked, with the verdicts of OCSP and CRL.
//!
//! The tour is made by the bundled client's own library against the real daemon over real sockets;
//! where `openssl` is on the machine, it is asked for its opinion too.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use sigillo_client::{
    Client, OrderSettings,
    account::Registration,
    check::{CheckRequest, Report, RevocationStatus, StatusReport, certificates_from_file, check},
    keystore::{ChallengeSettings, Keystore, StoredCertificate},
    progress::{Event, Progress},
    solver,
    transport::{Request, Transport, Trust},
};
use sigillo_protocol::acme::identifier::Name;
use tokio::sync::{oneshot, watch};

use super::{CliError, CliResult, Common, init, serve::Signals};
use crate::{
    clock::{Clock, SystemClock},
    issuer::folder,
    server::{self, House, Ready, Sockets},
    telemetry,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ends after the tour
    #[arg(long)]
    exit: bool,
}

/// The port on which the tour's client answers http-01 by default: one that needs no privilege.
const HTTP01_PORT: u16 = 5002;

/// How long the daemon may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the revocation may take to be on the CRL.
const CRL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait before the CRL is looked at again.
const CRL_PAUSE: Duration = Duration::from_millis(100);

/// Where the tour keeps its certificate, below the state folder.
const CLIENT_HOME: &str = "quickstart-client";

pub async fn run(common: &Common, args: Args) -> CliResult {
    if common.dir.join(folder::CHAIN_FILE).is_file() {
        println!("using the CA in {}", common.dir.display());
    } else {
        init::create_default(common).await?;
        println!("made a CA in {}", common.dir.display());
    }
    let mut settings = common.settings()?;
    // Without a privilege nobody can listen on port 80, so the tour validates on a port of its own.
    if settings.validation.http01_port == 80 {
        settings.validation.http01_port = HTTP01_PORT;
    }
    if settings.server.log == "info" {
        settings.server.log = "warn".to_owned();
    }
    telemetry::start_logging(&settings.server.log, settings.server.log_json);
    let http01_port = settings.validation.http01_port;
    let house = House::open(&common.dir, settings, common.passphrase()?).await?;

    let (stop, stopped) = watch::channel(false);
    let (tell, told) = oneshot::channel::<Ready>();
    let mut signals = Signals::new()?;
    let mut daemon = tokio::spawn(async move {
        server::run(house, &Sockets::default(), stopped, move |ready| {
            let _ = tell.send(ready.clone());
        })
        .await
    });
    let ready = match tokio::time::timeout(START_TIMEOUT, told).await {
        Ok(Ok(ready)) => ready,
        // It ended before it was ready: it says why.
        Ok(Err(_)) => {
            daemon.await.map_err(CliError::from)??;
            return Err(CliError::new("the daemon ended before it was ready"));
        }
        Err(_) => return Err(CliError::new("the daemon did not start in time")),
    };
    println!("ready directory={} http={}", ready.directory, ready.http);
    let tour = Tour {
        dir: &common.dir,
        ready: &ready,
        http01_port,
    };
    let toured = tour.go().await;
    if args.exit || toured.is_err() {
        let _ = stop.send(true);
        daemon.await.map_err(CliError::from)??;
        return toured;
    }
    tour.what_next();
    tokio::select! {
        () = signals.stop() => {}
        ended = &mut daemon => return Ok(ended??),
    }
    let _ = stop.send(true);
    daemon.await.map_err(CliError::from)??;
    Ok(())
}

struct Tour<'a> {
    dir: &'a Path,
    ready: &'a Ready,
    http01_port: u16,
}

/// Tells the client's steps, indented below what they are a part of.
struct Steps;

impl Progress for Steps {
    fn event(&self, event: &Event) {
        match event {
            Event::Proving { name, kind } => println!("    proving control of {name} by {kind}"),
            Event::Authorized { name } => println!("    the CA has seen it: {name} is authorized"),
            Event::Finalizing => println!("    sending the certification request"),
            Event::Warning(text) => println!("    warning: {text}"),
            _ => {}
        }
    }
}

impl Tour<'_> {
    async fn go(&self) -> CliResult {
        let root = self.dir.join(folder::ROOT_FILE);
        let transport = Transport::new(Trust::Roots(
            certificates_from_file(&root)?.into_iter().map(Into::into).collect(),
        ))?;
        let store = Keystore::new(self.dir.join(CLIENT_HOME));
        let client = Client::connect(transport, &self.ready.directory, store).await?;
        let registration = Registration {
            contact: vec![],
            agree_tos: true,
            external_account: None,
        };
        client.register(&registration, &Steps).await?;

        let challenges = ChallengeSettings {
            challenge: Some("http-01".to_owned()),
            http01_port: Some(self.http01_port),
            ..ChallengeSettings::default()
        };
        let solvers = solver::from_settings(&challenges)?;
        let settings = OrderSettings {
            names: vec![Name::from_dns_value("localhost")?],
            challenges,
            ca_root: Some(root),
            ..OrderSettings::default()
        };
        println!("\nordering a certificate for localhost");
        let first = client.order(&settings, &solvers, &Steps).await?;
        let first_serial = sigillo_client::revoke::serial(&first.leaf)?;
        println!("  issued   serial {first_serial}");

        println!("\nrenewing it");
        let second = client.renew(&first.name, &solvers, &Steps).await?;
        let second_serial = sigillo_client::revoke::serial(&second.leaf)?;
        println!("  renewed  serial {second_serial}");

        println!("\nrevoking the first one, because it is superseded");
        client.revoke_certificate(&first.leaf, None, Some(4), &Steps).await?;
        println!("  revoked  serial {first_serial} reason superseded");
        self.verdicts(client.session().transport(), &first, &second).await
    }

    /// Shows what OCSP and CRL say, as the bundled client sees it and as OpenSSL does.
    async fn verdicts(
        &self,
        transport: &Transport,
        revoked: &StoredCertificate,
        good: &StoredCertificate,
    ) -> CliResult {
        println!("\nwhat a relying party sees");
        let on_crl = self.await_crl(transport, revoked).await?;
        println!("  first   {}", verdict(&on_crl));
        let report = self.check(transport, good).await?;
        println!("  second  {}", verdict(&report));
        let both = [on_crl.ocsp.as_ref(), on_crl.crl.as_ref()];
        if !both
            .iter()
            .all(|seen| seen.is_some_and(|seen| matches!(seen.status, RevocationStatus::Revoked { .. })))
        {
            return Err(CliError::new(
                "OCSP and CRL do not both show the first certificate as revoked",
            ));
        }
        if Command::new("openssl").arg("version").output().is_ok() {
            let crl = transport
                .fetch(Request::get(format!(
                    "{}/crl/{}.crl",
                    self.ready.http,
                    folder::issuing_id()
                )))
                .await?;
            let files = Files::write(self.dir, &revoked.leaf, &good.leaf, &crl.body)?;
            self.openssl(&files)?;
        } else {
            println!("  (openssl is not installed: its opinion is left out)");
        }
        Ok(())
    }

    async fn check(&self, transport: &Transport, certificate: &StoredCertificate) -> CliResult<Report> {
        let certificates = pem::parse_many(&certificate.fullchain)?
            .into_iter()
            .map(pem::Pem::into_contents)
            .collect();
        let request = CheckRequest::new(certificates, transport.trust().clone());
        Ok(check(transport, &request, SystemClock.now()).await?)
    }

    /// The CRL waits a moment for other revocations, so it is asked for until it is there.
    async fn await_crl(&self, transport: &Transport, revoked: &StoredCertificate) -> CliResult<Report> {
        let deadline = tokio::time::Instant::now() + CRL_TIMEOUT;
        loop {
            let report = self.check(transport, revoked).await?;
            let shown = report
                .crl
                .as_ref()
                .is_some_and(|crl| matches!(crl.status, RevocationStatus::Revoked { .. }));
            if shown || tokio::time::Instant::now() > deadline {
                return Ok(report);
            }
            tokio::time::sleep(CRL_PAUSE).await;
        }
    }

    fn openssl(&self, files: &Files) -> CliResult {
        let chain = self.dir.join(folder::CHAIN_FILE);
        let root = self.dir.join(folder::ROOT_FILE);
        println!("\nwhat OpenSSL says");
        let output = Command::new("openssl")
            .args(["ocsp", "-issuer"])
            .arg(&chain)
            .arg("-cert")
            .arg(&files.revoked)
            .arg("-cert")
            .arg(&files.good)
            .args(["-url", &format!("{}/ocsp", self.ready.http)])
            .arg("-CAfile")
            .arg(&root)
            .arg("-verify_other")
            .arg(&chain)
            .output()?;
        print_indented("openssl ocsp", &output.stdout, &output.stderr);
        if !output.status.success() {
            return Err(CliError::new("openssl does not accept the OCSP answer"));
        }
        self.openssl_path(files)?;
        let output = Command::new("openssl")
            .args(["crl", "-inform", "DER", "-noout", "-text", "-in"])
            .arg(&files.crl)
            .output()?;
        if !output.status.success() {
            return Err(CliError::new("openssl does not accept the CRL"));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        println!("  openssl crl");
        let entries = text.lines().skip_while(|line| !line.contains("Revoked Certificates"));
        for line in entries.take_while(|line| !line.contains("Signature Algorithm")) {
            println!("    {}", line.trim_end());
        }
        Ok(())
    }

    /// Has OpenSSL build the whole path and look at both CRLs: the second certificate passes, the first does not.
    fn openssl_path(&self, files: &Files) -> CliResult {
        let verify = |certificate: &Path| {
            Command::new("openssl")
                .args(["verify", "-crl_check_all", "-CAfile"])
                .arg(self.dir.join(folder::ROOT_FILE))
                .arg("-untrusted")
                .arg(self.dir.join(folder::CHAIN_FILE))
                .arg("-CRLfile")
                .arg(&files.crls)
                .arg(certificate)
                .output()
        };
        for (certificate, passes) in [(&files.revoked, false), (&files.good, true)] {
            let output = verify(certificate)?;
            print_indented("openssl verify -crl_check_all", &output.stdout, &output.stderr);
            if output.status.success() != passes {
                return Err(CliError::new(
                    "openssl does not judge the certificates by the CRLs as it should",
                ));
            }
        }
        Ok(())
    }

    fn what_next(&self) {
        let root = self.dir.join(folder::ROOT_FILE);
        let root = std::path::absolute(&root).unwrap_or(root);
        let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("sigillo-ca"));
        let beside = own.with_file_name("sigillo");
        // The bundled client lies beside this program where both were built or installed together.
        let client = if beside.is_file() {
            beside
        } else {
            PathBuf::from("sigillo")
        };
        let (directory, port) = (&self.ready.directory, self.http01_port);
        println!("\nthe CA keeps serving; stop it with Ctrl-C. What next, in another terminal:");
        println!(
            "  {} --directory {directory} --ca-root {} \\",
            client.display(),
            root.display()
        );
        println!("      order localhost --agree-tos --http01-port {port}");
        println!(
            "  REQUESTS_CA_BUNDLE={} certbot certonly --standalone -d localhost \\",
            root.display()
        );
        println!("      --server {directory} --http-01-port {port} --register-unsafely-without-email --agree-tos \\");
        println!("      --config-dir certbot --work-dir certbot --logs-dir certbot");
        println!("  {} --dir {} certs list", own.display(), self.dir.display());
    }
}

fn print_indented(what: &str, output: &[u8], error: &[u8]) {
    println!("  {what}");
    for line in String::from_utf8_lossy(output)
        .lines()
        .chain(String::from_utf8_lossy(error).lines())
    {
        println!("    {line}");
    }
}

/// The files that OpenSSL reads.
struct Files {
    revoked: PathBuf,
    good: PathBuf,
    crl: PathBuf,
    /// The issuing CA's and the root's CRL, PEM.
    crls: PathBuf,
}

impl Files {
    fn write(dir: &Path, revoked: &[u8], good: &[u8], crl: &[u8]) -> CliResult<Self> {
        let folder = dir.join(CLIENT_HOME);
        let files = Self {
            revoked: folder.join("first.pem"),
            good: folder.join("second.pem"),
            crl: folder.join("issuing.crl"),
            crls: folder.join("crls.pem"),
        };
        std::fs::write(&files.revoked, crate::pem::certificate(revoked))?;
        std::fs::write(&files.good, crate::pem::certificate(good))?;
        std::fs::write(&files.crl, crl)?;
        let root_crl = std::fs::read(dir.join(folder::ROOT_CRL_FILE))?;
        let both = [crl, &root_crl].map(|crl| crate::pem::block("X509 CRL", crl)).concat();
        std::fs::write(&files.crls, both)?;
        Ok(files)
    }
}

/// Says in one line what OCSP and CRL told.
fn verdict(report: &Report) -> String {
    let told = |seen: &Option<StatusReport>| match seen.as_ref().map(|seen| &seen.status) {
        None => "not asked".to_owned(),
        Some(RevocationStatus::Good) => "good".to_owned(),
        Some(RevocationStatus::Revoked { reason, .. }) => match reason {
            Some(reason) => format!("revoked ({reason})"),
            None => "revoked".to_owned(),
        },
        Some(other) => format!("{other:?}"),
    };
    format!(
        "OCSP: {:22} CRL: {:22} serial {}",
        told(&report.ocsp),
        told(&report.crl),
        report.serial
    )
}
