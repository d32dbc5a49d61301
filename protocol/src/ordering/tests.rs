//! The machine against a small server that verifies every request and can misbehave.

mod server;

use std::{sync::Arc, time::Duration};

use self::server::{ACCOUNT, MAC_KEY, Manners, Server, url};
use super::*;
use crate::{
    acme::{
        challenge::ChallengeType,
        directory::{Directory, Meta},
        identifier::Identifier,
        order::NewOrder,
        problem::ErrorType,
    },
    jose::{JwsSigner as _, MacAlgorithm, SigningKey},
};

fn directory() -> Directory {
    Directory {
        new_nonce: url("/nonce"),
        new_account: url("/new-account"),
        new_order: url("/new-order"),
        new_authz: None,
        revoke_cert: url("/revoke"),
        key_change: url("/key-change"),
        renewal_info: None,
        meta: Meta::default(),
    }
}

fn key() -> Arc<SigningKey> {
    let key = rcgen::KeyPair::generate().unwrap();
    Arc::new(SigningKey::from_pkcs8(&key.serialize_der()).unwrap())
}

fn certificate(name: &str) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap()
        .pem()
}

fn order() -> NewOrder {
    NewOrder {
        identifiers: vec![
            Identifier::dns("a.example").into(),
            Identifier::dns("*.b.example").into(),
        ],
        ..NewOrder::default()
    }
}

fn registration() -> Registration {
    Registration {
        contact: vec!["mailto:a@example.org".to_owned()],
        terms_agreed: true,
        ..Registration::default()
    }
}

struct Outcome {
    end: Result<Box<Issued>, Box<Failure>>,
    log: Vec<String>,
    waits: Vec<Duration>,
    proofs: Vec<Pending>,
}

/// Drives a plan to its end; the bound catches a machine that does not stop.
fn drive(manners: Manners, plan: Plan, account: bool) -> Outcome {
    let key = key();
    let server = Server::new(key.jwk(), manners);
    let mut session = Session::new(key, directory());
    if account {
        session = session.with_account(ACCOUNT);
    }
    let (mut waits, mut proofs) = (Vec::new(), Vec::new());
    let mut step = begin(session, plan);
    for _ in 0..1000 {
        step = match step {
            Step::Send(state) => {
                let response = server.answer(state.request());
                state.receive(response)
            }
            Step::Wait(state) => {
                waits.push(state.duration());
                state.over()
            }
            Step::Prove(state) => {
                proofs = state.authorizations().to_vec();
                let known = |pending: &Pending| {
                    let offer = pending
                        .challenges
                        .iter()
                        .find(|offer| offer.known.is_some() && offer.token.is_some());
                    offer.map(|offer| offer.url.clone())
                };
                let chosen: Vec<_> = proofs.iter().filter_map(known).collect();
                state.respond(&chosen)
            }
            Step::NeedCsr(state) => {
                assert_eq!(state.order_url(), Some(url("/order").as_str()));
                state.finalize(b"csr")
            }
            Step::Done(issued) => {
                return Outcome {
                    end: Ok(issued),
                    log: server.state.take().log,
                    waits,
                    proofs,
                };
            }
            Step::Failed(failure) => {
                return Outcome {
                    end: Err(failure),
                    log: server.state.take().log,
                    waits,
                    proofs,
                };
            }
        };
    }
    panic!("the machine does not stop");
}

fn polite() -> Manners {
    Manners {
        chain: Some(certificate("a.example")),
        ..Manners::default()
    }
}

fn error(outcome: Outcome) -> OrderingError {
    outcome.end.expect_err("no certificate").error
}

