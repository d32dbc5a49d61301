//! Signs the heads of the audit log, keeps them, and proves from its tree what is in it.
//!
//! The notary waits for the store's signal like every worker: some time after a change it reads how far the log
//! has come, makes sure that everything it has signed before is the beginning of that, and signs. A head is durable
//! before anybody sees it.

mod kept;
mod nodes;
mod proofs;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use sigillo_protocol::transparency::{
    Malformed,
    checkpoint::Checkpoint,
    note::{KeyKind, Note, SignatureLine, VerifierKey},
};
use tokio::sync::watch;

use crate::{
    clock::SharedClock,
    model::{LogHead, LogState},
    signer::{SharedSigner, SignatureAlgorithm},
    store::{CommitError, ReadError, Store},
};

pub use proofs::{ProofError, TileBody};

/// How long to wait after a head could not be signed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How many proofs and portions of the log are worked out at a time: each reads some tiles.
const ANSWERS_AT_ONCE_MAX: usize = 8;

const SECONDS_OF_A_DAY: i64 = 86_400;

/// Something that the notary cannot do.
#[derive(Debug, thiserror::Error)]
pub enum NotaryError {
    /// The log is not the continuation of what was signed: nothing is signed until an operator has looked.
    #[error("the audit log is not the continuation of the head of size {0} that was signed: it was altered")]
    Altered(u64),
    /// The key is none for heads, or its name cannot be one.
    #[error("the log's key cannot be used: {0}")]
    Key(String),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A head could not be kept.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// What should be a head or a cosignature is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Whoever cosigned is not known, or did not sign this head.
    #[error("no line is a good cosignature of the present head by one of audit.witnesses")]
    NoCosignature,
}

/// What a notary works with.
pub struct NotaryParts {
    /// Where the log is.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: SharedClock,
    /// The log's key: Ed25519.
    pub signer: SharedSigner,
    /// What the log is called, before its epoch: the URL of its public side without the scheme.
    pub name: String,
    /// Whose cosignatures are taken.
    pub witnesses: Vec<VerifierKey>,
    /// How long a change waits for others before a head is signed.
    pub gather: Duration,
    /// The folder in which the last head and the public key are put for operators, and against a store that steps back.
    pub folder: Option<PathBuf>,
}

/// The present head, and the edge of the tree under it.
#[derive(Debug)]
struct Current {
    checkpoint: Checkpoint,
    note: Note,
    state: LogState,
}

/// Signs heads and answers from the tree under the last one.
pub struct Notary {
    parts: NotaryParts,
    key: VerifierKey,
    epoch: String,
    current: RwLock<Arc<Current>>,
    /// Held while a head is made.
    signing: tokio::sync::Mutex<()>,
    answers: tokio::sync::Semaphore,
}

impl Notary {
    /// Opens the log, finds out whether it is the continuation of what was signed before, and signs its present head.
    ///
    /// Where the store has less than what was signed, as when an older copy was put in its place, the log goes on under
    /// another name, and an event says so.
    ///
    /// # Errors
    /// [`NotaryError::Altered`] if what was signed is not what is there.
    pub async fn open(parts: NotaryParts) -> Result<Arc<Self>, NotaryError> {
        let public_key = ed25519_key(&parts.signer)?;
        kept::settle(&parts, public_key).await?;
        let state = parts.store.log_state().await?;
        let epoch = kept::epoch_text(&state);
        let key = VerifierKey::new(format!("{}/{epoch}", parts.name), KeyKind::Ed25519, public_key)
            .map_err(|error| NotaryError::Key(error.to_string()))?;
        kept::check_last_head(&*parts.store, &state).await?;
        let current = sign(&parts, &key, state).await?;
        let notary = Self {
            parts,
            key,
            epoch,
            current: RwLock::new(Arc::new(current)),
            signing: tokio::sync::Mutex::new(()),
            answers: tokio::sync::Semaphore::new(ANSWERS_AT_ONCE_MAX),
        };
        notary.put_into_folder();
        Ok(Arc::new(notary))
    }

    /// Returns the key that verifies the heads.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Returns the part of the log's name that tells its histories apart.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Returns whose cosignatures are taken.
    pub fn witnesses(&self) -> &[VerifierKey] {
        &self.parts.witnesses
    }

    /// Returns the present head, signed, with its cosignatures.
    pub fn checkpoint(&self) -> String {
        self.current().note.to_string()
    }

    /// Returns how many events the present head covers.
    pub fn size(&self) -> u64 {
        self.current().checkpoint.size
    }

    fn current(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_current(&self, current: Current) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(current);
        self.put_into_folder();
    }

