//! Ceremonies on a disk, judged by openssl, and what they leave behind.

use super::*;
use crate::{
    issuer::{resume::Resumed, testing::openssl},
    model::CertificateState,
    store::embedded::SqliteStore,
};

fn open(folder: &Path) -> Result<Arc<dyn Store>, String> {
    match SqliteStore::open(folder.join("sigillo.db")) {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(error.to_string()),
    }
}

fn options(kind: KeyKind) -> CeremonyOptions {
    CeremonyOptions {
        key: kind,
        organization: Some("Example".into()),
        configuration: "# written by init\n".into(),
        ..CeremonyOptions::new("Example", "http://ca.test:9080")
    }
}

fn now() -> Timestamp {
    crate::issuer::testing::now()
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn makes_a_whole_ca_that_openssl_believes() {
    for kind in [
        KeyKind::EcdsaP256,
        KeyKind::EcdsaP384,
        KeyKind::Ed25519,
        KeyKind::Rsa(3072),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("ca");
        let made = init(&dir, &options(kind), now(), open).await.unwrap();
        let expected = ["chain.pem", "keys", "root.crl", "root.pem", "sigillo.toml", "store"];
        assert_eq!(entries(&dir), expected, "{kind}");
        assert_eq!(entries(&dir.join("keys")), ["issuing-1.pem", "ocsp-1.pem", "root.pem"]);

        let at = now().as_second().to_string();
        let judge = |arguments: &[&str]| openssl(&dir, arguments);
        judge(&[
            "verify",
            "-x509_strict",
            "-attime",
            &at,
            "-CAfile",
            "root.pem",
            "chain.pem",
        ]);
        judge(&["crl", "-inform", "DER", "-in", "root.crl", "-out", "root.crl.pem"]);
        let checked = [
            "verify",
            "-x509_strict",
            "-crl_check_all",
            "-CRLfile",
            "root.crl.pem",
            "-attime",
            &at,
        ];
        judge(&[&checked[..], &["-CAfile", "root.pem", "chain.pem"]].concat());
        let text = judge(&["x509", "-in", "chain.pem", "-noout", "-text"]);
        for expected in [
            "Subject: O = Example, CN = Example Issuing CA 1",
            "Issuer: O = Example, CN = Example Root CA",
            "CA:TRUE, pathlen:0",
            "URI:http://ca.test:9080/crl/root.crl",
            "CA Issuers - URI:http://ca.test:9080/ca/root.cer",
        ] {
            assert!(text.contains(expected), "{kind}: {expected}\n{text}");
        }

        let store = open(&dir.join("store")).unwrap();
        let responder = store.certificate(made.ocsp).await.unwrap().unwrap();
        assert!(matches!(responder.state, CertificateState::Issued { .. }));
        assert_eq!(responder.profile, Profile::OCSP_RESPONDER);
        let actions: Vec<_> = store
            .audit(0, 10)
            .await
            .unwrap()
            .into_iter()
            .map(|r| r.event.action)
            .collect();
        assert_eq!(
            actions,
            [
                Action::CaInitialised,
                Action::CertificateIntended,
                Action::CertificateIssued
            ]
        );
    }
}

#[tokio::test]
async fn the_daemon_needs_no_root_key() {
    let folder = tempfile::tempdir().unwrap();
    let made = init(folder.path(), &options(KeyKind::EcdsaP256), now(), open)
        .await
        .unwrap();
    let ring = Keyring::new(folder.path().join("keys"), None);
    fs::remove_file(ring.path(&made.root.id)).unwrap();
    assert!(!ring.holds(&made.root.id));
    let signer = ring.load(&made.issuing.id).unwrap();
    let urls = IssuerUrls::new("http://ca.test:9080", &made.issuing.id).unwrap();
    let issuer = Issuer::new(made.issuing, std::slice::from_ref(&made.root.der), signer, urls).unwrap();
    assert_eq!(issuer.chain_count(), 2);
    let main = issuer.chain_pem(&made.root.der, 0).unwrap();
    assert_eq!(
        main.matches("BEGIN CERTIFICATE").count(),
        2,
        "the leaf and the issuing CA"
    );
    assert_eq!(
        issuer
            .chain_pem(&made.root.der, 1)
            .unwrap()
            .matches("BEGIN CERTIFICATE")
            .count(),
        3
    );
    assert!(issuer.chain_pem(&made.root.der, 2).is_none());

    let store = open(&folder.path().join("store")).unwrap();
    let responder = ring.load(&issuer_id(OCSP)).unwrap();
    let renewed = issue_ocsp_responder(store.as_ref(), &issuer, &responder, "Example OCSP 1", now())
        .await
        .unwrap();
    assert_eq!(store.certificate(renewed.serial).await.unwrap(), Some(renewed));
    let resumed = super::super::resume::resume(store.as_ref(), &[issuer], now())
        .await
        .unwrap();
    assert_eq!(resumed, Resumed::default());
}

#[tokio::test]
async fn keys_are_locked_with_the_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = Passphrase::new("open sesame".into());
    let locked = CeremonyOptions {
        passphrase: Some(passphrase.clone()),
        ..options(KeyKind::Ed25519)
    };
    let made = init(folder.path(), &locked, now(), open).await.unwrap();
    let keys = folder.path().join("keys");
    assert!(Keyring::new(&keys, None).load(&made.issuing.id).is_err());
    let signer = Keyring::new(&keys, Some(passphrase)).load(&made.issuing.id).unwrap();
    assert_eq!(signer.spki_der(), made.issuing.spki_der);
    fs::write(folder.path().join("pass"), "open sesame\n").unwrap();
    openssl(
        folder.path(),
        &["pkey", "-in", "keys/issuing-1.pem", "-passin", "file:pass", "-noout"],
    );
}

