//! What certificates hold, judged by openssl, and what the lint sees.

use std::fs;

use super::*;
use crate::{
    issuer::testing::{Authorities, authorities, lasting, name, names, now, openssl, profile, request},
    policy::{Profiles, RawProfile},
};

const KINDS: [KeyKind; 4] = [
    KeyKind::EcdsaP256,
    KeyKind::EcdsaP384,
    KeyKind::Ed25519,
    KeyKind::Rsa(2048),
];

fn made<'a>(issuer: &'a Issuer, profile: &'a Profile, request: IssueRequest) -> Prepared<'a> {
    prepare(issuer, profile, request, Serial::random(), now()).unwrap()
}

/// Signs without a store: only to show the bytes to openssl.
fn certificate(prepared: Prepared<'_>) -> Vec<u8> {
    let signer = prepared.issuer.signer().clone();
    let tbs = prepared.record.tbs.clone();
    prepared.lint().unwrap();
    encode::signed(&tbs, signer.algorithm(), &signer.sign(&tbs).unwrap()).unwrap()
}

fn written(toml: &str) -> Profile {
    toml::from_str::<RawProfile>(toml).unwrap().check("test").unwrap()
}

#[test]
fn openssl_builds_a_path_for_every_kind_of_key() {
    for kind in KINDS {
        let Authorities { root, issuer, .. } = authorities(kind, &[]);
        let profile = profile();
        for leaf in KINDS {
            let folder = tempfile::tempdir().unwrap();
            let der = certificate(made(&issuer, &profile, request(leaf, &["a.example", "10.0.0.1"])));
            fs::write(folder.path().join("root.pem"), encode::certificate_pem(&root.der)).unwrap();
            fs::write(folder.path().join("chain.pem"), issuer.chain_pem(&der, 0).unwrap()).unwrap();
            let at = now().as_second().to_string();
            let arguments = [
                "verify",
                "-x509_strict",
                "-attime",
                &at,
                "-purpose",
                "sslserver",
                "-verify_hostname",
                "a.example",
                "-CAfile",
                "root.pem",
                "-untrusted",
                "chain.pem",
                "chain.pem",
            ];
            openssl(folder.path(), &arguments);
        }
    }
}

