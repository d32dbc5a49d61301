//! Answers tls-alpn-01 handshakes by script and records them.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::open;
use crate::der;
use crate::keys::{Key, sha256};
use crate::old_tls::{Heard, hear, server_hello};
use crate::read::ocsp::extension;
use crate::request::self_signed;

/// id-pe-acmeIdentifier.
pub(crate) const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";
pub(crate) const PROTOCOL: &[u8] = b"acme-tls/1";

/// What is shown for one server name.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) certificate: Vec<u8>,
    pub(crate) pkcs8: Vec<u8>,
    /// The protocols the answerer knows; empty means that it does not speak ALPN.
    pub(crate) protocols: Vec<Vec<u8>>,
    /// The answerer says hello in this version, which its library does not speak.
    pub(crate) old_version: Option<u16>,
}

impl Script {
    /// A certificate with these names and extensions, over `acme-tls/1`.
    pub(crate) fn new(names: &[Vec<u8>], extensions: &[Vec<u8>]) -> Self {
        let key = Key::p256();
        let certificate = self_signed(&key, names, extensions);
        Self {
            certificate,
            pkcs8: key.pkcs8(),
            protocols: vec![PROTOCOL.to_vec()],
            old_version: None,
        }
    }

    /// The right answer for these names.
    pub(crate) fn sound(names: &[Vec<u8>], key_authorization: &str) -> Self {
        Self::new(names, &[acme_identifier(key_authorization)])
    }
}

/// The critical extension with the digest of the key authorization.
pub(crate) fn acme_identifier(key_authorization: &str) -> Vec<u8> {
    extension(ACME_IDENTIFIER, true, &der::octet_string(sha256(key_authorization)))
}

/// One handshake that was tried.
#[derive(Debug, Clone)]
pub(crate) struct Handshake {
    pub(crate) server_name: Option<String>,
    pub(crate) protocols: Vec<Vec<u8>>,
    /// What the peer sent after the handshake.
    pub(crate) data: Vec<u8>,
    pub(crate) finished: bool,
    /// What the peer said to a hello of an old version.
    pub(crate) said_to_old: Option<Heard>,
}

/// The answerer.
#[derive(Debug, Clone)]
pub(crate) struct TlsAlpn01 {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    scripts: Mutex<HashMap<String, Script>>,
    handshakes: Mutex<Vec<Handshake>>,
}

impl TlsAlpn01 {
    pub(crate) fn start(address: SocketAddr) -> Result<Self, String> {
        let listener = TcpListener::bind(address).map_err(|error| format!("tls-alpn-01 at {address}: {error}"))?;
        let inner = Arc::new(Inner::default());
        let served = inner.clone();
        super::accept(listener, move |stream| {
            let _ = serve(&served, stream);
        })
        .map_err(|error| error.to_string())?;
        Ok(Self { inner })
    }

    /// Shows this to handshakes for the server name.
    pub(crate) fn script(&self, server_name: &str, script: Script) {
        open(&self.inner.scripts).insert(server_name.to_ascii_lowercase(), script);
    }

    /// The handshakes for this server name.
    pub(crate) fn handshakes(&self, server_name: &str) -> Vec<Handshake> {
        let named = |handshake: &&Handshake| handshake.server_name.as_deref() == Some(server_name);
        open(&self.inner.handshakes).iter().filter(named).cloned().collect()
    }
}

/// Shows one certificate whatever it looks like: rustls would refuse to load the unsound ones.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn config(script: &Script) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(script.pkcs8.clone()));
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private)?;
    let certified = CertifiedKey::new(vec![CertificateDer::from(script.certificate.clone())], key);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(Arc::new(certified))));
    config.alpn_protocols = script.protocols.clone();
    Ok(config)
}

fn serve(inner: &Inner, mut stream: TcpStream) -> std::io::Result<()> {
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        if acceptor.read_tls(&mut stream)? == 0 {
            return Ok(());
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) => {}
            Err((_, mut alert)) => return alert.write_all(&mut stream),
        }
    };
    let hello = accepted.client_hello();
    let server_name = hello.server_name().map(str::to_owned);
    let protocols = hello
        .alpn()
        .map(|all| all.map(<[u8]>::to_vec).collect())
        .unwrap_or_default();
    let mut record = Handshake {
        server_name: server_name.clone(),
        protocols,
        data: Vec::new(),
        finished: false,
        said_to_old: None,
    };
    let script = server_name.and_then(|name| open(&inner.scripts).get(&name.to_ascii_lowercase()).cloned());
    if let Some(version) = script.as_ref().and_then(|script| script.old_version) {
        // A suite that the peer offered, so that nothing but the version is wrong.
        let mut suites = hello.cipher_suites().iter().map(|suite| u16::from(*suite));
        let suite = suites.rfind(|suite| suite >> 8 != 0x13).unwrap_or_default();
        stream.write_all(&server_hello(version, suite))?;
        record.said_to_old = Some(hear(&mut stream));
        open(&inner.handshakes).push(record);
        return Ok(());
    }
    let config = script.as_ref().and_then(|script| config(script).ok());
    let Some(config) = config else {
        open(&inner.handshakes).push(record);
        return Ok(());
    };
    let mut connection = match accepted.into_connection(Arc::new(config)) {
        Ok(connection) => connection,
        Err((_, mut alert)) => {
            open(&inner.handshakes).push(record);
            return alert.write_all(&mut stream);
        }
    };
    while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
    record.finished = !connection.is_handshaking();
    if record.finished {
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        let _ = tls.flush();
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = tls.read(&mut buffer) {
            record.data.extend_from_slice(&buffer[..count]);
        }
    }
    open(&inner.handshakes).push(record);
    Ok(())
}
