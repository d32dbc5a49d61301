//! `sigillo check`

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sigillo_client::check::{self, CheckRequest};
use sigillo_client::error::{Error, Result};
use sigillo_client::keystore::CertificateName;

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
    request.ocsp_url = args.ocsp_url;
    request.crl_url = args.crl_url;
    request.nonce = !args.no_nonce;
    let report = check::check(&transport, &request, Timestamp::now()).await?;
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