#[tokio::test]
async fn constraints_stand_critical_in_the_issuing_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let constraints = NameConstraints::parse(&[".corp".into(), "!hr.corp".into()]).unwrap();
    let bound = CeremonyOptions {
        constraints: constraints.clone(),
        ..options(KeyKind::EcdsaP256)
    };
    let made = init(folder.path(), &bound, now(), open).await.unwrap();
    assert_eq!(made.issuing.constraints, constraints);
    let text = openssl(folder.path(), &["x509", "-in", "chain.pem", "-noout", "-text"]);
    assert!(text.contains("X509v3 Name Constraints: critical"), "{text}");
    assert!(
        text.contains("DNS:corp") && text.contains("IP:0.0.0.0/0.0.0.0"),
        "{text}"
    );
}

#[tokio::test]
async fn refuses_a_folder_that_holds_a_ca_and_keeps_an_operators_configuration() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(CONFIGURATION), "# mine\n").unwrap();
    let made = init(folder.path(), &options(KeyKind::EcdsaP256), now(), open)
        .await
        .unwrap();
    assert_eq!(
        fs::read_to_string(folder.path().join(CONFIGURATION)).unwrap(),
        "# mine\n"
    );
    let again = init(folder.path(), &options(KeyKind::EcdsaP256), now(), open).await;
    assert!(matches!(again, Err(CeremonyError::AlreadyThere(_))), "{again:?}");
    let root = fs::read_to_string(folder.path().join(ROOT_PEM)).unwrap();
    assert_eq!(root, encode::certificate_pem(&made.root.der));

    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("keys")).unwrap();
    let blocked = init(folder.path(), &options(KeyKind::EcdsaP256), now(), open).await;
    assert!(matches!(blocked, Err(CeremonyError::InTheWay(_))), "{blocked:?}");
    assert_eq!(entries(folder.path()), ["keys"]);
}

#[tokio::test]
async fn leaves_nothing_behind_when_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("ca");
    let broken = |_: &Path| Err("no disk".to_owned());
    let failed = init(&dir, &options(KeyKind::EcdsaP256), now(), broken).await;
    assert!(matches!(failed, Err(CeremonyError::Store(_))), "{failed:?}");
    assert!(!dir.exists());

    let long = CeremonyOptions {
        name: "x".repeat(CeremonyOptions::NAME_MAX + 1),
        ..options(KeyKind::Ed25519)
    };
    assert!(matches!(init(&dir, &long, now(), open).await, Err(CeremonyError::Name)));
    let secure = CeremonyOptions {
        public_http: "https://ca.test".into(),
        ..options(KeyKind::Ed25519)
    };
    assert!(matches!(
        init(&dir, &secure, now(), open).await,
        Err(CeremonyError::Issuer(IssuerError::Url(_)))
    ));
    let swapped = CeremonyOptions {
        issuer_validity: CalendarSpan::parse("21y").unwrap(),
        ..options(KeyKind::Ed25519)
    };
    assert!(matches!(
        init(&dir, &swapped, now(), open).await,
        Err(CeremonyError::Validity)
    ));
    assert!(!dir.exists());
    let name = CeremonyOptions {
        name: "x".repeat(CeremonyOptions::NAME_MAX),
        ..options(KeyKind::Ed25519)
    };
    init(&dir, &name, now(), open).await.unwrap();
}
