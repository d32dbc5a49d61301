//! The `sigillo-ca` command line.

mod audit;
mod bulk;
mod challtestsrv;
mod go_flags;
mod init;
mod manual;
mod operate;
mod pebble;
mod quickstart;
mod remote;
mod serve;
mod table;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};

use crate::{
    config::{self, Settings},
    signer::Passphrase,
};

/// A certificate authority that a small team starts with one command.
#[derive(Debug, Parser)]
#[command(name = "sigillo-ca", version, about, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// The state folder: configuration, keys, certificates, store
    #[arg(
        long,
        global = true,
        default_value = "./sigillo",
        env = "SIGILLO_CA_DIR",
        value_name = "DIR"
    )]
    dir: PathBuf,
    /// Whether the folder was named on the command line.
    #[arg(skip)]
    dir_given: bool,
    /// Sets a configuration key for this run, for example --set acme.eab_required=true
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Shows lists and results as JSON
    #[arg(long, global = true)]
    json: bool,
    /// A file with the passphrase of the private keys, where they have one
    #[arg(long, global = true, env = "SIGILLO_CA_PASSPHRASE_FILE", value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a CA if there is none, starts it, and shows a certificate issued, renewed and revoked
    Quickstart(quickstart::Args),
    /// Makes a root, an issuing CA and an OCSP responder in the state folder
    Init(init::Args),
    /// Runs the daemon
    Serve,
    /// Signs a certification request
    Sign(operate::SignArgs),
    /// Lists, shows, revokes and exports certificates
    #[command(subcommand)]
    Certs(operate::CertsCommand),
    /// Lists and closes ACME accounts
    #[command(subcommand)]
    Accounts(operate::AccountsCommand),
    /// Makes, lists and withdraws keys for external account binding
    #[command(subcommand)]
    Eab(operate::EabCommand),
    /// Lists, shows and cancels orders
    #[command(subcommand)]
    Orders(operate::OrdersCommand),
    /// Blocks keys, so that nothing is issued for them
    #[command(subcommand)]
    BlockedKeys(bulk::BlockedKeysCommand),
    /// Publishes and shows certificate revocation lists
    #[command(subcommand)]
    Crl(operate::CrlCommand),
    /// Verifies and exports the audit log
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Writes a consistent copy of the store to a new file
    Backup(operate::BackupArgs),
    /// Puts a backup in the place of a store that is gone; the daemon must not run
    Restore(operate::BackupArgs),
    /// Checks and shows the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// FOR TESTS: answers challenges and DNS questions as a test tells it, like pebble-challtestsrv
    Challtestsrv(challtestsrv::Args),
    /// FOR TESTS: a server in the place of Let's Encrypt's Pebble, with faults by rule
    Pebble(pebble::Args),
    /// Prints a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page
    Man,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Says whether the configuration can be used
    Check,
    /// Shows the settings in force, defaults included
    Show,
}

/// Why a command ended without success: one line for a person, then perhaps detail.
#[derive(Debug)]
pub struct CliError {
    message: String,
    detail: Option<String>,
}

impl CliError {
    fn new(message: impl ToString) -> Self {
        Self {
            message: message.to_string(),
            detail: None,
        }
    }

    fn with_detail(mut self, detail: impl ToString) -> Self {
        self.detail = Some(detail.to_string());
        self
    }
}

impl<E: std::error::Error> From<E> for CliError {
    fn from(error: E) -> Self {
        let mut chain = Vec::new();
        let mut source = error.source();
        while let Some(inner) = source {
            chain.push(format!("  because: {inner}"));
            source = inner.source();
        }
        let detail = (!chain.is_empty()).then(|| chain.join("\n"));
        Self {
            message: error.to_string(),
            detail,
        }
    }
}

type CliResult<T = ()> = Result<T, CliError>;

/// Runs the program: 0 done, 1 refused or failed, 2 wrong usage (which clap itself answers with).
pub fn run() -> ExitCode {
    match dispatch(parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.message);
            if let Some(detail) = error.detail {
                eprintln!("{detail}");
            }
            ExitCode::from(1)
        }
    }
}

/// Reads the command line; wrong usage ends the program here.
fn parse() -> Cli {
    let mut matches = Cli::command().get_matches_from(go_flags::gnu_style(go_flags::as_command(std::env::args_os())));
    let source = matches.value_source("dir");
    let mut cli = Cli::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit());
    cli.common.dir_given = source == Some(ValueSource::CommandLine);
    cli
}

fn dispatch(cli: Cli) -> CliResult {
    let Cli { common, command } = cli;
    match command {
        Command::Init(args) => block_on(init::run(&common, args)),
        Command::Serve => block_on(serve::run(&common)),
        Command::Quickstart(args) => block_on(quickstart::run(&common, args)),
        Command::Sign(args) => block_on(operate::sign(&common, args)),
        Command::Certs(command) => block_on(operate::certs(&common, command)),
        Command::Accounts(command) => block_on(operate::accounts(&common, command)),
        Command::Eab(command) => block_on(operate::eab(&common, command)),
        Command::Orders(command) => block_on(operate::orders(&common, command)),
        Command::BlockedKeys(command) => block_on(bulk::blocked_keys(&common, command)),
        Command::Crl(command) => block_on(operate::crl(&common, command)),
        Command::Audit(command) => block_on(audit::run(&common, command)),
        Command::Restore(args) => operate::restore(&common, &args),
        Command::Backup(args) => block_on(operate::backup(&common, args)),
        Command::Config(ConfigCommand::Check) => {
            common.settings()?;
            println!("the configuration can be used");
            Ok(())
        }
        Command::Config(ConfigCommand::Show) => {
            print!("{}", common.settings()?.show());
            Ok(())
        }
        Command::Challtestsrv(args) => block_on(challtestsrv::run(args)),
        Command::Pebble(args) => block_on(pebble::run(&common, args)),
        Command::Completions { shell } => {
            manual::completions(shell);
            Ok(())
        }
        Command::Man => manual::page(),
    }
}

fn block_on<F: Future<Output = CliResult>>(work: F) -> CliResult {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::from)?
        .block_on(work)
}

impl Common {
    fn settings(&self) -> CliResult<Settings> {
        Ok(config::load(&self.dir, &self.set)?)
    }

    fn passphrase(&self) -> CliResult<Option<Passphrase>> {
        let Some(path) = &self.passphrase_file else {
            return Ok(None);
        };
        let read = Passphrase::from_file(path);
        read.map(Some).map_err(|error| {
            CliError::new(format!("the passphrase file {} cannot be used", path.display())).with_detail(error)
        })
    }
}
