//! The command line of the conformance suite.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use sigillo_conformance::{Format, Options, Outcome, judge_telling};

/// Judges an ACME server, its OCSP responder and its CRL publisher. Exits 0 exactly when no MUST failed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// URL of the ACME directory
    #[arg(long)]
    directory: String,
    /// Trust anchors of the server's HTTPS, in PEM
    #[arg(long, value_name = "PEM")]
    ca_root: Option<PathBuf>,
    /// Anchor of the issued certificates, in PEM; without it chains are checked against --ca-root or among themselves
    #[arg(long, value_name = "PEM")]
    issuer_root: Option<PathBuf>,
    /// Port at which the server asks http-01
    #[arg(long, value_name = "N")]
    http01_port: Option<u16>,
    /// Port at which the server asks tls-alpn-01
    #[arg(long, value_name = "N")]
    tls_alpn01_port: Option<u16>,
    /// Port at which this program serves DNS for the zone
    #[arg(long, value_name = "N")]
    dns_port: Option<u16>,
    /// Address of this program's answerers, to which names of the zone resolve
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// Zone under which names are made
    #[arg(long, default_value = "conformance.test")]
    zone: String,
    /// OCSP responder, if not the one that certificates name
    #[arg(long, value_name = "URL")]
    ocsp: Option<String>,
    /// Key identifier for external account binding
    #[arg(long, requires = "eab_hmac")]
    eab_kid: Option<String>,
    /// Its MAC key in base64url
    #[arg(long, requires = "eab_kid")]
    eab_hmac: Option<String>,
    /// File of such keys, for servers that take a key once: on each line a key identifier, a space and the MAC key
    #[arg(long, value_name = "FILE")]
    eab_keys: Option<PathBuf>,
    /// Judge only requirements whose id begins so; may be repeated
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Leave out requirements whose id begins so; may be repeated
    #[arg(long, value_name = "ID")]
    skip: Vec<String>,
    /// How long a validation or an issue may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
    /// The server claims public trust: judge it by the Baseline Requirements too
    #[arg(long)]
    public_trust: bool,
    /// How to write the report
    #[arg(long, value_enum, default_value_t = Form::Text)]
    report: Form,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    Text,
    Json,
    Junit,
}

/// A file, or why it cannot be had.
fn read(path: Option<PathBuf>) -> Result<Option<Vec<u8>>, String> {
    path.map(|path| std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display())))
        .transpose()
}

fn options(arguments: Arguments) -> Result<Options, String> {
    let mut options = Options::new(arguments.directory);
    options.ca_root = read(arguments.ca_root)?;
    options.issuer_root = read(arguments.issuer_root)?;
    options.http01_port = arguments.http01_port;
    options.tls_alpn01_port = arguments.tls_alpn01_port;
    options.dns_port = arguments.dns_port;
    options.address = arguments.address;
    options.zone = arguments.zone;
    options.ocsp = arguments.ocsp;
    options.only = arguments.only;
    options.skip = arguments.skip;
    options.patience_seconds = arguments.patience;
    options.public_trust = arguments.public_trust;
    let listed = read(arguments.eab_keys)?.unwrap_or_default();
    let listed = String::from_utf8(listed).map_err(|_| "--eab-keys is not text")?;
    let listed = listed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(kid, key)| (kid.to_owned(), key.to_owned()));
    for (kid, key) in arguments.eab_kid.zip(arguments.eab_hmac).into_iter().chain(listed) {
        let key = sigillo_conformance::mac_key(key.trim()).ok_or("a MAC key is not base64url")?;
        options.external_accounts.push((kid, key));
    }
    Ok(options)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let format = match arguments.report {
        Form::Text => Format::Text,
        Form::Json => Format::Json,
        Form::Junit => Format::Junit,
    };
    let tell = |outcome: &Outcome| {
        if format == Format::Text {
            print!("{}", outcome.line());
        }
    };
    match options(arguments).and_then(|options| judge_telling(options, tell)) {
        Ok(report) => {
            match format {
                Format::Text => println!("{}", report.summary()),
                _ => print!("{}", report.render(format)),
            }
            if report.is_conforming() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(why) => {
            eprintln!("sigillo-conformance: {why}");
            ExitCode::FAILURE
        }
    }
}
