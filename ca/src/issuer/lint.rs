//! The lint: reads the encoded bytes back and holds every field against what was decided.
//!
//! It shares no code with the encoding, reads with another library, and expects each field and each
//! extension by itself, so that a mistake there shows before the key is used. What is not expected
//! is refused.

use std::{collections::BTreeSet, net::IpAddr};

use sigillo_protocol::{acme::identifier::Name, x509::der};
use x509_cert::{
    TbsCertificate as StrictTbs,
    der::{Decode, Encode},
    ext::pkix,
};
use x509_parser::{
    certificate::TbsCertificate,
    extensions::{DistributionPointName, GeneralName, ParsedExtension, X509Extension},
    prelude::FromDer,
    time::ASN1Time,
    x509::X509Version,
};

use super::{
    certificate::Issuer,
    encode,
    prepare::{Contents, NULL, STATUS_REQUEST},
};
use crate::policy::profile::{ExtendedUsage, Profile, Usage};

/// A difference between what was decided and what was encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lint: {0}")]
pub struct LintError(pub String);

macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(LintError(format!($($what)+)));
        }
    };
}

/// Checks to-be-signed bytes.
pub(super) fn check(tbs: &[u8], issuer: &Issuer, profile: &Profile, contents: &Contents) -> Result<(), LintError> {
    der::check(tbs).map_err(|error| LintError(error.to_string()))?;
    // The parser below is lenient about some tags; this one reads exactly what it would write.
    let exact = StrictTbs::from_der(tbs).and_then(|strict| strict.to_der());
    ensure!(exact.as_deref() == Ok(tbs), "it is not written as DER writes it");
    let Ok(([], parsed)) = TbsCertificate::from_der(tbs) else {
        return Err(LintError("it cannot be read back".to_owned()));
    };
    check_fields(&parsed, issuer, contents)?;
    check_validity(&parsed, issuer, contents)?;
    check_subject(&parsed, contents)?;
    check_extension_list(&parsed, profile, contents)?;
    for extension in parsed.extensions() {
        check_extension(extension, issuer, profile, contents)?;
    }
    Ok(())
}

fn check_fields(parsed: &TbsCertificate<'_>, issuer: &Issuer, contents: &Contents) -> Result<(), LintError> {
    ensure!(parsed.version == X509Version::V3, "version is not 3");
    ensure!(
        parsed.raw_serial() == contents.serial.to_der_content(),
        "serial number differs"
    );
    let algorithm = encode::read_algorithm(&parsed.signature);
    ensure!(
        algorithm == Some(issuer.signer().algorithm()),
        "signature algorithm differs"
    );
    ensure!(
        parsed.issuer.as_raw() == issuer.certificate().subject_der,
        "issuer is not the CA's subject"
    );
    ensure!(parsed.subject_pki.raw == contents.spki_der, "key differs");
    ensure!(
        parsed.issuer_uid.is_none() && parsed.subject_uid.is_none(),
        "unique identifiers are there"
    );
    Ok(())
}

fn check_validity(parsed: &TbsCertificate<'_>, issuer: &Issuer, contents: &Contents) -> Result<(), LintError> {
    let dates = [
        ("notBefore", parsed.validity.not_before, contents.validity.not_before),
        ("notAfter", parsed.validity.not_after, contents.validity.not_after),
    ];
    for (which, found, expected) in dates {
        ensure!(found.timestamp() == expected.as_second(), "{which} differs");
        ensure!(expected.subsec_nanosecond() == 0, "{which} has a fraction");
        ensure!(has_right_form(&found), "{which} has the wrong type for its year");
    }
    ensure!(
        contents.validity.not_before <= contents.validity.not_after,
        "validity ends before it begins"
    );
    let own = issuer.certificate();
    ensure!(
        contents.validity.not_before >= own.not_before,
        "validity begins before the issuer's"
    );
    ensure!(
        contents.validity.not_after <= own.not_after,
        "validity ends after the issuer's"
    );
    Ok(())
}

/// UTCTime through 2049, GeneralizedTime from 2050 on.
fn has_right_form(time: &ASN1Time) -> bool {
    if time.to_datetime().year() < 2050 {
        time.is_utctime()
    } else {
        time.is_generalizedtime()
    }
}

fn check_subject(parsed: &TbsCertificate<'_>, contents: &Contents) -> Result<(), LintError> {
    let Some(name) = &contents.common_name else {
        ensure!(parsed.subject.as_raw() == [0x30, 0], "subject is not empty");
        return Ok(());
    };
    ensure!(parsed.subject.iter().count() == 1, "subject is not one attribute");
    let mut attributes = parsed.subject.iter_common_name();
    let found = attributes.next().and_then(|attribute| attribute.as_str().ok());
    ensure!(
        found == Some(name.as_str()) && attributes.next().is_none(),
        "common name differs"
    );
    Ok(())
}