    /// Signs a head of everything that is in the log now, unless the present one covers it.
    ///
    /// # Errors
    /// When the log was altered, or a head could not be kept.
    pub async fn sign_now(&self) -> Result<(), NotaryError> {
        let _signing = self.signing.lock().await;
        let last = self.current();
        let state = self.parts.store.log_state().await?;
        if state.size == last.checkpoint.size && state.epoch == last.state.epoch {
            return Ok(());
        }
        // The whole tree, before a new signature: what was signed is never contradicted.
        let root = nodes::root_at(&*self.parts.store, &state, last.checkpoint.size).await?;
        if root != Some(last.checkpoint.root) {
            return Err(NotaryError::Altered(last.checkpoint.size));
        }
        let current = sign(&self.parts, &self.key, state).await?;
        self.set_current(current);
        Ok(())
    }

    /// Takes cosignatures of the present head, and returns how many were good.
    ///
    /// # Errors
    /// [`NotaryError::NoCosignature`] if none was.
    pub async fn cosign(&self, lines: &str) -> Result<usize, NotaryError> {
        let _signing = self.signing.lock().await;
        let current = self.current();
        let mut note = current.note.clone();
        let mut good = 0;
        for line in lines.lines().filter(|line| !line.is_empty()) {
            let line = SignatureLine::parse(line)?;
            let witness = self.parts.witnesses.iter().find(|key| key.verify(&note.text, &line));
            let Some(witness) = witness else { continue };
            // One line of each witness: his last.
            note.signatures.retain(|other| !witness.claims(other));
            note.signatures.push(line);
            good += 1;
        }
        if good == 0 {
            return Err(NotaryError::NoCosignature);
        }
        keep(&self.parts, &note, current.checkpoint.size).await?;
        self.set_current(Current {
            checkpoint: current.checkpoint.clone(),
            state: current.state.clone(),
            note,
        });
        Ok(good)
    }

    /// Signs heads as the log grows, until told to stop.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut changed = self.parts.store.changed();
        let mut wait = self.parts.gather;
        loop {
            let signed = self.sign_now().await;
            if let Err(error) = &signed {
                tracing::error!(%error, "no head of the audit log is signed");
            }
            let next = async {
                if signed.is_ok() && changed.changed().await.is_err() {
                    // The store is gone, and so is the daemon in a moment.
                    std::future::pending::<()>().await;
                }
                if signed.is_err() {
                    wait = RETRY_AFTER;
                }
                tokio::time::sleep(wait).await;
            };
            tokio::select! {
                () = next => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
            wait = self.parts.gather;
        }
        // What the last requests did is covered before the end.
        if let Err(error) = self.sign_now().await {
            tracing::error!(%error, "the last head of the audit log is not signed");
        }
    }

    fn put_into_folder(&self) {
        if let Some(folder) = &self.parts.folder
            && let Err(error) = kept::write(folder, &self.key, &self.checkpoint())
        {
            tracing::warn!(%error, "the log's head cannot be put into the state folder");
        }
    }
}

/// Signs the head of a state and makes it durable.
async fn sign(parts: &NotaryParts, key: &VerifierKey, state: LogState) -> Result<Current, NotaryError> {
    let root = nodes::edge_root(&state);
    let checkpoint = Checkpoint {
        origin: key.name().to_owned(),
        size: state.size,
        root,
    };
    let text = checkpoint.text();
    if let Some(kept) = parts.store.log_head().await?
        && kept.size == state.size
        && let Ok(note) = Note::parse(&kept.note)
        && note.text == text
        && note.is_signed_by(key)
    {
        // It was signed before, and may have been cosigned.
        return Ok(Current {
            checkpoint,
            note,
            state,
        });
    }
    let signature = parts
        .signer
        .sign(text.as_bytes())
        .map_err(|error| NotaryError::Key(error.to_string()))?;
    let note = Note {
        signatures: vec![key.line(&signature)],
        text,
    };
    if !note.is_signed_by(key) {
        return Err(NotaryError::Key("what it signs does not verify".to_owned()));
    }
    keep(parts, &note, state.size).await?;
    Ok(Current {
        checkpoint,
        note,
        state,
    })
}

async fn keep(parts: &NotaryParts, note: &Note, size: u64) -> Result<(), NotaryError> {
    let day = parts.clock.now().as_second().div_euclid(SECONDS_OF_A_DAY);
    let note = note.to_string();
    Ok(parts.store.keep_log_head(LogHead { day, size, note }).await?)
}

/// The public key is the end of its SubjectPublicKeyInfo.
fn ed25519_key(signer: &SharedSigner) -> Result<[u8; 32], NotaryError> {
    let spki = signer.spki_der();
    let key = spki.last_chunk::<32>().filter(|_| spki.len() == 44);
    match (signer.algorithm(), key) {
        (SignatureAlgorithm::Ed25519, Some(key)) => Ok(*key),
        _ => Err(NotaryError::Key("it has to be an Ed25519 key".to_owned())),
    }
}
