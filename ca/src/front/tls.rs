//! The TLS side of the ACME listener: a certificate that can be replaced while connections go on.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// TLS that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct TlsError(#[from] rustls::Error);

/// The daemon's own certificate and key, as they are now.
#[derive(Debug)]
pub struct Identity {
    current: RwLock<Arc<CertifiedKey>>,
}

impl Identity {
    /// Takes the first certificate with its chain, and its key.
    ///
    /// # Errors
    /// When the key does not belong to the certificate or cannot sign.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self {
            current: RwLock::new(certified(chain, key)?),
        }))
    }

    /// Takes another one; connections that are being set up may still get the old one.
    ///
    /// # Errors
    /// As for the first one; the old one stays then.
    pub fn replace(&self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<(), TlsError> {
        let next = certified(chain, key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<CertifiedKey>, TlsError> {
    Ok(Arc::new(CertifiedKey::from_der(
        chain,
        key,
        &aws_lc_rs::default_provider(),
    )?))
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // One certificate for all names: what a client calls us decides nothing.
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Builds the listener's configuration: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, resumption by ticket.
///
/// # Errors
/// When the TLS library refuses its own defaults.
pub fn server_config(identity: Arc<Identity>) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(identity);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(config)
}