#[test]
fn openssl_reads_what_was_decided() {
    let Authorities { issuer, .. } = authorities(KeyKind::EcdsaP256, &[]);
    let folder = tempfile::tempdir().unwrap();
    let show = |profile: &Profile, request: IssueRequest| {
        fs::write(
            folder.path().join("leaf.der"),
            certificate(made(&issuer, profile, request)),
        )
        .unwrap();
        openssl(
            folder.path(),
            &["x509", "-inform", "DER", "-in", "leaf.der", "-noout", "-text"],
        )
    };
    let text = show(
        &profile(),
        request(KeyKind::EcdsaP256, &["a.example", "*.b.example", "::1"]),
    );
    for expected in [
        "Version: 3",
        "Not Before: Jun  1 11:00:00 2026 GMT",
        "Not After : Aug 30 10:59:59 2026 GMT",
        "X509v3 Subject Alternative Name: critical",
        "DNS:a.example, DNS:*.b.example, IP Address:0:0:0:0:0:0:0:1",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Authority Key Identifier",
        "X509v3 Subject Key Identifier",
        "URI:http://ca.test:9080/crl/issuing-1.crl",
        "OCSP - URI:http://ca.test:9080/ocsp",
        "CA Issuers - URI:http://ca.test:9080/ca/issuing-1.cer",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let other = written("common_name = 'first'\npolicies = ['1.2.3.4']\ncrl = false\nocsp = false\nvalidity = '1d'");
    let text = show(&other, request(KeyKind::Rsa(2048), &["10.0.0.1", "a.example"]));
    for expected in [
        "Subject: CN = a.example",
        "X509v3 Subject Alternative Name: \n",
        "Digital Signature, Key Encipherment",
        "Policy: 1.2.3.4",
        "CA Issuers - URI",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    assert!(
        !text.contains("CRL Distribution") && !text.contains("OCSP - URI"),
        "{text}"
    );
    let stapled = written("must_staple = 'require'");
    let text = show(&stapled, request(KeyKind::EcdsaP256, &["a.example"]));
    assert!(text.contains("status_request") && text.contains("OCSP - URI"), "{text}");
}

#[test]
fn the_ocsp_responder_gets_what_relying_parties_want() {
    let Authorities { issuer, .. } = authorities(KeyKind::EcdsaP256, &[]);
    let mut wish = request(KeyKind::EcdsaP256, &[]);
    wish.common_name = Some("Test OCSP 1".into());
    let profile = Profile::ocsp_responder();
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("leaf.der"),
        certificate(made(&issuer, &profile, wish)),
    )
    .unwrap();
    let text = openssl(
        folder.path(),
        &["x509", "-inform", "DER", "-in", "leaf.der", "-noout", "-text"],
    );
    for expected in [
        "Subject: CN = Test OCSP 1",
        "OCSP Signing",
        "OCSP No Check",
        "Key Usage: critical",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    for unexpected in [
        "CRL Distribution",
        "Authority Information",
        "Alternative Name",
        "TLS Web",
    ] {
        assert!(!text.contains(unexpected), "{unexpected}\n{text}");
    }
}

#[test]
fn dates_from_2050_on_are_written_in_full() {
    let Authorities { issuer, .. } = authorities(KeyKind::EcdsaP256, &[]);
    let mut late = issuer.certificate().clone();
    late.not_after = "2060-01-01T00:00:00Z".parse().unwrap();
    let issuer = Issuer::new(late, &[], issuer.signer().clone(), issuer.urls().clone()).unwrap();
    let profile = written("validity = '30y'");
    let prepared = made(&issuer, &profile, request(KeyKind::EcdsaP256, &["a.example"]));
    let generalized = b"\x18\x0f20560601105959Z";
    assert!(
        prepared
            .record
            .tbs
            .windows(generalized.len())
            .any(|window| window == generalized)
    );
    assert!(prepared.lint().is_ok());
}

#[test]
fn a_leaf_lies_inside_its_issuer() {
    let Authorities { issuer, .. } = authorities(KeyKind::EcdsaP256, &[]);
    let end = issuer.certificate().not_after;
    let profile = profile();
    let wish = || request(KeyKind::EcdsaP256, &["a.example"]);
    let month = jiff::SignedDuration::from_hours(30 * 24);
    let late = end - month;
    let prepared = prepare(&issuer, &profile, wish(), Serial::random(), late).unwrap();
    assert_eq!(prepared.record.not_after, end);
    let asked = IssueRequest {
        not_after: Some(end + jiff::SignedDuration::from_secs(1)),
        ..wish()
    };
    let refused = prepare(&issuer, &profile, asked, Serial::random(), late).unwrap_err();
    assert_eq!(refused, PrepareError::BeyondIssuer(end));
    let refused = prepare(&issuer, &profile, wish(), Serial::random(), end).unwrap_err();
    assert_eq!(refused, PrepareError::IssuerExpired(end));
    assert_eq!(refused.problem().kind, ErrorType::ServerInternal);
    let fresh = issuer.certificate().not_before;
    let prepared = prepare(&issuer, &profile, wish(), Serial::random(), fresh).unwrap();
    let expected = lasting("90d", fresh);
    assert_eq!(
        (prepared.record.not_before, prepared.record.not_after),
        (fresh, expected.not_after)
    );
}

#[test]
fn what_the_profile_or_the_issuer_forbids_is_not_prepared() {
    let Authorities { issuer, .. } = authorities(KeyKind::EcdsaP256, &[".corp"]);
    let profile = profile();
    let refused = |profile: &Profile, request: IssueRequest| {
        prepare(&issuer, profile, request, Serial::random(), now()).unwrap_err()
    };
    let of = |texts: &[&str]| request(KeyKind::EcdsaP256, texts);
    assert!(prepare(&issuer, &profile, of(&["a.corp"]), Serial::random(), now()).is_ok());
    for outside in ["a.example", "10.0.0.1", "::1"] {
        let error = refused(&profile, of(&["a.corp", outside]));
        assert!(
            matches!(&error, PrepareError::Names(list) if list.len() == 1),
            "{outside}: {error}"
        );
        assert_eq!(error.problem().kind, ErrorType::RejectedIdentifier);
    }
    assert!(matches!(refused(&profile, of(&[])), PrepareError::NameCount(_)));
    assert!(matches!(
        refused(&profile, of(&["a.corp", "a.corp"])),
        PrepareError::NameCount(_)
    ));
    assert!(matches!(
        refused(&written("names_max = 1"), of(&["a.corp", "b.corp"])),
        PrepareError::NameCount(1)
    ));
    let staple = IssueRequest {
        must_staple: true,
        ..of(&["a.corp"])
    };
    assert_eq!(
        refused(&written("must_staple = 'refuse'"), staple),
        PrepareError::MustStaple
    );
    assert!(matches!(
        refused(&written("keys.kinds = ['rsa']"), of(&["a.corp"])),
        PrepareError::Key(_)
    ));
    let none = refused(&written("key_usage = ['keyEncipherment']"), of(&["a.corp"]));
    assert_eq!(none, PrepareError::KeyUsage(KeyKind::EcdsaP256));
    let named = IssueRequest {
        common_name: Some("x".into()),
        ..of(&["a.corp"])
    };
    assert_eq!(refused(&profile, named), PrepareError::CommonName);
}

#[test]
fn serials_are_random_and_stand_in_the_certificate() {
    let Authorities { issuer, .. } = authorities(KeyKind::EcdsaP256, &[]);
    let profile = profile();
    for text in [
        "ff000000000000000000000000000000",
        "00000000000000000000000000000001",
        "7f",
    ] {
        let serial: Serial = text.parse().unwrap();
        let wish = request(KeyKind::EcdsaP256, &["a.example"]);
        let prepared = prepare(&issuer, &profile, wish, serial, now()).unwrap();
        assert!(prepared.lint().is_ok(), "{text}");
    }
    let drawn: std::collections::BTreeSet<_> = (0..1000).map(|_| Serial::random()).collect();
    assert_eq!(drawn.len(), 1000);
}

/// One change of what was expected, and the word that the lint must say.
type Change = (&'static str, fn(&mut Contents, &mut Profile));

const CHANGES: [Change; 16] = [
    ("serial", |c, _| c.serial = Serial::random()),
    ("notBefore", |c, _| {
        c.validity.not_before -= jiff::SignedDuration::from_secs(1)
    }),
    ("notAfter", |c, _| {
        c.validity.not_after -= jiff::SignedDuration::from_secs(1)
    }),
    ("subject", |c, _| c.common_name = Some("a.example".into())),
    ("key differs", |c, _| {
        c.spki_der = request(KeyKind::EcdsaP256, &[]).spki_der
    }),
    ("2.5.29.17", |c, _| c.names.push(name("b.example"))),
    ("2.5.29.17", |c, _| c.names = names(&["x.example"])),
    ("2.5.29.17", |c, _| c.names.reverse()),
    ("2.5.29.15", |c, _| c.key_usages.push(Usage::KeyAgreement)),
    ("1.3.6.1.5.5.7.1.24", |c, _| c.must_staple = true),
    ("2.5.29.37", |_, p| {
        p.extended_key_usage = vec![ExtendedUsage::ServerAuth]
    }),
    ("2.5.29.31", |_, p| p.crl = false),
    ("1.3.6.1.5.5.7.1.1", |_, p| p.ocsp = false),
    ("1.3.6.1.5.5.7.1.1", |_, p| p.issuer = false),
    ("2.5.29.32", |_, p| p.policies = vec!["1.2.3".parse().unwrap()]),
    ("1.3.6.1.5.5.7.48.1.5", |_, p| p.ocsp_no_check = true),
];

#[test]
fn the_lint_sees_every_difference_from_the_decision() {
    let Authorities { issuer, .. } = authorities(KeyKind::EcdsaP256, &[]);
    let profile = profile();
    let prepared = made(
        &issuer,
        &profile,
        request(KeyKind::EcdsaP256, &["a.example", "10.0.0.1"]),
    );
    assert!(prepared.clone().lint().is_ok());
    for (word, change) in CHANGES {
        let (mut contents, mut profile) = (prepared.contents.clone(), profile.clone());
        change(&mut contents, &mut profile);
        let error = lint::check(&prepared.record.tbs, &issuer, &profile, &contents).unwrap_err();
        assert!(error.0.contains(word), "{word}: {error}");
    }
    let other = authorities(KeyKind::EcdsaP256, &[]).issuer;
    assert!(lint::check(&prepared.record.tbs, &other, &profile, &prepared.contents).is_err());
}

/// One mistake of the encoder.
type Mistake = (&'static str, fn(&mut CertificateParams));

const MISTAKES: [Mistake; 11] = [
    ("2.5.29.19", |p| {
        p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)
    }),
    ("2.5.29.19", |p| p.is_ca = IsCa::NoCa),
    ("2.5.29.35", |p| p.use_authority_key_identifier_extension = false),
    ("2.5.29.14", |p| {
        p.key_identifier_method = KeyIdMethod::PreSpecified(vec![1; 20])
    }),
    ("2.5.29.15", |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)),
    ("2.5.29.37", |p| {
        p.extended_key_usages.push(ExtendedKeyUsagePurpose::Any)
    }),
    ("2.5.29.31", |p| {
        p.crl_distribution_points[0].uris.push("http://b/".into())
    }),
    ("twice", |p| p.custom_extensions.push(p.custom_extensions[0].clone())),
    ("1.2.3.4", |p| {
        p.custom_extensions
            .push(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]))
    }),
    ("criticality", |p| p.custom_extensions[0].set_criticality(true)),
    ("serial", |p| p.serial_number = None),
];

