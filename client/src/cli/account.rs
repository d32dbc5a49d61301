//! `sigillo account`

use sigillo_client::error::{Error, Result};
use sigillo_client::progress::Progress;

use super::{options, show};
use crate::config::Config;

/// What to do with the account.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show what the server says about the account.
    Show {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Replace the contacts.
    Update {
        /// How you can be reached, for example mailto:me@a.example; none at all to remove them.
        #[arg(long, value_name = "URL")]
        contact: Vec<String>,
    },
    /// Give the account a new key.
    Rollover,
    /// Close the account for good.
    Deactivate {
        /// Really.
        #[arg(long)]
        yes: bool,
    },
}

/// Shows or changes the account.
pub async fn run(config: &Config, command: Command, _progress: &dyn Progress) -> Result<()> {
    if let Command::Deactivate { yes: false } = command {
        return Err(Error::usage("closing an account cannot be undone: repeat with --yes"));
    }
    let client = config.connect().await?;
    match command {
        Command::Show { json } => {
            let (record, account) = client.show_account().await?;
            if json {
                return show::json(&serde_json::json!({ "url": record.url, "account": account }));
            }
            println!("{}", record.url);
            println!("status:  {}", format!("{:?}", account.status).to_lowercase());
            println!("contact: {}", account.contact.join(", "));
        }
        Command::Update { contact } => {
            let contact = contact.iter().map(|text| options::contact_url(text)).collect();
            let record = client.update_contact(contact).await?;
            println!("contact: {}", record.contact.join(", "));
        }
        Command::Rollover => {
            client.change_key().await?;
            println!("the account has a new key");
        }
        Command::Deactivate { .. } => {
            client.deactivate().await?;
            println!("the account is closed");
        }
    }
    Ok(())
}
