//! Deciding what a certificate holds, and encoding that decision.

use jiff::Timestamp;
use rcgen::{
    CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyUsagePurpose, SanType, SerialNumber,
};
use sigillo_protocol::{
    acme::{
        identifier::Name,
        problem::{ErrorType, Problem, Subproblem},
    },
    x509::key::{KeyError, KeyKind},
};
use x509_cert::{
    der::{Encode, asn1::Ia5String},
    ext::pkix::{
        AccessDescription, AuthorityInfoAccessSyntax, CertificatePolicies, certpolicy::PolicyInformation,
        name::GeneralName,
    },
};

use super::{
    certificate::Issuer,
    encode::{self, EncodeError},
    issue::Linted,
    lint::{self, LintError},
};
use crate::{
    model::{AccountId, Certificate, CertificateState, OrderId, Serial, Version},
    policy::profile::{CommonName, DatesError, ExtendedUsage, MustStaple, Profile, Usage, Validity},
};

/// What is asked of the issuer: facts that were judged before.
#[derive(Debug, Clone, Default)]
pub struct IssueRequest {
    /// The key, as SubjectPublicKeyInfo.
    pub spki_der: Vec<u8>,
    /// The names, in the order in which they shall stand.
    pub names: Vec<Name>,
    /// Whether the request asked for must-staple.
    pub must_staple: bool,
    /// The first second, if the order asked for one.
    pub not_before: Option<Timestamp>,
    /// The last second, if the order asked for one.
    pub not_after: Option<Timestamp>,
    /// First and last second as the CA itself has decided, for a certificate that it renews: what the order asked for
    /// was judged then, and the profile's dates do not count.
    pub term: Option<Validity>,
    /// The common name of the CA's own certificates; `None` for everybody else's.
    pub common_name: Option<String>,
    /// Whose it will be.
    pub account: Option<AccountId>,
    /// The order that it answers.
    pub order: Option<OrderId>,
}

/// A certificate that is not issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The key is not one that the profile takes.
    #[error("the key is refused: {0}")]
    Key(#[from] KeyError),
    /// Names that are not issued under the profile or the issuing CA.
    #[error("not issued here: {}", refused_names(.0))]
    Names(Vec<Subproblem>),
    /// No names where the profile wants some, or more than it takes, or one twice.
    #[error("a certificate of this profile holds between 1 and {0} names, each once")]
    NameCount(usize),
    /// Must-staple where the profile refuses it.
    #[error("this profile issues no must-staple certificates")]
    MustStaple,
    /// The dates cannot be met.
    #[error(transparent)]
    Dates(#[from] DatesError),
    /// The asked dates reach beyond the issuing CA's own.
    #[error("the issuing CA's own certificate ends on {0}")]
    BeyondIssuer(Timestamp),
    /// The issuing CA is not valid now. The operator must act.
    #[error("the issuing CA's certificate is not valid now: it ends on {0}")]
    IssuerExpired(Timestamp),
    /// None of the profile's key usages fits the key.
    #[error("none of the profile's key usages fits a key of kind {0}")]
    KeyUsage(KeyKind),
    /// The common name does not fit the profile.
    #[error("the profile and the request do not agree on the common name")]
    CommonName,
    /// A mistake of ours.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

fn refused_names(refused: &[Subproblem]) -> String {
    let named = refused.iter().map(|sub| match &sub.identifier {
        Some(identifier) => format!("{} ({})", identifier.value, sub.detail),
        None => sub.detail.clone(),
    });
    named.collect::<Vec<_>>().join(", ")
}

impl PrepareError {
    /// Returns the problem to answer with.
    pub fn problem(&self) -> Problem {
        let detail = self.to_string();
        match self {
            Self::Key(_) | Self::MustStaple | Self::KeyUsage(_) => Problem::new(ErrorType::BadCsr, detail),
            Self::Names(refusals) => Problem::compound(refusals.clone())
                .unwrap_or_else(|| Problem::new(ErrorType::RejectedIdentifier, detail)),
            Self::NameCount(_) | Self::Dates(_) | Self::BeyondIssuer(_) => Problem::malformed(detail),
            // What the client cannot help is not explained to it.
            Self::IssuerExpired(_) | Self::CommonName | Self::Encode(_) => Problem::new(
                ErrorType::ServerInternal,
                "the certificate cannot be issued at the moment",
            ),
        }
    }
}

/// A certificate that is decided on and encoded, but not yet linted.
///
/// It holds on to the issuer and the profile that it was decided with, so that the lint cannot be
/// made against another snapshot.
#[derive(Debug, Clone)]
pub struct Prepared<'a> {
    pub(super) issuer: &'a Issuer,
    pub(super) profile: &'a Profile,
    pub(super) contents: Contents,
    pub(super) record: Certificate,
}

/// What the certificate shall hold, whoever encodes it.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    pub(super) serial: Serial,
    pub(super) validity: Validity,
    pub(super) common_name: Option<String>,
    pub(super) names: Vec<Name>,
    pub(super) spki_der: Vec<u8>,
    pub(super) key_usages: Vec<Usage>,
    pub(super) must_staple: bool,
}

