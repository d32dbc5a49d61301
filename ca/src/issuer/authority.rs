//! The CA's own certificates: the root, the issuing CA under it, and the root's CRL.
//!
//! Made at ceremonies only, with a key that need not be here at any other time.

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CidrSubnet, CrlDistributionPoint,
    DistinguishedName, DnType, DnValue, GeneralSubtree, IsCa, KeyIdMethod, KeyUsagePurpose, PublicKeyData,
    SerialNumber, SigningKey,
};
use sigillo_protocol::x509::der;
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

use super::{
    certificate::{IssuerCertificate, IssuerError, IssuerUrls},
    encode::{self, EncodeError},
    prepare,
};
use crate::{
    model::{IssuerId, Serial},
    policy::{NameConstraints, Network, profile::Validity},
    signer::{SharedSigner, SignError, verify},
};

/// A CA certificate that was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthorityError {
    /// A mistake of ours.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// What was made does not read back as a CA certificate.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The signature is not good.
    #[error("the signature does not verify under the signing key")]
    BadSignature,
}

/// What a CA is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) common_name: String,
    pub(super) organization: Option<String>,
}

/// Makes a self-signed root (RFC 5280 section 3.2).
pub(super) fn make_root(
    id: &IssuerId,
    subject: &Subject,
    validity: Validity,
    signer: &SharedSigner,
) -> Result<IssuerCertificate, AuthorityError> {
    let params = authority_params(subject, validity, BasicConstraints::Unconstrained, signer.spki_der());
    let key_identifier = encode::key_identifier(signer.spki_der());
    let encode = |issuer: &[u8]| encode::tbs(&params, signer.spki_der(), issuer, &key_identifier, signer.algorithm());
    // The first encoding only tells how the subject is written.
    let subject_der = encode::subject_of(&encode(EMPTY_NAME)?)?;
    sign(id, &encode(&subject_der)?, signer)
}

/// A Name without attributes.
const EMPTY_NAME: &[u8] = &[0x30, 0];

/// Makes a CA under another one: an issuing CA if `below_max` is 0, since that allows no further CA under it.
pub(super) fn make_under(
    below_max: u8,
    id: &IssuerId,
    subject: &Subject,
    validity: Validity,
    spki_der: &[u8],
    constraints: &NameConstraints,
    (above, above_signer, above_urls): (&IssuerCertificate, &SharedSigner, &IssuerUrls),
) -> Result<IssuerCertificate, AuthorityError> {
    let mut params = authority_params(subject, validity, BasicConstraints::Constrained(below_max), spki_der);
    params.use_authority_key_identifier_extension = true;
    params.crl_distribution_points = vec![CrlDistributionPoint {
        uris: vec![above_urls.crl.clone()],
    }];
    params.custom_extensions = vec![prepare::issuer_access(&above_urls.certificate)?];
    if !constraints.is_empty() {
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: subtrees(&constraints.permitted_dns, &constraints.permitted_ip),
            excluded_subtrees: subtrees(&constraints.excluded_dns, &constraints.excluded_ip),
        });
    }
    let tbs = encode::tbs(
        &params,
        spki_der,
        &above.subject_der,
        &above.key_identifier,
        above_signer.algorithm(),
    )?;
    sign(id, &tbs, above_signer)
}

fn authority_params(
    subject: &Subject,
    validity: Validity,
    path: BasicConstraints,
    spki_der: &[u8],
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(Serial::random().as_bytes()));
    params.not_before = encode::rcgen_time!(validity.not_before);
    params.not_after = encode::rcgen_time!(validity.not_after);
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = &subject.organization {
        params
            .distinguished_name
            .push(DnType::OrganizationName, DnValue::Utf8String(organization.clone()));
    }
    params
        .distinguished_name
        .push(DnType::CommonName, DnValue::Utf8String(subject.common_name.clone()));
    params.is_ca = IsCa::Ca(path);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.key_identifier_method = KeyIdMethod::PreSpecified(encode::key_identifier(spki_der));
    params
}

fn subtrees(names: &[String], networks: &[Network]) -> Vec<GeneralSubtree> {
    let names = names.iter().map(|name| GeneralSubtree::DnsName(name.clone()));
    let networks = networks.iter().map(|n| GeneralSubtree::IpAddress(subnet(n)));
    names.chain(networks).collect()
}

fn subnet(network: &Network) -> CidrSubnet {
    // rcgen's own constructor takes the mask of a whole prefix for the empty one.
    match network.address() {
        std::net::IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(network.prefix())).unwrap_or(0);
            CidrSubnet::V4(address.octets(), mask.to_be_bytes())
        }
        std::net::IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(network.prefix())).unwrap_or(0);
            CidrSubnet::V6(address.octets(), mask.to_be_bytes())
        }
    }
}

fn sign(id: &IssuerId, tbs: &[u8], signer: &SharedSigner) -> Result<IssuerCertificate, AuthorityError> {
    der::check(tbs).map_err(|error| EncodeError(error.to_string()))?;
    let signature = signer.sign(tbs)?;
    if !verify(signer.algorithm(), signer.spki_der(), tbs, &signature) {
        return Err(AuthorityError::BadSignature);
    }
    let der = encode::signed(tbs, signer.algorithm(), &signature)?;
    Ok(IssuerCertificate::from_der(id.clone(), &der)?)
}

/// A key of ours where rcgen wants one of its own.
struct RcgenKey<'a>(&'a SharedSigner);

impl PublicKeyData for RcgenKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        // Asked for only to derive a key identifier, which is given.
        &[]
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        encode::rcgen_algorithm(self.0.algorithm())
    }
}

impl SigningKey for RcgenKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// Makes a root's CRL that lists nothing, in DER.
///
/// It is signed at the first ceremony and at each later one; its number must rise each time.
///
/// # Errors
/// When it cannot be encoded or signed, or would not name the root byte for byte.
pub fn root_crl(
    root: &IssuerCertificate,
    signer: &SharedSigner,
    number: u64,
    this_update: Timestamp,
    next_update: Timestamp,
) -> Result<Vec<u8>, AuthorityError> {
    let failed = |error: rcgen::Error| EncodeError(error.to_string());
    let issuer = rcgen::Issuer::from_ca_cert_der(&root.der.as_slice().into(), RcgenKey(signer)).map_err(failed)?;
    let crl = CertificateRevocationListParams {
        this_update: encode::rcgen_time!(this_update),
        next_update: encode::rcgen_time!(next_update),
        crl_number: SerialNumber::from(number),
        // None: a path is checked from the root down, and the root's own certificate names no distribution point
        // that one here could be equal to (OpenSSL calls that a different scope).
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::PreSpecified(root.key_identifier.clone()),
    }
    .signed_by(&issuer)
    .map_err(failed)?;
    let der = crl.der().to_vec();
    let Ok(([], parsed)) = CertificateRevocationList::from_der(&der) else {
        return Err(EncodeError("the root's CRL cannot be read back".to_owned()).into());
    };
    if parsed.issuer().as_raw() != root.subject_der {
        return Err(EncodeError("the root's CRL does not name the root as its certificate does".to_owned()).into());
    }
    let tbs = parsed.tbs_cert_list.as_ref();
    if !verify(signer.algorithm(), &root.spki_der, tbs, &parsed.signature_value.data) {
        return Err(AuthorityError::BadSignature);
    }
    Ok(der)
}
