//! tls-alpn-01 from a small TLS server of our own (RFC 8737, RFC 8738 section 6).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, SanType};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sigillo_protocol::acme::challenge::{self, ChallengeType};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::{Proof, Solver, SolverFuture, Subject, http01};
use crate::error::{Error, Result};

/// The protocol that the validation server asks for.
const ALPN: &[u8] = b"acme-tls/1";
/// How long a handshake may take, so that idle visitors cannot pile up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many visitors are served at once; a CA sends a handful.
const VISITORS_MAX: usize = 64;

/// A TLS server that answers tls-alpn-01 and nothing else, while it is needed.
pub struct TlsAlpn01 {
    addresses: Vec<SocketAddr>,
    certificates: Arc<Certificates>,
    server: Mutex<Option<Server>>,
}

/// A running server; it ends when dropped.
struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The certificates to show, by the name that the visitor asks for.
#[derive(Debug, Default)]
struct Certificates(Mutex<HashMap<String, Arc<CertifiedKey>>>);

impl Certificates {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<CertifiedKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Without acme-tls/1 the visitor is no validation server, and gets nothing.
        hello.alpn()?.any(|protocol| protocol == ALPN).then_some(())?;
        self.lock().get(&hello.server_name()?.to_ascii_lowercase()).cloned()
    }
}

impl TlsAlpn01 {
    /// Listens on a port of every address, IPv6 and IPv4.
    pub fn on_port(port: u16) -> Self {
        Self::on(vec![
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        ])
    }

    /// Listens on one address alone.
    pub fn on_address(address: SocketAddr) -> Self {
        Self::on(vec![address])
    }

    fn on(addresses: Vec<SocketAddr>) -> Self {
        Self {
            addresses,
            certificates: Arc::default(),
            server: Mutex::default(),
        }
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(&self, proof: &Proof) -> Result<()> {
        let certificate = proof_certificate(proof)?;
        self.certificates
            .lock()
            .insert(asked_name(&proof.subject), Arc::new(certificate));
        if self.server().is_none() {
            let listeners = http01::bind(&self.addresses).await?;
            let server = serve(listeners, self.certificates.clone())?;
            self.server().get_or_insert(server);
        }
        Ok(())
    }

    fn end(&self, proof: &Proof) {
        let mut certificates = self.certificates.lock();
        certificates.remove(&asked_name(&proof.subject));
        if certificates.is_empty() {
            *self.server() = None;
        }
    }
}

impl Solver for TlsAlpn01 {
    fn kind(&self) -> ChallengeType {
        ChallengeType::TlsAlpn01
    }

    fn present<'a>(&'a self, proof: &'a Proof) -> SolverFuture<'a> {
        Box::pin(self.begin(proof))
    }

    fn remove<'a>(&'a self, proof: &'a Proof) -> SolverFuture<'a> {
        Box::pin(async move {
            self.end(proof);
            Ok(())
        })
    }
}

/// Returns the SNI that the validation server sends; an address goes as its reverse name.
fn asked_name(subject: &Subject) -> String {
    match subject {
        Subject::Dns(name) => name.to_ascii_lowercase(),
        Subject::Ip(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Subject::Ip(IpAddr::V6(address)) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|o| [o & 15, o >> 4]);
            let labels: Vec<String> = nibbles.map(|n| format!("{n:x}")).collect();
            format!("{}.ip6.arpa", labels.join("."))
        }
    }
}

/// Makes the self-signed certificate that carries the proof.
fn proof_certificate(proof: &Proof) -> Result<CertifiedKey> {
    let cannot = |e: &dyn std::fmt::Display| Error::local("cannot make the proof certificate", e);
    let key = KeyPair::generate().map_err(|e| cannot(&e))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "acme challenge");
    let name = match &proof.subject {
        Subject::Dns(name) => SanType::DnsName(name.as_str().try_into().map_err(|e: rcgen::Error| cannot(&e))?),
        Subject::Ip(address) => SanType::IpAddress(*address),
    };
    params.subject_alt_names = vec![name];
    let digest = challenge::key_authorization_digest(&proof.key_authorization);
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let certificate = params.self_signed(&key).map_err(|e| cannot(&e))?;
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&key.into()).map_err(|e| cannot(&e))?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

