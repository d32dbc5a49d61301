//! What the tests of this room share: an issuer in memory, requests, and openssl as a judge.

use std::{path::Path, process::Command, sync::Arc};

use jiff::Timestamp;
use sigillo_protocol::{acme::identifier::Name, x509::key::KeyKind};

use super::{
    authority::{self, Subject},
    certificate::{Issuer, IssuerCertificate, IssuerUrls},
    prepare::IssueRequest,
};
use crate::{
    policy::{
        NameConstraints, Profile, Profiles,
        profile::{CalendarSpan, Validity},
    },
    signer::{PrivateKey, SharedSigner, SoftwareSigner},
};

/// The moment at which the tests play.
pub(crate) fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

pub(super) fn key(kind: KeyKind) -> SharedSigner {
    Arc::new(SoftwareSigner::new(&PrivateKey::generate(kind).unwrap()).unwrap())
}

pub(super) fn name(text: &str) -> Name {
    Name::from_ip_value(text)
        .or_else(|_| Name::from_dns_value(text))
        .unwrap()
}

pub(super) fn names(texts: &[&str]) -> Vec<Name> {
    texts.iter().map(|text| name(text)).collect()
}

pub(super) fn lasting(span: &str, first: Timestamp) -> Validity {
    let not_after = CalendarSpan::parse(span).unwrap().last_second(first).unwrap();
    Validity {
        not_before: first,
        not_after,
    }
}

pub(crate) struct Authorities {
    pub(super) root: IssuerCertificate,
    pub(crate) issuer: Issuer,
}

pub(crate) fn authorities(kind: KeyKind, constraints: &[&str]) -> Authorities {
    let start = now() - jiff::SignedDuration::from_hours(1);
    let urls = |id: &str| IssuerUrls::new("http://ca.test:9080/", &id.parse().unwrap()).unwrap();
    let subject = |common_name: &str| Subject {
        common_name: common_name.to_owned(),
        organization: Some("Test \u{dc}bung".to_owned()),
    };
    let constraints: Vec<String> = constraints.iter().map(|text| (*text).to_owned()).collect();
    let constraints = NameConstraints::parse(&constraints).unwrap();
    let root_key = key(kind);
    let root_id = "root".parse().unwrap();
    let root = authority::make_root(&root_id, &subject("Test Root CA"), lasting("20y", start), &root_key).unwrap();
    let issuing_key = key(kind);
    let certificate = authority::make_under(
        0,
        &"issuing-1".parse().unwrap(),
        &subject("Test Issuing CA 1"),
        lasting("5y", start),
        issuing_key.spki_der(),
        &constraints,
        (&root, &root_key, &urls("root")),
    )
    .unwrap();
    let above = [root.der.clone()];
    let issuer = Issuer::new(certificate, &above, issuing_key, urls("issuing-1")).unwrap();
    Authorities { root, issuer }
}

pub(super) fn profile() -> Profile {
    Profiles::check(&Default::default()).unwrap().default_profile().clone()
}

pub(super) fn request(kind: KeyKind, texts: &[&str]) -> IssueRequest {
    IssueRequest {
        spki_der: key(kind).spki_der().to_vec(),
        names: names(texts),
        ..IssueRequest::default()
    }
}

/// Runs openssl and returns what it says; panics with it if it is not content.
pub(super) fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {said}");
    said
}
