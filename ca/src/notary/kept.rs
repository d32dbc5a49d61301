//! What was signed before: the last head in the store, and the one in the state folder beside it.

use std::{fs, io, path::Path};

use sigillo_protocol::transparency::{
    checkpoint::Checkpoint,
    note::{KeyKind, Note, VerifierKey},
};

use super::{NotaryError, NotaryParts, nodes};
use crate::{
    model::{Action, Actor, AuditEvent, LogState},
    store::{Batch, Change, Store},
};

/// The file with the last head.
const CHECKPOINT_FILE: &str = "log.checkpoint";
/// The file with the key that verifies it, to be handed out.
const KEY_FILE: &str = "log.vkey";

/// Returns how an epoch stands in names and paths.
pub(super) fn epoch_text(state: &LogState) -> String {
    format!("{:016x}", u64::from_be_bytes(state.epoch))
}

/// Holds the store against the last head in the state folder.
///
/// A store that lacks what that head covers was put back to an earlier time: by `restore`, which has given the log
/// another name already, or by hand. Under its old name it must never sign again, since others know it longer.
pub(super) async fn settle(parts: &NotaryParts, public_key: [u8; 32]) -> Result<(), NotaryError> {
    let Some(last) = parts.folder.as_deref().and_then(|folder| last_in(folder, public_key)) else {
        return Ok(());
    };
    let state = parts.store.log_state().await?;
    let continued = nodes::root_at(&*parts.store, &state, last.size).await? == Some(last.root);
    let same = last.origin == format!("{}/{}", parts.name, epoch_text(&state));
    if continued && (same || last.origin.ends_with(&epoch_text(&state))) {
        return Ok(());
    }
    let event = AuditEvent {
        at: parts.clock.now(),
        actor: Actor::System("notary".into()),
        action: Action::LogRestarted,
        subject: "audit".into(),
        detail: serde_json::json!({
            "earlier_log": last.origin,
            "earlier_checkpoint": last.text(),
            "continued": continued,
            "events": state.size,
        }),
    };
    let mut batch = Batch::new(event);
    if same {
        let mut epoch = [0; 8];
        getrandom::fill(&mut epoch).map_err(|error| NotaryError::Key(error.to_string()))?;
        batch.push(Change::LogEpoch(epoch));
    }
    tracing::error!(
        earlier = last.size,
        now = state.size,
        "the audit log is not the continuation of what was published: it goes on under another name"
    );
    Ok(parts.store.commit(batch).await?)
}

/// Makes sure that the store's own last head is about what is in the store.
pub(super) async fn check_last_head(store: &dyn Store, state: &LogState) -> Result<(), NotaryError> {
    let Some(head) = store.log_head().await? else {
        return Ok(());
    };
    let checkpoint = Checkpoint::parse(&Note::parse(&head.note)?.text)?;
    let root = nodes::root_at(store, state, checkpoint.size).await?;
    if root == Some(checkpoint.root) {
        Ok(())
    } else {
        Err(NotaryError::Altered(checkpoint.size))
    }
}

/// Reads the head in the folder. What is not signed by our key tells nothing.
fn last_in(folder: &Path, public_key: [u8; 32]) -> Option<Checkpoint> {
    let path = folder.join(CHECKPOINT_FILE);
    let note = match fs::read_to_string(&path) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, "the last head in the state folder cannot be read");
            return None;
        }
    };
    let read = Note::parse(&note).and_then(|parsed| {
        let origin = Checkpoint::parse(&parsed.text)?.origin;
        Checkpoint::signed(&note, &VerifierKey::new(origin, KeyKind::Ed25519, public_key)?)
    });
    match read {
        Ok(checkpoint) => Some(checkpoint),
        Err(error) => {
            tracing::warn!(%error, "the last head in the state folder is passed over");
            None
        }
    }
}

/// Puts the head and the key into the folder, each whole or not at all.
///
/// Without a sync: after a power cut an earlier head is there, which the log continues as well.
pub(super) fn write(folder: &Path, key: &VerifierKey, checkpoint: &str) -> io::Result<()> {
    for (name, text) in [(KEY_FILE, format!("{key}\n")), (CHECKPOINT_FILE, checkpoint.to_owned())] {
        let draft = folder.join(format!(".{name}.new"));
        fs::write(&draft, text)?;
        fs::rename(&draft, folder.join(name))?;
    }
    Ok(())
}
