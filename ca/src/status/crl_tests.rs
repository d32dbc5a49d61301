//! The CRL builder against RFC 5280's rows, with rcgen, x509-parser and OpenSSL as judges.

use rcgen::{CertificateRevocationListParams, CrlIssuingDistributionPoint, Issuer, KeyIdMethod, RevokedCertParams};
use x509_parser::prelude::{FromDer, ParsedExtension};

use super::{testing::*, *};
use crate::{model::Revocation, signer::SignatureAlgorithm};
use jiff::{SignedDuration, Timestamp};
use sigillo_protocol::x509::reason::RevocationReason;

const ALGORITHMS: [SignatureAlgorithm; 4] = [
    SignatureAlgorithm::EcdsaP256Sha256,
    SignatureAlgorithm::EcdsaP384Sha384,
    SignatureAlgorithm::Ed25519,
    SignatureAlgorithm::RsaSha256,
];

fn week() -> SignedDuration {
    SignedDuration::from_hours(7 * 24)
}

fn entry(number: u128, at: Timestamp, reason: Option<RevocationReason>) -> CrlEntry {
    CrlEntry {
        serial: serial(number),
        revocation: revocation(at, reason),
    }
}

fn build(ca: &TestCa, at: Timestamp, entries: Vec<CrlEntry>) -> Vec<u8> {
    build_crl(&ca.crl_issuer(), 0x80, at, at + week(), entries.into_iter())
        .unwrap()
        .to_vec()
}

/// Builds the same CRL with rcgen.
fn by_rcgen(ca: &TestCa, at: Timestamp, entries: &[CrlEntry]) -> Vec<u8> {
    let reason = |reason| match reason {
        RevocationReason::KeyCompromise => rcgen::RevocationReason::KeyCompromise,
        RevocationReason::Superseded => rcgen::RevocationReason::Superseded,
        RevocationReason::AaCompromise => rcgen::RevocationReason::AaCompromise,
        other => panic!("not in this test: {other}"),
    };
    let revoked = |entry: &CrlEntry| RevokedCertParams {
        serial_number: rcgen::SerialNumber::from_slice(&entry.serial.to_der_content()),
        revocation_time: date(entry.revocation.at).into(),
        reason_code: entry.revocation.reason.map(reason),
        invalidity_date: entry.revocation.invalid_since.map(|since| date(since).into()),
    };
    let params = CertificateRevocationListParams {
        this_update: date(at).into(),
        next_update: date(at + week()).into(),
        crl_number: rcgen::SerialNumber::from_slice(&[0x80]),
        issuing_distribution_point: Some(CrlIssuingDistributionPoint {
            distribution_point: rcgen::CrlDistributionPoint {
                uris: vec![CRL_URL.to_owned()],
            },
            scope: None,
        }),
        revoked_certs: entries.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::PreSpecified(ca.crl_issuer().key_identifier),
    };
    let issuer = Issuer::new(ca.params.clone(), Shared(ca.signer.clone()));
    params.signed_by(&issuer).unwrap().der().to_vec()
}

#[test]
fn equals_what_rcgen_builds_byte_for_byte() {
    let at: Timestamp = "2049-12-30T12:00:00Z".parse().unwrap();
    let ca = TestCa::new("issuing", SignatureAlgorithm::Ed25519, now());
    let mut dated = entry(0xff00, at, Some(RevocationReason::Superseded));
    dated.revocation.invalid_since = Some(at - week());
    let lists = [
        vec![],
        vec![entry(1, at, None)],
        vec![
            entry(1, at, Some(RevocationReason::KeyCompromise)),
            dated,
            entry(u128::MAX, at + week(), Some(RevocationReason::AaCompromise)),
        ],
        (1..500).map(|number| entry(number, at, None)).collect(),
    ];
    for entries in lists {
        assert_eq!(
            build(&ca, at, entries.clone()),
            by_rcgen(&ca, at, &entries),
            "{} entries",
            entries.len()
        );
    }
}

#[test]
fn openssl_verifies_it_under_every_algorithm_and_finds_the_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let at = now();
    for algorithm in ALGORITHMS {
        let ca = TestCa::new("issuing", algorithm, at);
        let crl = build(
            &ca,
            at,
            vec![entry(5, at, Some(RevocationReason::KeyCompromise)), entry(6, at, None)],
        );
        let crl = file(dir.path(), "crl.pem", crate::pem::block("X509 CRL", &crl).as_bytes());
        let root = file(
            dir.path(),
            "ca.pem",
            crate::pem::certificate(&ca.certificate).as_bytes(),
        );
        let (said, good) = openssl(&["crl", "-in", &crl, "-CAfile", &root, "-noout", "-text"]);
        assert!(good && said.contains("verify OK"), "{algorithm:?}: {said}");
        assert!(
            said.contains("Key Compromise") && said.contains("X509v3 Issuing Distribution Point: critical"),
            "{said}"
        );
        for (number, revoked) in [(5, true), (6, true), (7, false)] {
            let leaf = file(
                dir.path(),
                "leaf.pem",
                crate::pem::certificate(&ca.leaf(serial(number), at)).as_bytes(),
            );
            let (said, good) = openssl(&["verify", "-crl_check", "-CRLfile", &crl, "-CAfile", &root, &leaf]);
            assert_eq!(good, !revoked, "{algorithm:?}, serial {number}: {said}");
            assert_eq!(said.contains("certificate revoked"), revoked, "{said}");
        }
    }
}