const AUTHORITY_KEY_IDENTIFIER: &str = "2.5.29.35";
const SUBJECT_KEY_IDENTIFIER: &str = "2.5.29.14";
const KEY_USAGE: &str = "2.5.29.15";
const SUBJECT_ALT_NAME: &str = "2.5.29.17";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const CRL_DISTRIBUTION_POINTS: &str = "2.5.29.31";
const CERTIFICATE_POLICIES: &str = "2.5.29.32";
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
const AUTHORITY_INFO_ACCESS: &str = "1.3.6.1.5.5.7.1.1";
const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";
const OCSP_NO_CHECK: &str = "1.3.6.1.5.5.7.48.1.5";

/// Exactly the expected extensions, each once, each with the right criticality.
fn check_extension_list(parsed: &TbsCertificate<'_>, profile: &Profile, contents: &Contents) -> Result<(), LintError> {
    let expected = [
        (AUTHORITY_KEY_IDENTIFIER, true, false),
        (SUBJECT_KEY_IDENTIFIER, true, false),
        (KEY_USAGE, true, true),
        (BASIC_CONSTRAINTS, true, true),
        (EXTENDED_KEY_USAGE, true, false),
        // RFC 5280 section 4.2.1.6: critical exactly when there is no subject.
        (
            SUBJECT_ALT_NAME,
            !contents.names.is_empty(),
            contents.common_name.is_none(),
        ),
        (CRL_DISTRIBUTION_POINTS, profile.crl, false),
        (AUTHORITY_INFO_ACCESS, profile.ocsp || profile.issuer, false),
        (CERTIFICATE_POLICIES, !profile.policies.is_empty(), false),
        (TLS_FEATURE, contents.must_staple, false),
        (OCSP_NO_CHECK, profile.ocsp_no_check, false),
    ];
    let expected: BTreeSet<(String, bool)> = expected
        .into_iter()
        .filter(|(_, present, _)| *present)
        .map(|(oid, _, critical)| (oid.to_owned(), critical))
        .collect();
    let found: BTreeSet<(String, bool)> = parsed
        .extensions()
        .iter()
        .map(|e| (e.oid.to_id_string(), e.critical))
        .collect();
    ensure!(found.len() == parsed.extensions().len(), "an extension is there twice");
    let difference: Vec<_> = found
        .symmetric_difference(&expected)
        .map(|(oid, _)| oid.as_str())
        .collect();
    ensure!(
        difference.is_empty(),
        "extensions or their criticality differ: {}",
        difference.join(" ")
    );
    Ok(())
}

