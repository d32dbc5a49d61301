//! Certification requests (RFC 2986): from bytes to facts that a certificate may rest on.
//!
//! [`ParsedCsr`] holds bytes that are one well-formed request. [`CheckedCsr`] is the proof that its
//! signature, its key and everything it asks for were judged. A request only ever contributes its
//! public key, its names and the wish for must-staple; nothing else in it reaches a certificate.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use aws_lc_rs::{digest, signature};
use x509_parser::{
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    extensions::{ExtendedKeyUsage, GeneralName, KeyUsage, ParsedExtension, X509Extension},
    oid_registry::{
        OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
        OID_PKCS9_EXTENSION_REQUEST, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512,
        OID_SIG_ED25519, Oid,
    },
    prelude::FromDer,
    x509::{AttributeTypeAndValue, X509Version},
};

use super::{
    der::{self, DerError},
    key::{self, KeyError, KeyKind, KeyPolicy},
};
use crate::acme::{
    identifier::{Name, NameError},
    problem::{ErrorType, Problem},
};

/// The TLS feature extension (RFC 7633), 1.3.6.1.5.5.7.1.24.
const TLS_FEATURE: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 24];
/// The tag of the attributes: [0], constructed.
const ATTRIBUTES: u8 = 0xa0;
/// The one TLS feature that is understood: status_request, which makes a certificate must-staple.
const STATUS_REQUEST: &[u8] = &[0x30, 3, 2, 1, 5];