/// Decides what the certificate holds.
///
/// The serial comes from [`Serial::random`]; it is an argument so that a test can repeat a run.
///
/// # Errors
/// Why it is not issued.
pub fn prepare<'a>(
    issuer: &'a Issuer,
    profile: &'a Profile,
    request: IssueRequest,
    serial: Serial,
    now: Timestamp,
) -> Result<Prepared<'a>, PrepareError> {
    let contents = decide(issuer, profile, &request, serial, now)?;
    let certificate = issuer.certificate();
    let tbs = encode::tbs(
        &params(issuer, profile, &contents)?,
        &contents.spki_der,
        &certificate.subject_der,
        &certificate.key_identifier,
        issuer.signer().algorithm(),
    )?;
    let record = Certificate {
        serial,
        version: Version::NEW,
        issuer: issuer.id().clone(),
        account: request.account,
        order: request.order,
        profile: profile.name.clone(),
        names: contents.names.clone(),
        subject: contents
            .common_name
            .as_ref()
            .map(|name| format!("CN={name}"))
            .unwrap_or_default(),
        not_before: contents.validity.not_before,
        not_after: contents.validity.not_after,
        spki_sha256: encode::sha256(&contents.spki_der),
        tbs,
        state: CertificateState::Intended,
        created: now,
        replaced_by: None,
        renew_from: None,
    };
    Ok(Prepared {
        issuer,
        profile,
        contents,
        record,
    })
}

fn decide(
    issuer: &Issuer,
    profile: &Profile,
    request: &IssueRequest,
    serial: Serial,
    now: Timestamp,
) -> Result<Contents, PrepareError> {
    let kind = profile.keys.check_spki(&request.spki_der)?;
    check_names(issuer, profile, &request.names)?;
    Ok(Contents {
        serial,
        validity: validity(issuer, profile, request, now)?,
        common_name: common_name(profile, request)?,
        names: request.names.clone(),
        spki_der: request.spki_der.clone(),
        key_usages: key_usages(profile, kind)?,
        must_staple: match (profile.must_staple, request.must_staple) {
            (MustStaple::Refuse, true) => return Err(PrepareError::MustStaple),
            (MustStaple::Refuse, false) => false,
            (MustStaple::Allow, asked) => asked,
            (MustStaple::Require, _) => true,
        },
    })
}

fn check_names(issuer: &Issuer, profile: &Profile, names: &[Name]) -> Result<(), PrepareError> {
    let mut distinct = names.to_vec();
    distinct.sort();
    distinct.dedup();
    let wanted = if profile.names_max == 0 {
        0..=0
    } else {
        1..=profile.names_max
    };
    if !wanted.contains(&names.len()) || distinct.len() != names.len() {
        return Err(PrepareError::NameCount(profile.names_max));
    }
    let mut refusals = profile.permits(names).err().unwrap_or_default();
    let constraints = &issuer.certificate().constraints;
    refusals.extend(names.iter().filter_map(|name| constraints.permits(name).err()));
    if refusals.is_empty() {
        Ok(())
    } else {
        Err(PrepareError::Names(refusals))
    }
}

/// Keeps the certificate inside its issuer's validity: what was not asked for is cut to it, what
/// was asked for is refused beyond it.
fn validity(
    issuer: &Issuer,
    profile: &Profile,
    request: &IssueRequest,
    now: Timestamp,
) -> Result<Validity, PrepareError> {
    let own = issuer.certificate();
    if now < own.not_before || now >= own.not_after {
        return Err(PrepareError::IssuerExpired(own.not_after));
    }
    if let Some(term) = request.term {
        return within_issuer(issuer, profile, term);
    }
    let mut validity = profile.validity.decide(request.not_before, request.not_after, now)?;
    if validity.not_before < own.not_before {
        if request.not_before.is_some() {
            return Err(PrepareError::BeyondIssuer(own.not_after));
        }
        validity.not_before = own.not_before;
        if request.not_after.is_none() {
            validity.not_after = profile
                .validity
                .usual
                .last_second(own.not_before)
                .ok_or(DatesError::Range)?;
        }
    }
    if validity.not_after > own.not_after {
        if request.not_after.is_some() || request.not_before.is_some_and(|first| first >= own.not_after) {
            return Err(PrepareError::BeyondIssuer(own.not_after));
        }
        validity.not_after = own.not_after;
    }
    Ok(validity)
}

