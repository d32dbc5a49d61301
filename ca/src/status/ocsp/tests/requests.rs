//! Which requests are understood, which are refused, and what comes back of them.

use const_oid::db::rfc6960::{ID_PKIX_OCSP_PREF_SIG_ALGS, ID_PKIX_OCSP_RESPONSE};
use der::asn1::BitString;
use x509_cert::{Certificate, ext::pkix::name::GeneralName, spki::AlgorithmIdentifierOwned};
use x509_ocsp::Signature;

use super::*;
use crate::signer::{SignatureAlgorithm, Signer};

/// A private OID that nobody knows.
const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999.1");

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

/// Whatever is recognised at a glance, the strict decoder takes too, and reads the same from it.
fn agrees(octets: &[u8]) {
    if let Some(usual) = OcspRequest::usual(octets) {
        assert_eq!(OcspRequest::judged(octets), Ok(usual), "{octets:02x?}");
    }
}

#[tokio::test]
async fn what_nearly_everybody_sends_is_recognised_at_a_glance() {
    let node = Node::new().await;
    for hash in HashAlgorithm::ALL {
        for parameters in [Some(der::asn1::Null.into()), None] {
            for number in [0, 1, 0x80, u128::MAX] {
                let mut id = node.ca.cert_id(hash, serial(number));
                id.hash_algorithm.parameters = parameters.clone();
                let plain = message(vec![id]);
                let octets = plain.to_der().unwrap();
                assert!(
                    OcspRequest::usual(&octets).is_some_and(|read| read.is_plain),
                    "{hash:?}"
                );
                agrees(&octets);
                for length in [1, 32, 128] {
                    let octets = with_extensions(plain.clone(), vec![nonce(length)]).to_der().unwrap();
                    let read = OcspRequest::usual(&octets).unwrap();
                    assert!(!read.is_plain && read.nonce.is_some(), "{hash:?}, {length}");
                    agrees(&octets);
                }
            }
        }
    }
    let two = message(vec![node.ca.cert_id(HashAlgorithm::Sha1, serial(1)); 2])
        .to_der()
        .unwrap();
    assert_eq!(OcspRequest::usual(&two), None, "left to the decoder");
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
            agrees(&mutant);
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
