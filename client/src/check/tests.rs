//! The check against responders and lists that are right, wrong and lying.

use std::sync::{Arc, Mutex};

use const_oid::db::rfc6960::{ID_PKIX_OCSP_BASIC, ID_PKIX_OCSP_NONCE};
use der::asn1::{BitString, GeneralizedTime, OctetString};
use der::{Decode, Encode};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber, SigningKey,
};
use x509_cert::ext::Extension;
use x509_ocsp::{
    BasicOcspResponse, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse, OcspResponseStatus, ResponderId,
    ResponseBytes, ResponseData, RevokedInfo, SingleResponse, Version,
};

use super::{CheckRequest, Report, RevocationStatus, check};
use crate::testing::{Answer, Heard, Server};
use crate::transport::{Transport, Trust};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A CA with its key.
struct Ca {
    params: CertificateParams,
    key: KeyPair,
    der: Vec<u8>,
}

impl Ca {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { params, key, der }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// Issues a certificate that names the status services under a base URL.
    fn leaf(&self, base: &str) -> Vec<u8> {
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(&[0x00, 0x87, 0x65, 0x43, 0x21]));
        params.crl_distribution_points = vec![rcgen::CrlDistributionPoint {
            uris: vec![format!("{base}/crl")],
        }];
        params
            .custom_extensions
            .push(authority_information_access(&format!("{base}/ocsp")));
        params
            .signed_by(&KeyPair::generate().unwrap(), &self.issuer())
            .unwrap()
            .der()
            .to_vec()
    }

    /// Issues a certificate for a responder, delegated or not.
    fn responder(&self, delegated: bool) -> (KeyPair, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "responder");
        if delegated {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        }
        let der = params.signed_by(&key, &self.issuer()).unwrap().der().to_vec();
        (key, der)
    }

    fn crl(&self, change: impl FnOnce(&mut CertificateRevocationListParams)) -> Vec<u8> {
        let now = time::OffsetDateTime::now_utc();
        let mut params = CertificateRevocationListParams {
            this_update: now - time::Duration::HOUR,
            next_update: now + time::Duration::DAY,
            crl_number: SerialNumber::from(7_u64),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut params);
        params.signed_by(&self.issuer()).unwrap().der().to_vec()
    }
}

fn authority_information_access(ocsp: &str) -> CustomExtension {
    let tlv = |tag: u8, value: &[u8]| [&[tag, value.len() as u8], value].concat();
    let method = [0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];
    let description = tlv(0x30, &[method.as_slice(), &tlv(0x86, ocsp.as_bytes())].concat());
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], tlv(0x30, &description))
}

/// How a responder answers; the default is right.
struct Manner {
    status: CertStatus,
    this_update: SignedDuration,
    next_update: Option<SignedDuration>,
    nonce: Nonce,
    signer: Option<(KeyPair, Vec<u8>)>,
    spoil: bool,
    other_certificate: bool,
}

enum Nonce {
    Echo,
    Leave,
    Wrong,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            status: CertStatus::good(),
            this_update: -HOUR,
            next_update: Some(HOUR),
            nonce: Nonce::Echo,
            signer: None,
            spoil: false,
            other_certificate: false,
        }
    }
}

fn ocsp_time(offset: SignedDuration) -> OcspGeneralizedTime {
    let at = Timestamp::now() + offset;
    let since = std::time::Duration::from_secs(at.as_second() as u64);
    OcspGeneralizedTime(GeneralizedTime::from_unix_duration(since).unwrap())
}

/// Reads a request out of what came over HTTP, whichever way.
fn request_of(heard: &Heard) -> OcspRequest {
    use base64::Engine;
    let der = match heard.method.as_str() {
        "POST" => heard.body.clone(),
        _ => {
            let last = heard.path.rsplit('/').next().unwrap();
            let base64 = last.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
            base64::engine::general_purpose::STANDARD.decode(base64).unwrap()
        }
    };
    OcspRequest::from_der(&der).unwrap()
}

