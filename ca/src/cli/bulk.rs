//! The commands of a bad day: many certificates revoked or renewed at once, keys blocked, replacements watched.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    time::Duration,
};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use sigillo_protocol::x509::reason::RevocationReason;

use super::{
    CliError, CliResult, Common,
    operate::{all, print_json},
    remote::Operations,
    table,
};
use crate::{
    admin::answers_for_cli::{BulkAnswer, BulkWish, SelectionWish, ShownBlockedKey, ShownReplacements},
    digest::sha256,
};

/// How often `--watch` looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How many waiting certificates are named on a screen.
const NAMED_MAX: usize = 20;

#[derive(Debug, Clone, Args)]
pub struct SelectionArgs {
    /// All with this key: SHA-256 of its SubjectPublicKeyInfo in hexadecimal, or a PEM file with a certificate, request or public key
    #[arg(long, value_name = "SHA256|FILE")]
    key: Option<String>,
    /// All under this profile
    #[arg(long)]
    profile: Option<String>,
    /// All of this account
    #[arg(long, allow_hyphen_values = true)]
    account: Option<String>,
    /// All that hold this name
    #[arg(long)]
    name: Option<String>,
    /// All that were issued from the first time on and before the second, as in 2027-01-31T00:00:00Z
    #[arg(long, num_args = 2, value_names = ["FROM", "BEFORE"])]
    issued_between: Vec<Timestamp>,
}

impl SelectionArgs {
    fn wish(&self) -> CliResult<SelectionWish> {
        Ok(SelectionWish {
            key: self.key.as_deref().map(key_hash).transpose()?,
            profile: self.profile.clone(),
            account: self.account.clone(),
            name: self.name.clone(),
            issued_from: self.issued_between.first().copied(),
            issued_before: self.issued_between.get(1).copied(),
        })
    }
}

#[derive(Debug, Clone, Args)]
pub struct BulkArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Only says how many it would be
    #[arg(long)]
    dry_run: bool,
    /// Does it without asking
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum BlockedKeysCommand {
    /// Blocks a key: nothing is issued for it any more
    Add {
        /// SHA-256 of its SubjectPublicKeyInfo in hexadecimal, or a PEM file with a certificate, request or public key
        #[arg(value_name = "SHA256|FILE")]
        key: String,
        /// Why
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// Lists the keys that are blocked
    List,
}

/// What is done to many certificates.
#[derive(Clone, Copy)]
pub enum Deed {
    Revoke(Option<RevocationReason>),
    RenewNow,
}

impl Deed {
    fn path(self) -> &'static str {
        match self {
            Self::Revoke(_) => "/certs-selected/revoke",
            Self::RenewNow => "/certs-selected/renew-now",
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Revoke(_) => ("revoke", "revoked"),
            Self::RenewNow => ("ask for renewal of", "asked to be renewed"),
        }
    }
}

/// Counts, asks, does it.
pub async fn certificates(common: &Common, operations: &Operations, deed: Deed, args: &BulkArgs) -> CliResult {
    let selection = args.selection.wish()?;
    let reason = match deed {
        Deed::Revoke(reason) => reason,
        Deed::RenewNow => None,
    };
    let wish = |expected| {
        serde_json::to_value(BulkWish {
            selection: selection.clone(),
            reason,
            expected,
        })
    };
    let found: BulkAnswer = operations.post("/certs-selected", wish(None)?).await?;
    let (infinitive, done) = deed.words();
    if args.dry_run {
        if common.json {
            return print_json(&found);
        }
        println!("{} certificates would be {done}", found.count);
        return Ok(());
    }
    if !args.yes {
        agree(&format!("{infinitive} {} certificates", found.count))?;
    }
    let answer: BulkAnswer = operations.post(deed.path(), wish(Some(found.count))?).await?;
    if common.json {
        return print_json(&answer);
    }
    println!("{} certificates {done}", answer.count);
    Ok(())
}

/// Asks the person at the terminal; where there is none, nothing is done without --yes.
fn agree(to_what: &str) -> CliResult {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(CliError::new(format!(
            "nobody is here to ask whether to {to_what}: give --yes"
        )));
    }
    print!("{to_what}? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(CliError::new("nothing was done"))
}

