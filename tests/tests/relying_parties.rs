//! What programs that must decide whether to trust a certificate make of ours.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sigillo_tests::acme::{Acme, Issued};
use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::judge::{CRL_WITHIN, Papers, distribution_point, openssl};
use sigillo_tests::process::{eventually, run};
use sigillo_tests::programs::{available, third_party};
use sigillo_tests::webroot::Webroot;

/// How long a linter may think: it starts a Python with a large library.
const LINT_WITHIN: Duration = Duration::from_secs(60);
/// A serial number that no CA has issued here: its first octet says so by its length.
const NEVER_ISSUED: &str = "0x0123456789abcdef0123456789abcdef01";

/// A CA with one good and one revoked certificate.
struct World {
    daemon: Daemon,
    acme: Acme,
    webroot: Webroot,
    good: Papers,
    revoked: Papers,
}

impl World {
    fn new(options: Options) -> Self {
        let daemon = Daemon::start_with(options);
        let webroot = Webroot::serve(daemon.http01_port);
        let acme = daemon.register().unwrap();
        let sort =
            |issued: &Issued, name: &str| Papers::sort(&issued.chain_pem, &daemon.root(), &daemon.scratch().join(name));
        let good = acme.obtain(&["good.test", "www.good.test"], &webroot).unwrap();
        let bad = acme.obtain(&["revoked.test"], &webroot).unwrap();
        let answer = acme.revoke(&bad.leaf_der(), 4).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (good, revoked) = (sort(&good, "good"), sort(&bad, "revoked"));
        Self {
            daemon,
            acme,
            webroot,
            good,
            revoked,
        }
    }

    /// Waits until the revocation is in the CRL, so that files fetched afterwards hold it.
    fn published(&self) -> sigillo_tests::judge::Crl {
        let serial = self.revoked.serial();
        eventually("the revocation is in the CRL", CRL_WITHIN, || {
            let crl = self.revoked.crl(&self.daemon.http_client());
            crl.reason_of(&serial).is_some().then_some(crl)
        })
    }
}

#[test]
fn openssl_follows_good_and_revoked_over_post_and_get() {
    let world = World::new(Options::default());
    assert_eq!(world.good.ocsp().status, "good");
    let revoked = world.revoked.ocsp();
    assert_eq!(
        (revoked.status.as_str(), revoked.reason.as_deref()),
        ("revoked", Some("superseded"))
    );

    let http = world.daemon.http_client();
    for (papers, status) in [(&world.good, ": good"), (&world.revoked, ": revoked")] {
        for digest in ["-sha1", "-sha256"] {
            let request = world.daemon.scratch().join("request.der");
            let issuer = [digest, "-issuer"];
            let arguments: Vec<&str> = ["ocsp", "-no_nonce"].into_iter().chain(issuer).collect();
            openssl(
                &arguments,
                &[
                    &papers.issuer,
                    Path::new("-cert"),
                    &papers.leaf,
                    Path::new("-reqout"),
                    &request,
                ],
            )
            .succeeded();
            let encoded = STANDARD.encode(std::fs::read(&request).unwrap());
            let escaped = encoded.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
            // Relying parties differ in what they escape; the path's own slashes are data.
            for path in [escaped.as_str(), encoded.as_str()] {
                let url = format!("{}/{path}", papers.ocsp_url().trim_end_matches('/'));
                let answer = http.get(&url).unwrap();
                assert_eq!(answer.status, 200, "{url}: {}", answer.text());
                assert_eq!(answer.header("content-type"), Some("application/ocsp-response"));
                assert!(
                    answer
                        .header("cache-control")
                        .is_some_and(|value| value.contains("max-age"))
                );
                for field in ["etag", "last-modified", "expires"] {
                    assert!(answer.header(field).is_some(), "no {field}: {:?}", answer.headers);
                }
                let response = world.daemon.scratch().join("response.der");
                std::fs::write(&response, &answer.body).unwrap();
                let verdict = openssl(
                    &["ocsp", "-respin"],
                    &[
                        &response,
                        Path::new("-CAfile"),
                        &papers.bundle,
                        Path::new(digest),
                        Path::new("-issuer"),
                        &papers.issuer,
                        Path::new("-cert"),
                        &papers.leaf,
                    ],
                )
                .succeeded();
                assert!(verdict.text().contains("Response verify OK"), "{verdict}");
                assert!(verdict.text().contains(status), "{verdict}");
            }
        }
    }
}

