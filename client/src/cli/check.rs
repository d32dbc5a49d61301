//! `sigillo check`

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sigillo_client::check::{self, CheckRequest, LogRequest};
use sigillo_client::error::{Error, Result};
use sigillo_client::keystore::CertificateName;
use sigillo_protocol::transparency::note::VerifierKey;

use super::show;
use crate::config::Config;

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file with a certificate and, perhaps, its chain; or a kept certificate's name.
    #[arg(value_name = "CERT")]
    certificate: String,
    /// The issuer's certificate, where it cannot be found otherwise.
    #[arg(long, value_name = "FILE")]
    issuer: Option<PathBuf>,
    /// Trust this OCSP responder's certificate although the CA has not delegated to it.
    #[arg(long, value_name = "FILE")]
    responder: Vec<PathBuf>,
    /// Ask this OCSP responder.
    #[arg(long, value_name = "URL")]
    ocsp_url: Option<String>,
    /// Read this CRL.
    #[arg(long, value_name = "URL")]
    crl_url: Option<String>,
    /// Send no nonce, so that caches can answer.
    #[arg(long)]
    no_nonce: bool,
    /// Check that the CA's log holds it too, and that the log continues what was seen of it before.
    #[arg(long)]
    proof: bool,
    /// The log's key (NAME+ID+KEY), or a file with it; the ACME directory names it otherwise.
    #[arg(long, value_name = "KEY", requires = "proof")]
    log_key: Option<String>,
    /// Where the log is; the ACME directory says so otherwise.
    #[arg(long, value_name = "URL", requires = "log_key")]
    log_url: Option<String>,
    /// A witness (NAME+ID+KEY) who has to have cosigned the log.
    #[arg(long, value_name = "KEY", requires = "proof")]
    witness: Vec<String>,
    /// Accept another log than the one that was seen before.
    #[arg(long, requires = "proof")]
    accept_new_log: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Checks a certificate.
pub async fn run(config: &Config, args: Args) -> Result<()> {
    let certificates = read(config, &args.certificate)?;
    let transport = config.transport(config.ca_root.as_deref())?;
    let mut request = CheckRequest::new(certificates, transport.trust().clone());
    request.issuer = match &args.issuer {
        Some(path) => check::certificates_from_file(path)?.into_iter().next(),
        None => None,
    };
    for path in &args.responder {
        request.responders.extend(check::certificates_from_file(path)?);
    }
    request.ocsp_url = args.ocsp_url.clone();
    request.crl_url = args.crl_url.clone();
    request.nonce = !args.no_nonce;
    let mut report = check::check(&transport, &request, Timestamp::now()).await?;
    if args.proof {
        let log = log_request(config, &args).await?;
        let leaf = &request.certificates[0];
        report.add_log(check::check_log(&transport, config.store(), &log, leaf).await?);
    }
    if args.json {
        show::json(&report)?;
    } else {
        report.lines().iter().for_each(|line| println!("{line}"));
    }
    match report.trouble() {
        None => Ok(()),
        Some(trouble) => Err(Error::Failed(format!("the certificate is not in order: {trouble}"))),
    }
}

/// Finds out which log, by what was given or by the ACME directory.
async fn log_request(config: &Config, args: &Args) -> Result<LogRequest> {
    let witnesses = args.witness.iter().map(|text| key(text)).collect::<Result<Vec<_>>>()?;
    let given = args.log_key.as_deref().map(key).transpose()?;
    let (source, url, named) = match &args.log_url {
        Some(url) => (url.clone(), url.clone(), None),
        None => {
            let client = config.connect().await?;
            let session = client.session();
            let log = session.directory().meta.audit_log.clone();
            let log = log.ok_or_else(|| Error::usage("the ACME server names no log: give --log-url and --log-key"))?;
            (session.directory_url().to_owned(), log.url, Some(log.key))
        }
    };
    let key = match (given, named) {
        (Some(given), _) => given,
        (None, Some(named)) => key(&named)?,
        (None, None) => return Err(Error::usage("whose log? give --log-key")),
    };
    Ok(LogRequest {
        source,
        url: url.trim_end_matches('/').to_owned(),
        key,
        witnesses,
        accept_new: args.accept_new_log,
    })
}

/// Reads a key, given as such or as a file that holds it.
fn key(text: &str) -> Result<VerifierKey> {
    let parsed = VerifierKey::parse(text).or_else(|error| match std::fs::read_to_string(text) {
        Ok(read) => VerifierKey::parse(&read),
        Err(_) => Err(error),
    });
    parsed.map_err(|error| Error::usage(format!("the key {text:?} cannot be used: {error}")))
}

fn read(config: &Config, text: &str) -> Result<Vec<Vec<u8>>> {
    let path = Path::new(text);
    if path.is_file() {
        return check::certificates_from_file(path);
    }
    let kept = match text.parse::<CertificateName>() {
        Ok(name) => config.store().certificate(&name)?,
        Err(_) => None,
    };
    let stored = kept.ok_or_else(|| Error::usage(format!("{text} is neither a file nor a kept certificate")))?;
    check::certificates_from_file(&stored.dir.join("fullchain.pem"))
}
