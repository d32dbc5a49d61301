//! What is said of which certificate, by whom, and for how long.

use der::asn1::Null;
use jiff::SignedDuration;
use sigillo_protocol::x509::reason::RevocationReason;
use x509_cert::Certificate;

use super::*;
use crate::{clock::Clock, model::CertificateState, signer::SignatureAlgorithm};

const ALGORITHMS: [SignatureAlgorithm; 4] = [
    SignatureAlgorithm::EcdsaP256Sha256,
    SignatureAlgorithm::EcdsaP384Sha384,
    SignatureAlgorithm::Ed25519,
    SignatureAlgorithm::RsaSha256,
];

#[tokio::test]
async fn says_good_revoked_and_unknown_of_the_right_certificates() {
    let node = Node::new().await;
    node.issue(1).await;
    node.issue(2).await;
    node.revoke(2, Some(RevocationReason::Superseded)).await;
    node.store
        .intend(&node.ca.id, serial(3), CertificateState::Intended)
        .await;
    node.store.intend(&node.ca.id, serial(4), CertificateState::Void).await;
    node.store
        .issue(&"other".parse().unwrap(), serial(5), node.clock.now())
        .await;
    assert_eq!(status(&node.answer(&node.ask(1)).await), CertStatus::good());
    let CertStatus::Revoked(revoked) = status(&node.answer(&node.ask(2)).await) else {
        panic!("not revoked")
    };
    assert_eq!(
        revoked.revocation_reason,
        Some(x509_cert::ext::pkix::CrlReason::Superseded)
    );
    assert_eq!(
        revoked.revocation_time.0.to_unix_duration().as_secs(),
        node.clock.now().as_second().unsigned_abs()
    );
    for (number, why) in [
        (3, "only intended"),
        (4, "void"),
        (5, "another issuer's"),
        (6, "never issued"),
    ] {
        assert_eq!(
            status(&node.answer(&node.ask(number)).await),
            CertStatus::unknown(),
            "{why}"
        );
    }
}

#[tokio::test]
async fn gives_no_reason_where_none_was_given() {
    let node = Node::new().await;
    for (number, reason) in [(1, None), (2, Some(RevocationReason::Unspecified))] {
        node.issue(number).await;
        node.revoke(number, reason).await;
        let CertStatus::Revoked(revoked) = status(&node.answer(&node.ask(number)).await) else {
            panic!("not revoked")
        };
        assert_eq!(revoked.revocation_reason, None, "{reason:?}");
    }
}

#[tokio::test]
async fn finds_the_issuer_by_every_hash_with_and_without_parameters_and_repeats_the_cert_id() {
    let node = Node::new().await;
    node.issue(u128::MAX).await;
    for hash in HashAlgorithm::ALL {
        for parameters in [Some(Null.into()), None] {
            let mut id = node.ca.cert_id(hash, serial(u128::MAX));
            id.hash_algorithm.parameters = parameters;
            let answer = node.answer(&message(vec![id.clone()])).await;
            assert_eq!(status(&answer), CertStatus::good(), "{hash:?}");
            assert_eq!(answer.tbs_response_data.responses[0].cert_id, id);
        }
    }
}

#[tokio::test]
async fn answers_fifty_requests_in_their_order_and_refuses_too_many() {
    let node = Node::new().await;
    node.issue(7).await;
    let ids: Vec<_> = (1..=50)
        .map(|number| node.ca.cert_id(HashAlgorithm::Sha1, serial(number)))
        .collect();
    let answer = node.answer(&message(ids.clone())).await;
    let answered: Vec<_> = answer
        .tbs_response_data
        .responses
        .iter()
        .map(|single| single.cert_id.clone())
        .collect();
    assert_eq!(answered, ids);
    let good = answer
        .tbs_response_data
        .responses
        .iter()
        .filter(|single| single.cert_status == CertStatus::good());
    assert_eq!(good.count(), 1);
    let many = vec![ids[0].clone(); REQUESTS_MAX + 1];
    assert_eq!(
        node.error(&message(many).to_der().unwrap()).await,
        ErrorStatus::MalformedRequest
    );
    assert_eq!(
        node.answer(&message(vec![ids[0].clone(); REQUESTS_MAX]))
            .await
            .tbs_response_data
            .responses
            .len(),
        REQUESTS_MAX
    );
}

