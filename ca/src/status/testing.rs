//! What the tests of the status services stand on: a small public key infrastructure, a store in memory that can
//! be taken away, and OpenSSL as a judge.

mod memory_store;

use std::{path::Path, process::Command, sync::Arc};

use der::{Encode, asn1::OctetString};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber, SigningKey,
};
use sigillo_protocol::x509::reason::RevocationReason;
use x509_ocsp::CertId;

pub(crate) use self::memory_store::MemoryStore;
use super::{CrlIssuer, CrlSettings, HashAlgorithm, OcspIssuer, OcspSettings, Responder, StatusParts, StatusService};
use crate::{
    clock::{Clock, ManualClock},
    model::{Action, Actor, AuditEvent, Certificate, CertificateState, IssuerId, Revocation, Serial, Version},
    signer::{SharedSigner, SignError, SignatureAlgorithm, Signer},
    store::{Batch, Store},
};

/// Where the CRL of the tests' issuer would be fetched.
pub(crate) const CRL_URL: &str = "http://127.0.0.1:9080/crl/issuing.crl";

/// A key in memory.
pub(crate) struct TestSigner {
    pub key: KeyPair,
    algorithm: SignatureAlgorithm,
    spki: Vec<u8>,
}

impl TestSigner {
    pub fn generate(algorithm: SignatureAlgorithm) -> Arc<Self> {
        let kind = match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            SignatureAlgorithm::EcdsaP384Sha384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            SignatureAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            SignatureAlgorithm::RsaSha256 => &rcgen::PKCS_RSA_SHA256,
        };
        let key = KeyPair::generate_for(kind).unwrap();
        let spki = key.subject_public_key_info();
        Arc::new(Self { key, algorithm, spki })
    }
}

impl Signer for TestSigner {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        SigningKey::sign(&self.key, message).map_err(|error| SignError(error.to_string()))
    }
}

/// A key for rcgen that is also one for us.
pub(crate) struct Shared(pub Arc<TestSigner>);

impl PublicKeyData for Shared {
    fn der_bytes(&self) -> &[u8] {
        self.0.key.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0.key)
    }
}

impl SigningKey for Shared {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        SigningKey::sign(&self.0.key, message)
    }
}

/// A CA with a delegated responder, below no other.
pub(crate) struct TestCa {
    pub id: IssuerId,
    pub signer: Arc<TestSigner>,
    pub params: CertificateParams,
    pub certificate: Vec<u8>,
    pub responder_signer: Arc<TestSigner>,
    pub responder_certificate: Vec<u8>,
}

fn name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Example Org");
    name.push(DnType::CommonName, text);
    name
}

/// rcgen takes its dates from here by `into`.
pub(crate) fn date(time: Timestamp) -> std::time::SystemTime {
    Timestamp::from_second(time.as_second()).unwrap().into()
}

impl TestCa {
    pub fn new(id: &str, algorithm: SignatureAlgorithm, now: Timestamp) -> Self {
        let signer = TestSigner::generate(algorithm);
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("Test CA {id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(SerialNumber::from_slice(&[0x42]));
        params.not_before = date(now - SignedDuration::from_hours(24)).into();
        params.not_after = date(now + SignedDuration::from_hours(24 * 365)).into();
        let certificate = params.self_signed(&Shared(signer.clone())).unwrap().der().to_vec();
        let mut ca = Self {
            id: id.parse().unwrap(),
            params,
            certificate,
            responder_signer: TestSigner::generate(algorithm),
            responder_certificate: Vec::new(),
            signer,
        };
        ca.responder_certificate = ca.responder_certificate_until(now + SignedDuration::from_hours(24 * 30));
        ca
    }

    pub fn responder_certificate_until(&self, not_after: Timestamp) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name("Responder");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        let no_check = [1, 3, 6, 1, 5, 5, 7, 48, 1, 5];
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&no_check, vec![5, 0]));
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from_slice(&[0x43]));
        params.not_before = date(not_after - SignedDuration::from_hours(24 * 31)).into();
        params.not_after = date(not_after).into();
        self.sign(params, &self.responder_signer)
    }

    fn sign(&self, params: CertificateParams, key: &TestSigner) -> Vec<u8> {
        let issuer = Issuer::new(self.params.clone(), Shared(self.signer.clone()));
        params.signed_by(&key.key, &issuer).unwrap().der().to_vec()
    }

    pub fn leaf(&self, serial: Serial, now: Timestamp) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["leaf.example".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(&serial.to_der_content()));
        params.use_authority_key_identifier_extension = true;
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec![CRL_URL.to_owned()],
        }];
        params.not_before = date(now - SignedDuration::from_hours(1)).into();
        params.not_after = date(now + SignedDuration::from_hours(24 * 90)).into();
        self.sign(params, &TestSigner::generate(SignatureAlgorithm::EcdsaP256Sha256))
    }

    pub fn responder(&self) -> Responder {
        Responder::new(&self.responder_certificate, self.responder_signer.clone(), false).unwrap()
    }

    pub fn ocsp_issuer(&self) -> OcspIssuer {
        OcspIssuer::new(self.id.clone(), &self.certificate, self.responder()).unwrap()
    }

    pub fn crl_issuer(&self) -> CrlIssuer {
        let signer: SharedSigner = self.signer.clone();
        CrlIssuer::from_certificate(&self.certificate, signer, CRL_URL.to_owned()).unwrap()
    }

    /// Builds a CertID as a client does, from the issuer's certificate alone.
    pub fn cert_id(&self, hash: HashAlgorithm, serial: Serial) -> CertId {
        use x509_cert::{Certificate, der::Decode, serial_number::SerialNumber, spki::AlgorithmIdentifierOwned};
        let algorithm = match hash {
            HashAlgorithm::Sha1 => &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
            HashAlgorithm::Sha256 => &aws_lc_rs::digest::SHA256,
            HashAlgorithm::Sha384 => &aws_lc_rs::digest::SHA384,
            HashAlgorithm::Sha512 => &aws_lc_rs::digest::SHA512,
        };
        let digest = |octets: &[u8]| {
            let hash = aws_lc_rs::digest::digest(algorithm, octets);
            OctetString::new(hash.as_ref()).unwrap()
        };
        let certificate = Certificate::from_der(&self.certificate).unwrap().tbs_certificate;
        let key = certificate.subject_public_key_info.subject_public_key;
        CertId {
            hash_algorithm: AlgorithmIdentifierOwned {
                oid: hash.oid(),
                parameters: Some(der::asn1::Null.into()),
            },
            issuer_name_hash: digest(&certificate.subject.to_der().unwrap()),
            issuer_key_hash: digest(key.raw_bytes()),
            serial_number: SerialNumber::new(&serial.to_der_content()).unwrap(),
        }
    }
}

