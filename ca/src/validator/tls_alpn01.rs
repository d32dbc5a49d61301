//! tls-alpn-01 (RFC 8737, RFC 8738 section 6): a certificate made for the challenge alone.

use std::net::IpAddr;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use sigillo_protocol::acme::challenge::key_authorization_digest;
use sigillo_protocol::acme::identifier::Name;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{Oid, asn1_rs::oid};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::address::Via;
use super::dial::{Deadline, Dialer, Host};
use super::failure::{Failure, excerpt, reason};

/// The protocol that both sides have to agree on.
pub(super) const PROTOCOL: &[u8] = b"acme-tls/1";

/// id-pe-acmeIdentifier. Drafts used another arc; only this one counts.
const ACME_IDENTIFIER: Oid<'static> = oid!(1.3.6.1.5.5.7.1.31);

/// Makes handshakes.
pub(super) struct TlsAlpn01 {
    pub(super) dialer: Arc<Dialer>,
    pub(super) port: u16,
    /// Offers [`PROTOCOL`] and nothing else, takes any certificate, and never resumes: a resumed
    /// session would show the certificate of the try before.
    pub(super) tls: TlsConnector,
}

impl TlsAlpn01 {
    /// Makes a handshake with the host and looks at the certificate it shows.
    ///
    /// The handshake's signature is not checked (RFC 8737 section 4 leaves that open): whoever
    /// controls the address decides on both, and the digest binds the certificate to the account.
    pub(super) async fn attempt(
        &self,
        name: &Name,
        key_authorization: &str,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let host = match name {
            Name::Ip(ip) => Host::Ip(*ip),
            Name::Dns(name) | Name::Wildcard(name) => Host::Name(name.as_str().to_owned()),
        };
        let connected = self.dialer.dial(&host, self.port, Via::Target, deadline).await?;
        let asked = format!("the {} handshake with {}", PROTOCOL.escape_ascii(), connected.peer);
        let sni = sni(name);
        let server_name = ServerName::try_from(sni.clone())
            .map_err(|_| Failure::tls(format!("{sni} cannot be sent as a server name")))?;
        let handshake = self.tls.connect(server_name, connected.stream);
        let mut stream = deadline
            .bound(&asked, handshake)
            .await?
            .map_err(|error| Failure::tls(format!("{asked} failed: {}", reason(error))))?;
        let (_, connection) = stream.get_ref();
        let agreed = connection.alpn_protocol() == Some(PROTOCOL);
        let certificate = connection.peer_certificates().and_then(|chain| chain.first()).cloned();
        // A close_notify and the end of the connection; nothing was sent inside it.
        let _ = deadline.bound("closing", stream.shutdown()).await;
        if !agreed {
            return Err(Failure::tls(format!(
                "{asked}: the server did not agree on that protocol"
            )));
        }
        let certificate = certificate.ok_or_else(|| Failure::tls(format!("{asked}: no certificate was shown")))?;
        check(&certificate, name, &key_authorization_digest(key_authorization))
            .map_err(|defect| Failure::incorrect(format!("{asked}: {defect}")))
    }
}

/// Returns the server name to send: the name itself, or the address's name in the reverse tree.
pub(super) fn sni(name: &Name) -> String {
    match name {
        Name::Dns(name) | Name::Wildcard(name) => name.as_str().to_owned(),
        Name::Ip(IpAddr::V4(ip)) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Name::Ip(IpAddr::V6(ip)) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

/// What a certificate lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Defect {
    #[error("the certificate cannot be read")]
    Unreadable,
    #[error("the certificate has no subjectAltName, or several")]
    NoSubjectAltName,
    #[error("the certificate's subjectAltName holds {0} names instead of one")]
    SeveralNames(usize),
    #[error("the certificate is for another name than {0}")]
    OtherName(String),
    #[error("the certificate has no acmeIdentifier")]
    NoIdentifier,
    #[error("the certificate has more than one acmeIdentifier")]
    SeveralIdentifiers,
    #[error("the certificate's acmeIdentifier is not critical")]
    NotCritical,
    #[error("the certificate's acmeIdentifier is no OCTET STRING of 32 octets, it begins {0}")]
    NoDigest(String),
    #[error("the certificate's acmeIdentifier holds another digest")]
    OtherDigest,
}

/// Checks a certificate against RFC 8737 section 3 and RFC 8738 section 6.
fn check(der: &[u8], name: &Name, digest: &[u8; 32]) -> Result<(), Defect> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Defect::Unreadable)?;
    if !rest.is_empty() {
        return Err(Defect::Unreadable);
    }
    check_name(&certificate, name)?;
    check_digest(&certificate, digest)
}

fn check_name(certificate: &X509Certificate<'_>, name: &Name) -> Result<(), Defect> {
    let mut found = certificate
        .extensions()
        .iter()
        .filter_map(|e| match e.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(names),
            _ => None,
        });
    let (Some(names), None) = (found.next(), found.next()) else {
        return Err(Defect::NoSubjectAltName);
    };
    let [only] = names.general_names.as_slice() else {
        return Err(Defect::SeveralNames(names.general_names.len()));
    };
    let matches = match (name, only) {
        (Name::Dns(wanted) | Name::Wildcard(wanted), GeneralName::DNSName(shown)) => {
            shown.eq_ignore_ascii_case(wanted.as_str())
        }
        (Name::Ip(IpAddr::V4(wanted)), GeneralName::IPAddress(shown)) => *shown == wanted.octets(),
        (Name::Ip(IpAddr::V6(wanted)), GeneralName::IPAddress(shown)) => *shown == wanted.octets(),
        _ => false,
    };
    if matches {
        Ok(())
    } else {
        Err(Defect::OtherName(name.to_string()))
    }
}

fn check_digest(certificate: &X509Certificate<'_>, digest: &[u8; 32]) -> Result<(), Defect> {
    let mut found = certificate.extensions().iter().filter(|e| e.oid == ACME_IDENTIFIER);
    let extension = found.next().ok_or(Defect::NoIdentifier)?;
    if found.next().is_some() {
        return Err(Defect::SeveralIdentifiers);
    }
    if !extension.critical {
        return Err(Defect::NotCritical);
    }
    match extension.value {
        // The only DER of an OCTET STRING with 32 octets: tag, short length, contents, no more.
        [0x04, 32, shown @ ..] if shown.len() == 32 => {
            if shown == digest {
                Ok(())
            } else {
                Err(Defect::OtherDigest)
            }
        }
        other => Err(Defect::NoDigest(excerpt(other))),
    }
}

#[cfg(test)]
#[path = "tls_alpn01_tests.rs"]
mod tests;