fn check_extension(
    extension: &X509Extension<'_>,
    issuer: &Issuer,
    profile: &Profile,
    contents: &Contents,
) -> Result<(), LintError> {
    let oid = extension.oid.to_id_string();
    ensure!(
        is_exact(&oid, extension.value),
        "extension {oid} is not written as DER writes it"
    );
    let right = match (oid.as_str(), extension.parsed_extension()) {
        (AUTHORITY_KEY_IDENTIFIER, ParsedExtension::AuthorityKeyIdentifier(aki)) => {
            aki.key_identifier
                .as_ref()
                .is_some_and(|id| id.0 == issuer.certificate().key_identifier)
                && aki.authority_cert_issuer.is_none()
                && aki.authority_cert_serial.is_none()
        }
        (SUBJECT_KEY_IDENTIFIER, ParsedExtension::SubjectKeyIdentifier(id)) => {
            id.0 == encode::key_identifier(&contents.spki_der)
        }
        (KEY_USAGE, ParsedExtension::KeyUsage(usage)) => usage.flags == key_usage_flags(&contents.key_usages),
        (BASIC_CONSTRAINTS, _) => extension.value == [0x30, 0],
        (EXTENDED_KEY_USAGE, ParsedExtension::ExtendedKeyUsage(usage)) => {
            let has = |wanted| profile.extended_key_usage.contains(&wanted);
            let more = usage.any || usage.code_signing || usage.email_protection || usage.time_stamping;
            usage.server_auth == has(ExtendedUsage::ServerAuth)
                && usage.client_auth == has(ExtendedUsage::ClientAuth)
                && usage.ocsp_signing == has(ExtendedUsage::OcspSigning)
                && !more
                && usage.other.is_empty()
        }
        (SUBJECT_ALT_NAME, ParsedExtension::SubjectAlternativeName(san)) => {
            let found: Option<Vec<Name>> = san.general_names.iter().map(read_name).collect();
            found.as_ref() == Some(&contents.names)
        }
        (CRL_DISTRIBUTION_POINTS, ParsedExtension::CRLDistributionPoints(points)) => match points.points.as_slice() {
            [point] => {
                let urls: &[GeneralName<'_>] = match &point.distribution_point {
                    Some(DistributionPointName::FullName(names)) => names,
                    _ => &[],
                };
                matches!(urls, [GeneralName::URI(url)] if *url == issuer.urls().crl)
                    && point.reasons.is_none()
                    && point.crl_issuer.is_none()
            }
            _ => false,
        },
        (AUTHORITY_INFO_ACCESS, ParsedExtension::AuthorityInfoAccess(access)) => {
            let found: Vec<(String, &GeneralName<'_>)> = access
                .accessdescs
                .iter()
                .map(|description| (description.access_method.to_id_string(), &description.access_location))
                .collect();
            let ocsp = profile.ocsp.then_some(("1.3.6.1.5.5.7.48.1", &issuer.urls().ocsp));
            let certificate = profile
                .issuer
                .then_some(("1.3.6.1.5.5.7.48.2", &issuer.urls().certificate));
            let expected: Vec<(&str, &String)> = ocsp.into_iter().chain(certificate).collect();
            found.len() == expected.len()
                && found.iter().zip(&expected).all(|((method, location), (wanted, url))| {
                    method == wanted && matches!(location, GeneralName::URI(found) if found == url)
                })
        }
        (CERTIFICATE_POLICIES, ParsedExtension::CertificatePolicies(policies)) => {
            policies.len() == profile.policies.len()
                && policies.iter().zip(&profile.policies).all(|(found, wanted)| {
                    found.policy_id.to_id_string() == wanted.to_string() && found.policy_qualifiers.is_none()
                })
        }
        (TLS_FEATURE, _) => extension.value == STATUS_REQUEST,
        (OCSP_NO_CHECK, _) => extension.value == NULL,
        _ => false,
    };
    ensure!(right, "extension {oid} differs from what was decided");
    Ok(())
}

/// Tells whether a value is exactly what a strict writer of its type makes of it: tags, named bit
/// lists without trailing zeros, defaults left out.
fn is_exact(oid: &str, value: &[u8]) -> bool {
    match oid {
        AUTHORITY_KEY_IDENTIFIER => rewrites::<pkix::AuthorityKeyIdentifier>(value),
        SUBJECT_KEY_IDENTIFIER => rewrites::<pkix::SubjectKeyIdentifier>(value),
        KEY_USAGE => rewrites::<pkix::KeyUsage>(value),
        BASIC_CONSTRAINTS => rewrites::<pkix::BasicConstraints>(value),
        EXTENDED_KEY_USAGE => rewrites::<pkix::ExtendedKeyUsage>(value),
        SUBJECT_ALT_NAME => rewrites::<pkix::SubjectAltName>(value),
        CRL_DISTRIBUTION_POINTS => rewrites::<pkix::CrlDistributionPoints>(value),
        AUTHORITY_INFO_ACCESS => rewrites::<pkix::AuthorityInfoAccessSyntax>(value),
        CERTIFICATE_POLICIES => rewrites::<pkix::CertificatePolicies>(value),
        // The others have one value only, which is compared as a whole.
        _ => der::check(value).is_ok(),
    }
}

fn rewrites<'a, T: Decode<'a> + Encode>(value: &'a [u8]) -> bool {
    T::from_der(value)
        .and_then(|read| read.to_der())
        .is_ok_and(|written| written == value)
}

/// The bits of KeyUsage as the parser numbers them: bit 0 is the lowest.
fn key_usage_flags(usages: &[Usage]) -> u16 {
    usages.iter().fold(0, |flags, usage| {
        flags
            | match usage {
                Usage::DigitalSignature => 1,
                Usage::KeyEncipherment => 1 << 2,
                Usage::KeyAgreement => 1 << 4,
            }
    })
}

fn read_name(name: &GeneralName<'_>) -> Option<Name> {
    match name {
        // Only names that are normal already: what is read must be what is written.
        GeneralName::DNSName(text) => Name::from_dns_value(text).ok().filter(|name| name.to_string() == *text),
        GeneralName::IPAddress(octets) => {
            let four = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let sixteen = <[u8; 16]>::try_from(*octets).map(IpAddr::from);
            four.or(sixteen).ok().map(Name::Ip)
        }
        _ => None,
    }
}
