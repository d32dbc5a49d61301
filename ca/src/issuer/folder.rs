//! Where the state folder keeps an issuer's things, and how an issuer is read from there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::certificate::{Issuer, IssuerCertificate, IssuerError, IssuerUrls};
use crate::{
    model::IssuerId,
    signer::{Keyring, KeyringError},
};

/// The root certificate; its presence means a whole CA.
pub const ROOT_FILE: &str = "root.pem";
/// The issuing CA's certificate, then those above it.
pub const CHAIN_FILE: &str = "chain.pem";
/// The root's CRL, DER.
pub const ROOT_CRL_FILE: &str = "root.crl";
/// The folder of the private keys.
pub const KEYS_FOLDER: &str = "keys";

/// Returns the root's name in files and URLs.
pub fn root_id() -> IssuerId {
    id("root")
}

/// Returns the issuing CA's name in files and URLs.
pub fn issuing_id() -> IssuerId {
    id("issuing-1")
}

/// Returns the name of the OCSP responder's key.
pub fn responder_id() -> IssuerId {
    id("ocsp-1")
}

/// Returns the name of the key that signs the audit log's heads.
pub fn log_id() -> IssuerId {
    id("log")
}

fn id(text: &str) -> IssuerId {
    text.parse().expect("invariant: the text is an issuer's name")
}

/// An issuer that cannot be read from the folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds no certificate, or something else.
    #[error("{}: {message}", path.display())]
    Content {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Its key cannot be loaded.
    #[error(transparent)]
    Key(#[from] KeyringError),
    /// Certificates and key do not fit together.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
}

/// Reads the certificates of a PEM file, in their order.
///
/// # Errors
/// When the file cannot be read, or holds anything but certificates.
pub fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, FolderError> {
    let content = |message: String| FolderError::Content {
        path: path.to_owned(),
        message,
    };
    let text = fs::read(path).map_err(|source| FolderError::File {
        path: path.to_owned(),
        source,
    })?;
    let blocks = pem::parse_many(&text).map_err(|error| content(error.to_string()))?;
    if let Some(other) = blocks.iter().find(|block| block.tag() != "CERTIFICATE") {
        return Err(content(format!("it holds a {}", other.tag())));
    }
    if blocks.is_empty() {
        return Err(content("it holds no certificate".to_owned()));
    }
    Ok(blocks.into_iter().map(pem::Pem::into_contents).collect())
}

/// Reads the issuing CA with its chain and its key. The root's key is not needed.
///
/// # Errors
/// When something is missing or does not fit.
pub fn load(dir: &Path, keyring: &Keyring, public_http: &str) -> Result<Issuer, FolderError> {
    let chain = certificates(&dir.join(CHAIN_FILE))?;
    let id = issuing_id();
    let certificate = IssuerCertificate::from_der(id.clone(), &chain[0])?;
    let signer = keyring.load(&id)?;
    let urls = IssuerUrls::new(public_http, &id)?;
    Ok(Issuer::new(certificate, &chain[1..], signer, urls)?)
}