fn answer(ca: &Ca, manner: &Manner, heard: &Heard) -> Answer {
    let request = request_of(heard);
    let mut cert_id = request.tbs_request.request_list[0].req_cert.clone();
    if manner.other_certificate {
        cert_id.serial_number = x509_cert::serial_number::SerialNumber::new(&[9]).unwrap();
    }
    let single = SingleResponse {
        cert_id,
        cert_status: manner.status,
        this_update: ocsp_time(manner.this_update),
        next_update: manner.next_update.map(ocsp_time),
        single_extensions: None,
    };
    let nonce = request.nonce().map(|nonce| nonce.0.as_bytes().to_vec());
    let nonce = match manner.nonce {
        Nonce::Echo => nonce,
        Nonce::Leave => None,
        Nonce::Wrong => Some(vec![7; 32]),
    };
    let extension = |nonce: Vec<u8>| Extension {
        extn_id: ID_PKIX_OCSP_NONCE,
        critical: false,
        extn_value: OctetString::new(OctetString::new(nonce).unwrap().to_der().unwrap()).unwrap(),
    };
    let (key, certificate) = match &manner.signer {
        Some((key, certificate)) => (key, Some(certificate)),
        None => (&ca.key, None),
    };
    let public = rcgen::PublicKeyData::der_bytes(key);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, public);
    let tbs_response_data = ResponseData {
        version: Version::default(),
        responder_id: ResponderId::ByKey(OctetString::new(hash.as_ref()).unwrap()),
        produced_at: ocsp_time(SignedDuration::ZERO),
        responses: vec![single],
        response_extensions: nonce.map(|nonce| vec![extension(nonce)]),
    };
    let mut signature = SigningKey::sign(key, &tbs_response_data.to_der().unwrap()).unwrap();
    if manner.spoil {
        let last = signature.len() - 1;
        signature[last] ^= 1;
    }
    let basic = BasicOcspResponse {
        tbs_response_data,
        signature_algorithm: x509_cert::spki::AlgorithmIdentifierOwned {
            oid: const_oid::db::rfc5912::ECDSA_WITH_SHA_256,
            parameters: None,
        },
        signature: BitString::from_bytes(&signature).unwrap(),
        certs: certificate.map(|der| vec![x509_cert::Certificate::from_der(der).unwrap()]),
    };
    let response = OcspResponse {
        response_status: OcspResponseStatus::Successful,
        response_bytes: Some(ResponseBytes {
            response_type: ID_PKIX_OCSP_BASIC,
            response: OctetString::new(basic.to_der().unwrap()).unwrap(),
        }),
    };
    Answer::new(200, "application/ocsp-response", response.to_der().unwrap())
}

/// What a test may change about the world before the check.
struct World {
    ca: Arc<Ca>,
    manner: Manner,
    crl: Vec<u8>,
}

struct Checked {
    report: Report,
    heard: Vec<Heard>,
}

impl Checked {
    fn ocsp(&self) -> &RevocationStatus {
        &self.report.ocsp.as_ref().unwrap().status
    }

    fn crl(&self) -> &RevocationStatus {
        &self.report.crl.as_ref().unwrap().status
    }

    fn requests(&self) -> Vec<&Heard> {
        self.heard
            .iter()
            .filter(|heard| heard.path.starts_with("/ocsp"))
            .collect()
    }
}

async fn run(change: impl FnOnce(&mut World), adjust: impl FnOnce(&mut CheckRequest)) -> Checked {
    let ca = Arc::new(Ca::new("the CA"));
    let crl = ca.crl(|_| {});
    let mut world = World {
        ca: ca.clone(),
        manner: Manner::default(),
        crl,
    };
    change(&mut world);
    let world = Mutex::new(world);
    let server = Server::plain(move |heard| {
        let world = world.lock().unwrap();
        match heard.path.as_str() {
            "/crl" => Answer::new(200, "application/pkix-crl", world.crl.clone()),
            _ => answer(&world.ca, &world.manner, heard),
        }
    })
    .await;
    let roots = Trust::Roots(vec![ca.der.clone().into()]);
    let transport = Transport::new(roots.clone()).unwrap();
    let leaf = ca.leaf(&format!("http://{}", server.address));
    let mut request = CheckRequest::new(vec![leaf], roots);
    adjust(&mut request);
    let report = check(&transport, &request, Timestamp::now()).await.unwrap();
    Checked {
        report,
        heard: server.heard(),
    }
}

async fn with_manner(change: impl FnOnce(&Ca, &mut Manner)) -> Checked {
    run(|world| change(&world.ca, &mut world.manner), |_| {}).await
}