/// A request that cannot be accepted. The text is for the person who made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// It has more bytes than any honest request.
    #[error("the CSR is larger than {} octets", ParsedCsr::LENGTH_MAX)]
    TooLarge,
    /// The text is not one PEM block that holds a request.
    #[error("the CSR is not one PEM block CERTIFICATE REQUEST")]
    Pem,
    /// The bytes are not DER.
    #[error("the CSR is not DER: {0}")]
    Der(#[from] DerError),
    /// The bytes are DER, but no request.
    #[error("the CSR is not a PKCS #10 certification request")]
    Form,
    /// The version is another than 0.
    #[error("the CSR has version number {0} where RFC 2986 has 0")]
    Version(u32),
    /// An address that is asked for in the common name only.
    #[error("an address is asked for as iPAddress in the subjectAltName, not in the common name alone")]
    AddressInCommonName,
    /// The signature is missing its key, or forged.
    #[error("the CSR's signature does not verify with the key in it")]
    Signature,
    /// The signature's algorithm is unsafe or unknown.
    #[error("the CSR is signed with an algorithm that is not accepted: use SHA-256 or stronger")]
    SignatureAlgorithm,
    /// The key is refused.
    #[error("the CSR's key is refused: {0}")]
    Key(#[from] KeyError),
    /// There is more than one extensionRequest attribute, or more than one value in it.
    #[error("the CSR asks for extensions more than once")]
    RepeatedExtensionRequest,
    /// One extension is asked for more than once.
    #[error("the CSR asks for the extension {0} more than once")]
    RepeatedExtension(String),
    /// An extension cannot be read.
    #[error("the CSR's extension {0} is malformed")]
    MalformedExtension(String),
    /// An extension is not given to anybody here.
    #[error("the CSR asks for something that is not issued here: {0}")]
    UnwantedExtension(String),
    /// A name is of a type other than DNS name and address.
    #[error("the CSR holds a subject alternative name of an unsupported type: only DNS names and addresses are issued")]
    NameType,
    /// A name is malformed.
    #[error("the CSR holds a name that cannot be issued: {0}")]
    Name(#[from] NameError),
    /// An address has neither 4 nor 16 octets.
    #[error("the CSR holds an address that is neither IPv4 nor IPv6")]
    AddressLength,
    /// The common name is no text.
    #[error("the CSR's common name has a string type that is not accepted")]
    CommonName,
    /// There is no name at all.
    #[error("the CSR holds no name, neither in subjectAltName nor in the common name")]
    NoNames,
    /// There are too many names.
    #[error("the CSR holds more than {} names", CheckedCsr::NAMES_MAX)]
    TooManyNames,
}

impl CsrError {
    /// Returns the problem to answer with.
    ///
    /// All are `badCSR`, the key's too: RFC 8555 section 6.7 gives the short key as its example.
    pub fn problem(&self) -> Problem {
        Problem::new(ErrorType::BadCsr, self.to_string())
    }
}

/// Bytes that are one well-formed certification request: DER with nothing behind, version 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedCsr {
    der: Vec<u8>,
}

impl ParsedCsr {
    /// The largest request: a hundred names of the greatest length and an RSA key of 8192 bits fit twice.
    pub const LENGTH_MAX: usize = 64 * 1024;

    /// Reads a request in DER.
    ///
    /// # Errors
    /// When it is too large, not DER to the last octet, or not a request of version 0.
    pub fn from_der(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > Self::LENGTH_MAX {
            return Err(CsrError::TooLarge);
        }
        der::check(der)?;
        check_shape(der).map_err(|_| CsrError::Form)?;
        let request = parse(der)?;
        match request.certification_request_info.version {
            // RFC 2986 has 0 only. Scripts on Ruby's OpenSSL, its acme-client among them, write the 2 of X.509 v3
            // certificates, and no other CA minds; the number means nothing here, and refusing it helps nobody.
            X509Version(0 | 2) => Ok(Self { der: der.to_vec() }),
            X509Version(other) => Err(CsrError::Version(other)),
        }
    }

    /// Reads a request in PEM or DER, as a person hands it in. Text before the PEM block is skipped.
    ///
    /// # Errors
    /// As [`ParsedCsr::from_der`], and [`CsrError::Pem`] when a PEM text is broken or holds something else.
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, CsrError> {
        // Base64 with line ends is a third and a bit longer; half leaves room for text before it.
        if bytes.len() > Self::LENGTH_MAX * 3 / 2 {
            return Err(CsrError::TooLarge);
        }
        if bytes.first() == Some(&der::SEQUENCE) && der::check(bytes) != Err(DerError::Truncated) {
            return Self::from_der(bytes);
        }
        let (rest, pem) = x509_parser::pem::parse_x509_pem(bytes).map_err(|_| CsrError::Pem)?;
        let is_request = matches!(pem.label.as_str(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST");
        if !is_request || !rest.iter().all(u8::is_ascii_whitespace) {
            return Err(CsrError::Pem);
        }
        Self::from_der(&pem.contents)
    }

    /// Checks everything that can be checked without knowing the order: proof of possession, key,
    /// attributes, extensions and names.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(self, policy: &KeyPolicy) -> Result<CheckedCsr, CsrError> {
        let request = parse(&self.der)?;
        let info = &request.certification_request_info;
        // The key before the signature: a message about the key says more than a failed verification.
        let key_kind = key::check(&info.subject_pki, policy)?;
        check_signature(&request, key_kind)?;

        let mut wishes = Wishes::default();
        for extension in requested_extensions(&self.der, &request)? {
            wishes.add(extension)?;
        }
        let mut common_name = None;
        for attribute in info.subject.iter_common_name() {
            let text = common_name_text(attribute)?;
            if text.is_empty() {
                continue;
            }
            let name = common_name_as_name(text)?;
            // An address has to be asked for as an address (RFC 8738 section 3); beside that the CN may repeat it.
            if matches!(name, Name::Ip(_)) && !wishes.names.contains(&name) {
                return Err(CsrError::AddressInCommonName);
            }
            wishes.names.insert(name);
            common_name.get_or_insert_with(|| text.to_owned());
        }
        match wishes.names.len() {
            0 => return Err(CsrError::NoNames),
            1..=CheckedCsr::NAMES_MAX => {}
            _ => return Err(CsrError::TooManyNames),
        }
        let spki_der = info.subject_pki.raw.to_vec();
        Ok(CheckedCsr {
            names: wishes.names,
            spki_sha256: sha256(&spki_der),
            spki_der,
            key_kind,
            must_staple: wishes.must_staple,
            common_name,
        })
    }
}

/// A request that was judged good: what it contributes to a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedCsr {
    names: BTreeSet<Name>,
    spki_der: Vec<u8>,
    spki_sha256: [u8; 32],
    key_kind: KeyKind,
    must_staple: bool,
    common_name: Option<String>,
}

impl CheckedCsr {
    /// No order has more names; a profile may allow fewer.
    pub const NAMES_MAX: usize = 100;

    /// Returns all names, those of the common name included.
    pub fn names(&self) -> &BTreeSet<Name> {
        &self.names
    }

    /// Returns the SubjectPublicKeyInfo as it stood in the request.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// Returns the SHA-256 of the SubjectPublicKeyInfo: the key's name in block lists.
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.spki_sha256
    }

    /// Returns the kind of the key.
    pub fn key_kind(&self) -> KeyKind {
        self.key_kind
    }

    /// Tells whether the TLS feature status_request was asked for.
    pub fn must_staple(&self) -> bool {
        self.must_staple
    }

    /// Returns the first common name as it was written.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }
}