#[test]
fn a_serial_that_was_never_issued_is_not_good() {
    let world = World::new(Options::default());
    let answer = world.good.ocsp_of_serial(NEVER_ISSUED);
    assert_eq!(answer.status, "unknown", "{}", answer.text);
}

#[test]
fn openssl_checks_the_whole_path_against_both_crls() {
    let world = World::new(Options::default());
    let http = world.daemon.http_client();
    let issuing = world.published();
    // The issuing CA's certificate names the root's CRL.
    let url = distribution_point(&world.good.issuer);
    let root = http.get(&url).unwrap();
    assert_eq!(root.status, 200, "{url}");
    let folder = world.daemon.scratch();
    let root_crl = folder.join("root.crl");
    std::fs::write(&root_crl, &root.body).unwrap();
    let both = folder.join("crls.pem");
    let pem_of = |file: &Path| openssl(&["crl", "-inform", "DER", "-in"], &[file]).succeeded().stdout;
    std::fs::write(&both, pem_of(&issuing.file) + &pem_of(&root_crl)).unwrap();
    let verify = |papers: &Papers| {
        openssl(
            &["verify", "-x509_strict", "-crl_check_all", "-CAfile"],
            &[
                &papers.root,
                Path::new("-untrusted"),
                &papers.issuer,
                Path::new("-CRLfile"),
                &both,
                &papers.leaf,
            ],
        )
    };
    verify(&world.good).succeeded();
    let refused = verify(&world.revoked).ended_with(2);
    assert!(refused.text().contains("certificate revoked"), "{refused}");
}

#[test]
fn crls_and_certificates_are_where_the_certificates_say() {
    let world = World::new(Options::default());
    let http = world.daemon.http_client();
    let crl = world.published();
    let answer = http.get(&crl.url).unwrap();
    assert_eq!(answer.header("content-type"), Some("application/pkix-crl"));
    let tag = answer.header("etag").expect("an ETag").to_owned();
    let again = http.request("GET", &crl.url, &[("If-None-Match", &tag)], b"").unwrap();
    assert_eq!(again.status, 304);
    let text = openssl(&["x509", "-noout", "-text", "-in"], &[&world.good.leaf])
        .succeeded()
        .stdout;
    let issuer_url = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("CA Issuers - URI:"))
        .expect("the leaf says where its issuer is");
    let issuer = http.get(issuer_url).unwrap();
    assert_eq!(issuer.header("content-type"), Some("application/pkix-cert"));
    let stored = std::fs::read(&world.good.issuer).unwrap();
    assert_eq!(issuer.body, pem::parse(stored).unwrap().contents());
    let roots = http.get(&format!("{}/ca/roots.pem", world.daemon.http)).unwrap();
    let root = std::fs::read(&world.good.root).unwrap();
    assert_eq!(
        pem::parse(&roots.body).unwrap().contents(),
        pem::parse(root).unwrap().contents()
    );
}

#[test]
fn gnutls_and_python_agree_for_every_kind_of_ca_key() {
    for kind in ["ecdsa-p256", "ecdsa-p384", "rsa-3072", "ed25519"] {
        println!("CA key: {kind}");
        let world = World::new(Options::default().init(&["--key", kind]));
        let http = world.daemon.http_client();
        world.good.all_find_it_good(&http);
        world.revoked.all_find_it_revoked(&http, "superseded");
    }
}

#[test]
fn gnutls_certtool_builds_the_path_and_reads_the_crl() {
    if !available(&["certtool"]) {
        return;
    }
    let world = World::new(Options::default());
    let whole = world.daemon.scratch().join("whole.pem");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    std::fs::write(&whole, read(&world.good.leaf) + &read(&world.good.issuer)).unwrap();
    let mut certtool = third_party("certtool");
    certtool.arg("--verify").arg("--infile").arg(&whole);
    certtool.arg("--load-ca-certificate").arg(&world.good.root);
    let output = run(&mut certtool, LINT_WITHIN).succeeded();
    assert!(output.text().contains("The certificate is trusted"), "{output}");

    let crl = world.published();
    let list = world.daemon.scratch().join("crl.pem");
    openssl(
        &["crl", "-inform", "DER", "-in"],
        &[&crl.file, Path::new("-out"), &list],
    )
    .succeeded();
    let mut certtool = third_party("certtool");
    certtool.args(["--verify-crl", "--infile"]).arg(&list);
    certtool.arg("--load-ca-certificate").arg(&world.good.issuer);
    let output = run(&mut certtool, LINT_WITHIN).succeeded();
    assert!(output.text().contains("Verification output: Verified"), "{output}");
}

