//! `sigillo trust`

use std::path::PathBuf;

use sigillo_client::check;
use sigillo_client::error::{Error, Result};
use sigillo_client::trust::SystemTrust;

use crate::config::Config;

/// What to do with the root.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Let the whole system trust the root given with --ca-root or here.
    Install(Args),
    /// Let the system trust it no longer.
    Remove(Args),
}

/// Options of `trust install` and `trust remove`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The root's certificate [default: --ca-root].
    #[arg(value_name = "ROOT")]
    root: Option<PathBuf>,
}

/// Installs or removes a root.
pub async fn run(config: &Config, command: Command) -> Result<()> {
    let (Command::Install(args) | Command::Remove(args)) = &command;
    let path = args.root.as_ref().or(config.ca_root.as_ref());
    let path = path.ok_or_else(|| Error::usage("which root? name its file, or give --ca-root"))?;
    let roots = check::certificates_from_file(path)?;
    let system = SystemTrust::find()?;
    for root in &roots {
        let (word, file) = match command {
            Command::Install(_) => ("installed", system.install(root).await?),
            Command::Remove(_) => ("removed", system.remove(root).await?),
        };
        println!("{word} {}", file.display());
    }
    Ok(())
}