/// Keeps a decided term inside the issuer's validity, and refuses one that the profile finds too long.
fn within_issuer(issuer: &Issuer, profile: &Profile, term: Validity) -> Result<Validity, PrepareError> {
    let own = issuer.certificate();
    let longest = profile
        .validity
        .longest
        .last_second(term.not_before)
        .ok_or(DatesError::Range)?;
    if term.not_after > longest {
        return Err(DatesError::TooLong(longest).into());
    }
    if term.not_before >= own.not_after || term.not_after < own.not_before {
        return Err(PrepareError::BeyondIssuer(own.not_after));
    }
    Ok(Validity {
        not_before: term.not_before.max(own.not_before),
        not_after: term.not_after.min(own.not_after),
    })
}

/// The most characters that a common name holds (RFC 5280 appendix A, ub-common-name).
const COMMON_NAME_MAX: usize = 64;

fn common_name(profile: &Profile, request: &IssueRequest) -> Result<Option<String>, PrepareError> {
    match (profile.common_name, &request.common_name) {
        (CommonName::Given, Some(text)) if (1..=COMMON_NAME_MAX).contains(&text.chars().count()) => {
            Ok(Some(text.clone()))
        }
        (CommonName::None, None) => Ok(None),
        (CommonName::First, None) => Ok(request
            .names
            .iter()
            .filter(|name| !matches!(name, Name::Ip(_)))
            .map(Name::to_string)
            .find(|text| text.len() <= COMMON_NAME_MAX)),
        _ => Err(PrepareError::CommonName),
    }
}

/// Takes the usages that fit the key: only RSA enciphers keys, only ECDSA curves agree on them
/// (RFC 8446 and RFC 8410 section 5).
fn key_usages(profile: &Profile, kind: KeyKind) -> Result<Vec<Usage>, PrepareError> {
    let is_rsa = matches!(kind, KeyKind::Rsa(_));
    let is_ecdsa = matches!(kind, KeyKind::EcdsaP256 | KeyKind::EcdsaP384);
    let usual = [Usage::DigitalSignature, Usage::KeyEncipherment];
    let fitting: Vec<Usage> = profile
        .key_usage
        .as_deref()
        .unwrap_or(&usual)
        .iter()
        .copied()
        .filter(|usage| match usage {
            Usage::DigitalSignature => true,
            Usage::KeyEncipherment => is_rsa,
            Usage::KeyAgreement => is_ecdsa,
        })
        .collect();
    if fitting.is_empty() {
        Err(PrepareError::KeyUsage(kind))
    } else {
        Ok(fitting)
    }
}

/// Says it in rcgen's words. Everything that rcgen would make up by itself is given.
fn params(issuer: &Issuer, profile: &Profile, contents: &Contents) -> Result<CertificateParams, PrepareError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(contents.serial.as_bytes()));
    params.not_before = encode::rcgen_time!(contents.validity.not_before);
    params.not_after = encode::rcgen_time!(contents.validity.not_after);
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = &contents.common_name {
        params
            .distinguished_name
            .push(DnType::CommonName, DnValue::Utf8String(name.clone()));
    }
    params.subject_alt_names = contents.names.iter().map(san).collect::<Result<_, _>>()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_identifier_method = KeyIdMethod::PreSpecified(encode::key_identifier(&contents.spki_der));
    params.use_authority_key_identifier_extension = true;
    params.key_usages = contents.key_usages.iter().map(|usage| purpose(*usage)).collect();
    params.extended_key_usages = profile
        .extended_key_usage
        .iter()
        .map(|usage| extended(*usage))
        .collect();
    if profile.crl {
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec![issuer.urls().crl.clone()],
        }];
    }
    params.custom_extensions = custom_extensions(issuer, profile, contents)?;
    Ok(params)
}