/// Shows what is still to be replaced; with `watch` until nothing is.
pub async fn replacements(
    common: &Common,
    operations: &Operations,
    selection: &SelectionArgs,
    watch: bool,
) -> CliResult {
    let wish = json!({ "selection": selection.wish()? });
    let mut last = None;
    loop {
        let shown: ShownReplacements = operations.post("/certs-selected/replacements", wish.clone()).await?;
        let state = (shown.affected, shown.waiting);
        if last.replace(state) != Some(state) {
            show_replacements(common, &shown)?;
        }
        if !watch || shown.waiting == 0 {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn show_replacements(common: &Common, shown: &ShownReplacements) -> CliResult {
    if common.json {
        return print_json(shown);
    }
    println!("{} of {} replaced", shown.affected - shown.waiting, shown.affected);
    let rows: Vec<Vec<String>> = (shown.certificates.iter().take(NAMED_MAX))
        .map(|c| {
            let account = c.account.clone().unwrap_or_default();
            vec![c.serial.to_string(), c.state.clone(), account, c.names.join(" ")]
        })
        .collect();
    if !rows.is_empty() {
        table::print(&["WAITING", "STATE", "ACCOUNT", "NAMES"], &rows);
    }
    Ok(())
}

pub async fn blocked_keys(common: &Common, command: BlockedKeysCommand) -> CliResult {
    let operations = Operations::reach(common).await?;
    match command {
        BlockedKeysCommand::Add { key, comment } => {
            let wish = json!({ "key": key_hash(&key)?, "comment": comment });
            let shown: ShownBlockedKey = operations.post("/blocked-keys", wish).await?;
            if common.json {
                return print_json(&shown);
            }
            println!("blocked: {} since {}", shown.spki_sha256, shown.since);
            Ok(())
        }
        BlockedKeysCommand::List => {
            let found: Vec<ShownBlockedKey> = all(&operations, "/blocked-keys", "").await?;
            if common.json {
                return print_json(&found);
            }
            let row = |key: ShownBlockedKey| vec![key.spki_sha256, key.since.to_string(), key.comment];
            let rows: Vec<Vec<String>> = found.into_iter().map(row).collect();
            table::print(&["KEY", "SINCE", "COMMENT"], &rows);
            Ok(())
        }
    }
}

/// Takes a hash as it is, and makes one of the key in a file.
fn key_hash(given: &str) -> CliResult<String> {
    if given.len() == 64 && given.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return Ok(given.to_ascii_lowercase());
    }
    let text = std::fs::read_to_string(Path::new(given)).map_err(|error| {
        CliError::new(format!("{given} is neither a hash nor a file that can be read")).with_detail(error)
    })?;
    let block = pem::parse(text).map_err(|error| CliError::new(format!("{given} holds no PEM")).with_detail(error))?;
    let spki = public_key(block.tag(), block.contents())
        .ok_or_else(|| CliError::new(format!("{given} holds no certificate, request or public key")))?;
    Ok(sha256(&spki).iter().map(|octet| format!("{octet:02x}")).collect())
}

fn public_key(label: &str, der: &[u8]) -> Option<Vec<u8>> {
    use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo, X509Certificate, X509CertificationRequest};
    Some(match label {
        "CERTIFICATE" => X509Certificate::from_der(der).ok()?.1.public_key().raw.to_vec(),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
            let (_, request) = X509CertificationRequest::from_der(der).ok()?;
            request.certification_request_info.subject_pki.raw.to_vec()
        }
        "PUBLIC KEY" => SubjectPublicKeyInfo::from_der(der).ok()?.1.raw.to_vec(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_by_hash_and_in_every_file_that_holds_it() {
        let key = rcgen::KeyPair::generate().unwrap();
        let spki = pem::parse(key.public_key_pem()).unwrap();
        let expected: String = sha256(spki.contents())
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        let parameters = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("key", key.public_key_pem()),
            ("request", parameters.serialize_request(&key).unwrap().pem().unwrap()),
            ("certificate", parameters.self_signed(&key).unwrap().pem()),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            assert_eq!(key_hash(&path.display().to_string()).unwrap(), expected, "{name}");
        }
        assert_eq!(key_hash(&expected.to_uppercase()).unwrap(), expected);
        std::fs::write(folder.path().join("private"), key.serialize_pem()).unwrap();
        for wrong in ["private", "missing"] {
            assert!(
                key_hash(&folder.path().join(wrong).display().to_string()).is_err(),
                "{wrong}"
            );
        }
    }
}
