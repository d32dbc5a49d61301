//! Faults below ACME: paths that are nowhere, requests that could be read in two ways.

use sigillo_tests::acme::problem;
use sigillo_tests::daemon::Daemon;

#[test]
fn plain_http_gives_status_and_nothing_else() {
    let daemon = Daemon::start();
    let http = daemon.http_client();
    for path in [
        "/acme/directory",
        "/acme/new-nonce",
        "/admin/",
        "/portal/",
        "/",
        "/ca/../keys/issuer.pem",
        "/crl/../../keys/root.pem",
        "/ca/%2e%2e/keys/root.pem",
        "/ca/nobody.cer",
        "/crl/nobody.crl",
    ] {
        let answer = http.get(&format!("{}{path}", daemon.http)).unwrap();
        assert!(
            (400..500).contains(&answer.status),
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
        assert!(!answer.text().contains("PRIVATE KEY"), "{path}");
    }
}

#[test]
fn refuses_ambiguous_http() {
    let mut daemon = Daemon::start();
    let http = daemon.http_client();
    let status = format!("{}/ocsp", daemon.http);
    for (name, head) in [
        (
            "H1 both lengths",
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("H1 two lengths", "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
        ("H1 a signed length", "Content-Length: +4\r\n\r\nabcd"),
        (
            "H1 an unknown coding",
            "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        ),
    ] {
        for base in [&status, &daemon.directory] {
            let request = format!("POST /ocsp HTTP/1.1\r\nHost: x\r\n{head}");
            let answer = http.raw(base, request.as_bytes());
            // Closing without a word is a refusal too.
            if let Ok(bytes) = answer {
                let line = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
                let answers = String::from_utf8_lossy(&bytes).matches("HTTP/1.1 ").count();
                assert!(
                    line.starts_with("HTTP/1.1 4") || line.starts_with("HTTP/1.1 5"),
                    "{name}: {line}"
                );
                assert_eq!(answers, 1, "{name}: one request, {answers} answers");
            }
        }
    }
    assert!(daemon.alive());
}

#[test]
fn a_body_that_is_too_large_is_told_so() {
    let mut daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    // The sender has to get the answer although it is given before anybody would want the rest of the body.
    for octets in [70_000, 200_000, 900_000] {
        let answer = acme.post(&acme.url("newOrder"), &vec![b'x'; octets]).unwrap();
        assert_eq!(
            (answer.status, problem(&answer).as_str()),
            (413, "malformed"),
            "{octets}"
        );
    }
    assert!(daemon.alive());
}