/// Runs one of pkilint's programs, which must find nothing at ERROR or worse.
fn lint(program: &str, arguments: &[&str], files: &[&Path]) {
    let mut linter = third_party(program);
    linter.arg("lint").args(arguments).args(["-s", "ERROR"]).args(files);
    let output = run(&mut linter, LINT_WITHIN);
    assert!(output.status.success() && output.stdout.trim().is_empty(), "{output}");
}

#[test]
fn pkilint_finds_no_error() {
    let programs = [
        "lint_pkix_cert",
        "lint_pkix_signer_signee_cert_chain",
        "lint_crl",
        "lint_ocsp_response",
    ];
    if !available(&programs) {
        return;
    }
    for kind in ["ecdsa-p256", "rsa-3072"] {
        println!("CA key: {kind}");
        let world = World::new(Options::default().init(&["--key", kind]));
        let http = world.daemon.http_client();
        let crl = world.published();
        let Papers { leaf, issuer, root, .. } = &world.good;
        for certificate in [root, issuer, leaf] {
            lint("lint_pkix_cert", &[], &[certificate]);
        }
        lint("lint_pkix_signer_signee_cert_chain", &[], &[root, issuer]);
        lint("lint_pkix_signer_signee_cert_chain", &[], &[issuer, leaf]);
        for profile in ["PKIX", "BR"] {
            lint("lint_crl", &["-t", "CRL", "-p", profile], &[&crl.file]);
        }
        let root_crl = world.daemon.scratch().join("root.crl");
        std::fs::write(&root_crl, http.get(&distribution_point(issuer)).unwrap().body).unwrap();
        // The Baseline Requirements bound a root's list to a year; one whose key is in a safe, and
        // which private trust alone uses, lasts from ceremony to ceremony.
        lint("lint_crl", &["-t", "ARL", "-p", "PKIX"], &[&root_crl]);
        for papers in [&world.good, &world.revoked] {
            let answer = world.daemon.scratch().join("answer.der");
            openssl(
                &["ocsp", "-url", &papers.ocsp_url(), "-noverify", "-issuer"],
                &[
                    &papers.issuer,
                    Path::new("-cert"),
                    &papers.leaf,
                    Path::new("-respout"),
                    &answer,
                ],
            )
            .succeeded();
            lint("lint_ocsp_response", &[], &[&answer]);
        }
        // The responder's certificate, as the answers bring it, is linted too.
        let responder = world.daemon.scratch().join("responder.pem");
        let text = openssl(
            &["ocsp", "-noverify", "-resp_text", "-respin"],
            &[&world.daemon.scratch().join("answer.der")],
        )
        .succeeded()
        .stdout;
        let start = text
            .find("-----BEGIN CERTIFICATE-----")
            .expect("the responder's certificate");
        std::fs::write(&responder, &text[start..]).unwrap();
        lint("lint_pkix_cert", &[], &[&responder]);
        lint("lint_pkix_signer_signee_cert_chain", &[], &[issuer, &responder]);
    }
}

#[test]
fn revocation_reasons_are_the_same_in_ocsp_and_crl() {
    let world = World::new(Options::default());
    let http = world.daemon.http_client();
    // keyCompromise needs the certificate's key by policy, and has its own test.
    for (code, name) in [
        (0, "unspecified"),
        (3, "affiliationChanged"),
        (5, "cessationOfOperation"),
    ] {
        let issued = world.acme.obtain(&["reason.test"], &world.webroot).unwrap();
        let answer = world.acme.revoke(&issued.leaf_der(), code).unwrap();
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let folder = world.daemon.scratch().join(name);
        Papers::sort(&issued.chain_pem, &world.daemon.root(), &folder).all_find_it_revoked(&http, name);
    }
}

#[test]
fn status_goes_on_after_a_restart() {
    let mut world = World::new(Options::default());
    let before = world.published().number();
    world.daemon.restart();
    assert_eq!(world.good.ocsp().status, "good");
    assert_eq!(world.revoked.ocsp().status, "revoked");
    let http = world.daemon.http_client();
    assert!(world.revoked.crl(&http).number() >= before, "the CRL number went back");
}
