//! What is no OCSP request, and what nearly is one.

use std::path::Path;

use sigillo_tests::daemon::Daemon;
use sigillo_tests::http::Response;
use sigillo_tests::judge::{Papers, openssl};
use sigillo_tests::random::Random;
use sigillo_tests::webroot::Webroot;

use super::faults::{Faults, MUTANTS, counts};

/// An OCSP response that says `malformedRequest` and nothing else.
const OCSP_MALFORMED: &[u8] = &[0x30, 0x03, 0x0a, 0x01, 0x01];

/// Says whether an answer refuses an OCSP request, in HTTP or in OCSP.
fn refused(answer: &Response) -> bool {
    (400..500).contains(&answer.status) || (answer.status == 200 && answer.body == OCSP_MALFORMED)
}

#[test]
fn ocsp_refuses_what_is_no_request_and_survives_mutants() {
    let mut daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let issued = daemon.register().unwrap().obtain(&["status.test"], &webroot).unwrap();
    let papers = Papers::sort(&issued.chain_pem, &daemon.root(), &daemon.scratch().join("ocsp"));
    let before = counts(&daemon);
    let file = daemon.scratch().join("request.der");
    openssl(
        &["ocsp", "-no_nonce", "-issuer"],
        &[
            &papers.issuer,
            Path::new("-cert"),
            &papers.leaf,
            Path::new("-reqout"),
            &file,
        ],
    )
    .succeeded();
    let honest = std::fs::read(&file).unwrap();
    let (http, url) = (daemon.http_client(), papers.ocsp_url());
    let post = |body: &[u8]| http.request("POST", &url, &[("Content-Type", "application/ocsp-request")], body);
    let honest_answer = post(&honest).unwrap();
    assert_eq!(honest_answer.status, 200);
    assert_ne!(honest_answer.body, OCSP_MALFORMED);
    let mut faults = Faults::default();
    let bytes_behind = [honest.as_slice(), &[0]].concat();
    let deep = [[0x30, 0x80].repeat(2_000), vec![0; 4_000]].concat();
    let lying = [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &honest].concat();
    for (name, body) in [
        ("nothing", &[][..]),
        ("one octet", &[0x30]),
        ("text", b"hello"),
        ("half a request", &honest[..honest.len() / 2]),
        ("bytes behind the request", &bytes_behind),
        ("a deep request", &deep),
        ("a lying length", &lying),
        ("a megabyte", &vec![0x30; 1 << 20]),
    ] {
        match post(body) {
            Ok(answer) if refused(&answer) => {}
            Ok(answer) => faults.note(format!("{name}: {} {:02x?}", answer.status, answer.body)),
            Err(error) => faults.note(format!("{name}: {error}")),
        }
    }
    let base = url.trim_end_matches('/');
    for path in ["", "AA", "%00", "!!!!", "AAAA/AAAA//", &"A".repeat(20_000)] {
        match http.get(&format!("{base}/{path}")) {
            Ok(answer) if refused(&answer) => {}
            Ok(answer) => faults.note(format!("GET {path:.20}: {} {:02x?}", answer.status, answer.body)),
            Err(error) => faults.note(format!("GET {path:.20}: {error}")),
        }
    }
    for method in ["PUT", "DELETE"] {
        assert_eq!(http.request(method, &url, &[], b"").unwrap().status, 405, "{method}");
    }
    let mut random = Random::announced();
    for number in 0..MUTANTS {
        let mut mutant = honest.clone();
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(mutant.len() as u64)).unwrap();
            mutant[at] = u8::try_from(random.below(256)).unwrap();
        }
        match post(&mutant) {
            Ok(answer) if answer.status < 500 => {}
            Ok(answer) => faults.note(format!("mutant {number} {mutant:02x?}: {}", answer.status)),
            Err(error) => faults.note(format!("mutant {number} {mutant:02x?}: {error}")),
        }
    }
    assert!(daemon.alive(), "{}", daemon.log());
    assert_eq!(counts(&daemon), before);
    assert_eq!(papers.ocsp().status, "good");
    faults.none();
}
