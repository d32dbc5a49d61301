//! The commands that operate a CA: certificates, accounts, keys, orders, CRLs, backups.

use std::{
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sigillo_protocol::x509::reason::RevocationReason;

use super::{CliError, CliResult, Common, bulk, remote::Operations, table};
use crate::admin::answers_for_cli::{
    ListPage, NewKey, ShownAccount, ShownCertificate, ShownCrl, ShownKey, ShownOrder, SignedAnswer,
};
use crate::issuer::folder;

/// How many entries are asked for at once when a whole list is shown.
const PAGE: usize = 1000;

#[derive(Debug, Args)]
pub struct SignArgs {
    /// The PKCS#10 request, PEM or DER; - reads standard input
    csr: PathBuf,
    /// The profile to sign under
    #[arg(long)]
    profile: Option<String>,
    /// Where the certificate and its chain go; standard output if not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The options that say which certificates, where it is not one.
const SELECTING: [&str; 5] = ["key", "profile", "account", "name", "issued_between"];

#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Lists certificates
    List(CertsListArgs),
    /// Shows one certificate
    Show {
        /// Its serial number in hexadecimal
        serial: String,
    },
    /// Revokes a certificate, or all that fit
    Revoke {
        /// Its serial number in hexadecimal
        #[arg(required_unless_present_any = SELECTING, conflicts_with_all = SELECTING)]
        serial: Option<String>,
        #[command(flatten)]
        many: bulk::BulkArgs,
        /// Why: keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn
        #[arg(long)]
        reason: Option<RevocationReason>,
    },
    /// Writes a certificate with its chain as PEM
    Export {
        /// Its serial number in hexadecimal
        serial: String,
        /// Where it goes; standard output if not given
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Has renewal information say that a certificate, or all that fit, should be renewed now
    RenewNow {
        /// Its serial number in hexadecimal
        #[arg(required_unless_present_any = SELECTING, conflicts_with_all = SELECTING)]
        serial: Option<String>,
        #[command(flatten)]
        many: bulk::BulkArgs,
    },
    /// Shows which certificates that were revoked or asked to be renewed nothing replaces yet
    Replacements {
        #[command(flatten)]
        selection: bulk::SelectionArgs,
        /// Goes on looking until all are replaced
        #[arg(long)]
        watch: bool,
    },
}

#[derive(Debug, Args)]
pub struct CertsListArgs {
    /// Only those in this state: issued, revoked, intended, void
    #[arg(long)]
    state: Option<String>,
    /// Only those that hold this name
    #[arg(long)]
    name: Option<String>,
    /// Only those of this account
    #[arg(long)]
    account: Option<String>,
    /// Only those under this profile
    #[arg(long)]
    profile: Option<String>,
    /// Only those that end before this time, as in 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_before: Option<Timestamp>,
}

#[derive(Debug, Subcommand)]
pub enum AccountsCommand {
    /// Lists accounts
    List,
    /// Closes an account for good
    Deactivate {
        /// The account's id
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum EabCommand {
    /// Makes a key; it is shown this once
    Create {
        /// What to call it
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Lists keys
    List,
    /// Withdraws a key
    Disable {
        /// The key's name
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum OrdersCommand {
    /// Lists orders, the newest first
    List,
    /// Shows one order
    Show {
        /// The order's id
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
    /// Ends the renewal of an order's short-term certificates
    Cancel {
        /// The order's id
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum CrlCommand {
    /// Makes a new CRL now
    Publish,
    /// Shows the last CRL
    Show,
}

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The backup's file
    file: PathBuf,
}

pub async fn sign(common: &Common, args: SignArgs) -> CliResult {
    let csr = read_input(&args.csr)?;
    let text = match String::from_utf8(csr) {
        Ok(text) if text.contains("-----BEGIN") => text,
        Ok(text) => base64_of(text.as_bytes()),
        Err(not_text) => base64_of(not_text.as_bytes()),
    };
    let operations = Operations::reach(common).await?;
    let signed: SignedAnswer = operations
        .post("/sign", json!({ "csr": text, "profile": args.profile }))
        .await?;
    if common.json {
        return print_json(&signed);
    }
    write_output(args.out.as_deref(), &signed.chain)?;
    if args.out.is_some() {
        println!(
            "signed: serial {} until {}",
            signed.certificate.serial, signed.certificate.not_after
        );
    }
    Ok(())
}

pub async fn certs(common: &Common, command: CertsCommand) -> CliResult {
    let operations = Operations::reach(common).await?;
    match command {
        CertsCommand::List(args) => {
            let mut query = Vec::new();
            let mut add = |key: &str, value: Option<String>| {
                if let Some(value) = value {
                    query.push(format!("{key}={}", escape(&value)));
                }
            };
            add("state", args.state);
            add("name", args.name);
            add("account", args.account);
            add("profile", args.profile);
            add("expires_before", args.expires_before.map(|t| t.to_string()));
            let found: Vec<ShownCertificate> = all(&operations, "/certs", &query.join("&")).await?;
            if common.json {
                return print_json(&found);
            }
            let rows: Vec<Vec<String>> = found
                .into_iter()
                .map(|c| {
                    let state = match c.reason {
                        Some(reason) => format!("{} ({})", c.state, reason.as_str()),
                        None => c.state,
                    };
                    vec![
                        c.serial.to_string(),
                        state,
                        c.profile,
                        c.not_after.to_string(),
                        c.names.join(" "),
                    ]
                })
                .collect();
            table::print(&["SERIAL", "STATE", "PROFILE", "UNTIL", "NAMES"], &rows);
            Ok(())
        }
        CertsCommand::Show { serial } => {
            let shown: ShownCertificate = operations.get(&format!("/certs/{}", escape(&serial))).await?;
            show(common, &shown)
        }
        CertsCommand::Revoke {
            serial: None,
            reason,
            many,
        } => bulk::certificates(common, &operations, bulk::Deed::Revoke(reason), &many).await,
        CertsCommand::RenewNow { serial: None, many } => {
            bulk::certificates(common, &operations, bulk::Deed::RenewNow, &many).await
        }
        CertsCommand::Replacements { selection, watch } => {
            bulk::replacements(common, &operations, &selection, watch).await
        }
        CertsCommand::Revoke {
            serial: Some(serial),
            reason,
            ..
        } => {
            let path = format!("/certs/{}/revoke", escape(&serial));
            let shown: ShownCertificate = operations.post(&path, json!({ "reason": reason })).await?;
            if common.json {
                return print_json(&shown);
            }
            println!("revoked: {}", shown.serial);
            Ok(())
        }
        CertsCommand::Export { serial, out } => {
            let shown: ShownCertificate = operations.get(&format!("/certs/{}", escape(&serial))).await?;
            let pem = shown
                .pem
                .ok_or_else(|| CliError::new("this certificate was never signed"))?;
            let above = folder::certificates(&common.dir.join(folder::CHAIN_FILE))?;
            // As clients get it: without the root, which who verifies has already.
            let root = folder::certificates(&common.dir.join(folder::ROOT_FILE))?;
            let chain = above
                .iter()
                .filter(|der| !root.contains(der))
                .map(|der| crate::pem::certificate(der));
            write_output(out.as_deref(), &format!("{pem}{}", chain.collect::<String>()))
        }
        CertsCommand::RenewNow {
            serial: Some(serial), ..
        } => {
            let path = format!("/certs/{}/renew-now", escape(&serial));
            let shown: ShownCertificate = operations.post(&path, Value::Null).await?;
            if common.json {
                return print_json(&shown);
            }
            println!(
                "clients that ask for renewal information are told to renew {} now",
                shown.serial
            );
            Ok(())
        }
    }
}

pub async fn accounts(common: &Common, command: AccountsCommand) -> CliResult {
    let operations = Operations::reach(common).await?;
    match command {
        AccountsCommand::List => {
            let found: Vec<ShownAccount> = all(&operations, "/accounts", "").await?;
            if common.json {
                return print_json(&found);
            }
            let rows: Vec<Vec<String>> = found
                .into_iter()
                .map(|a| vec![a.id, word(&a.status), a.created.to_string(), a.contact.join(" ")])
                .collect();
            table::print(&["ID", "STATUS", "CREATED", "CONTACT"], &rows);
            Ok(())
        }
        AccountsCommand::Deactivate { id } => {
            let shown: ShownAccount = operations
                .post(&format!("/accounts/{}/deactivate", escape(&id)), Value::Null)
                .await?;
            if common.json {
                return print_json(&shown);
            }
            println!("closed: {}", shown.id);
            Ok(())
        }
    }
}

pub async fn eab(common: &Common, command: EabCommand) -> CliResult {
    let operations = Operations::reach(common).await?;
    match command {
        EabCommand::Create { label } => {
            let key: NewKey = operations.post("/eab", json!({ "label": label })).await?;
            if common.json {
                return print_json(&key);
            }
            println!("kid:  {}\nhmac: {}", key.kid, key.hmac);
            Ok(())
        }
        EabCommand::List => {
            let found: Vec<ShownKey> = all(&operations, "/eab", "").await?;
            if common.json {
                return print_json(&found);
            }
            let rows: Vec<Vec<String>> = found
                .into_iter()
                .map(|k| {
                    let state = match (&k.account, k.disabled) {
                        (_, true) => "withdrawn".to_owned(),
                        (Some(account), false) => format!("used by {account}"),
                        (None, false) => "free".to_owned(),
                    };
                    vec![k.kid, state, k.created.to_string(), k.label]
                })
                .collect();
            table::print(&["KID", "STATE", "CREATED", "LABEL"], &rows);
            Ok(())
        }
        EabCommand::Disable { kid } => {
            let shown: ShownKey = operations
                .post(&format!("/eab/{}/disable", escape(&kid)), Value::Null)
                .await?;
            if common.json {
                return print_json(&shown);
            }
            println!("withdrawn: {}", shown.kid);
            Ok(())
        }
    }
}

pub async fn orders(common: &Common, command: OrdersCommand) -> CliResult {
    let operations = Operations::reach(common).await?;
    match command {
        OrdersCommand::List => {
            let found: Vec<ShownOrder> = all(&operations, "/orders", "").await?;
            if common.json {
                return print_json(&found);
            }
            let rows: Vec<Vec<String>> = found
                .into_iter()
                .map(|o| {
                    vec![
                        o.id,
                        word(&o.status),
                        o.profile,
                        o.created.to_string(),
                        o.names.join(" "),
                    ]
                })
                .collect();
            table::print(&["ID", "STATUS", "PROFILE", "CREATED", "NAMES"], &rows);
            Ok(())
        }
        OrdersCommand::Show { id } => {
            let shown: ShownOrder = operations.get(&format!("/orders/{}", escape(&id))).await?;
            show(common, &shown)
        }
        OrdersCommand::Cancel { id } => {
            let shown: ShownOrder = operations
                .post(&format!("/orders/{}/cancel", escape(&id)), Value::Null)
                .await?;
            if common.json {
                return print_json(&shown);
            }
            println!("canceled: {}", shown.id);
            Ok(())
        }
    }
}

pub async fn crl(common: &Common, command: CrlCommand) -> CliResult {
    let operations = Operations::reach(common).await?;
    let shown: ShownCrl = match command {
        CrlCommand::Publish => operations.post("/crl/publish", Value::Null).await?,
        CrlCommand::Show => operations.get("/crl").await?,
    };
    if common.json {
        return print_json(&shown);
    }
    println!(
        "CRL {} of {}: {} entries, from {} until {}",
        shown.number, shown.issuer, shown.entries, shown.this_update, shown.next_update
    );
    print!("{}", shown.pem);
    Ok(())
}

pub async fn backup(common: &Common, args: BackupArgs) -> CliResult {
    let to = std::path::absolute(&args.file)?;
    let operations = Operations::reach(common).await?;
    let _: Value = operations.post("/backup", json!({ "to": to })).await?;
    println!(
        "written: {} (the store; keep the folder keys/ and the certificates beside it)",
        to.display()
    );
    Ok(())
}

/// Restores into an empty place only: what is there is the operator's to move away, not ours to overwrite.
pub fn restore(common: &Common, args: &BackupArgs) -> CliResult {
    let path = common.settings()?.store.path;
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    crate::store::embedded::restore(&args.file, &path)?;
    println!("restored: {}", path.display());
    println!("what was issued or revoked after the backup is not in it; compare with your certificates");
    Ok(())
}

/// Follows a list to its end.
pub async fn all<T: DeserializeOwned>(operations: &Operations, path: &str, query: &str) -> CliResult<Vec<T>> {
    let mut items = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut full = format!("{path}?limit={PAGE}");
        if !query.is_empty() {
            full.push('&');
            full.push_str(query);
        }
        if let Some(after) = &after {
            full.push_str(&format!("&after={}", escape(after)));
        }
        let page: ListPage<T> = operations.get(&full).await?;
        items.extend(page.items);
        match page.next {
            Some(next) if after.as_ref() != Some(&next) => after = Some(next),
            _ => return Ok(items),
        }
    }
}

pub fn print_json(value: &impl Serialize) -> CliResult {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Shows one thing, a line for each of its members.
fn show(common: &Common, thing: &impl Serialize) -> CliResult {
    if common.json {
        return print_json(thing);
    }
    let Value::Object(members) = serde_json::to_value(thing)? else {
        return print_json(thing);
    };
    for (key, value) in members {
        match value {
            Value::Null => {}
            Value::String(text) if text.contains('\n') => print!("{text}"),
            Value::String(text) => println!("{key}: {text}"),
            other => println!("{key}: {other}"),
        }
    }
    Ok(())
}

/// Returns the word under which a state travels.
fn word(state: &impl Serialize) -> String {
    serde_json::to_value(state)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn base64_of(octets: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(octets)
}

/// Escapes a part of a path or query: everything but letters, digits and `-_.`.
pub fn escape(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.') => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn read_input(path: &Path) -> CliResult<Vec<u8>> {
    use std::io::Read as _;
    if path == Path::new("-") {
        let mut octets = Vec::new();
        std::io::stdin().read_to_end(&mut octets)?;
        return Ok(octets);
    }
    std::fs::read(path).map_err(|error| CliError::new(format!("{} cannot be read", path.display())).with_detail(error))
}

fn write_output(path: Option<&Path>, text: &str) -> CliResult {
    match path {
        None => print!("{text}"),
        Some(path) => std::fs::write(path, text)
            .map_err(|error| CliError::new(format!("{} cannot be written", path.display())).with_detail(error))?,
    }
    Ok(())
}
