//! The command line: one file for each command, in one rhythm.

mod account;
mod check;
mod daemon;
mod list;
mod options;
mod order;
mod register;
mod renew;
mod revoke;
mod show;
mod trust;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::{Config, Overrides};
use sigillo_client::error::Result;

/// Obtains, renews, revokes and checks certificates at any ACME server (RFC 8555).
#[derive(Debug, Parser)]
#[command(name = "sigillo", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// The server's directory URL.
    #[arg(long, global = true, env = "SIGILLO_DIRECTORY", value_name = "URL")]
    pub directory: Option<String>,
    /// Trust these roots (PEM) alone when speaking to the server, instead of the system's.
    #[arg(long, global = true, env = "SIGILLO_CA_ROOT", value_name = "PEM")]
    pub ca_root: Option<PathBuf>,
    /// Where keys, certificates and config.toml are kept [default: ~/.sigillo].
    #[arg(long, global = true, env = "SIGILLO_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Say nothing but errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an account at the server, or find the one that the kept key has.
    Register(register::Args),
    /// Order a certificate; prove control of its names; keep it with its key.
    Order(order::Args),
    /// Renew certificates.
    Renew(renew::Args),
    /// Revoke a certificate.
    Revoke(revoke::Args),
    /// List the certificates that are kept.
    List(list::Args),
    /// Check a certificate: time, chain, OCSP and CRL.
    Check(check::Args),
    /// Renew for as long as it runs, each certificate when its time has come.
    Daemon(daemon::Args),
    /// Put the CA's root among those that the whole system trusts, or take it out.
    #[command(subcommand)]
    Trust(trust::Command),
    /// Show or change the account.
    #[command(subcommand)]
    Account(account::Command),
}

/// Runs a command.
///
/// # Errors
/// Whatever keeps it from being done.
pub async fn run(cli: Cli) -> Result<()> {
    let overrides = Overrides {
        directory: cli.directory,
        ca_root: cli.ca_root,
        home: cli.home,
    };
    let config = Config::load(overrides)?;
    let progress = show::progress(cli.quiet);
    match cli.command {
        Command::Register(args) => register::run(&config, args, &*progress).await,
        Command::Order(args) => order::run(&config, args, &*progress).await,
        Command::Renew(args) => renew::run(&config, args, &*progress).await,
        Command::Revoke(args) => revoke::run(&config, args, &*progress).await,
        Command::List(args) => list::run(&config, &args),
        Command::Check(args) => check::run(&config, args).await,
        Command::Daemon(args) => daemon::run(&config, &args, &*progress).await,
        Command::Trust(command) => trust::run(&config, command).await,
        Command::Account(command) => account::run(&config, command, &*progress).await,
    }
}