pub(crate) fn serial(number: u128) -> Serial {
    Serial::from_bytes(number.to_be_bytes())
}

pub(crate) fn revocation(at: Timestamp, reason: Option<RevocationReason>) -> Revocation {
    Revocation {
        at: Timestamp::from_second(at.as_second()).unwrap(),
        reason,
        invalid_since: None,
    }
}

/// The whole second of now: what OpenSSL compares with, and what structures can hold.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}

/// A running node over a store in memory.
pub(crate) struct Node {
    pub ca: TestCa,
    pub store: Arc<MemoryStore>,
    pub clock: Arc<ManualClock>,
    pub service: Arc<StatusService>,
}

impl Node {
    pub async fn new() -> Self {
        Self::with(SignatureAlgorithm::EcdsaP256Sha256, None).await
    }

    pub async fn with(algorithm: SignatureAlgorithm, index_dir: Option<&Path>) -> Self {
        let clock = Arc::new(ManualClock::new(now()));
        let ca = TestCa::new("issuing", algorithm, clock.now());
        let store = Arc::new(MemoryStore::default());
        let service = open(&ca, store.clone(), clock.clone(), index_dir).await;
        Self {
            ca,
            store,
            clock,
            service,
        }
    }

    pub async fn issue(&self, number: u128) {
        self.store
            .issue(
                &self.ca.id,
                serial(number),
                self.clock.now() + SignedDuration::from_hours(24 * 90),
            )
            .await;
    }

    pub async fn revoke(&self, number: u128, reason: Option<RevocationReason>) {
        self.store
            .revoke(serial(number), revocation(self.clock.now(), reason))
            .await;
    }
}

pub(crate) async fn open(
    ca: &TestCa,
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    index_dir: Option<&Path>,
) -> Arc<StatusService> {
    let parts = StatusParts {
        ocsp_issuers: vec![ca.ocsp_issuer()],
        ocsp: OcspSettings::default(),
        crl_issuers: vec![(ca.id.clone(), ca.crl_issuer())],
        crl: CrlSettings {
            coalesce: std::time::Duration::from_millis(50),
            ..CrlSettings::default()
        },
        index_dir: index_dir.map(Path::to_owned),
    };
    StatusService::open(store, clock, parts).await.unwrap()
}

/// Runs OpenSSL; returns what it said on both streams, and whether it was content.
pub(crate) fn openssl(arguments: &[&str]) -> (String, bool) {
    let output = Command::new("openssl")
        .args(arguments)
        .output()
        .expect("openssl is installed");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.success())
}

/// Writes a file and returns its path as text.
pub(crate) fn file(dir: &Path, name: &str, content: &[u8]) -> String {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

pub(crate) fn batch(action: Action) -> Batch {
    Batch::new(AuditEvent {
        at: Timestamp::UNIX_EPOCH,
        actor: Actor::System("test".to_owned()),
        action,
        subject: String::new(),
        detail: serde_json::Value::Null,
    })
}

pub(crate) fn certificate(
    issuer: &IssuerId,
    serial: Serial,
    not_after: Timestamp,
    state: CertificateState,
) -> Certificate {
    Certificate {
        serial,
        version: Version::NEW,
        issuer: issuer.clone(),
        account: None,
        order: None,
        profile: "default".to_owned(),
        names: Vec::new(),
        subject: String::new(),
        not_before: Timestamp::UNIX_EPOCH,
        not_after,
        spki_sha256: [0; 32],
        tbs: Vec::new(),
        state,
        created: Timestamp::UNIX_EPOCH,
        replaced_by: None,
        renew_from: None,
    }
}
