//! `sigillo order`

use std::path::PathBuf;

use sigillo_client::error::{Error, Result};
use sigillo_client::key::KeyType;
use sigillo_client::keystore::{CertificateName, StoredCertificate};
use sigillo_client::progress::Progress;
use sigillo_client::{Client, OrderSettings, solver};
use sigillo_protocol::acme::identifier::Name;

use super::{list, options, show};
use crate::config::Config;

/// Options of `order`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names for the certificate: DNS names, *.names, addresses.
    #[arg(value_name = "NAME", value_parser = name, required_unless_present = "csr")]
    names: Vec<Name>,
    /// Keep the certificate under this name [default: its first name].
    #[arg(long = "name", value_name = "NAME")]
    keep_as: Option<String>,
    /// The kind of key: ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096.
    #[arg(long, value_name = "TYPE")]
    key_type: Option<KeyType>,
    /// Keep the key when renewing.
    #[arg(long)]
    reuse_key: bool,
    /// Use this certification request (PEM or DER); its key stays with you.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key_type", "reuse_key"])]
    csr: Option<PathBuf>,
    /// Order under this profile of the server.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Run this program after each issuance, with SIGILLO_FULLCHAIN, SIGILLO_KEY, ... set.
    #[arg(long, value_name = "PROGRAM")]
    deploy_hook: Option<PathBuf>,
    #[command(flatten)]
    challenges: options::Challenges,
    #[command(flatten)]
    account: options::AccountOptions,
    /// Print the certificate's data as JSON.
    #[arg(long)]
    json: bool,
}

fn name(text: &str) -> std::result::Result<Name, String> {
    text.parse()
        .map_err(|e: sigillo_protocol::acme::identifier::NameError| e.to_string())
}

/// Orders a certificate, registering first where there is no account yet.
pub async fn run(config: &Config, args: Args, progress: &dyn Progress) -> Result<()> {
    let challenges = args.challenges.settings(config)?;
    let solvers = solver::from_settings(&challenges)?;
    let deploy_hook = args.deploy_hook.or_else(|| config.deploy_hook.clone());
    if let Some(program) = &deploy_hook {
        sigillo_client::hook::Hook::new(program)?;
    }
    let settings = OrderSettings {
        names: args.names,
        keep_as: args.keep_as.map(|name| name.parse::<CertificateName>()).transpose()?,
        key_type: args.key_type.unwrap_or(config.key_type),
        reuse_key: args.reuse_key || config.reuse_key,
        csr: args.csr,
        profile: args.profile.or_else(|| config.profile.clone()),
        deploy_hook,
        challenges,
        ca_root: config.ca_root.clone(),
    };
    let registration = args.account.registration(config)?;
    let client = config.connect().await?;
    if client.store().account(client.session().directory_url())?.is_none() {
        client.register(&registration, progress).await?;
    }
    let stored = client.order(&settings, &solvers, progress).await?;
    finish(&client, &stored, args.json, progress).await
}

/// Runs the deploy hook and says where the certificate is.
pub async fn finish(client: &Client, stored: &StoredCertificate, json: bool, progress: &dyn Progress) -> Result<()> {
    let deployed = client.deploy(stored, progress).await;
    if json {
        show::json(&list::entry(client.store(), stored)?)?;
    } else {
        println!("{}", client.store().certificate_dir(&stored.name).display());
    }
    deployed.map_err(|e| match e {
        Error::Local { what, why } => Error::local(format!("the certificate is there, but {what}"), why),
        other => other,
    })
}
