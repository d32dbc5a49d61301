//! What the texts ask of clients: judged on the suite's own client against peers of its own, never on the target.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::base64;
use crate::case::{Case, Finding, Judgement, ensure, must};
use crate::der;
use crate::issue::Order;
use crate::keys::Key;
use crate::mock::acme::{self, DIRECTORY, NEW_ORDER, NONCE};
use crate::mock::authority::Authority;
use crate::mock::server::{Mock, Received, Said};
use crate::request::Csr;
use crate::suite::{Account, Run};
use crate::target::Options;

pub(super) const CASES: &[Case] = &[
    must!(
        c8555_6_5_08,
        "The suite's client retries badNonce with the nonce that came along."
    ),
    must!(
        c8555_11_4_01,
        "The suite's client takes nothing but certificates as a chain."
    ),
];

/// The suite's client, pointed at a mock server.
fn client_of(mock: &Mock) -> Judgement<Run> {
    Run::start(Options::new(mock.url(DIRECTORY))).map_err(Finding::Blocked)
}

fn mock(answer: impl Fn(&str, &Received) -> Said + Send + 'static) -> Judgement<Mock> {
    Mock::start(answer).map_err(Finding::Blocked)
}

fn account(mock: &Mock) -> Account {
    Account {
        key: Arc::new(Key::p256()),
        url: mock.url("/account/1"),
        object: Value::Null,
    }
}

/// How often the mock refuses a nonce before it takes one.
const REFUSALS: usize = 2;

fn c8555_6_5_08(_run: &Run) -> Judgement {
    let posts = AtomicUsize::new(0);
    let mock = mock(move |origin, request| {
        if let Some(said) = acme::common(origin, request, || "bm9uY2UtMA".into()) {
            return said;
        }
        let count = posts.fetch_add(1, Ordering::SeqCst) + 1;
        let nonce = base64::url(format!("nonce-{count}"));
        if count <= REFUSALS {
            return Said::problem(400, "badNonce").header("Replay-Nonce", &nonce);
        }
        Said::json(201, &json!({"status": "pending"})).header("Replay-Nonce", &nonce)
    })?;
    let client = client_of(&mock)?;
    let answer = client.post(&account(&mock), &mock.url(NEW_ORDER), &json!({"identifiers": []}))?;
    ensure!(
        answer.status == 201,
        "after {REFUSALS} refusals the client stops with {}",
        answer.summary()
    );
    let received = mock.received();
    let nonces: Vec<Value> = received
        .iter()
        .filter(|request| request.path == NEW_ORDER)
        .map(|request| acme::protected(request)["nonce"].clone())
        .collect();
    let wanted: Vec<Value> = (0..=REFUSALS)
        .map(|count| base64::url(format!("nonce-{count}")).into())
        .collect();
    ensure!(
        nonces == wanted,
        "the client used the nonces {nonces:?}, it was given {wanted:?}"
    );
    let fetched = received.iter().filter(|request| request.path == NONCE).count();
    ensure!(
        fetched == 1,
        "the client fetched {fetched} nonces beside those it was given"
    );
    a_refusal_without_nonce_is_not_retried_with_the_old_one()
}

fn a_refusal_without_nonce_is_not_retried_with_the_old_one() -> Judgement {
    let mock = mock(|origin, request| {
        acme::common(origin, request, || "bm9uY2U".into()).unwrap_or_else(|| Said::problem(400, "badNonce"))
    })?;
    let client = client_of(&mock)?;
    client.post(&account(&mock), &mock.url(NEW_ORDER), &json!({}))?;
    let received = mock.received();
    let posts = received.iter().filter(|request| request.path == NEW_ORDER).count();
    ensure!(
        posts == 1,
        "without a new nonce the client sent the request {posts} times"
    );
    Ok(())
}

/// A chain as it should be served, and the same with something else in it.
fn chains() -> Vec<(&'static str, String, bool)> {
    let ca = Authority::new("ca");
    let key = Key::p256();
    let leaf = ca.certify(&key, "leaf", &[]);
    let block = |label: &str, der: &[u8]| {
        let text = base64::standard(der);
        let lines: Vec<&str> = (0..text.len())
            .step_by(64)
            .map(|from| &text[from..text.len().min(from + 64)])
            .collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    };
    let leaf = block("CERTIFICATE", &leaf.der);
    let issuer = block("CERTIFICATE", &ca.certificate.der);
    let private = block("PRIVATE KEY", &key.pkcs8());
    let request = block("CERTIFICATE REQUEST", &Csr::of(&["leaf.test".into()]).sign(&key));
    let list = block("X509 CRL", &der::sequence(&[der::null()]));
    vec![
        ("a sound chain", format!("{leaf}{issuer}"), true),
        ("a private key behind", format!("{leaf}{issuer}{private}"), false),
        ("a private key in front", format!("{private}{leaf}{issuer}"), false),
        ("a private key between", format!("{leaf}{private}{issuer}"), false),
        ("a request behind", format!("{leaf}{issuer}{request}"), false),
        ("a CRL behind", format!("{leaf}{issuer}{list}"), false),
        ("text in front", format!("subject=leaf\n{leaf}{issuer}"), false),
        ("nothing", String::new(), false),
    ]
}

fn c8555_11_4_01(_run: &Run) -> Judgement {
    for (what, chain, sound) in chains() {
        let mock = mock(move |origin, request| {
            if let Some(said) = acme::common(origin, request, || "bm9uY2U".into()) {
                return said;
            }
            let order = json!({"status": "valid", "certificate": format!("{origin}/certificate")});
            match request.path.as_str() {
                "/certificate" => Said::new(200, "application/pem-certificate-chain", chain.clone()),
                _ => Said::json(200, &order),
            }
            .header("Replay-Nonce", "bm9uY2U")
        })?;
        let order = Order {
            url: mock.url("/order"),
            object: json!({"finalize": mock.url("/finalize")}),
        };
        let (client, key, names) = (client_of(&mock)?, Key::p256(), ["leaf.test".to_owned()]);
        let csr = Csr::of(&names).sign(&key);
        let taken = client.finish(&account(&mock), &order, &csr, key, &names);
        ensure!(
            taken.is_ok() == sound,
            "{what}: the client says {:?}",
            taken.map(|_| "yes")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::relying_parties;

    #[test]
    fn the_suite_keeps_what_is_asked_of_clients() {
        let mock = mock(|origin, request| {
            acme::common(origin, request, || "bm9uY2U".into()).unwrap_or_else(|| Said::problem(404, "malformed"))
        })
        .expect("a port");
        let run = client_of(&mock).expect("a directory");
        for case in CASES.iter().chain(relying_parties::CASES) {
            let judgement = (case.judge)(&run);
            assert!(judgement.is_ok(), "{}: {judgement:?}", case.id());
        }
    }
}