#[test]
fn the_lint_sees_every_mistake_of_the_encoder() {
    let Authorities { issuer, .. } = authorities(KeyKind::EcdsaP256, &[]);
    let profile = profile();
    let prepared = made(&issuer, &profile, request(KeyKind::EcdsaP256, &["a.example"]));
    let own = issuer.certificate();
    let encoded = |params: &CertificateParams, algorithm| {
        encode::tbs(
            params,
            &prepared.contents.spki_der,
            &own.subject_der,
            &own.key_identifier,
            algorithm,
        )
        .unwrap()
    };
    let algorithm = issuer.signer().algorithm();
    let right = params(&issuer, &profile, &prepared.contents).unwrap();
    assert_eq!(encoded(&right, algorithm), prepared.record.tbs);
    for (word, mistake) in MISTAKES {
        let mut wrong = right.clone();
        mistake(&mut wrong);
        let error = lint::check(&encoded(&wrong, algorithm), &issuer, &profile, &prepared.contents).unwrap_err();
        assert!(error.0.contains(word), "{word}: {error}");
    }
    let foreign = encoded(&right, crate::signer::SignatureAlgorithm::RsaSha256);
    assert!(lint::check(&foreign, &issuer, &profile, &prepared.contents).is_err());
}

#[test]
fn the_lint_sees_every_changed_octet() {
    let Authorities { issuer, .. } = authorities(KeyKind::EcdsaP256, &[]);
    let profile = written("policies = ['1.2.3.4']\nmust_staple = 'require'");
    let prepared = made(
        &issuer,
        &profile,
        request(KeyKind::EcdsaP256, &["a.example", "10.0.0.1"]),
    );
    let tbs = &prepared.record.tbs;
    let mut unseen = Vec::new();
    for at in 0..tbs.len() {
        for flip in [0x01, 0x20, 0x40, 0x80] {
            let mut mutant = tbs.clone();
            mutant[at] ^= flip;
            if lint::check(&mutant, &issuer, &profile, &prepared.contents).is_ok() {
                unseen.push((at, flip, &tbs[at.saturating_sub(6)..(at + 4).min(tbs.len())]));
            }
        }
    }
    assert!(unseen.is_empty(), "{unseen:02x?}");
}

#[test]
fn the_built_in_profiles_issue() {
    let Authorities { issuer, .. } = authorities(KeyKind::Ed25519, &[]);
    let profiles = Profiles::check(&Default::default()).unwrap();
    let server = Profile::ca_server();
    for profile in profiles.iter().chain([&server]) {
        for kind in KINDS {
            let prepared = made(&issuer, profile, request(kind, &["localhost", "127.0.0.1"]));
            assert!(prepared.lint().is_ok(), "{} {kind}", profile.name);
        }
    }
}
