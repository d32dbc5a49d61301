//! The responder against RFC 6960, RFC 9654 and RFC 9919: what it answers, what it refuses, and what it never says.

use const_oid::{
    ObjectIdentifier,
    db::rfc6960::{ID_PKIX_OCSP_NONCE, ID_PKIX_OCSP_PREF_SIG_ALGS, ID_PKIX_OCSP_RESPONSE},
};
use der::{
    Decode, Encode,
    asn1::{BitString, Null, OctetString},
};
use jiff::SignedDuration;
use sigillo_protocol::x509::reason::RevocationReason;
use x509_cert::{
    Certificate,
    ext::{Extension, pkix::name::GeneralName},
    spki::AlgorithmIdentifierOwned,
};
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspRequest as Message, OcspResponse, Request, Signature, TbsRequest,
    Version,
};

use super::*;
use crate::{
    clock::Clock,
    model::CertificateState,
    signer::{SignatureAlgorithm, Signer},
    status::testing::*,
};

const ALGORITHMS: [SignatureAlgorithm; 4] = [
    SignatureAlgorithm::EcdsaP256Sha256,
    SignatureAlgorithm::EcdsaP384Sha384,
    SignatureAlgorithm::Ed25519,
    SignatureAlgorithm::RsaSha256,
];

/// A private OID that nobody knows.
const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999.1");

fn message(ids: Vec<CertId>) -> Message {
    let request_list = ids
        .into_iter()
        .map(|req_cert| Request {
            req_cert,
            single_request_extensions: None,
        })
        .collect();
    let tbs_request = TbsRequest {
        version: Version::V1,
        requestor_name: None,
        request_list,
        request_extensions: None,
    };
    Message {
        tbs_request,
        optional_signature: None,
    }
}

fn extension(extn_id: ObjectIdentifier, critical: bool, value: &[u8]) -> Extension {
    Extension {
        extn_id,
        critical,
        extn_value: OctetString::new(value).unwrap(),
    }
}

fn with_extensions(mut message: Message, extensions: Vec<Extension>) -> Message {
    message.tbs_request.request_extensions = Some(extensions);
    message
}

fn nonce(length: usize) -> Extension {
    let value = OctetString::new(vec![0xa5; length]).unwrap().to_der().unwrap();
    extension(ID_PKIX_OCSP_NONCE, false, &value)
}

impl Node {
    fn ask(&self, number: u128) -> Message {
        message(vec![self.ca.cert_id(HashAlgorithm::Sha256, serial(number))])
    }

    async fn reply(&self, request: &[u8]) -> Reply {
        self.service.ocsp().answer(request).await
    }

    async fn answer(&self, request: &Message) -> BasicOcspResponse {
        match self.reply(&request.to_der().unwrap()).await {
            Reply::Answer(answer) => basic(&answer.der),
            Reply::Error(status) => panic!("{status:?} instead of an answer"),
        }
    }

    async fn error(&self, request: &[u8]) -> ErrorStatus {
        match self.reply(request).await {
            Reply::Error(status) => status,
            Reply::Answer(_) => panic!("an answer instead of an error"),
        }
    }
}

fn basic(der: &[u8]) -> BasicOcspResponse {
    let response = OcspResponse::from_der(der).unwrap();
    assert_eq!(response.to_der().unwrap(), der);
    let octets = response.response_bytes.unwrap().response;
    BasicOcspResponse::from_der(octets.as_bytes()).unwrap()
}

fn status(answer: &BasicOcspResponse) -> CertStatus {
    assert_eq!(answer.tbs_response_data.responses.len(), 1);
    answer.tbs_response_data.responses[0].cert_status
}

