//! `init`: a new CA.

use std::{path::PathBuf, sync::Arc};

use sigillo_protocol::{acme::identifier::Name, x509::key::KeyKind};

use super::{CliError, CliResult, Common};
use crate::{
    clock::{Clock, SystemClock},
    config,
    issuer::{self, CeremonyOptions, folder},
    policy::{NameConstraints, profile::CalendarSpan},
    store::embedded::SqliteStore,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the CA is called; its certificates are named after it
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
    /// The organisation in its certificates
    #[arg(long)]
    organization: Option<String>,
    /// The kind of the CA's keys: ecdsa-p256, ecdsa-p384, ed25519, rsa-3072, rsa-4096
    #[arg(long, default_value = "ecdsa-p256")]
    key: KeyKind,
    /// How long the root is valid
    #[arg(long, default_value = "20y", value_parser = CalendarSpan::parse)]
    root_validity: CalendarSpan,
    /// How long the issuing CA is valid
    #[arg(long, default_value = "5y", value_parser = CalendarSpan::parse)]
    issuer_validity: CalendarSpan,
    /// A domain or network that the CA is limited to; may be given several times
    #[arg(long, value_name = "DOMAIN|NETWORK")]
    name_constraint: Vec<String>,
}

const DEFAULT_NAME: &str = "Sigillo";

/// The database's file below the store's folder, as `store.url` has it by default.
const DATABASE: &str = "sigillo.db";

pub async fn run(common: &Common, args: Args) -> CliResult {
    let settings = common.settings()?;
    warn_of_loopback(&settings.server.public_http);
    let options = CeremonyOptions {
        organization: args.organization,
        key: args.key,
        root_validity: args.root_validity,
        issuer_validity: args.issuer_validity,
        constraints: constraints(&args.name_constraint, &settings.server.names)?,
        ..CeremonyOptions::new(args.name, settings.server.public_http)
    };
    let made = create(common, options).await?;
    if common.json {
        println!(
            "{}",
            serde_json::json!({ "dir": common.dir, "root": made.root, "rootSha256": made.root_sha256 })
        );
        return Ok(());
    }
    let dir = common.dir.display();
    println!("made a CA in {dir}");
    println!("  trust this on your machines:  {}", made.root.display());
    println!("  its SHA-256 fingerprint:      {}", made.root_sha256);
    println!("  keep this off the machine:    {}", made.root_key.display());
    println!("  start it:                     sigillo-ca serve --dir {dir}");
    Ok(())
}

/// The addresses in certificates are there for good, and only this machine would find these.
fn warn_of_loopback(public_http: &str) {
    let host = public_http.trim_start_matches("http://");
    if ["localhost", "127.", "[::1]"].iter().any(|own| host.starts_with(own)) {
        eprintln!(
            "note: the certificates will name {public_http} for CRL and OCSP, which only this machine can reach;"
        );
        eprintln!("      for a CA that others use, give --set server.names='[\"ca.example.org\"]' to init");
    }
}

/// Reads the wished constraints, and lets the CA have its own names besides: it serves under them.
fn constraints(wished: &[String], own: &[Name]) -> CliResult<NameConstraints> {
    let constraints = NameConstraints::parse(wished)?;
    let missing = own
        .iter()
        .filter(|name| constraints.permits(name).is_err())
        .map(ToString::to_string);
    let all: Vec<String> = wished.iter().cloned().chain(missing).collect();
    let widened = NameConstraints::parse(&all)?;
    match own.iter().find(|name| widened.permits(name).is_err()) {
        None => Ok(widened),
        Some(name) => Err(CliError::new(format!(
            "the constraints exclude {name}, which is one of the CA's own names (server.names)"
        ))),
    }
}

/// Where things are.
pub struct Made {
    pub root: PathBuf,
    pub root_key: PathBuf,
    pub root_sha256: String,
}

/// Makes a CA with the usual choices.
pub async fn create_default(common: &Common) -> CliResult<Made> {
    let settings = common.settings()?;
    create(common, CeremonyOptions::new(DEFAULT_NAME, settings.server.public_http)).await
}

async fn create(common: &Common, options: CeremonyOptions) -> CliResult<Made> {
    let settings = common.settings()?;
    let default = common.dir.join("store").join(DATABASE);
    if settings.store.path != default {
        return Err(CliError::new(
            "init makes its store at store/sigillo.db: leave store.url out, and move it afterwards",
        ));
    }
    let options = CeremonyOptions {
        passphrase: common.passphrase()?,
        configuration: config::raw::document(&common.set)?,
        ..options
    };
    let open = |folder: &std::path::Path| match SqliteStore::open(folder.join(DATABASE)) {
        Ok(store) => Ok(Arc::new(store) as Arc<dyn crate::store::Store>),
        Err(error) => Err(error.to_string()),
    };
    let made = issuer::init(&common.dir, &options, SystemClock.now(), open).await?;
    let digits: Vec<String> = made.root_sha256.iter().map(|octet| format!("{octet:02X}")).collect();
    Ok(Made {
        root: common.dir.join(folder::ROOT_FILE),
        root_key: common.dir.join(folder::KEYS_FOLDER).join("root.pem"),
        root_sha256: digits.join(":"),
    })
}