/// What the requested extensions amount to.
#[derive(Default)]
struct Wishes {
    names: BTreeSet<Name>,
    must_staple: bool,
}

impl Wishes {
    /// Judges one extension.
    ///
    /// Common clients ask for the plain marks of a leaf as a matter of habit; those are let pass
    /// and decided by the profile. Whoever asks for more than a leaf may have is refused instead of
    /// silently given less.
    fn add(&mut self, extension: &X509Extension<'_>) -> Result<(), CsrError> {
        let unwanted = |what: &str| Err(CsrError::UnwantedExtension(what.to_owned()));
        let malformed = || CsrError::MalformedExtension(extension.oid.to_id_string());
        der::check(extension.value).map_err(|_| malformed())?;
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    self.names.insert(general_name(name)?);
                }
                Ok(())
            }
            ParsedExtension::KeyUsage(usage) if signs_certificates(usage) => {
                unwanted("the key usages keyCertSign and cRLSign")
            }
            ParsedExtension::ExtendedKeyUsage(usage) if !is_for_tls(usage) => {
                unwanted("an extended key usage other than serverAuth and clientAuth")
            }
            ParsedExtension::BasicConstraints(constraints)
                if constraints.ca || constraints.path_len_constraint.is_some() =>
            {
                unwanted("a CA certificate")
            }
            ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::BasicConstraints(_)
            | ParsedExtension::SubjectKeyIdentifier(_) => Ok(()),
            ParsedExtension::ParseError { .. } => Err(malformed()),
            _ if is_oid(&extension.oid, TLS_FEATURE) => {
                if extension.value != STATUS_REQUEST {
                    return unwanted("a TLS feature other than status_request");
                }
                self.must_staple = true;
                Ok(())
            }
            _ => unwanted(&format!("the extension {}", extension.oid.to_id_string())),
        }
    }
}

fn signs_certificates(usage: &KeyUsage) -> bool {
    usage.key_cert_sign() || usage.crl_sign()
}

fn is_for_tls(usage: &ExtendedKeyUsage<'_>) -> bool {
    let more = usage.any
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    (usage.server_auth || usage.client_auth) && !more
}

fn is_oid(oid: &Oid<'_>, arcs: &[u64]) -> bool {
    oid.iter().is_some_and(|found| found.eq(arcs.iter().copied()))
}

