//! Requests at the same moment: one wins, the others are told so.

use std::sync::Barrier;

use sigillo_tests::acme::{problem, request};
use sigillo_tests::daemon::Daemon;
use sigillo_tests::http::Response;
use sigillo_tests::webroot::Webroot;

/// How many ask at once.
const CLIENTS: usize = 8;

/// Runs the same request from several threads that start together.
fn at_once(ask: impl Fn() -> Response + Sync) -> Vec<Response> {
    let barrier = Barrier::new(CLIENTS);
    std::thread::scope(|scope| {
        let start = || {
            barrier.wait();
            ask()
        };
        let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(start)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("an answer"))
            .collect()
    })
}

#[test]
fn an_order_finalized_in_parallel_has_one_certificate() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let (url, order) = acme.new_order(&["parallel.test"]).unwrap();
    acme.prove(&order, &webroot).unwrap();
    acme.wait(&url, "pending").unwrap();
    let answers = at_once(|| acme.finalize(&order, &request(&["parallel.test"]).0).unwrap());
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(taken, 1, "one is taken");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(
            (answer.status, problem(answer).as_str()),
            (403, "orderNotReady"),
            "{}",
            answer.text()
        );
    }
    acme.download(&url).unwrap();
    let made = daemon.admin_json(&["certs", "list", "--name", "parallel.test"]);
    assert_eq!(made.as_array().map(Vec::len), Some(1), "{made}");
}

#[test]
fn a_nonce_used_in_parallel_serves_once() {
    let daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    for _ in 0..5 {
        let header = acme.protected(&acme.nonce().unwrap(), &acme.kid).to_string();
        let body = acme.key.jws(&header, b"").to_string();
        let answers = at_once(|| acme.send(&acme.kid, body.as_bytes()).unwrap());
        let taken = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(taken, 1, "one is taken");
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!(
                (answer.status, problem(answer).as_str()),
                (400, "badNonce"),
                "{}",
                answer.text()
            );
            assert!(answer.header("replay-nonce").is_some(), "with a fresh one");
        }
    }
}

#[test]
fn a_key_registered_in_parallel_is_one_account() {
    let daemon = Daemon::start();
    let mut acme = daemon.register().unwrap();
    acme.key = sigillo_tests::acme::AccountKey::generate();
    acme.kid.clear();
    let url = acme.url("newAccount");
    let answers = at_once(|| acme.post(&url, br#"{"termsOfServiceAgreed":true}"#).unwrap());
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    let found = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((made, found), (1, CLIENTS - 1));
    let first = answers[0].header("location");
    assert!(first.is_some() && answers.iter().all(|answer| answer.header("location") == first));
}

#[test]
fn a_certificate_revoked_in_parallel_is_revoked_once() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let der = acme.obtain(&["once.test"], &webroot).unwrap().leaf_der();
    let answers = at_once(|| acme.revoke(&der, 4).unwrap());
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(taken, 1, "one is taken");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(
            (answer.status, problem(answer).as_str()),
            (400, "alreadyRevoked"),
            "{}",
            answer.text()
        );
    }
}