fn san(name: &Name) -> Result<SanType, EncodeError> {
    Ok(match name {
        Name::Ip(address) => SanType::IpAddress(*address),
        name => SanType::DnsName(name.to_string().try_into()?),
    })
}

fn purpose(usage: Usage) -> KeyUsagePurpose {
    match usage {
        Usage::DigitalSignature => KeyUsagePurpose::DigitalSignature,
        Usage::KeyEncipherment => KeyUsagePurpose::KeyEncipherment,
        Usage::KeyAgreement => KeyUsagePurpose::KeyAgreement,
    }
}

fn extended(usage: ExtendedUsage) -> ExtendedKeyUsagePurpose {
    match usage {
        ExtendedUsage::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedUsage::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedUsage::OcspSigning => ExtendedKeyUsagePurpose::OcspSigning,
    }
}

const AUTHORITY_INFO_ACCESS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 1];
const CERTIFICATE_POLICIES: &[u64] = &[2, 5, 29, 32];
const TLS_FEATURE: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 24];
const OCSP_NO_CHECK: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 48, 1, 5];
/// The TLS feature status_request (RFC 7633 section 4).
pub(super) const STATUS_REQUEST: &[u8] = &[0x30, 3, 2, 1, 5];
/// The NULL of id-pkix-ocsp-nocheck (RFC 6960 section 4.2.2.2.1).
pub(super) const NULL: &[u8] = &[5, 0];

fn custom_extensions(
    issuer: &Issuer,
    profile: &Profile,
    contents: &Contents,
) -> Result<Vec<CustomExtension>, EncodeError> {
    let mut extensions = Vec::new();
    let ocsp = profile.ocsp.then_some(issuer.urls().ocsp.as_str());
    let certificate = profile.issuer.then_some(issuer.urls().certificate.as_str());
    if let Some(content) = authority_info_access(ocsp, certificate)? {
        extensions.push(CustomExtension::from_oid_content(AUTHORITY_INFO_ACCESS, content));
    }
    if !profile.policies.is_empty() {
        let policies = profile
            .policies
            .iter()
            .map(|oid| PolicyInformation {
                policy_identifier: *oid,
                policy_qualifiers: None,
            })
            .collect();
        let content = CertificatePolicies(policies).to_der()?;
        extensions.push(CustomExtension::from_oid_content(CERTIFICATE_POLICIES, content));
    }
    if contents.must_staple {
        extensions.push(CustomExtension::from_oid_content(TLS_FEATURE, STATUS_REQUEST.to_vec()));
    }
    if profile.ocsp_no_check {
        extensions.push(CustomExtension::from_oid_content(OCSP_NO_CHECK, NULL.to_vec()));
    }
    Ok(extensions)
}

/// Encodes authorityInfoAccess (RFC 5280 section 4.2.2.1), unless there is nothing to say.
fn authority_info_access(ocsp: Option<&str>, certificate: Option<&str>) -> Result<Option<Vec<u8>>, EncodeError> {
    use const_oid::db::rfc5280::{ID_AD_CA_ISSUERS, ID_AD_OCSP};
    let mut descriptions = Vec::new();
    for (method, url) in [(ID_AD_OCSP, ocsp), (ID_AD_CA_ISSUERS, certificate)] {
        let Some(url) = url else { continue };
        descriptions.push(AccessDescription {
            access_method: method,
            access_location: GeneralName::UniformResourceIdentifier(Ia5String::new(url)?),
        });
    }
    if descriptions.is_empty() {
        return Ok(None);
    }
    Ok(Some(AuthorityInfoAccessSyntax(descriptions).to_der()?))
}

/// Makes the authorityInfoAccess of a CA certificate, which names only its issuer's certificate.
pub(super) fn issuer_access(certificate_url: &str) -> Result<CustomExtension, EncodeError> {
    let content =
        authority_info_access(None, Some(certificate_url))?.ok_or_else(|| EncodeError("no issuer URL".to_owned()))?;
    Ok(CustomExtension::from_oid_content(AUTHORITY_INFO_ACCESS, content))
}

impl Prepared<'_> {
    /// Returns what will be recorded.
    pub fn record(&self) -> &Certificate {
        &self.record
    }

    /// Holds the encoded bytes against what was decided.
    ///
    /// # Errors
    /// The first difference: a mistake of ours, never the client's.
    pub fn lint(self) -> Result<Linted, LintError> {
        lint::check(&self.record.tbs, self.issuer, self.profile, &self.contents)?;
        Ok(Linted::new(self.record))
    }
}

#[cfg(test)]
mod tests;