fn general_name(name: &GeneralName<'_>) -> Result<Name, CsrError> {
    match name {
        GeneralName::DNSName(text) => Ok(Name::from_dns_value(text)?),
        GeneralName::IPAddress(octets) => address(octets).map(Name::Ip).ok_or(CsrError::AddressLength),
        GeneralName::Invalid(tag, _) if tag.0 == 2 => Err(NameError::NotAscii.into()),
        _ => Err(CsrError::NameType),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(octets)
        .ok()
        .map(|sixteen| Ipv6Addr::from(sixteen).into())
}

fn common_name_text<'a>(attribute: &AttributeTypeAndValue<'a>) -> Result<&'a str, CsrError> {
    attribute.as_str().map_err(|_| CsrError::CommonName)
}

fn common_name_as_name(text: &str) -> Result<Name, CsrError> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(Name::Ip(address)),
        Err(_) => Ok(Name::from_dns_value(text)?),
    }
}

fn parse(der: &[u8]) -> Result<X509CertificationRequest<'_>, CsrError> {
    match X509CertificationRequest::from_der(der) {
        Ok(([], request)) => Ok(request),
        _ => Err(CsrError::Form),
    }
}

/// Counts the members of each structure and looks at their tags, since the parser reads what it
/// knows, skips the rest, and is not strict about some tags.
fn check_shape(der: &[u8]) -> Result<(), DerError> {
    let outer = members(der::only_element(der)?, 3)?;
    let info = members(outer[0], 4)?;
    let key = members(info[2], 2)?;
    let has_tags = info[0].tag == der::INTEGER
        && info[1].tag == der::SEQUENCE
        && info[3].tag == ATTRIBUTES
        && key[1].tag == der::BIT_STRING
        && outer[2].tag == der::BIT_STRING;
    if !has_tags {
        return Err(DerError::Tag);
    }
    check_algorithm(key[0])?;
    check_algorithm(outer[1])?;
    for attribute in raw_attributes(der)? {
        let [oid, values] = attribute[..] else {
            return Err(DerError::Trailing);
        };
        if oid.tag != der::OBJECT_IDENTIFIER || values.tag != der::SET || values.content.is_empty() {
            return Err(DerError::Tag);
        }
    }
    Ok(())
}

fn check_algorithm(algorithm: der::Element<'_>) -> Result<(), DerError> {
    let parts = members(algorithm, 2).or_else(|_| members(algorithm, 1))?;
    if parts[0].tag == der::OBJECT_IDENTIFIER {
        Ok(())
    } else {
        Err(DerError::Tag)
    }
}

fn members(sequence: der::Element<'_>, count: usize) -> Result<Vec<der::Element<'_>>, DerError> {
    let members = der::elements(sequence.content)?;
    if sequence.tag != der::SEQUENCE {
        return Err(DerError::Tag);
    }
    if members.len() == count {
        Ok(members)
    } else {
        Err(DerError::Trailing)
    }
}

/// Returns the requested extensions, each at most once. Other attributes (a challenge password,
/// marks of the operating system that wrote the request) are left unread.
fn requested_extensions<'r>(
    der: &[u8],
    request: &'r X509CertificationRequest<'_>,
) -> Result<&'r [X509Extension<'r>], CsrError> {
    let Some(list) = extension_request(der)? else {
        return Ok(&[]);
    };
    for member in der::elements(list.content)? {
        members(member, 2)
            .or_else(|_| members(member, 3))
            .map_err(|_| CsrError::Form)?;
    }
    let requested = request
        .certification_request_info
        .iter_attributes()
        .find_map(|attribute| match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(requested) => Some(&requested.extensions),
            _ => None,
        })
        .ok_or(CsrError::Form)?;
    let mut seen = Vec::new();
    for extension in requested {
        if seen.contains(&&extension.oid) {
            return Err(CsrError::RepeatedExtension(extension.oid.to_id_string()));
        }
        seen.push(&extension.oid);
    }
    Ok(requested)
}

