//! What the CA says about its certificates after they are issued: OCSP, CRLs, and the files beside them.
//!
//! It reads what the store committed and signs statements about it; it decides nothing. It knows no HTTP.

mod bundle;
mod crl;
#[cfg(test)]
mod crl_tests;
mod delta;
#[cfg(test)]
mod delta_tests;
mod encode;
mod entries;
mod index;
#[cfg(test)]
mod index_tests;
mod ocsp;
mod publisher;
#[cfg(test)]
mod publisher_tests;
#[cfg(test)]
pub(crate) mod testing;
mod time_guard;
mod view;
#[cfg(test)]
mod view_tests;

use std::{path::PathBuf, sync::Arc};

use tokio::sync::watch;

pub use bundle::certs_only;
pub use crl::{CrlEntry, CrlError, CrlIssuer, build_crl, published_reason};
pub use encode::UnencodableTime;
pub use index::INDEX_CERTIFICATES_DEFAULT;
pub use ocsp::{
    Answer, CACHE_OCTETS_DEFAULT, ErrorStatus, HashAlgorithm, Malformed, NONCE_LENGTH_MAX, OcspIssuer, OcspRequest,
    OcspResponder, OcspSettings, REQUEST_OCTETS_MAX, REQUESTS_MAX, Reply, RequestedStatus, Responder, ResponderError,
    error_reply,
};
pub(crate) use publisher::DELTA_SUFFIX;
pub use publisher::{CrlSettings, PublishError, PublishedCrl, Publisher};
pub use time_guard::{ClockWentBack, STEP_BACK_MAX, TimeGuard};
pub use view::{Known, StatusView};

use crate::{
    clock::SharedClock,
    digest::{sha256, sha256_of_all},
    model::{IssuerId, Pieces, Serial},
    store::{ReadError, Store},
};

/// What the status services are made of.
pub struct StatusParts {
    /// The issuers that OCSP answers for.
    pub ocsp_issuers: Vec<OcspIssuer>,
    /// How answers are made.
    pub ocsp: OcspSettings,
    /// The issuers whose CRLs are made here.
    pub crl_issuers: Vec<(IssuerId, CrlIssuer)>,
    /// When CRLs are made.
    pub crl: CrlSettings,
    /// Where the local index is kept; `None` for none. Its content may be deleted at any time.
    pub index_dir: Option<PathBuf>,
}

/// The status services of a node.
pub struct StatusService {
    view: Arc<StatusView>,
    ocsp: OcspResponder,
    publisher: Arc<Publisher>,
}

impl StatusService {
    /// Puts the services together. Answers can be given at once; [`run`](Self::run) does the rest.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(store: Arc<dyn Store>, clock: SharedClock, parts: StatusParts) -> Result<Arc<Self>, ReadError> {
        let guard = Arc::new(TimeGuard::default());
        let view = Arc::new(
            StatusView::new(
                store.clone(),
                clock.clone(),
                parts.index_dir,
                parts.ocsp.index_certificates,
            )
            .await?,
        );
        let publisher = Publisher::new(store, clock.clone(), guard.clone(), parts.crl, parts.crl_issuers).await?;
        let ocsp = OcspResponder::new(parts.ocsp_issuers, parts.ocsp, view.clone(), clock, guard);
        Ok(Arc::new(Self {
            view,
            ocsp,
            publisher: Arc::new(publisher),
        }))
    }

    /// Follows the store, keeps the index and publishes CRLs until told to stop.
    pub async fn run(&self, shutdown: watch::Receiver<bool>) {
        tokio::join!(self.view.run(shutdown.clone()), self.publisher.run(shutdown));
    }

    /// Makes all that the store has committed by now count in every later answer. Whoever commits a revocation
    /// waits for this before telling anybody.
    ///
    /// # Errors
    /// When the store cannot be read; until it can, nothing is called good from memory.
    pub async fn catch_up(&self) -> Result<(), ReadError> {
        self.view.catch_up().await
    }

    /// Finds what is known about a certificate.
    ///
    /// # Errors
    /// When neither store nor index can tell.
    pub async fn lookup(&self, issuer: &IssuerId, serial: Serial) -> Result<Known, ReadError> {
        self.view.lookup(issuer, serial).await
    }

    /// Returns the OCSP responder.
    pub fn ocsp(&self) -> &OcspResponder {
        &self.ocsp
    }

    /// Returns the CRL publisher.
    pub fn publisher(&self) -> &Arc<Publisher> {
        &self.publisher
    }
}

/// Returns the SHA-256 of some octets in hexadecimal digits: the entity tag that RFC 9919 section 7.2 recommends.
pub(crate) fn entity_tag(octets: &[u8]) -> String {
    tag_of(sha256(octets))
}

/// Returns the same of octets in pieces.
fn entity_tag_of(octets: &Pieces) -> String {
    tag_of(sha256_of_all(octets.pieces().iter().map(|piece| &piece[..])))
}

fn tag_of(hash: [u8; 32]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    hash.iter()
        .flat_map(|octet| [digit(octet >> 4), digit(octet & 0x0f)])
        .collect()
}