#[test]
fn registers_proves_finalizes_and_downloads() {
    let manners = Manners { polls: 2, ..polite() };
    let pem = manners.chain.clone().unwrap();
    let outcome = drive(manners, Plan::new(order()).with_registration(registration()), false);
    let issued = outcome.end.unwrap();
    assert_eq!(issued.chain, Chain::from_pem(pem.as_bytes()).unwrap());
    assert_eq!(
        (issued.session.account(), issued.order_url.as_str()),
        (Some(ACCOUNT), "https://ca.example/order")
    );
    assert_eq!(
        outcome.log,
        [
            "HEAD /nonce",
            "POST /new-account",
            "POST /new-order",
            "POST /authorization/0",
            "POST /authorization/1",
            "POST /challenge/0",
            "POST /challenge/1",
            "POST /authorization/0",
            "POST /authorization/1",
            "POST /order",
            "POST /finalize",
            "POST /order",
            "POST /order",
            "POST /certificate",
        ],
        "one nonce is fetched, every other one comes with an answer"
    );
    assert_eq!(outcome.waits.len(), 3);
    let [first, second] = &outcome.proofs[..] else {
        panic!("two proofs: {:?}", outcome.proofs)
    };
    assert_eq!((first.identifier.value.as_str(), first.wildcard), ("a.example", false));
    assert_eq!((second.identifier.value.as_str(), second.wildcard), ("b.example", true));
    assert_eq!(
        first.challenges[0].known, None,
        "an unknown type is shown and passed over"
    );
    let offer = &first.challenges[1];
    let thumbprint = issued.session.signer().jwk().thumbprint();
    assert_eq!(offer.known, Some(ChallengeType::Http01));
    assert_eq!(
        offer.key_authorization,
        Some(format!("{}.{thumbprint}", offer.token.as_deref().unwrap()))
    );
}

#[test]
fn binds_an_external_account() {
    let external = ExternalAccount {
        kid: "kid-1".into(),
        mac_key: MAC_KEY.to_vec().into(),
        alg: MacAlgorithm::Hs256,
    };
    assert!(!format!("{external:?}").contains('7'), "no secret in debug output");
    let bound = Registration {
        external_account: Some(external),
        ..registration()
    };
    assert!(
        drive(polite(), Plan::new(order()).with_registration(bound), false)
            .end
            .is_ok()
    );
}

#[test]
fn says_at_once_that_a_binding_or_an_account_is_missing() {
    let mut directory = directory();
    directory.meta.external_account_required = true;
    let plan = Plan::new(order()).with_registration(registration());
    let Step::Failed(failure) = begin(Session::new(key(), directory.clone()), plan) else {
        panic!("a failure")
    };
    assert_eq!(failure.error, OrderingError::ExternalAccountRequired);
    let Step::Failed(failure) = begin(Session::new(key(), directory), Plan::new(order())) else {
        panic!("a failure")
    };
    assert_eq!(failure.error, OrderingError::NoAccount);
}

#[test]
fn c8555_6_5_08_retries_with_the_nonce_of_the_refusal() {
    let outcome = drive(
        Manners {
            bad_nonces: 3,
            ..polite()
        },
        Plan::new(order()),
        true,
    );
    assert!(outcome.end.is_ok());
    assert_eq!(outcome.log.iter().filter(|line| line.starts_with("HEAD")).count(), 1);
    let outcome = drive(
        Manners {
            bad_nonces: 2,
            bad_nonce_without_nonce: true,
            ..polite()
        },
        Plan::new(order()),
        true,
    );
    assert!(outcome.end.is_ok());
    assert_eq!(outcome.log.iter().filter(|line| line.starts_with("HEAD")).count(), 3);
}

#[test]
fn gives_up_after_bounded_bad_nonces() {
    let outcome = drive(
        Manners {
            bad_nonces: 1000,
            ..polite()
        },
        Plan::new(order()),
        true,
    );
    assert_eq!(outcome.log.iter().filter(|line| *line == "bad").count(), 6);
    let OrderingError::Refused { problem, .. } = error(outcome) else {
        panic!("a refusal")
    };
    assert_eq!(problem.kind, ErrorType::BadNonce);
}

#[test]
fn refuses_a_nonce_that_is_none() {
    for nonce in ["", "a b", "abc=", "a\r\nb"] {
        let outcome = drive(
            Manners {
                nonce: Some(nonce),
                ..polite()
            },
            Plan::new(order()),
            true,
        );
        assert!(matches!(error(outcome), OrderingError::Unexpected { .. }), "{nonce:?}");
    }
}

#[test]
fn waits_for_a_busy_server_but_not_for_ever() {
    let outcome = drive(
        Manners {
            busy: vec![2, 7],
            valid_at_once: true,
            ..polite()
        },
        Plan::new(order()),
        true,
    );
    assert_eq!(outcome.waits, [2, 7].map(Duration::from_secs));
    assert!(outcome.end.is_ok());
    let outcome = drive(
        Manners {
            busy: vec![1; 10],
            ..polite()
        },
        Plan::new(order()),
        true,
    );
    assert_eq!(outcome.waits.len(), 3);
    assert!(matches!(error(outcome), OrderingError::Refused { .. }));
    let outcome = drive(
        Manners {
            busy: vec![86_400],
            ..polite()
        },
        Plan::new(order()),
        true,
    );
    assert!(outcome.waits.is_empty());
    let OrderingError::Refused { retry_after, .. } = error(outcome) else {
        panic!("a refusal")
    };
    assert_eq!(retry_after, Some(Duration::from_secs(86_400)));
}

