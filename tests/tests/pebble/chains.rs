//! Longer chains and alternate roots: real ones, as OpenSSL judges them.

use std::path::Path;

use sigillo_tests::judge::openssl;
use sigillo_tests::test_server::{Options, TestServer};
use sigillo_tests::webroot::Webroot;

/// Lets OpenSSL build the path from a chain's leaf to a root that the management interface shows, with a CRL of every CA.
fn verifies(server: &TestServer, chain: &str, root: usize) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let blocks = pem::parse_many(chain).unwrap();
    let above: String = blocks[1..].iter().map(pem::encode).collect();
    let leaf = write("leaf.pem", pem::encode(&blocks[0]).as_bytes());
    let above = write("above.pem", above.as_bytes());
    let root_file = write("root.pem", &server.ask(&format!("/roots/{root}")).body);
    // A root names no place for its CRL; those below do, and OpenSSL fetches them from there.
    let id = ["root", "root-1", "root-2"][root];
    let crl = server
        .http_client()
        .get(&format!("{}/crl/{id}.crl", server.http))
        .unwrap();
    let crl = write("root.crl", &crl.body);
    let arguments = ["verify", "-x509_strict", "-crl_check_all", "-crl_download", "-CAfile"];
    let output = openssl(
        &arguments,
        &[
            &root_file,
            Path::new("-CRLfile"),
            &crl,
            Path::new("-untrusted"),
            &above,
            &leaf,
        ],
    );
    output.status.success()
}

#[test]
fn every_root_is_reached_by_the_chain_that_is_its_own() {
    let server = TestServer::start(
        Options::default()
            .variable("PEBBLE_ALTERNATE_ROOTS", "2")
            .variable("PEBBLE_CHAIN_LENGTH", "3"),
    );
    let webroot = Webroot::serve(server.http01_port);
    let acme = server.register().unwrap();
    let issued = acme.obtain(&["chains.test"], &webroot).unwrap();

    let answer = acme.read(&issued.url).unwrap();
    let links: Vec<&str> = answer
        .headers
        .iter()
        .filter(|(name, value)| name == "link" && value.contains("alternate"))
        .map(|(_, value)| value.split(['<', '>']).nth(1).unwrap())
        .collect();
    assert_eq!(links.len(), 2, "{:?}", answer.headers);
    let mut chains = vec![answer.text()];
    for link in links {
        let alternate = acme.read(link).unwrap();
        assert_eq!(alternate.status, 200, "{link}");
        chains.push(alternate.text());
    }
    for (number, chain) in chains.iter().enumerate() {
        assert_eq!(pem::parse_many(chain).unwrap().len(), 4, "a leaf and three CAs");
        for other in 0..3 {
            assert_eq!(
                verifies(&server, chain, other),
                number == other,
                "chain {number}, root {other}"
            );
        }
    }
}

#[test]
fn keys_and_certificates_of_the_management_interface_belong_together() {
    let server = TestServer::start(Options::default().variable("PEBBLE_ALTERNATE_ROOTS", "1"));
    let folder = tempfile::tempdir().unwrap();
    let public = |command: &[&str], text: &str| {
        let file = folder.path().join("pem");
        std::fs::write(&file, text).unwrap();
        openssl(command, &[&file]).succeeded().stdout
    };
    for number in 0..2 {
        for (list, keys) in [("roots", "root-keys"), ("intermediates", "intermediate-keys")] {
            let certificate = server.ask(&format!("/{list}/{number}"));
            let key = server.ask(&format!("/{keys}/{number}"));
            let link = format!("<{}/{list}/{}>;rel=\"alternate\"", server.management, 1 - number);
            assert_eq!(certificate.header("link"), Some(link.as_str()));
            assert_eq!(
                public(&["x509", "-noout", "-pubkey", "-in"], &certificate.text()),
                public(&["pkey", "-pubout", "-in"], &key.text()),
                "{list} {number}"
            );
        }
    }
    for wrong in ["/roots/2", "/roots/x", "/intermediate-keys/-1", "/elsewhere"] {
        assert_eq!(server.ask(wrong).status, 404, "{wrong}");
    }
}