fn why(status: &RevocationStatus) -> &str {
    match status {
        RevocationStatus::Error { why } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_in_order_passes() {
    let checked = run(|_| {}, |_| {}).await;
    assert!(checked.report.passed, "{:#?}", checked.report);
    assert_eq!(checked.report.serial, "0087654321");
    assert_eq!(checked.report.names, ["a.example"]);
    assert_eq!(checked.report.ocsp.as_ref().unwrap().nonce, Some(true));
    assert_eq!(checked.report.trouble(), None);
}

#[tokio::test]
async fn c9654_2_1_06_the_nonce_has_32_octets_and_is_never_the_same() {
    let mut nonces = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let checked = run(|_| {}, |_| {}).await;
        let nonce = request_of(checked.requests()[0]).nonce().unwrap().0.as_bytes().to_vec();
        assert!(nonce.len() >= 32);
        nonces.insert(nonce);
    }
    assert_eq!(nonces.len(), 8);
}

#[tokio::test]
async fn c9919_3_1_1_01_one_request_with_sha_256_and_get_when_short() {
    let long = run(|_| {}, |_| {}).await;
    let short = run(|_| {}, |request| request.nonce = false).await;
    for (checked, nonce) in [(&long, true), (&short, false)] {
        let [heard] = checked.requests()[..] else {
            panic!("one request, not {}", checked.requests().len())
        };
        let request = request_of(heard);
        let [item] = request.tbs_request.request_list.as_slice() else {
            panic!("one item")
        };
        assert_eq!(item.req_cert.hash_algorithm.oid, const_oid::db::rfc5912::ID_SHA_256);
        assert_eq!(item.req_cert.issuer_name_hash.as_bytes().len(), 32);
        assert_eq!(item.single_request_extensions, None);
        assert_eq!(request.tbs_request.request_extensions.is_some(), nonce);
        assert_eq!(request.optional_signature, None);
        let url = format!("http://{}{}", heard.headers["host"].to_str().unwrap(), heard.path);
        match heard.method.as_str() {
            "GET" => {
                assert!(url.len() <= 255, "{}", url.len());
                let encoded = heard.path.strip_prefix("/ocsp/").unwrap();
                assert!(!encoded.contains(['+', '/', '=']), "{encoded}");
            }
            _ => assert_eq!(heard.headers["content-type"], "application/ocsp-request"),
        }
    }
    assert_eq!(short.requests()[0].method, "GET");
}

#[tokio::test]
async fn c6960_4_2_2_2_02_only_the_ca_and_its_delegates_may_sign() {
    let delegated = with_manner(|ca, manner| manner.signer = Some(ca.responder(true))).await;
    assert_eq!(delegated.ocsp(), &RevocationStatus::Good);
    assert!(
        delegated
            .report
            .ocsp
            .as_ref()
            .unwrap()
            .signed_by
            .as_ref()
            .unwrap()
            .contains("delegated")
    );
    let no_usage = with_manner(|ca, manner| manner.signer = Some(ca.responder(false))).await;
    assert!(why(no_usage.ocsp()).contains("OCSPSigning"), "{}", why(no_usage.ocsp()));
    let foreign = with_manner(|_, manner| manner.signer = Some(Ca::new("another CA").responder(true))).await;
    assert!(why(foreign.ocsp()).contains("not issued by"), "{}", why(foreign.ocsp()));
    // A CA of the same name with another key has delegated nothing.
    let namesake = with_manner(|_, manner| manner.signer = Some(Ca::new("the CA").responder(true))).await;
    assert!(
        why(namesake.ocsp()).contains("not issued by"),
        "{}",
        why(namesake.ocsp())
    );
    let missing = with_manner(|_, manner| {
        let other = Ca::new("another CA");
        manner.signer = Some((KeyPair::generate().unwrap(), other.der));
    });
    assert!(why(missing.await.ocsp()).contains("not signed by the CA"));
    // A configured one needs no delegation.
    let configured = Ca::new("another CA").responder(false);
    let certificate = configured.1.clone();
    let trusted = run(
        |world| world.manner.signer = Some(configured),
        |request| request.responders = vec![certificate],
    );
    assert_eq!(trusted.await.ocsp(), &RevocationStatus::Good);
}

#[tokio::test]
async fn a_wrong_signature_or_another_certificates_answer_does_not_count() {
    let spoilt = with_manner(|_, manner| manner.spoil = true).await;
    assert!(why(spoilt.ocsp()).contains("signature is wrong"));
    assert!(!spoilt.report.passed);
    let other = with_manner(|_, manner| manner.other_certificate = true).await;
    assert!(why(other.ocsp()).contains("nothing about this certificate"));
}

#[tokio::test]
async fn c9919_5_01_answers_without_or_past_next_update_do_not_count() {
    let endless = with_manner(|_, manner| manner.next_update = None).await;
    assert!(why(endless.ocsp()).contains("nextUpdate"));
    let stale = with_manner(|_, manner| {
        manner.this_update = -HOUR * 3;
        manner.next_update = Some(-HOUR);
    });
    assert!(why(stale.await.ocsp()).contains("out of date"));
    let early = with_manner(|_, manner| {
        manner.this_update = HOUR;
        manner.next_update = Some(HOUR * 2);
    });
    assert!(why(early.await.ocsp()).contains("future"));
}

#[tokio::test]
async fn c9919_5_01_without_the_nonce_the_times_decide() {
    let silent = with_manner(|_, manner| manner.nonce = Nonce::Leave).await;
    assert_eq!(silent.ocsp(), &RevocationStatus::Good);
    assert_eq!(silent.report.ocsp.as_ref().unwrap().nonce, Some(false));
    let replayed = with_manner(|_, manner| manner.nonce = Nonce::Wrong).await;
    assert!(why(replayed.ocsp()).contains("nonce"));
}

#[tokio::test]
async fn revoked_and_unknown_are_told_with_their_reason() {
    let revoked = with_manner(|_, manner| {
        manner.status = CertStatus::revoked(RevokedInfo {
            revocation_time: ocsp_time(-HOUR),
            revocation_reason: Some(x509_cert::ext::pkix::CrlReason::KeyCompromise),
        });
    })
    .await;
    assert!(matches!(revoked.ocsp(), RevocationStatus::Revoked { reason: Some(r), .. } if r == "keyCompromise"));
    assert!(revoked.report.trouble().unwrap().contains("keyCompromise"));
    let unknown = with_manner(|_, manner| manner.status = CertStatus::unknown()).await;
    assert_eq!(unknown.ocsp(), &RevocationStatus::Unknown);
    assert!(!unknown.report.passed);
}

async fn with_crl(make: impl FnOnce(&Ca) -> Vec<u8>) -> Checked {
    run(|world| world.crl = make(&world.ca), |_| {}).await
}

#[tokio::test]
async fn a_crl_says_who_is_revoked_and_why() {
    let entry = |serial: &[u8]| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: time::OffsetDateTime::now_utc() - time::Duration::HOUR,
        reason_code: Some(RevocationReason::Superseded),
        invalidity_date: None,
    };
    let revoked = with_crl(|ca| ca.crl(|crl| crl.revoked_certs = vec![entry(&[0x00, 0x87, 0x65, 0x43, 0x21])])).await;
    assert!(matches!(revoked.crl(), RevocationStatus::Revoked { reason: Some(r), .. } if r == "superseded"));
    assert_eq!(revoked.report.crl.as_ref().unwrap().number.as_deref(), Some("7"));
    let other = with_crl(|ca| ca.crl(|crl| crl.revoked_certs = vec![entry(&[0x01])])).await;
    assert_eq!(other.crl(), &RevocationStatus::Good);
}