#[test]
fn waits_for_a_server_that_is_too_busy_for_a_nonce() {
    let mut step = begin(
        Session::new(key(), directory()).with_account(ACCOUNT),
        Plan::new(order()),
    );
    for _ in 0..3 {
        let Step::Send(state) = step else {
            panic!("a request: {step:?}")
        };
        assert_eq!(state.request().method, Method::Head);
        let busy = Response {
            status: 503,
            retry_after: Some(Duration::from_secs(2)),
            ..Response::default()
        };
        let Step::Wait(wait) = state.receive(busy.clone()) else {
            panic!("a wait")
        };
        assert_eq!(wait.duration(), Duration::from_secs(2));
        step = wait.over();
    }
    let Step::Send(state) = step else {
        panic!("a request: {step:?}")
    };
    let response = Response {
        status: 503,
        retry_after: Some(Duration::from_secs(2)),
        ..Response::default()
    };
    assert!(matches!(state.receive(response), Step::Failed(_)));
}

#[test]
fn renews_without_replaces_when_there_is_a_successor() {
    let renewal = NewOrder {
        replaces: Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE".into()),
        ..order()
    };
    let outcome = drive(
        Manners {
            already_replaced: true,
            ..polite()
        },
        Plan::new(renewal),
        true,
    );
    assert!(outcome.end.is_ok());
    assert_eq!(outcome.log.iter().filter(|line| *line == "POST /new-order").count(), 2);
}

#[test]
fn proves_nothing_when_everything_is_authorized() {
    let outcome = drive(
        Manners {
            valid_at_once: true,
            ..polite()
        },
        Plan::new(order()),
        true,
    );
    assert!(outcome.end.is_ok() && outcome.proofs.is_empty() && outcome.waits.is_empty());
}

#[test]
fn says_why_a_name_could_not_be_validated() {
    let outcome = drive(
        Manners {
            refuse: Some("connection refused"),
            ..polite()
        },
        Plan::new(order()),
        true,
    );
    let failure = outcome.end.unwrap_err();
    assert_eq!(failure.order_url, Some(url("/order")));
    let text = failure.error.to_string();
    assert!(
        text.contains("dns:a.example") && text.contains("connection refused"),
        "{text}"
    );
}

#[test]
fn names_what_is_on_offer_when_nothing_was_prepared() {
    let unusable = Manners {
        token: Some("../../etc/passwd"),
        ..polite()
    };
    let OrderingError::NoChallenge { identifier, offered } = error(drive(unusable, Plan::new(order()), true)) else {
        panic!("no challenge")
    };
    assert_eq!(
        (identifier.value.as_str(), offered.as_str()),
        ("a.example", "unheard-of-01, http-01")
    );
}

#[test]
fn h11_an_unsafe_token_is_not_shown() {
    for token in ["", "a/b", "a b", "a.b", "$(id)", "a\0"] {
        let outcome = drive(
            Manners {
                token: Some(token),
                ..polite()
            },
            Plan::new(order()),
            true,
        );
        assert!(
            outcome
                .proofs
                .iter()
                .flat_map(|p| &p.challenges)
                .all(|c| c.token.is_none()),
            "{token:?}"
        );
        assert!(outcome.end.is_err());
    }
}

#[test]
fn polls_as_told_and_within_its_limits() {
    let slow = |retry_after| Manners {
        polls: 1_000_000,
        valid_at_once: true,
        retry_after,
        ..polite()
    };
    let outcome = drive(slow(Some(3)), Plan::new(order()), true);
    assert_eq!(outcome.waits, vec![Duration::from_secs(3); 125]);
    assert!(matches!(error(outcome), OrderingError::NotYet { .. }));
    let outcome = drive(slow(None), Plan::new(order()), true);
    assert_eq!(outcome.waits[..4], [250, 500, 1000, 2000].map(Duration::from_millis));
    assert!(outcome.waits.iter().sum::<Duration>() < Duration::from_secs(620));
    let outcome = drive(slow(Some(86_400)), Plan::new(order()), true);
    assert!(outcome.waits.is_empty());
    assert_eq!(
        error(outcome),
        OrderingError::NotYet {
            retry_after: Some(Duration::from_secs(86_400))
        }
    );
    let outcome = drive(slow(Some(0)), Plan::new(order()), true);
    assert!(outcome.waits.iter().all(|wait| *wait == Duration::from_millis(100)));
}