fn is_revoked(answer: &BasicOcspResponse) -> bool {
    matches!(status(answer), CertStatus::Revoked(_))
}

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
async fn speaks_for_no_issuer_unless_both_hashes_are_its_own() {
    let node = Node::new().await;
    node.issue(1).await;
    let right = node.ca.cert_id(HashAlgorithm::Sha1, serial(1));
    let spki = Certificate::from_der(&node.ca.certificate)
        .unwrap()
        .tbs_certificate
        .subject_public_key_info;
    let whole = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &spki.to_der().unwrap());
    let octets = |octets: &[u8]| OctetString::new(octets).unwrap();
    let md5 = AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new_unwrap("1.2.840.113549.2.5"),
        parameters: None,
    };
    let cases = [
        (
            "foreign name",
            CertId {
                issuer_name_hash: octets(&[1; 20]),
                ..right.clone()
            },
        ),
        (
            "foreign key",
            CertId {
                issuer_key_hash: octets(&[1; 20]),
                ..right.clone()
            },
        ),
        (
            "hash of the whole SPKI",
            CertId {
                issuer_key_hash: octets(whole.as_ref()),
                ..right.clone()
            },
        ),
        (
            "hashes of another length",
            CertId {
                issuer_name_hash: octets(&[]),
                ..right.clone()
            },
        ),
        (
            "unknown hash",
            CertId {
                hash_algorithm: md5,
                ..right.clone()
            },
        ),
    ];
    for (what, id) in cases {
        assert_eq!(
            node.error(&message(vec![id.clone()]).to_der().unwrap()).await,
            ErrorStatus::Unauthorized,
            "{what}"
        );
        let answer = node.answer(&message(vec![id, right.clone()])).await;
        let said: Vec<_> = answer
            .tbs_response_data
            .responses
            .iter()
            .map(|single| single.cert_status)
            .collect();
        assert_eq!(
            said,
            [CertStatus::unknown(), CertStatus::good()],
            "beside our own: {what}"
        );
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
async fn malformed_requests_get_malformed_request() {
    let node = Node::new().await;
    let plain = node.ask(1).to_der().unwrap();
    let explicit_version = {
        let tbs = node.ask(1).tbs_request.request_list.to_der().unwrap();
        let content = [&[0xa0, 3, 2, 1, 0], tbs.as_slice()].concat();
        let inner = [vec![0x30, content.len() as u8], content].concat();
        [vec![0x30, inner.len() as u8], inner].concat()
    };
    let mut indefinite = plain.clone();
    indefinite[1] = 0x80;
    indefinite.extend_from_slice(&[0, 0]);
    let parameters = {
        let mut id = node.ca.cert_id(HashAlgorithm::Sha1, serial(1));
        id.hash_algorithm.parameters = Some(der::Any::new(der::Tag::OctetString, [1]).unwrap());
        message(vec![id]).to_der().unwrap()
    };
    let extended = |extensions| with_extensions(node.ask(1), extensions).to_der().unwrap();
    let in_single = |critical| {
        let mut message = node.ask(1);
        message.tbs_request.request_list[0].single_request_extensions = Some(vec![extension(UNKNOWN, critical, &[])]);
        message.to_der().unwrap()
    };
    let bare_nonce = extension(ID_PKIX_OCSP_NONCE, false, &[0xa5; 32]);
    let nonce_and_more = {
        let value = [OctetString::new(vec![1; 16]).unwrap().to_der().unwrap(), vec![0]].concat();
        extension(ID_PKIX_OCSP_NONCE, false, &value)
    };
    let no_basic = Vec::<ObjectIdentifier>::from([UNKNOWN]).to_der().unwrap();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("random", vec![0x5a; 64]),
        ("truncated", plain[..plain.len() - 1].to_vec()),
        ("trailing", [plain.clone(), vec![0]].concat()),
        ("indefinite length", indefinite),
        ("version written out", explicit_version),
        ("no requests", message(vec![]).to_der().unwrap()),
        ("hash parameters", parameters),
        ("nonce of 0", extended(vec![nonce(0)])),
        ("nonce of 129", extended(vec![nonce(129)])),
        ("nonce of 256", extended(vec![nonce(256)])),
        ("bare nonce", extended(vec![bare_nonce])),
        ("nonce with a tail", extended(vec![nonce_and_more])),
        ("two nonces", extended(vec![nonce(16), nonce(16)])),
        (
            "unknown critical extension",
            extended(vec![extension(UNKNOWN, true, &[])]),
        ),
        ("unknown critical single extension", in_single(true)),
        ("no extension in the list", extended(vec![])),
        (
            "critical acceptable responses without basic",
            extended(vec![extension(ID_PKIX_OCSP_RESPONSE, true, &no_basic)]),
        ),
        ("too long", vec![0x30; REQUEST_OCTETS_MAX + 1]),
    ];
    for (what, request) in cases {
        assert_eq!(node.error(&request).await, ErrorStatus::MalformedRequest, "{what}");
    }
    node.answer(&Message::from_der(&in_single(false)).unwrap()).await;
}

#[tokio::test]
async fn survives_every_single_mutation_of_a_request() {
    let node = Node::new().await;
    let request = with_extensions(node.ask(1), vec![nonce(32)]).to_der().unwrap();
    for place in 0..request.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut mutant = request.clone();
            mutant[place] ^= flip;
            if let Ok(read) = OcspRequest::from_der(&mutant) {
                assert!(!read.requests.is_empty());
            }
            OcspRequest::from_der(&mutant[..place]).unwrap_err();
        }
    }
}

#[tokio::test]
async fn returns_the_nonce_and_only_when_there_was_one() {
    let node = Node::new().await;
    node.issue(1).await;
    for length in [1, 15, 16, 24, 32, 33, 128] {
        let sent = nonce(length);
        let answer = node.answer(&with_extensions(node.ask(1), vec![sent.clone()])).await;
        assert_eq!(
            answer.tbs_response_data.response_extensions,
            Some(vec![sent]),
            "{length}"
        );
    }
    assert_eq!(
        node.answer(&node.ask(1)).await.tbs_response_data.response_extensions,
        None
    );
}

