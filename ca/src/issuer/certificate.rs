//! The issuing CA: its certificate, its key, and where its things are published.

use std::fmt;

use jiff::Timestamp;
use x509_parser::{certificate::X509Certificate, extensions::ParsedExtension, prelude::FromDer};

use super::encode;
use crate::{
    model::IssuerId,
    policy::NameConstraints,
    signer::{SharedSigner, verify},
};

/// An issuer that cannot be used. The operator must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// The bytes are no certificate.
    #[error("{0}: not an X.509 certificate")]
    Form(IssuerId),
    /// The certificate does not make a CA of its holder.
    #[error("{0}: the certificate is not one of a CA: {1}")]
    NotACa(IssuerId, &'static str),
    /// A name constraint that cannot be obeyed.
    #[error("{0}: the certificate has a name constraint that cannot be obeyed here")]
    Constraint(IssuerId),
    /// The key belongs to another certificate.
    #[error("{0}: the private key does not belong to the certificate")]
    Key(IssuerId),
    /// The chain does not hold together.
    #[error("{0}: a certificate of the chain does not verify under the next one")]
    Chain(IssuerId),
    /// The base of the published URLs cannot be used.
    #[error(
        "{0:?} cannot be the base of the URLs in certificates: it must be http://, since clients ask for status without trust in TLS"
    )]
    Url(String),
}

/// A CA certificate and what must be known of it to issue under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerCertificate {
    /// Its name in files and URLs.
    pub id: IssuerId,
    /// The whole certificate.
    pub der: Vec<u8>,
    /// Its subject, byte for byte: the issuer field of what it signs.
    pub subject_der: Vec<u8>,
    /// Its key as SubjectPublicKeyInfo.
    pub spki_der: Vec<u8>,
    /// Its subject key identifier: the authority key identifier of what it signs.
    pub key_identifier: Vec<u8>,
    /// First second of its validity.
    pub not_before: Timestamp,
    /// Last second of its validity.
    pub not_after: Timestamp,
    /// What it may issue for.
    pub constraints: NameConstraints,
    /// Whether it signed itself.
    pub is_root: bool,
}

impl IssuerCertificate {
    /// Reads a CA certificate.
    ///
    /// # Errors
    /// When it is no certificate, not a CA's, or has constraints that cannot be obeyed.
    pub fn from_der(id: IssuerId, der: &[u8]) -> Result<Self, IssuerError> {
        let Ok(([], parsed)) = X509Certificate::from_der(der) else {
            return Err(IssuerError::Form(id));
        };
        let not_a_ca = |why| IssuerError::NotACa(id.clone(), why);
        let (mut is_ca, mut signs, mut key_identifier) = (false, false, None);
        let mut constraints = NameConstraints::default();
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(basic) => is_ca = basic.ca,
                ParsedExtension::KeyUsage(usage) => signs = usage.key_cert_sign() && usage.crl_sign(),
                ParsedExtension::SubjectKeyIdentifier(own) => key_identifier = Some(own.0.to_vec()),
                ParsedExtension::NameConstraints(found) => {
                    constraints =
                        NameConstraints::from_extension(found).map_err(|_| IssuerError::Constraint(id.clone()))?;
                }
                _ => {}
            }
        }
        if !is_ca {
            return Err(not_a_ca("basicConstraints must say cA"));
        }
        if !signs {
            return Err(not_a_ca("keyUsage must have keyCertSign and cRLSign"));
        }
        let key_identifier = key_identifier.ok_or_else(|| not_a_ca("it has no subjectKeyIdentifier"))?;
        let second = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|_| IssuerError::Form(id.clone()))
        };
        Ok(Self {
            der: der.to_vec(),
            subject_der: parsed.subject().as_raw().to_vec(),
            spki_der: parsed.public_key().raw.to_vec(),
            key_identifier,
            not_before: second(parsed.validity().not_before)?,
            not_after: second(parsed.validity().not_after)?,
            constraints,
            is_root: parsed.subject().as_raw() == parsed.issuer().as_raw(),
            id: id.clone(),
        })
    }
}

/// Where relying parties find an issuer's things, over plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerUrls {
    /// The OCSP responder.
    pub ocsp: String,
    /// The CRL.
    pub crl: String,
    /// The certificate in DER.
    pub certificate: String,
}

impl IssuerUrls {
    /// Builds an issuer's URLs on the base that the configuration names (`server.public_http`).
    ///
    /// # Errors
    /// [`IssuerError::Url`] for a base that is not plain HTTP or not fit for a URL.
    pub fn new(public_http: &str, issuer: &IssuerId) -> Result<Self, IssuerError> {
        let base = public_http.trim_end_matches('/');
        let host = base.strip_prefix("http://").unwrap_or_default();
        let fits = !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'<' | b'>' | b'\\'));
        if !fits {
            return Err(IssuerError::Url(public_http.to_owned()));
        }
        Ok(Self {
            ocsp: format!("{base}/ocsp"),
            crl: format!("{base}/crl/{issuer}.crl"),
            certificate: format!("{base}/ca/{issuer}.cer"),
        })
    }
}