#[test]
fn goes_on_when_the_answer_to_finalize_was_lost() {
    let outcome = drive(
        Manners {
            finalize_gets_lost: true,
            polls: 1,
            ..polite()
        },
        Plan::new(order()),
        true,
    );
    assert!(outcome.end.is_ok(), "{:?}", outcome.end);
}

#[test]
fn reports_an_order_that_became_invalid() {
    let outcome = drive(
        Manners {
            never_ready: true,
            ..polite()
        },
        Plan::new(order()),
        true,
    );
    assert_eq!(error(outcome), OrderingError::Invalid { problem: None });
}

#[test]
fn refuses_an_order_for_other_names() {
    let outcome = drive(
        Manners {
            order_for: Some("evil.example"),
            ..polite()
        },
        Plan::new(order()),
        true,
    );
    assert!(matches!(error(outcome), OrderingError::Unexpected { .. }));
}

#[test]
fn c8555_11_4_01_refuses_a_chain_with_a_private_key() {
    let chain = format!(
        "{}{}",
        certificate("a.example"),
        rcgen::KeyPair::generate().unwrap().serialize_pem()
    );
    let outcome = drive(
        Manners {
            chain: Some(chain),
            ..Manners::default()
        },
        Plan::new(order()),
        true,
    );
    assert!(matches!(
        error(outcome),
        OrderingError::Chain(ChainError::Foreign { .. })
    ));
    let outcome = drive(
        Manners {
            chain_type: Some("text/html"),
            ..polite()
        },
        Plan::new(order()),
        true,
    );
    assert!(matches!(error(outcome), OrderingError::Unexpected { .. }));
}

#[test]
fn fetches_other_chains_only_for_the_same_certificate() {
    let chain = certificate("a.example");
    let other = format!("{chain}{}", certificate("root.example"));
    let manners = Manners {
        chain: Some(chain),
        alternates: vec![other.clone(), certificate("a.example"), "nonsense".into()],
        ..Manners::default()
    };
    let plan = Plan {
        alternates: true,
        ..Plan::new(order())
    };
    let issued = drive(manners.clone(), plan, true).end.unwrap();
    assert_eq!(issued.alternates, [Chain::from_pem(other.as_bytes()).unwrap()]);
    let issued = drive(manners, Plan::new(order()), true).end.unwrap();
    assert!(issued.alternates.is_empty(), "only where they were asked for");
}

#[test]
fn resumes_an_order_that_is_valid_already() {
    let key = key();
    let server = Server::new(key.jwk(), polite());
    server.state.borrow_mut().finalized = true;
    let mut step = begin(
        Session::new(key, directory()).with_account(ACCOUNT),
        Plan::resume(url("/order")),
    );
    while let Step::Send(state) = step {
        let response = server.answer(state.request());
        step = state.receive(response);
    }
    assert!(matches!(step, Step::Done(_)), "{step:?}");
}

#[test]
fn an_answer_that_is_no_acme_is_an_error_and_no_panic() {
    for (status, body) in [
        (200, "{}"),
        (200, "<html>"),
        (500, "<html>\u{7}\r\n"),
        (201, "[]"),
        (404, ""),
        (403, r#"{"type":"about:blank","detail":"a\u001b[2Jb"}"#),
        (302, ""),
    ] {
        let session = Session::new(key(), directory()).with_account(ACCOUNT);
        let mut step = begin(session, Plan::new(order()));
        for _ in 0..20 {
            let Step::Send(state) = step else { break };
            let response = Response {
                status: if state.request().method == Method::Head {
                    200
                } else {
                    status
                },
                nonce: Some("abc".into()),
                location: Some(url("/order")),
                body: body.as_bytes().to_vec(),
                ..Response::default()
            };
            step = state.receive(response);
        }
        let Step::Failed(failure) = step else {
            panic!("{status} {body:?}: {step:?}")
        };
        assert!(
            !failure.error.to_string().chars().any(char::is_control),
            "{}",
            failure.error
        );
    }
}
