//! Looking a certificate up in its CA's log: the proof of its issuance, and whether the log is the one that was seen before.

use std::time::Duration;

use sigillo_protocol::transparency::{
    checkpoint::Checkpoint,
    entry,
    merkle::{Hash, leaf_hash, verify_consistency, verify_inclusion},
    note::{Note, VerifierKey},
    proof::{PROOF_OCTETS_MAX, Proof, parse_hashes},
};

use super::{certificate::Subject, report::Finding};
use crate::error::{Error, Result};
use crate::keystore::{Keystore, SeenLog};
use crate::transport::{Request, Response, Transport};

/// How often to ask again for a proof that the next head brings.
const TRIES_MAX: usize = 8;
/// How long to wait between.
const PAUSE: Duration = Duration::from_secs(1);

/// A log, and whom to believe about it.
#[derive(Debug, Clone)]
pub struct LogRequest {
    /// By what its last head is remembered: the ACME directory that named it, or its URL.
    pub source: String,
    /// What its URLs begin with, without the last slash.
    pub url: String,
    /// Its key.
    pub key: VerifierKey,
    /// Witnesses who have to have cosigned its head.
    pub witnesses: Vec<VerifierKey>,
    /// Whether another log than the one seen before is accepted in its place.
    pub accept_new: bool,
}

/// Checks that a log holds a certificate's issuance, and that it is the continuation of what was seen of it before.
///
/// # Errors
/// Only when what was seen before cannot be read or written; whatever is wrong with the log is a finding.
pub async fn check_log(
    transport: &Transport,
    store: &Keystore,
    request: &LogRequest,
    certificate_der: &[u8],
) -> Result<Finding> {
    let serial = Subject::read(certificate_der)?.serial;
    let seen = store.seen_log(&request.source)?;
    if let Some(seen) = seen.as_ref().filter(|_| !request.accept_new)
        && seen.key != request.key.to_string()
    {
        return Ok(Finding::failed(format!(
            "it is another log than the one seen before ({}): if the CA was restored from a backup, --accept-new-log",
            seen.key
        )));
    }
    let seen = seen.filter(|seen| seen.key == request.key.to_string());
    match look_up(transport, request, &serial, certificate_der, seen.as_ref()).await {
        Ok((found, head)) => {
            store.remember_log(&request.source, &head)?;
            Ok(Finding::ok(found))
        }
        Err(why) => Ok(Finding::failed(why)),
    }
}

/// Returns what to say and what to remember, or what is wrong.
async fn look_up(
    transport: &Transport,
    request: &LogRequest,
    serial: &str,
    certificate_der: &[u8],
    seen: Option<&SeenLog>,
) -> std::result::Result<(String, SeenLog), String> {
    let digits: String = serial.chars().filter(char::is_ascii_hexdigit).collect();
    let url = format!("{}/proof/certificate/{digits}", request.url);
    let proof = Proof::parse(&fetch(transport, &url).await?).map_err(|error| error.to_string())?;
    let head = Checkpoint::signed(&proof.checkpoint, &request.key).map_err(|error| error.to_string())?;
    let extra: Option<Hash> = proof.extra.as_deref().and_then(|extra| extra.try_into().ok());
    let blinded = extra.ok_or("the proof lacks the event's hash")?;
    let leaf = leaf_hash(&entry::of_certificate(certificate_der, &blinded));
    if !verify_inclusion(&leaf, proof.index, head.size, &proof.hashes, &head.root) {
        return Err("the proof does not lead from this certificate to the log's root".into());
    }
    let continued = match seen {
        Some(seen) => Some(continues(transport, request, seen, &head).await?),
        None => None,
    };
    let note = Note::parse(&proof.checkpoint).map_err(|error| error.to_string())?;
    for witness in &request.witnesses {
        if note.cosigned_at(witness).is_none() {
            return Err(format!("{} has not cosigned the log's head", witness.name()));
        }
    }
    let mut found = format!("entry {} of {} in {}", proof.index, head.size, head.origin);
    match continued {
        Some(size) => found.push_str(&format!(", which continues the log of {size} seen before")),
        None => found.push_str(", seen for the first time"),
    }
    if !request.witnesses.is_empty() {
        found.push_str(&format!(", cosigned by {} witnesses", request.witnesses.len()));
    }
    let key = request.key.to_string();
    let checkpoint = proof.checkpoint;
    Ok((found, SeenLog { key, checkpoint }))
}

/// Makes sure that a head is the continuation of one that was seen, and returns that one's size.
async fn continues(
    transport: &Transport,
    request: &LogRequest,
    seen: &SeenLog,
    head: &Checkpoint,
) -> std::result::Result<u64, String> {
    let old = Checkpoint::signed(&seen.checkpoint, &request.key)
        .map_err(|error| format!("the head seen before cannot be used: {error}"))?;
    if old.size > head.size {
        return Err(format!(
            "the log has stepped back: it had {} entries and shows {}",
            old.size, head.size
        ));
    }
    let mut hashes = Vec::new();
    if old.size < head.size {
        let url = format!("{}/proof/consistency/{}/{}", request.url, old.size, head.size);
        hashes = parse_hashes(&fetch(transport, &url).await?).map_err(|error| error.to_string())?;
    }
    if verify_consistency((old.size, &old.root), (head.size, &head.root), &hashes) {
        Ok(old.size)
    } else {
        Err(format!(
            "the log is FORKED: its {} entries are not the continuation of the {} seen before; keep both heads as proof",
            head.size, old.size
        ))
    }
}

/// Fetches a text, waiting for the log's next head where it says so.
async fn fetch(transport: &Transport, url: &str) -> std::result::Result<String, String> {
    let mut tries = 1;
    loop {
        let request = Request::get(url).body_max(PROOF_OCTETS_MAX);
        let response = transport
            .fetch(request)
            .await
            .map_err(|error: Error| error.to_string())?;
        match response.status {
            200 => return text(&response),
            503 if tries < TRIES_MAX => tokio::time::sleep(PAUSE).await,
            404 => return Err(format!("the log does not hold it ({url})")),
            status => return Err(format!("the log answers with status {status} ({url})")),
        }
        tries += 1;
    }
}

fn text(response: &Response) -> std::result::Result<String, String> {
    String::from_utf8(response.body.to_vec()).map_err(|_| "the log's answer is no text".into())
}
