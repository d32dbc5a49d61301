//! The audit log on the command line.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use sigillo_protocol::transparency::{
    merkle::Hash,
    note::{KeyKind, NOTE_OCTETS_MAX, VerifierKey},
};

use super::{
    CliError, CliResult, Common,
    operate::{escape, print_json},
    remote::Operations,
};
use crate::{
    admin::answers_for_cli::{Cosignatures, ListPage, ShownLog, Text},
    audit::{FileFault, HeadKeys, HeadLine, Verifier, verify_lines},
    model::{AuditRecord, LogHead},
};

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Recomputes chain and tree, verifies the signed heads, and names what was altered, removed or reordered
    Verify(VerifyArgs),
    /// Prints all records and signed heads, one JSON object a line
    Export,
    /// Signs and prints the log's head: a checkpoint
    Checkpoint,
    /// Prints the key that verifies the log's heads
    Key,
    /// Prints what a witness is asked with: the body of his add-checkpoint
    WitnessRequest {
        /// The size of the last head that he cosigned
        #[arg(long, default_value_t = 0)]
        old: u64,
    },
    /// Takes cosignatures of the last head by the witnesses of audit.witnesses
    Cosign {
        /// A file with what the witness answered; - for standard input
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Verifies an exported log instead, without the CA
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A checkpoint that was kept elsewhere, against which the log is held
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// The log's key (NAME+ID+KEY), or a file with it
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

pub async fn run(common: &Common, command: AuditCommand) -> CliResult {
    if let AuditCommand::Verify(VerifyArgs {
        file: Some(file),
        checkpoint,
        key,
    }) = &command
    {
        return verify_file(common, file, checkpoint, key.as_deref());
    }
    let operations = Operations::reach(common).await?;
    match command {
        AuditCommand::Export => export(&operations).await,
        AuditCommand::Verify(args) => verify_online(common, &operations, &args).await,
        AuditCommand::Checkpoint => {
            print!("{}", sign(&operations).await?.checkpoint);
            Ok(())
        }
        AuditCommand::Key => {
            println!("{}", sign(&operations).await?.key);
            Ok(())
        }
        AuditCommand::WitnessRequest { old } => {
            let request: Text = operations.get(&format!("/audit/witness-request?old={old}")).await?;
            print!("{}", request.text);
            Ok(())
        }
        AuditCommand::Cosign { file } => {
            let lines = read_note(&file)?;
            let body = serde_json::to_value(Cosignatures { lines })?;
            let log: ShownLog = operations.post("/audit/cosign", body).await?;
            print!("{}", log.checkpoint);
            Ok(())
        }
    }
}

async fn sign(operations: &Operations) -> CliResult<ShownLog> {
    operations.post("/audit/sign", serde_json::json!({})).await
}

/// Prints every record up to a head that is signed now, and each kept head after the record that it ends with.
async fn export(operations: &Operations) -> CliResult {
    let (log, refused) = present(operations).await;
    let until = log.as_ref().map_or(u64::MAX, |log| log.size);
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut heads = heads(operations)
        .await?
        .into_iter()
        .filter(|head| head.size < until)
        .peekable();
    follow(operations, until, |record| {
        writeln!(out, "{}", serde_json::to_string(&record)?)?;
        while let Some(head) = heads.next_if(|head| head.size <= record.sequence) {
            let line = HeadLine { checkpoint: head.note };
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
        Ok(())
    })
    .await?;
    if let Some(log) = log {
        let line = HeadLine {
            checkpoint: log.checkpoint,
        };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    out.flush()?;
    refused.map_or(Ok(()), Err)
}

/// Has a head signed; where that is refused, as of a log that was altered, the records are looked at all the same.
async fn present(operations: &Operations) -> (Option<ShownLog>, Option<CliError>) {
    match sign(operations).await {
        Ok(log) => (Some(log), None),
        Err(error) => (None, Some(error)),
    }
}

async fn verify_online(common: &Common, operations: &Operations, args: &VerifyArgs) -> CliResult {
    let (log, refused) = present(operations).await;
    let keys = match (&log, args.key.as_deref()) {
        (Some(log), None) => HeadKeys::Key(VerifierKey::parse(&log.key)?),
        (_, key) => keys(common, key)?,
    };
    let signed = matches!(keys, HeadKeys::Key(_));
    let until = log.as_ref().map_or(u64::MAX, |log| log.size);
    let mut verifier = Verifier::new(keys);
    let mut waiting: Vec<(u64, String)> = Vec::new();
    for head in heads(operations).await? {
        waiting.push((head.size, head.note));
    }
    for path in &args.checkpoint {
        let note = read_note(path)?;
        waiting.push((verifier.read_head(&note)?.size, note));
    }
    waiting.extend(log.map(|log| (log.size, log.checkpoint)));
    waiting.sort_by_key(|(size, _)| *size);
    let mut waiting = waiting.into_iter().filter(|(size, _)| *size > 0).peekable();
    let mut leaves: Vec<Hash> = Vec::new();
    let mut full = Vec::new();
    follow(operations, until, |record| {
        verifier.record(&record)?;
        leaves.push(record.leaf);
        if leaves.len() == 256 {
            full.push(crate::digest::sha256(&leaves.concat()));
            leaves.clear();
        }
        while let Some((_, note)) = waiting.next_if(|(size, _)| *size == record.sequence) {
            verifier.head(&note)?;
        }
        Ok(())
    })
    .await?;
    if let Some((size, _)) = waiting.next() {
        let found = verifier.chain().sequence;
        return Err(CliError::from(crate::audit::Fault::Short { size, found }));
    }
    for (index, hash) in full.iter().enumerate() {
        let tile: Option<String> = operations.get(&format!("/audit/tiles/{index}")).await?;
        let kept = tile.ok_or_else(|| CliError::new(format!("tile 0/{index} of the log is missing")))?;
        if kept != hexadecimal(hash) {
            let (first, last) = (index * 256 + 1, index * 256 + 256);
            return Err(CliError::new(format!(
                "tile 0/{index} of the log is not that of records {first} to {last}: it was altered"
            )));
        }
    }
    if let Some(refused) = refused {
        return Err(refused);
    }
    told(common, &verifier, signed)
}

fn verify_file(common: &Common, file: &Path, checkpoints: &[PathBuf], key: Option<&str>) -> CliResult {
    let keys = keys(common, key)?;
    let signed = matches!(keys, HeadKeys::Key(_));
    let kept = checkpoints
        .iter()
        .map(|path| read_note(path))
        .collect::<CliResult<Vec<_>>>()?;
    let file = File::open(file).map_err(|error| CliError::new(format!("{}: {error}", file.display())))?;
    let found = verify_lines(BufReader::new(file), Verifier::new(keys), &kept);
    let found = found.map_err(|fault| match &fault {
        FileFault::Wrong { line: 0, fault } => CliError::new(format!("the checkpoint given: {fault}")),
        _ => CliError::new(fault),
    })?;
    told(common, &found.verifier, signed)
}

/// Whom to believe about heads: the key that is given, or the one in the state folder.
fn keys(common: &Common, key: Option<&str>) -> CliResult<HeadKeys> {
    let own_key = common.dir.join("log.vkey");
    Ok(match key {
        Some(key) => HeadKeys::Key(read_key(key)?),
        None if own_key.is_file() => HeadKeys::Key(read_key(&own_key.display().to_string())?),
        None => HeadKeys::Unknown,
    })
}

fn told(common: &Common, verifier: &Verifier, signed: bool) -> CliResult {
    let chain = verifier.chain();
    let (heads, covered) = verifier.heads();
    let (head, root) = (hexadecimal(&chain.hash), hexadecimal(&verifier.tree().root()));
    if common.json {
        return print_json(&serde_json::json!({
            "records": chain.sequence, "head": head, "root": root,
            "checkpoints": heads, "covered": covered, "signatures_verified": signed,
        }));
    }
    println!("{} records, unbroken; head {head}", chain.sequence);
    println!("{heads} checkpoints agree, the last of them about {covered} records; root {root}");
    if !signed {
        println!("the signatures were not verified: give the log's key with --key");
    }
    if covered < chain.sequence {
        println!("no checkpoint covers what comes after record {covered}: give one with --checkpoint");
    }
    Ok(())
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Reads a key, given as such or as a file that holds it.
fn read_key(text: &str) -> CliResult<VerifierKey> {
    let parsed = match VerifierKey::parse(text) {
        Ok(key) => Ok(key),
        Err(error) => match std::fs::read_to_string(text) {
            Ok(read) => VerifierKey::parse(&read),
            Err(_) => Err(error),
        },
    };
    let key = parsed.map_err(|error| CliError::new(format!("the key {text:?} cannot be used: {error}")))?;
    if key.kind() == KeyKind::Ed25519 {
        Ok(key)
    } else {
        Err(CliError::new("it is a witness's key, not a log's"))
    }
}

/// Reads a checkpoint or a witness's answer.
fn read_note(path: &Path) -> CliResult<String> {
    let wrong = |error: std::io::Error| CliError::new(format!("{}: {error}", path.display()));
    let mut text = String::new();
    let limit = NOTE_OCTETS_MAX as u64;
    if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_string(&mut text).map_err(wrong)?;
    } else {
        let file = File::open(path).map_err(wrong)?;
        file.take(limit).read_to_string(&mut text).map_err(wrong)?;
    }
    Ok(text)
}

async fn heads(operations: &Operations) -> CliResult<Vec<LogHead>> {
    super::operate::all(operations, "/audit/heads", "").await
}

/// Follows the records up to a place.
async fn follow(operations: &Operations, until: u64, mut each: impl FnMut(AuditRecord) -> CliResult) -> CliResult {
    let mut after = String::from("0");
    loop {
        let page: ListPage<AuditRecord> = operations
            .get(&format!("/audit?limit=5000&after={}", escape(&after)))
            .await?;
        for record in page.items {
            if record.sequence > until {
                return Ok(());
            }
            each(record)?;
        }
        match page.next {
            Some(next) if next == after => return Err(CliError::new("the daemon's list does not end")),
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}
