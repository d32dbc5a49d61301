//! acme-tiny: the smallest client, with a CSR made by OpenSSL.

use sigillo_tests::place::{Place, serial_of};
use sigillo_tests::programs::{available, third_party};

#[test]
fn acme_tiny_issues_and_renews_over_http01() {
    if !available(&["acme-tiny", "openssl"]) {
        return;
    }
    let place = Place::open();
    let webroot = place.webroot();
    let (account, key, csr) = (
        place.path("account.key"),
        place.path("tiny.key"),
        place.path("tiny.csr"),
    );
    place.succeed(third_party("openssl").args(["genrsa", "-traditional", "-out", &account, "2048"]));
    place.succeed(third_party("openssl").args([
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-384",
        "-nodes",
        "-keyout",
        &key,
        "-out",
        &csr,
        "-subj",
        "/CN=tiny.test",
        "-addext",
        "subjectAltName=DNS:tiny.test",
    ]));
    let issue = || {
        let mut tiny = place.client("acme-tiny");
        tiny.args([
            "--account-key",
            &account,
            "--csr",
            &csr,
            "--directory-url",
            &place.directory,
        ]);
        tiny.arg("--acme-dir").arg(webroot.challenges()).arg("--disable-check");
        let output = place.succeed(&mut tiny);
        let chain = place.path("tiny.pem");
        std::fs::write(&chain, output.stdout).unwrap();
        place.good(&[&chain])
    };
    let first = issue();
    assert_ne!(issue(), first, "a renewal is another certificate");
    if let Some(daemon) = place.daemon() {
        let serial = serial_of(&place.path("tiny.pem"));
        daemon
            .admin(&["certs", "revoke", &serial, "--reason", "affiliationChanged"])
            .succeeded();
        place.revoked(&[&place.path("tiny.pem")], "affiliationChanged");
    }
}