#[tokio::test]
async fn openssl_accepts_the_answers_of_every_key() {
    let dir = tempfile::tempdir().unwrap();
    for algorithm in ALGORITHMS {
        let node = Node::with(algorithm, None).await;
        for number in [0x80, 0x81] {
            node.issue(number).await;
        }
        node.revoke(0x81, Some(RevocationReason::KeyCompromise)).await;
        let ca = file(
            dir.path(),
            "ca.pem",
            crate::pem::certificate(&node.ca.certificate).as_bytes(),
        );
        for (number, said) in [(0x80, ": good"), (0x81, ": revoked"), (0x82, ": unknown")] {
            let leaf = crate::pem::certificate(&node.ca.leaf(serial(number), node.clock.now()));
            let leaf = file(dir.path(), "leaf.pem", leaf.as_bytes());
            let request = dir.path().join("request.der").to_str().unwrap().to_owned();
            let asking = [
                "ocsp",
                "-no_nonce",
                "-issuer",
                &ca,
                "-sha256",
                "-cert",
                &leaf,
                "-reqout",
                &request,
            ];
            assert!(openssl(&asking).1);
            let Reply::Answer(answer) = node.reply(&std::fs::read(&request).unwrap()).await else {
                panic!("no answer")
            };
            let answer = file(dir.path(), "answer.der", &answer.der);
            let asked = ["ocsp", "-no_nonce", "-issuer", &ca, "-sha256", "-cert", &leaf];
            let (text, good) = openssl(&[&asked[..], &["-respin", &answer, "-CAfile", &ca]].concat());
            assert!(
                good && text.contains("Response verify OK") && text.contains(said),
                "{algorithm:?}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn responder_id_times_and_certificate_are_as_the_rfcs_want_them() {
    let node = Node::new().await;
    node.issue(1).await;
    let answer = node.answer(&node.ask(1)).await;
    let data = &answer.tbs_response_data;
    let certificate = Certificate::from_der(&node.ca.responder_certificate).unwrap();
    let key = certificate
        .tbs_certificate
        .subject_public_key_info
        .subject_public_key
        .raw_bytes();
    let key_hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, key);
    assert_eq!(
        data.responder_id,
        x509_ocsp::ResponderId::ByKey(OctetString::new(key_hash.as_ref()).unwrap())
    );
    assert_eq!(answer.certs, Some(vec![certificate]));
    let seconds = |time: x509_ocsp::OcspGeneralizedTime| time.0.to_unix_duration().as_secs();
    let single = &data.responses[0];
    let now = node.clock.now().as_second().unsigned_abs();
    assert_eq!((seconds(data.produced_at), seconds(single.this_update)), (now, now));
    assert_eq!(seconds(single.next_update.unwrap()), now + 12 * 3600);
    assert_eq!(single.single_extensions, None);
}

#[tokio::test]
async fn the_ocsp_crate_encodes_the_same_response_data() {
    use ocsp::common::asn1::{CertId as TheirCertId, GeneralizedTime, Oid};
    use ocsp::response::{CertStatus as TheirStatus, CertStatusCode, OneResp, ResponderId, ResponseData};
    let node = Node::new().await;
    node.issue(0x80).await;
    let id = node.ca.cert_id(HashAlgorithm::Sha1, serial(0x80));
    let answer = node.answer(&message(vec![id.clone()])).await;
    let time = |time: x509_ocsp::OcspGeneralizedTime| {
        let time = time.0.to_date_time();
        let parts = (time.year().into(), time.month().into(), time.day().into());
        let (year, month, day) = parts;
        GeneralizedTime::new(
            year,
            month,
            day,
            time.hour().into(),
            time.minutes().into(),
            time.seconds().into(),
        )
        .unwrap()
    };
    let data = &answer.tbs_response_data;
    let x509_ocsp::ResponderId::ByKey(key_hash) = &data.responder_id else {
        panic!("not by key")
    };
    let cid = TheirCertId::new(
        Oid::new_from_dot("1.3.14.3.2.26").unwrap(),
        id.issuer_name_hash.as_bytes(),
        id.issuer_key_hash.as_bytes(),
        &serial(0x80).to_der_content(),
    );
    let one = OneResp {
        cid,
        cert_status: TheirStatus::new(CertStatusCode::Good, None),
        this_update: time(data.responses[0].this_update),
        next_update: data.responses[0].next_update.map(time),
        one_resp_ext: None,
    };
    let theirs = ResponseData::new(
        ResponderId::new_key_hash(key_hash.as_bytes()),
        time(data.produced_at),
        vec![one],
        None,
    );
    assert_eq!(theirs.to_der().unwrap(), data.to_der().unwrap());
}

#[tokio::test]
async fn a_plain_request_is_answered_from_memory_until_it_ages() {
    let node = Node::new().await;
    node.issue(1).await;
    let request = node.ask(1).to_der().unwrap();
    let first = node.reply(&request).await;
    let reads = node.store.status_reads.load(std::sync::atomic::Ordering::SeqCst);
    let der = |reply: &Reply| match reply {
        Reply::Answer(answer) => answer.der.clone(),
        Reply::Error(status) => panic!("{status:?}"),
    };
    node.clock.advance_seconds(3599);
    assert_eq!(der(&node.reply(&request).await), der(&first));
    assert_eq!(node.store.status_reads.load(std::sync::atomic::Ordering::SeqCst), reads);
    node.clock.advance_seconds(1);
    assert_ne!(der(&node.reply(&request).await), der(&first));
}

#[tokio::test]
async fn a_revocation_counts_as_soon_as_catch_up_returns() {
    let node = Node::new().await;
    for number in 1..=20 {
        node.issue(number).await;
        assert_eq!(status(&node.answer(&node.ask(number)).await), CertStatus::good());
        node.revoke(number, None).await;
        node.service.catch_up().await.unwrap();
        assert!(is_revoked(&node.answer(&node.ask(number)).await), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stale_good_while_others_ask_without_pause() {
    let dir = tempfile::tempdir().unwrap();
    let node = std::sync::Arc::new(Node::with(SignatureAlgorithm::Ed25519, Some(&dir.path().join("index"))).await);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let service = node.service.clone();
    let running = tokio::spawn(async move { service.run(stopped).await });
    for number in 1..=60 {
        node.issue(number).await;
        let askers: Vec<_> = (0..4)
            .map(|_| {
                let node = node.clone();
                tokio::spawn(async move {
                    for _ in 0..30 {
                        node.answer(&node.ask(number)).await;
                    }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        node.revoke(number, None).await;
        node.service.catch_up().await.unwrap();
        assert!(is_revoked(&node.answer(&node.ask(number)).await), "{number}");
        for asker in askers {
            asker.await.unwrap();
        }
        assert!(
            is_revoked(&node.answer(&node.ask(number)).await),
            "{number}, after all askers"
        );
    }
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn says_try_later_rather_than_guess_when_the_store_is_away() {
    let node = Node::new().await;
    node.issue(1).await;
    node.store.away.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(node.error(&node.ask(1).to_der().unwrap()).await, ErrorStatus::TryLater);
}

#[tokio::test]
async fn does_not_sign_when_the_clock_went_back() {
    let node = Node::new().await;
    node.issue(1).await;
    node.answer(&node.ask(1)).await;
    node.clock.advance_seconds(-60);
    assert_eq!(node.error(&node.ask(1).to_der().unwrap()).await, ErrorStatus::TryLater);
    node.clock.advance_seconds(60);
    node.answer(&node.ask(1)).await;
}

#[tokio::test]
async fn does_not_sign_with_an_expired_responder_and_never_beyond_its_end() {
    let node = Node::new().await;
    node.issue(1).await;
    let soon = node.clock.now() + SignedDuration::from_hours(3);
    let issuer = &node.service.ocsp().issuers()[0];
    let renewed = |until| {
        let certificate = node.ca.responder_certificate_until(until);
        Responder::new(&certificate, node.ca.responder_signer.clone(), true).unwrap()
    };
    issuer.replace_responder(renewed(soon)).unwrap();
    let answer = node.answer(&node.ask(1)).await;
    let next_update = answer.tbs_response_data.responses[0]
        .next_update
        .unwrap()
        .0
        .to_unix_duration()
        .as_secs();
    assert_eq!(next_update, soon.as_second().unsigned_abs());
    node.clock.advance_seconds(4 * 3600);
    assert_eq!(
        node.error(&node.ask(1).to_der().unwrap()).await,
        ErrorStatus::InternalError
    );
    issuer
        .replace_responder(renewed(node.clock.now() + SignedDuration::from_hours(48)))
        .unwrap();
    node.answer(&node.ask(1)).await;
}

/// Run by hand on an optimised build.
#[tokio::test]
#[ignore = "measures; run by hand on an optimised build"]
async fn measures_answers() {
    let node = Node::new().await;
    node.issue(1).await;
    let plain = node.ask(1).to_der().unwrap();
    let with_nonce = with_extensions(node.ask(1), vec![nonce(32)]).to_der().unwrap();
    for (what, request, count) in [("from memory", plain, 1_000_000), ("signed", with_nonce, 20_000)] {
        let began = std::time::Instant::now();
        for _ in 0..count {
            assert!(matches!(node.reply(&request).await, Reply::Answer(_)));
        }
        println!("{what}: {:?} each", began.elapsed() / count);
    }
}
