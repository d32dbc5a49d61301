//! Certification requests that must not become certificates.

use std::path::Path;

use serde_json::json;
use sigillo_tests::acme::{base64url, problem, request};
use sigillo_tests::daemon::Daemon;
use sigillo_tests::judge::{Papers, openssl};
use sigillo_tests::webroot::Webroot;

use super::faults::{Faults, REFUSED, counts};

/// Makes a CSR with OpenSSL; returns its DER.
fn openssl_request(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let (key, out) = (folder.join("openssl.key"), folder.join("openssl.csr"));
    let fixed = ["req", "-new", "-nodes", "-outform", "DER"];
    let all: Vec<&str> = fixed
        .into_iter()
        .chain(arguments.iter().copied())
        .chain(["-keyout"])
        .collect();
    openssl(&all, &[&key, Path::new("-out"), &out]).succeeded();
    std::fs::read(out).unwrap()
}

const SAN: &str = "subjectAltName=DNS:csr.test";
const P256: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

#[test]
fn refuses_each_fault_of_a_csr_and_keeps_the_order_ready() {
    let mut daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let (url, order) = acme.new_order(&["csr.test"]).unwrap();
    acme.prove(&order, &webroot).unwrap();
    assert_eq!(acme.wait(&url, "pending").unwrap()["status"], "ready");
    let before = counts(&daemon);
    let folder = daemon.scratch().to_owned();
    let make = |extra: &[&str]| openssl_request(&folder, extra);
    let p256 = |extra: &[&str]| make(&[&P256, extra].concat());
    let good = request(&["csr.test"]).0;
    let flipped = |at: usize| {
        let mut der = good.clone();
        let at = if at == usize::MAX { der.len() - 1 } else { at };
        der[at] ^= 1;
        der
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("no DER", b"-----BEGIN".to_vec()),
        ("half a request", good[..good.len() / 2].to_vec()),
        ("bytes behind the request", [good.as_slice(), b"x"].concat()),
        ("N6 a signature by nobody", flipped(usize::MAX)),
        ("another version", {
            // SEQUENCE, SEQUENCE, then INTEGER 0 is the version.
            let at = good.windows(3).position(|w| w == [2, 1, 0]).unwrap() + 2;
            flipped(at)
        }),
        ("A3 a name too many", request(&["csr.test", "more.test"]).0),
        ("A3 another name", request(&["other.test"]).0),
        ("A3 no name", p256(&["-subj", "/O=nobody"])),
        ("N4 another CN", p256(&["-subj", "/CN=other.test", "-addext", SAN])),
        ("a wildcard", request(&["*.csr.test"]).0),
        ("an address", request(&["csr.test", "127.0.0.1"]).0),
        (
            "an e-mail address",
            p256(&["-subj", "/", "-addext", "subjectAltName=DNS:csr.test,email:a@csr.test"]),
        ),
        (
            "a directory name",
            p256(&[
                "-subj",
                "/",
                "-addext",
                "subjectAltName=DNS:csr.test,URI:https://csr.test/",
            ]),
        ),
        (
            "J16 RSA of 1024 bits",
            make(&["-newkey", "rsa:1024", "-subj", "/", "-addext", SAN]),
        ),
        (
            "an unsupported curve",
            make(&[
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:secp256k1",
                "-subj",
                "/",
                "-addext",
                SAN,
            ]),
        ),
        (
            "SHA-1",
            make(&["-newkey", "rsa:2048", "-sha1", "-subj", "/", "-addext", SAN]),
        ),
        (
            "N10 a deep request",
            [[0x30, 0x80].repeat(2_000), vec![0; 4_000]].concat(),
        ),
        (
            "N10 a lying length",
            [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &good].concat(),
        ),
    ];
    let finalize = order["finalize"].as_str().unwrap();
    let mut faults = Faults::default();
    for (name, csr) in cases {
        let payload = json!({"csr": base64url(csr)}).to_string();
        match acme.post(finalize, payload.as_bytes()) {
            Ok(answer) => faults.compare(name, &answer, REFUSED, &["badCSR", "badPublicKey", "malformed"]),
            Err(error) => faults.note(format!("{name}: {error}")),
        }
    }
    for (name, payload) in [
        ("no csr", "{}".to_owned()),
        ("an empty payload", String::new()),
        ("padding", json!({"csr": format!("{}=", base64url(&good))}).to_string()),
        ("PEM", json!({"csr": "-----BEGIN CERTIFICATE REQUEST-----"}).to_string()),
    ] {
        match acme.post(finalize, payload.as_bytes()) {
            Ok(answer) => faults.compare(name, &answer, REFUSED, &["badCSR", "malformed"]),
            Err(error) => faults.note(format!("{name}: {error}")),
        }
    }
    let stranger = daemon.register().unwrap();
    let payload = json!({"csr": base64url(&good)}).to_string();
    let answer = stranger.post(finalize, payload.as_bytes()).unwrap();
    faults.compare(
        "another account's order",
        &answer,
        &[401, 403, 404],
        &["unauthorized", "malformed"],
    );
    assert!(daemon.alive(), "{}", daemon.log());
    let after = counts(&daemon);
    assert_eq!(
        [after[0] - 1, after[1], after[2]],
        before,
        "a refused CSR left something behind"
    );
    assert_eq!(acme.read(&url).unwrap().json()["status"], "ready");
    let answer = acme.post(finalize, payload.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "the honest request: {}", answer.text());
    let again = acme.post(finalize, payload.as_bytes()).unwrap();
    faults.compare("A9 a second finalize", &again, &[403], &["orderNotReady"]);
    faults.none();
}

#[test]
fn takes_nothing_from_a_csr_but_key_and_names() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let (url, order) = acme.new_order(&["csr.test"]).unwrap();
    acme.prove(&order, &webroot).unwrap();
    acme.wait(&url, "pending").unwrap();
    let greedy = openssl_request(
        daemon.scratch(),
        &[
            P256[0],
            P256[1],
            P256[2],
            P256[3],
            "-subj",
            "/CN=csr.test/O=Somebody Else",
            "-addext",
            SAN,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=keyCertSign,cRLSign",
            "-addext",
            "extendedKeyUsage=OCSPSigning",
        ],
    );
    let finalize = order["finalize"].as_str().unwrap();
    let answer = acme
        .post(finalize, json!({"csr": base64url(greedy)}).to_string().as_bytes())
        .unwrap();
    if answer.status != 200 {
        assert_eq!(problem(&answer), "badCSR", "{}", answer.text());
        return;
    }
    let done = acme.wait(&url, "processing").unwrap();
    let chain = acme.read(done["certificate"].as_str().unwrap()).unwrap().text();
    let papers = Papers::sort(&chain, &daemon.root(), &daemon.scratch().join("greedy"));
    let shown = openssl(&["x509", "-noout", "-text", "-in"], &[&papers.leaf])
        .succeeded()
        .stdout;
    for taken in [
        "CA:TRUE",
        "Certificate Sign",
        "CRL Sign",
        "OCSP Signing",
        "Somebody Else",
    ] {
        assert!(!shown.contains(taken), "{taken} was taken over:\n{shown}");
    }
    papers.openssl_accepts_the_chain();
}
