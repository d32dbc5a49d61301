//! An OCSP responder over a store that knows one certificate, and requests to ask it with.

use std::{path::PathBuf, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use const_oid::db::{rfc5912::ID_SHA_1, rfc6960::ID_PKIX_OCSP_NONCE};
use der::{
    Decode, Encode,
    asn1::{Null, OctetString},
};
use sigillo_ca::{
    clock::SystemClock,
    model::Serial,
    status::{CrlSettings, OcspIssuer, OcspSettings, Reply, Responder, StatusParts, StatusService},
    store::Store,
};
use sigillo_protocol::x509::key::KeyKind;
use tokio::sync::watch;
use x509_cert::{Certificate, ext::Extension, serial_number::SerialNumber, spki::AlgorithmIdentifierOwned};
use x509_ocsp::{CertId, OcspRequest as Message, Request, TbsRequest, Version};

use crate::{authority::Authority, request::certification_request};

/// The length that RFC 9654 section 2.1 recommends.
const NONCE_OCTETS: usize = 32;

/// How long the follower gets to build its index of a handful of records: it takes milliseconds.
const INDEX_SETTLES: Duration = Duration::from_secs(1);

/// Asks about one certificate, naming the issuer by SHA-1 as most clients do.
pub fn request(issuer_der: &[u8], serial: Serial, with_nonce: bool) -> Vec<u8> {
    let issuer = Certificate::from_der(issuer_der)
        .expect("a certificate")
        .tbs_certificate;
    let hash = |octets: &[u8]| {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, octets);
        OctetString::new(hash.as_ref()).expect("a hash is short")
    };
    let cert_id = CertId {
        hash_algorithm: AlgorithmIdentifierOwned {
            oid: ID_SHA_1,
            parameters: Some(Null.into()),
        },
        issuer_name_hash: hash(&issuer.subject.to_der().expect("a name is encoded")),
        issuer_key_hash: hash(issuer.subject_public_key_info.subject_public_key.raw_bytes()),
        serial_number: SerialNumber::new(&serial.to_der_content()).expect("a serial is short"),
    };
    let nonce = OctetString::new([0xa5; NONCE_OCTETS]).and_then(|octets| OctetString::new(octets.to_der()?));
    let nonce = Extension {
        extn_id: ID_PKIX_OCSP_NONCE,
        critical: false,
        extn_value: nonce.expect("a nonce is short"),
    };
    let message = Message {
        tbs_request: TbsRequest {
            version: Version::V1,
            requestor_name: None,
            request_list: vec![Request {
                req_cert: cert_id,
                single_request_extensions: None,
            }],
            request_extensions: with_nonce.then(|| vec![nonce]),
        },
        optional_signature: None,
    };
    message.to_der().expect("a request is encoded")
}

/// A responder over a store that knows one certificate.
pub struct Node {
    /// The status services.
    pub service: Arc<StatusService>,
    /// A request about the certificate.
    pub plain: Vec<u8>,
    /// The same with a nonce.
    pub with_nonce: Vec<u8>,
    /// Held so that the follower goes on.
    _shutdown: watch::Sender<bool>,
}

impl Node {
    /// Makes a CA and its responder, whose keys are of one kind, and issues a certificate.
    pub async fn new(kind: KeyKind, store: Arc<dyn Store>, index_dir: Option<PathBuf>) -> Self {
        let authority = Authority::new(kind, store.clone()).await;
        let serial = authority
            .issue(&*store, &certification_request(KeyKind::EcdsaP256))
            .await;
        let certificate = authority.issuer.certificate();
        let responder =
            Responder::new(&authority.responder_der, authority.responder_key.clone(), false).expect("a responder");
        let issuer = OcspIssuer::new(certificate.id.clone(), &certificate.der, responder).expect("an issuer");
        let has_index = index_dir.is_some();
        let parts = StatusParts {
            ocsp_issuers: vec![issuer],
            ocsp: OcspSettings::default(),
            crl_issuers: Vec::new(),
            crl: CrlSettings::default(),
            index_dir,
        };
        let service = StatusService::open(store, Arc::new(SystemClock), parts)
            .await
            .expect("the store is read");
        let (shutdown, told) = watch::channel(false);
        let follower = service.clone();
        tokio::spawn(async move { follower.run(told).await });
        if has_index {
            tokio::time::sleep(INDEX_SETTLES).await;
        }
        Self {
            service,
            plain: request(&certificate.der, serial, false),
            with_nonce: request(&certificate.der, serial, true),
            _shutdown: shutdown,
        }
    }

    /// Answers a request as the responder does, in this process.
    pub async fn answer(&self, request: &[u8]) -> Reply {
        let reply = self.service.ocsp().answer(std::hint::black_box(request)).await;
        assert!(matches!(reply, Reply::Answer(_)), "{reply:?}");
        reply
    }
}