#[tokio::test]
async fn a_crl_of_somebody_else_or_for_something_else_does_not_count() {
    let now = time::OffsetDateTime::now_utc();
    let point = |uri: &str, scope| {
        let distribution_point = rcgen::CrlDistributionPoint {
            uris: vec![uri.to_owned()],
        };
        Some(rcgen::CrlIssuingDistributionPoint {
            distribution_point,
            scope,
        })
    };
    let foreign = with_crl(|_| Ca::new("another CA").crl(|_| {})).await;
    assert!(why(foreign.crl()).contains("another CA's"));
    let namesake = with_crl(|_| Ca::new("the CA").crl(|_| {})).await;
    assert!(why(namesake.crl()).contains("signature is wrong"));
    let stale = with_crl(|ca| ca.crl(|crl| crl.next_update = now - time::Duration::minutes(30))).await;
    assert!(why(stale.crl()).contains("out of date"));
    let elsewhere = with_crl(|ca| ca.crl(|crl| crl.issuing_distribution_point = point("http://b.example/crl", None)));
    assert!(why(elsewhere.await.crl()).contains("another distribution point"));
    let only_cas = Some(rcgen::CrlScope::CaCertsOnly);
    let for_cas = with_crl(|ca| ca.crl(|crl| crl.issuing_distribution_point = point("http://b.example/crl", only_cas)));
    assert!(why(for_cas.await.crl()).contains("kind"));
    let garbage = with_crl(|_| b"<html>".to_vec()).await;
    assert!(why(garbage.crl()).contains("no CRL"));
}

#[tokio::test]
async fn a_certificate_of_another_ca_has_no_path() {
    let stranger = Ca::new("a stranger");
    let checked = run(
        |_| {},
        |request| request.roots = Trust::Roots(vec![stranger.der.into()]),
    )
    .await;
    assert!(!checked.report.chain.ok);
    assert!(!checked.report.passed);
    assert!(checked.report.notes[0].contains("--issuer"));
}

#[tokio::test]
async fn a_cas_own_certificate_can_be_checked() {
    let root = Ca::new("the root");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "issuing");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuing = params
        .signed_by(&KeyPair::generate().unwrap(), &root.issuer())
        .unwrap()
        .der()
        .to_vec();
    let roots = Trust::Roots(vec![root.der.clone().into()]);
    let transport = Transport::new(roots.clone()).unwrap();
    let now = Timestamp::now();
    let report = check(&transport, &CheckRequest::new(vec![issuing.clone()], roots), now)
        .await
        .unwrap();
    assert!(report.chain.ok && report.passed, "{report:#?}");
    let stranger = Trust::Roots(vec![Ca::new("the root").der.into()]);
    let report = check(&transport, &CheckRequest::new(vec![issuing], stranger), now)
        .await
        .unwrap();
    assert!(!report.chain.ok);
}
