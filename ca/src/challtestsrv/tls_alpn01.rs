//! The TLS server of tls-alpn-01 (RFC 8737): a certificate made for the name that is asked for, then goodbye.

use std::{net::IpAddr, sync::Arc, time::Duration};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, SanType};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{Acceptor, ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::LazyConfigAcceptor;

use super::{Shared, StartError, book::Kind, history::Event};
use crate::digest::sha256;

/// The one protocol that is spoken.
const PROTOCOL: &[u8] = b"acme-tls/1";

/// How many connections are served at a time.
const CONNECTIONS_MAX: usize = 256;

/// How long a handshake and the goodbye may take.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The ends of the names that addresses have in a handshake (RFC 8738 section 6).
const IPV4_TREE: &str = ".in-addr.arpa";
const IPV6_TREE: &str = ".ip6.arpa";

/// Makes challenge certificates with a key of its own.
#[derive(Debug)]
pub(super) struct TlsAlpn01 {
    key: KeyPair,
    shared: Arc<Shared>,
}

impl TlsAlpn01 {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, StartError> {
        let key = KeyPair::generate()?;
        Ok(Self { key, shared })
    }

    /// Serves until it is told to stop.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let next = async {
                let permit = permits.clone().acquire_owned().await;
                (permit, super::accept(&listener).await)
            };
            let (permit, stream) = tokio::select! {
                next = next => next,
                Some(_) = connections.join_next() => continue,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let server = self.clone();
            connections.spawn(async move {
                let _permit = permit;
                let shaking = tokio::time::timeout(CONNECTION_TIMEOUT, server.shake_hands(stream));
                if let Ok(Err(error)) = shaking.await {
                    tracing::info!(%error, "a tls-alpn-01 handshake failed");
                }
            });
        }
        connections.shutdown().await;
    }

    async fn shake_hands(&self, stream: TcpStream) -> std::io::Result<()> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let hello = start.client_hello();
        let name = hello.server_name().unwrap_or_default().to_owned();
        let protocols: Vec<Vec<u8>> = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
        self.shared.history.add(Event::TlsAlpn {
            server_name: name.clone(),
            supported_protos: protocols
                .iter()
                .map(|protocol| String::from_utf8_lossy(protocol).into_owned())
                .collect(),
        });
        // RFC 8737 section 3: the validator offers this protocol and no other.
        let offered = matches!(protocols.as_slice(), [only] if only == PROTOCOL);
        let certified = if offered { self.certify(&name) } else { None };
        let config = config(certified).map_err(std::io::Error::other)?;
        let mut stream = start.into_stream(Arc::new(config)).await?;
        stream.shutdown().await
    }

    /// Makes the certificate for a name, if a key authorization was told for it.
    fn certify(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let key_authorization = self.shared.book.value(Kind::TlsAlpn01, &name)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![subject(&name)?];
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(&sha256(
            key_authorization.as_bytes(),
        ))];
        let certificate = params.self_signed(&self.key).ok()?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).ok()?;
        // Not `CertifiedKey::from_der`: it refuses a critical extension that it does not know.
        Some(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
    }
}

/// Returns what the certificate is for: the name, or the address that the name stands for.
fn subject(name: &str) -> Option<SanType> {
    match address(name) {
        Some(address) => Some(SanType::IpAddress(address)),
        None => name.try_into().ok().map(SanType::DnsName),
    }
}

fn address(name: &str) -> Option<IpAddr> {
    if let Some(reversed) = name.strip_suffix(IPV4_TREE) {
        let parts: Vec<&str> = reversed.rsplit('.').collect();
        return parts.join(".").parse().ok().map(IpAddr::V4);
    }
    let nibbles: Vec<&str> = name.strip_suffix(IPV6_TREE)?.rsplit('.').collect();
    let groups: Vec<String> = nibbles.chunks(4).map(<[&str]>::concat).collect();
    let whole = nibbles.len() == 32 && nibbles.iter().all(|nibble| nibble.len() == 1);
    whole.then(|| groups.join(":").parse().ok().map(IpAddr::V6)).flatten()
}

/// Returns the name under which a host is asked for in a handshake: an address has one in the reverse tree.
pub(super) fn server_name(host: &str) -> String {
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}{IPV4_TREE}")
        }
        Ok(IpAddr::V6(address)) => {
            let halves = address
                .octets()
                .into_iter()
                .rev()
                .flat_map(|octet| [octet & 15, octet >> 4]);
            let nibbles: Vec<String> = halves.map(|nibble| format!("{nibble:x}")).collect();
            format!("{}{IPV6_TREE}", nibbles.join("."))
        }
        Err(_) => super::dns::canonical(host),
    }
}

fn config(certified: Option<Arc<CertifiedKey>>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Only(certified)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // A resumed session would show no certificate.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

/// The certificate of one handshake; without one it ends in an alert.
#[derive(Debug)]
struct Only(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

    use super::*;
    use crate::challtestsrv::book::Value;

    #[test]
    fn names_of_addresses_go_there_and_back() {
        for host in ["192.0.2.1", "2001:db8::1f", "::1"] {
            assert_eq!(address(&server_name(host)), Some(host.parse().unwrap()), "{host}");
        }
        assert_eq!(server_name("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(server_name("A.Test."), "a.test");
        for wrong in [
            "a.test",
            "1.2.0.in-addr.arpa",
            "1.ip6.arpa",
            ".ip6.arpa",
            "x.in-addr.arpa",
        ] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn certificates_carry_the_digest_for_one_name() {
        let shared = Arc::new(Shared::default());
        let server = TlsAlpn01::new(shared.clone()).unwrap();
        assert!(server.certify("a.test").is_none(), "nothing was told");
        for (host, name) in [("a.test", "a.test"), ("192.0.2.1", "1.2.0.192.in-addr.arpa")] {
            shared
                .book
                .put(Kind::TlsAlpn01, &server_name(host), Value::text("key.authorization"))
                .unwrap();
            let certified = server.certify(name).unwrap();
            let (_, certificate) = X509Certificate::from_der(&certified.cert[0]).unwrap();
            let names = certificate.subject_alternative_name().unwrap().unwrap();
            match names.value.general_names.as_slice() {
                [GeneralName::DNSName(shown)] => assert_eq!(*shown, host),
                [GeneralName::IPAddress(shown)] => assert_eq!(*shown, [192, 0, 2, 1]),
                other => panic!("{other:?}"),
            }
            let identifiers = certificate.extensions().iter().filter(|extension| {
                matches!(
                    extension.parsed_extension(),
                    ParsedExtension::UnsupportedExtension { .. }
                )
            });
            let found: Vec<_> = identifiers
                .map(|extension| (extension.critical, extension.value))
                .collect();
            let wanted = [&[4, 32][..], &sha256(b"key.authorization")].concat();
            assert_eq!(found, [(true, wanted.as_slice())]);
        }
    }
}