#[tokio::test]
async fn the_nonce_has_the_bytes_of_rfc_9654() {
    let node = Node::new().await;
    let request = with_extensions(node.ask(1), vec![nonce(32)]).to_der().unwrap();
    let vector = [
        0x30, 0x2f, 0x06, 0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02, 0x04, 0x22, 0x04, 0x20, 0xa5,
    ];
    let holds = |octets: &[u8]| octets.windows(vector.len()).any(|window| window == vector);
    assert!(holds(&request));
    let Reply::Answer(answer) = node.reply(&request).await else {
        panic!("no answer")
    };
    assert!(holds(&answer.der));
}

#[tokio::test]
async fn parallel_requests_never_get_each_others_nonces() {
    let node = std::sync::Arc::new(Node::new().await);
    node.issue(1).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..100u8 {
        let node = node.clone();
        tasks.spawn(async move {
            let value = OctetString::new(vec![number; 32]).unwrap().to_der().unwrap();
            let sent = extension(ID_PKIX_OCSP_NONCE, false, &value);
            let answer = node.answer(&with_extensions(node.ask(1), vec![sent.clone()])).await;
            assert_eq!(answer.tbs_response_data.response_extensions, Some(vec![sent]));
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn accepts_what_a_request_may_carry_besides() {
    let node = Node::new().await;
    node.issue(1).await;
    let basic_only = Vec::from([const_oid::db::rfc6960::ID_PKIX_OCSP_BASIC])
        .to_der()
        .unwrap();
    let preferences = extension(ID_PKIX_OCSP_PREF_SIG_ALGS, true, &[0x30, 0]);
    let subject = Certificate::from_der(&node.ca.certificate)
        .unwrap()
        .tbs_certificate
        .subject;
    let mut named = node.ask(1);
    named.tbs_request.requestor_name = Some(GeneralName::DirectoryName(subject));
    let mut signed = named.clone();
    signed.optional_signature = Some(Signature {
        signature_algorithm: AlgorithmIdentifierOwned {
            oid: UNKNOWN,
            parameters: None,
        },
        signature: BitString::from_bytes(&[1, 2, 3]).unwrap(),
        certs: Some(vec![Certificate::from_der(&node.ca.certificate).unwrap()]),
    });
    let cases = [
        ("requestor name", named),
        ("a signature, even a broken one", signed),
        (
            "unknown extension",
            with_extensions(node.ask(1), vec![extension(UNKNOWN, false, &[])]),
        ),
        (
            "acceptable responses",
            with_extensions(node.ask(1), vec![extension(ID_PKIX_OCSP_RESPONSE, true, &basic_only)]),
        ),
        ("signature preferences", with_extensions(node.ask(1), vec![preferences])),
    ];
    for (what, request) in cases {
        let answer = node.answer(&request).await;
        assert_eq!(status(&answer), CertStatus::good(), "{what}");
        assert_eq!(answer.tbs_response_data.response_extensions, None, "{what}");
    }
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

#[test]
fn takes_no_responder_that_its_issuer_did_not_delegate_to() {
    let ca = TestCa::new("issuing", SignatureAlgorithm::Ed25519, now());
    let other = TestCa::new("other", SignatureAlgorithm::Ed25519, now());
    let refused = Responder::new(&ca.responder_certificate, ca.signer.clone(), false);
    assert!(matches!(refused, Err(ResponderError::OtherKey)));
    let refused = OcspIssuer::new(ca.id.clone(), &ca.certificate, other.responder());
    assert!(matches!(refused, Err(ResponderError::OtherIssuer)));
    let leaf_signer = TestSigner::generate(SignatureAlgorithm::Ed25519);
    let params = rcgen::CertificateParams::new(vec!["leaf.example".to_owned()]).unwrap();
    let issuer = rcgen::Issuer::new(ca.params.clone(), Shared(ca.signer.clone()));
    let leaf = params.signed_by(&leaf_signer.key, &issuer).unwrap();
    let leaf = Responder::new(leaf.der(), leaf_signer.clone(), false).unwrap();
    assert!(matches!(
        OcspIssuer::new(ca.id.clone(), &ca.certificate, leaf),
        Err(ResponderError::NotDelegated)
    ));
    let itself = Responder::new(&ca.certificate, ca.signer.clone(), false).unwrap();
    assert!(
        OcspIssuer::new(ca.id.clone(), &ca.certificate, itself).is_ok(),
        "an issuer may answer for itself"
    );
    assert!(!leaf_signer.spki_der().is_empty());
}