fn serve(listeners: Vec<TcpListener>, certificates: Arc<Certificates>) -> Result<Server> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::local("cannot set up TLS", e))?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![ALPN.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let visitors = Arc::new(Semaphore::new(VISITORS_MAX));
    Ok(Server(tokio::spawn(async move {
        let mut accepting = tokio::task::JoinSet::new();
        for listener in listeners {
            accepting.spawn(accept(listener, acceptor.clone(), visitors.clone()));
        }
        accepting.join_all().await;
    })))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, visitors: Arc<Semaphore>) {
    let mut visits = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = visitors.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a visitor");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        while visits.try_join_next().is_some() {}
        let acceptor = acceptor.clone();
        visits.spawn(async move {
            let visit = async {
                // The handshake is all there is: the certificate has been shown by then.
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
                }
            };
            let _ = tokio::time::timeout(HANDSHAKE_TIMEOUT, visit).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solver::Token;
    use x509_parser::prelude::*;

    fn proof(subject: Subject) -> Proof {
        Proof {
            subject,
            token: Token::parse("tok").unwrap(),
            key_authorization: "tok.thumb".into(),
        }
    }

    #[test]
    fn an_address_is_asked_for_by_its_reverse_name() {
        let v4 = Subject::Ip("192.0.2.7".parse().unwrap());
        assert_eq!(asked_name(&v4), "7.2.0.192.in-addr.arpa");
        let v6 = Subject::Ip("2001:db8::1".parse().unwrap());
        assert_eq!(
            asked_name(&v6),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    #[test]
    fn the_certificate_carries_the_digest_critically_and_one_name() {
        let proof = proof(Subject::Dns("a.example".into()));
        let made = proof_certificate(&proof).unwrap();
        let (_, certificate) = X509Certificate::from_der(&made.cert[0]).unwrap();
        let oid = oid_registry::asn1_rs::oid!(1.3.6.1.5.5.7.1.31);
        let extension = certificate.extensions().iter().find(|e| e.oid == oid).unwrap();
        assert!(extension.critical);
        let digest = challenge::key_authorization_digest(&proof.key_authorization);
        assert_eq!(extension.value[..2], [4, 32]);
        assert_eq!(extension.value[2..], digest);
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names, [GeneralName::DNSName("a.example")]);
    }

    #[tokio::test]
    async fn shows_the_proof_over_acme_tls_alone() {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = probe.local_addr().unwrap();
        drop(probe);
        let solver = TlsAlpn01::on_address(address);
        let proof = proof(Subject::Dns("a.example".into()));
        solver.present(&proof).await.unwrap();
        // The certificate is self-signed: the peer's refusal names exactly that, which shows that
        // one was sent; without the protocol the server itself breaks off.
        let ask = |protocols: Vec<Vec<u8>>, name: &'static str| async move {
            let mut config =
                rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth();
            config.alpn_protocols = protocols;
            let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let name = rustls::pki_types::ServerName::try_from(name).unwrap();
            connector.connect(name, tcp).await.unwrap_err().to_string()
        };
        let shown = ask(vec![ALPN.to_vec()], "a.example").await;
        assert!(shown.contains("invalid peer certificate"), "{shown}");
        let http = ask(vec![b"http/1.1".to_vec()], "a.example").await;
        assert!(!http.contains("invalid peer certificate"), "{http}");
        let other = ask(vec![ALPN.to_vec()], "b.example").await;
        assert!(!other.contains("invalid peer certificate"), "{other}");
        solver.remove(&proof).await.unwrap();
    }
}
