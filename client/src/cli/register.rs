//! `sigillo register`

use sigillo_client::error::Result;
use sigillo_client::progress::Progress;

use super::{options, show};
use crate::config::Config;

/// Options of `register`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    account: options::AccountOptions,
    /// Print the account as JSON.
    #[arg(long)]
    json: bool,
}

/// Makes an account, or finds the one that the kept key has.
pub async fn run(config: &Config, args: Args, progress: &dyn Progress) -> Result<()> {
    let registration = args.account.registration(config)?;
    let client = config.connect().await?;
    let record = client.register(&registration, progress).await?;
    if args.json {
        return show::json(&record);
    }
    println!("{}", record.url);
    Ok(())
}
