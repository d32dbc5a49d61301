//! `sigillo list`

use jiff::Timestamp;
use serde::Serialize;
use sigillo_client::check::Subject;
use sigillo_client::client::days_left;
use sigillo_client::error::Result;
use sigillo_client::keystore::{Keystore, StoredCertificate};

use super::show;
use crate::config::Config;

/// Options of `list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A kept certificate, as it is listed.
#[derive(Debug, Serialize)]
pub struct Entry {
    name: String,
    names: Vec<String>,
    serial: String,
    not_before: Timestamp,
    not_after: Timestamp,
    days_left: i64,
    renew_at: Option<Timestamp>,
    revoked: bool,
    key_type: &'static str,
    profile: Option<String>,
    directory: String,
    dir: std::path::PathBuf,
}

/// Describes a kept certificate.
pub fn entry(store: &Keystore, stored: &StoredCertificate) -> Result<Entry> {
    let subject = Subject::read(&stored.leaf)?;
    Ok(Entry {
        name: stored.name.to_string(),
        names: subject.names,
        serial: subject.serial,
        not_before: subject.not_before,
        not_after: subject.not_after,
        days_left: days_left(subject.not_after, Timestamp::now()),
        renew_at: stored.renewal.state.renew_at,
        revoked: stored.renewal.state.revoked,
        key_type: stored.renewal.key_type.as_str(),
        profile: stored.renewal.profile.clone(),
        directory: stored.renewal.directory.clone(),
        dir: store.certificate_dir(&stored.name),
    })
}

/// Lists the certificates that are kept.
pub fn run(config: &Config, args: &Args) -> Result<()> {
    let store = config.store();
    let mut entries = Vec::new();
    for name in store.certificate_names()? {
        entries.push(entry(store, &store.require_certificate(&name)?)?);
    }
    if args.json {
        return show::json(&entries);
    }
    for entry in &entries {
        let state = if entry.revoked {
            "revoked".to_owned()
        } else if entry.days_left < 0 {
            "expired".to_owned()
        } else {
            format!("{} days left", entry.days_left)
        };
        println!(
            "{}  {}  until {} ({state})",
            entry.name,
            entry.names.join(","),
            entry.not_after
        );
    }
    Ok(())
}