#[test]
fn publishes_a_reason_only_where_a_complete_crl_may_have_one() {
    let ca = TestCa::new("issuing", SignatureAlgorithm::EcdsaP256Sha256, now());
    let at = now();
    for reason in RevocationReason::ALL.map(Some).into_iter().chain([None]) {
        let der = build(&ca, at, vec![entry(9, at, reason)]);
        let (_, crl) = x509_parser::revocation_list::CertificateRevocationList::from_der(&der).unwrap();
        let revoked = crl.iter_revoked_certificates().next().unwrap();
        let expected = match reason {
            None | Some(RevocationReason::Unspecified | RevocationReason::RemoveFromCrl) => None,
            Some(reason) => Some(reason.code()),
        };
        assert_eq!(revoked.reason_code().map(|(_, code)| code.0), expected, "{reason:?}");
        assert!(
            revoked.extensions().iter().all(|extension| !extension.critical),
            "{reason:?}"
        );
        assert_eq!(
            revoked.extensions().is_empty(),
            expected.is_none(),
            "no empty list of extensions: {reason:?}"
        );
    }
}

#[test]
fn carries_number_key_identifier_and_issuer_as_the_certificate_has_them() {
    let ca = TestCa::new("issuing", SignatureAlgorithm::EcdsaP256Sha256, now());
    let der = build(&ca, now(), vec![]);
    let (rest, crl) = x509_parser::revocation_list::CertificateRevocationList::from_der(&der).unwrap();
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(&ca.certificate).unwrap();
    assert!(rest.is_empty());
    assert_eq!(crl.version().map(|version| version.0), Some(1));
    assert_eq!(crl.issuer().as_raw(), certificate.subject().as_raw());
    assert_eq!(crl.crl_number().map(|number| number.to_bytes_be()), Some(vec![0x80]));
    let identifier = crl
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(identifier) => identifier.key_identifier.clone(),
            _ => None,
        });
    assert_eq!(identifier.unwrap().0, ca.crl_issuer().key_identifier);
    crl.verify_signature(certificate.public_key()).unwrap();
    let critical: Vec<String> = crl
        .extensions()
        .iter()
        .filter(|extension| extension.critical)
        .map(|extension| extension.oid.to_id_string())
        .collect();
    assert_eq!(critical, ["2.5.29.28"]);
}

#[test]
fn refuses_what_would_make_a_wrong_list() {
    let ca = TestCa::new("issuing", SignatureAlgorithm::Ed25519, now());
    let issuer = ca.crl_issuer();
    let at = now();
    let twice = vec![entry(3, at, None), entry(3, at, None)];
    let falling = vec![entry(3, at, None), entry(2, at, None)];
    for entries in [twice, falling] {
        let refused = build_crl(&issuer, 1, at, at + week(), entries.into_iter());
        assert!(matches!(refused, Err(CrlError::Unordered(_))));
    }
    let refused = build_crl(&issuer, 1, at, at, std::iter::empty());
    assert!(matches!(refused, Err(CrlError::EmptyValidity { .. })));
    for url in ["", "http://a/ b", "http://\u{e9}/"] {
        let issuer = CrlIssuer {
            distribution_point_url: url.to_owned(),
            ..ca.crl_issuer()
        };
        let refused = build_crl(&issuer, 1, at, at + week(), std::iter::empty());
        assert!(matches!(refused, Err(CrlError::DistributionPoint(_))), "{url:?}");
    }
    let other = TestSigner::generate(SignatureAlgorithm::Ed25519);
    assert!(CrlIssuer::from_certificate(&ca.certificate, other, CRL_URL.to_owned()).is_err());
}

#[test]
fn a_record_that_is_good_makes_no_entry() {
    let record = |revocation: Option<Revocation>| crate::model::StatusRecord {
        position: 1,
        issuer: "issuing".parse().unwrap(),
        serial: serial(1),
        not_after: now(),
        revocation,
    };
    assert_eq!(CrlEntry::from_record(&record(None)), None);
    let revoked = revocation(now(), None);
    assert_eq!(
        CrlEntry::from_record(&record(Some(revoked))),
        Some(CrlEntry {
            serial: serial(1),
            revocation: revoked
        })
    );
}

/// Run by hand on an optimised build: a million entries are to take 0.3 s at most.
#[test]
#[ignore = "measures; run by hand on an optimised build"]
fn builds_a_million_entries_in_a_moment() {
    let ca = TestCa::new("issuing", SignatureAlgorithm::EcdsaP256Sha256, now());
    let at = now();
    let entries =
        (1..=1_000_000u128).map(|number| entry(number << 104 | 0xffff_ffff, at, Some(RevocationReason::Superseded)));
    let began = std::time::Instant::now();
    let crl = build_crl(&ca.crl_issuer(), 1, at, at + week(), entries).unwrap();
    println!("{} octets in {:?}", crl.len(), began.elapsed());
    assert!(crl.len() < 64 * 1024 * 1024);
}
