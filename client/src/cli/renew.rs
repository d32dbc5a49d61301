//! `sigillo renew`

use sigillo_client::error::{Error, Result};
use sigillo_client::keystore::CertificateName;
use sigillo_client::progress::Progress;
use sigillo_client::renew::{self, Outcome};
use sigillo_client::solver;

use super::{order, show};
use crate::config::Config;

/// Options of `renew`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Renew this certificate now.
    #[arg(value_name = "NAME", required_unless_present_any = ["all", "due"], conflicts_with_all = ["all", "due"])]
    name: Option<String>,
    /// Renew all certificates now.
    #[arg(long, conflicts_with = "due")]
    all: bool,
    /// Renew those whose time has come, as the server advises (RFC 9773).
    #[arg(long)]
    due: bool,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

/// Renews one certificate, all, or those that are due.
pub async fn run(config: &Config, args: Args, progress: &dyn Progress) -> Result<()> {
    if args.due {
        return due(config, args.json, progress).await;
    }
    let names: Vec<CertificateName> = match &args.name {
        Some(name) => vec![name.parse()?],
        None => config.store().certificate_names()?,
    };
    let mut failures = Vec::new();
    for name in &names {
        if let Err(e) = one(config, name, args.json, progress).await {
            // One certificate's trouble must not keep the others from being renewed.
            failures.push((name, e));
        }
    }
    conclude(failures)
}

async fn one(config: &Config, name: &CertificateName, json: bool, progress: &dyn Progress) -> Result<()> {
    let stored = config.store().require_certificate(name)?;
    let solvers = solver::from_settings(&stored.renewal.challenges)?;
    let client = config.connect_for(stored.renewal).await?;
    let renewed = client.renew(name, &solvers, progress).await?;
    order::finish(&client, &renewed, json, progress).await
}

async fn due(config: &Config, json: bool, progress: &dyn Progress) -> Result<()> {
    let connect = |renewal| config.connect_for(renewal);
    let outcomes = renew::run_due(config.store(), connect, progress).await?;
    if json {
        let entry = |(name, outcome): &(CertificateName, Outcome)| serde_json::json!({ "name": name.as_str(), "outcome": word(outcome), "next": next(outcome) });
        show::json(&outcomes.iter().map(entry).collect::<Vec<_>>())?;
    } else {
        for (name, outcome) in &outcomes {
            println!("{}", line(name, outcome));
        }
    }
    let failed = outcomes.iter().filter_map(|(name, outcome)| match outcome {
        Outcome::Failed(e, _) => Some((name, e)),
        _ => None,
    });
    let failures = failed.map(|(name, e)| (name, Error::Failed(e.to_string()))).collect();
    conclude(failures)
}

fn conclude(failures: Vec<(&CertificateName, Error)>) -> Result<()> {
    let mut failures = failures.into_iter();
    match (failures.next(), failures.len()) {
        (None, _) => Ok(()),
        (Some((_, only)), 0) => Err(only),
        (Some((name, first)), more) => {
            let rest: Vec<String> = failures.map(|(name, e)| format!("{name}: {e}")).collect();
            let detail = std::iter::once(format!("{name}: {first}"))
                .chain(rest)
                .collect::<Vec<_>>()
                .join("\n");
            Err(Error::Failed(format!(
                "{} certificates could not be renewed\n{detail}",
                more + 1
            )))
        }
    }
}

/// Says what happened in one word.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Renewed(_) => "renewed",
        Outcome::NotDue(_) => "not due",
        Outcome::Failed(..) => "failed",
    }
}

fn next(outcome: &Outcome) -> Option<jiff::Timestamp> {
    match outcome {
        Outcome::Renewed(stored) => stored.renewal.state.renew_at,
        Outcome::NotDue(at) | Outcome::Failed(_, at) => *at,
    }
}

/// Says what happened to one certificate.
pub fn line(name: &CertificateName, outcome: &Outcome) -> String {
    let next = next(outcome).map_or_else(|| "never".to_owned(), |at| at.to_string());
    match outcome {
        Outcome::Failed(e, _) => format!("{name}: failed: {e}; next try {next}"),
        _ => format!("{name}: {}, next look {next}", word(outcome)),
    }
}
