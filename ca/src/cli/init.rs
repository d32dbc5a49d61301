//! `init`: a new CA.

use std::path::PathBuf;

use super::{CliError, CliResult, Common};
use crate::{
    config::{self, CalendarSpan},
    issuer::{self, Ceremony},

};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the CA is called; its certificates are named after it
    #[arg(long, default_value = "Sigillo")]
    name: String,
    /// The kind of the CA's keys: ecdsa-p256, ecdsa-p384, ed25519, rsa-3072, rsa-4096
    #[arg(long, default_value = "ecdsa-p256")]
    key: String,
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

pub async fn run(common: &Common, args: Args) -> CliResult {
    let made = create(common, args).await?;
    if common.json {
        println!("{}", serde_json::json!({ "dir": common.dir, "root": made.root, "chain": made.chain }));
        return Ok(());
    }
    println!("made a CA in {}", common.dir.display());
    println!("  trust this on your machines:   {}", made.root.display());
    println!("  keep this away from the CA:    {}", made.root_key.display());
    println!("  start it:                      sigillo-ca serve --dir {}", common.dir.display());
    Ok(())
}

/// Where things are.
pub struct Made {
    pub root: PathBuf,
    pub chain: PathBuf,
    pub root_key: PathBuf,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            name: "Sigillo".to_owned(),
            key: "ecdsa-p256".to_owned(),
            root_validity: CalendarSpan::parse("20y").expect("invariant: a length of time"),
            issuer_validity: CalendarSpan::parse("5y").expect("invariant: a length of time"),
            name_constraint: Vec::new(),
        }
    }
}

pub async fn create(common: &Common, args: Args) -> CliResult<Made> {
    let settings = common.settings()?;
    let dir = &common.dir;
    issuer::initialise(
        dir,
        &Ceremony {
            name: args.name,
            key: args.key,
            root_validity: args.root_validity,
            issuer_validity: args.issuer_validity,
            name_constraints: args.name_constraint,
            public_http: settings.server.public_http,
            store: settings.store.path,
            passphrase: common.passphrase()?,
        },
    )
    .await?;
    write_configuration(common)?;
    Ok(Made {
        root: dir.join(issuer::ROOT_FILE),
        chain: dir.join(issuer::CHAIN_FILE),
        root_key: dir.join(issuer::KEYS_FOLDER).join("root.pem"),
    })
}

/// Writes the configuration: what was set on the command line of `init` holds for good.
fn write_configuration(common: &Common) -> CliResult {
    let path = common.dir.join(config::FILE_NAME);
    if path.exists() {
        return Ok(());
    }
    let text = config::raw::document(&common.set)?;
    std::fs::write(&path, text)
        .map_err(|error| CliError::new(format!("{} cannot be written", path.display())).with_detail(error))
}