/// An issuing CA that is ready to sign.
#[derive(Clone)]
pub struct Issuer {
    certificate: IssuerCertificate,
    chains: Vec<Vec<Vec<u8>>>,
    signer: SharedSigner,
    urls: IssuerUrls,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("id", &self.certificate.id)
            .finish_non_exhaustive()
    }
}

impl Issuer {
    /// Puts an issuer together.
    ///
    /// `above` are the certificates above the issuing one, its own issuer first; it may end with
    /// the root. The main chain that clients get leaves the root out; an alternate one has it.
    ///
    /// # Errors
    /// When the key is another's or a certificate does not verify under the next one.
    pub fn new(
        certificate: IssuerCertificate,
        above: &[Vec<u8>],
        signer: SharedSigner,
        urls: IssuerUrls,
    ) -> Result<Self, IssuerError> {
        if signer.spki_der() != certificate.spki_der {
            return Err(IssuerError::Key(certificate.id));
        }
        let whole: Vec<Vec<u8>> = std::iter::once(certificate.der.clone())
            .chain(above.iter().cloned())
            .collect();
        if !whole.windows(2).all(|pair| is_signed_by(&pair[0], &pair[1])) {
            return Err(IssuerError::Chain(certificate.id));
        }
        let below_root: Vec<Vec<u8>> = whole.iter().filter(|der| !is_self_signed(der)).cloned().collect();
        let mut chains = vec![below_root];
        if chains[0] != whole {
            chains.push(whole);
        }
        Ok(Self {
            certificate,
            chains,
            signer,
            urls,
        })
    }

    /// Takes other chains in the place of the ones that follow from its certificate: the main one, then the alternates.
    ///
    /// Each begins with a certificate of this issuer's name and key and ends with its root, which clients do not get.
    ///
    /// # Errors
    /// When a chain belongs to somebody else or does not verify.
    pub fn with_chains(self, chains: &[Vec<Vec<u8>>]) -> Result<Self, IssuerError> {
        let broken = || IssuerError::Chain(self.certificate.id.clone());
        for chain in chains {
            let first = chain.first().ok_or_else(broken)?;
            let first = IssuerCertificate::from_der(self.certificate.id.clone(), first)?;
            if first.spki_der != self.certificate.spki_der || first.subject_der != self.certificate.subject_der {
                return Err(IssuerError::Key(self.certificate.id.clone()));
            }
            if !chain.windows(2).all(|pair| is_signed_by(&pair[0], &pair[1])) {
                return Err(broken());
            }
        }
        let below_root = |chain: &Vec<Vec<u8>>| chain.iter().filter(|der| !is_self_signed(der)).cloned().collect();
        let chains: Vec<Vec<Vec<u8>>> = chains.iter().map(below_root).collect();
        if chains.is_empty() {
            return Err(broken());
        }
        Ok(Self { chains, ..self })
    }

    /// Returns its name.
    pub fn id(&self) -> &IssuerId {
        &self.certificate.id
    }

    /// Returns its certificate.
    pub fn certificate(&self) -> &IssuerCertificate {
        &self.certificate
    }

    /// Returns where its things are published.
    pub fn urls(&self) -> &IssuerUrls {
        &self.urls
    }

    /// Returns its key, for the rooms that sign status.
    pub fn signer(&self) -> &SharedSigner {
        &self.signer
    }

    /// Returns how many chains there are: the main one, and the alternates (RFC 8555 section 7.4.2).
    pub fn chain_count(&self) -> usize {
        self.chains.len()
    }

    /// Returns a certificate with the chain above it as `application/pem-certificate-chain`;
    /// chain 0 is the main one.
    pub fn chain_pem(&self, leaf_der: &[u8], which: usize) -> Option<String> {
        let above = self.chains.get(which)?;
        Some(
            std::iter::once(leaf_der)
                .chain(above.iter().map(Vec::as_slice))
                .map(encode::certificate_pem)
                .collect(),
        )
    }
}

fn is_self_signed(der: &[u8]) -> bool {
    is_signed_by(der, der)
}

/// Tells whether the first certificate names the second as its issuer and verifies under its key.
fn is_signed_by(lower: &[u8], upper: &[u8]) -> bool {
    let (Ok((_, lower)), Ok((_, upper))) = (X509Certificate::from_der(lower), X509Certificate::from_der(upper)) else {
        return false;
    };
    let Some(algorithm) = encode::read_algorithm(&lower.signature_algorithm) else {
        return false;
    };
    lower.issuer().as_raw() == upper.subject().as_raw()
        && verify(
            algorithm,
            upper.public_key().raw,
            lower.tbs_certificate.as_ref(),
            &lower.signature_value.data,
        )
}