/// Finds the one value of the one extensionRequest attribute in the bytes themselves: the parser
/// shows the first value of a SET and hides the others.
fn extension_request(der: &[u8]) -> Result<Option<der::Element<'_>>, CsrError> {
    let mut found = None;
    for attribute in raw_attributes(der)? {
        let [oid, values] = attribute[..] else {
            return Err(CsrError::Form);
        };
        if oid.content != OID_PKCS9_EXTENSION_REQUEST.as_bytes() {
            continue;
        }
        match der::elements(values.content)?.as_slice() {
            [list] if found.is_none() => found = Some(*list),
            _ => return Err(CsrError::RepeatedExtensionRequest),
        }
    }
    Ok(found)
}

/// Returns each attribute as its type and its SET of values.
fn raw_attributes(der: &[u8]) -> Result<Vec<Vec<der::Element<'_>>>, DerError> {
    let outer = members(der::only_element(der)?, 3)?;
    let info = members(outer[0], 4)?;
    der::elements(info[3].content)?
        .into_iter()
        .map(|attribute| members(attribute, 2))
        .collect()
}

/// Verifies with algorithms that fit the key. RSASSA-PSS must have a salt as long as its digest (RFC 8017
/// section 9.1 calls it typical, TLS 1.3 demands it): the verifier behind takes no other.
fn check_signature(request: &X509CertificationRequest<'_>, key_kind: KeyKind) -> Result<(), CsrError> {
    let algorithm = &request.signature_algorithm.algorithm;
    let fits = match key_kind {
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 => [
            OID_SIG_ECDSA_WITH_SHA256,
            OID_SIG_ECDSA_WITH_SHA384,
            OID_SIG_ECDSA_WITH_SHA512,
        ]
        .contains(algorithm),
        KeyKind::Ed25519 => *algorithm == OID_SIG_ED25519,
        KeyKind::Rsa(_) => [
            OID_PKCS1_SHA256WITHRSA,
            OID_PKCS1_SHA384WITHRSA,
            OID_PKCS1_SHA512WITHRSA,
            OID_PKCS1_RSASSAPSS,
        ]
        .contains(algorithm),
    };
    if !fits {
        return Err(CsrError::SignatureAlgorithm);
    }
    // A signature is whole octets: bits that nobody signed would otherwise be free to differ.
    if request.signature_value.unused_bits != 0 {
        return Err(CsrError::Signature);
    }
    if key_kind == KeyKind::Ed25519 {
        return check_ed25519(request);
    }
    if *algorithm == OID_SIG_ECDSA_WITH_SHA512 {
        return check_ecdsa_sha512(request, key_kind);
    }
    request.verify_signature().map_err(|_| CsrError::Signature)
}

/// Verifies what RFC 5758 allows with these curves as well and x509-parser does not know.
fn check_ecdsa_sha512(request: &X509CertificationRequest<'_>, key_kind: KeyKind) -> Result<(), CsrError> {
    let algorithm = match key_kind {
        KeyKind::EcdsaP384 => &signature::ECDSA_P384_SHA512_ASN1,
        _ => &signature::ECDSA_P256_SHA512_ASN1,
    };
    let info = &request.certification_request_info;
    let key = signature::UnparsedPublicKey::new(algorithm, &info.subject_pki.subject_public_key.data);
    key.verify(info.raw, &request.signature_value.data)
        .map_err(|_| CsrError::Signature)
}

/// Verifies strictly: the plain verification of RFC 8032 leaves room for signatures that fit several keys.
fn check_ed25519(request: &X509CertificationRequest<'_>) -> Result<(), CsrError> {
    let info = &request.certification_request_info;
    let key: &[u8; 32] = info
        .subject_pki
        .subject_public_key
        .data
        .as_ref()
        .try_into()
        .map_err(|_| CsrError::Signature)?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(key).map_err(|_| CsrError::Signature)?;
    let signature =
        ed25519_dalek::Signature::from_slice(&request.signature_value.data).map_err(|_| CsrError::Signature)?;
    key.verify_strict(info.raw, &signature).map_err(|_| CsrError::Signature)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest
        .as_ref()
        .try_into()
        .expect("invariant: a SHA-256 digest has 32 octets")
}

#[cfg(test)]
mod tests;
