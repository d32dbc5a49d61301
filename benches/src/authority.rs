//! A CA made by the real ceremony, with the steps of issuing as a daemon takes them.

use std::sync::Arc;

use jiff::Timestamp;
use sigillo_ca::{
    clock::{Clock, SystemClock},
    issuer::{self, CeremonyOptions, IssueRequest, Issuer, IssuerUrls, Linted, Prepared, prepare},
    model::{Actor, IssuerId, Serial},
    policy::{Profile, Profiles},
    signer::{Keyring, SharedSigner},
    store::Store,
};
use sigillo_protocol::x509::{
    csr::{CheckedCsr, ParsedCsr},
    key::KeyKind,
};

/// Where the CA says that its status is published. Nobody asks there.
const PUBLIC_HTTP: &str = "http://127.0.0.1:9080";

/// An issuing CA, its OCSP responder, and the profile that it issues under.
pub struct Authority {
    /// The issuing CA.
    pub issuer: Issuer,
    /// The profile of orders that name none.
    pub profile: Profile,
    /// The delegated OCSP responder's certificate.
    pub responder_der: Vec<u8>,
    /// The delegated OCSP responder's key.
    pub responder_key: SharedSigner,
}

impl Authority {
    /// Makes a CA whose keys are all of one kind, and records it in a store.
    pub async fn new(kind: KeyKind, store: Arc<dyn Store>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().join("ca");
        let mut options = CeremonyOptions::new("Bench", PUBLIC_HTTP);
        options.key = kind;
        let made = issuer::init(&dir, &options, now(), |_| Ok(store.clone()))
            .await
            .expect("the ceremony makes a CA");
        let ring = Keyring::new(dir.join("keys"), None);
        let key = |id: &IssuerId| ring.load(id).expect("the ceremony has left the key");
        let urls = IssuerUrls::new(PUBLIC_HTTP, &made.issuing.id).expect("the base is plain HTTP");
        let signer = key(&made.issuing.id);
        let responder = store.certificate(made.ocsp).await.expect("the store is read");
        let responder = responder.expect("the ceremony has recorded the responder");
        Self {
            issuer: Issuer::new(made.issuing, &[made.root.der], signer, urls).expect("the CA holds together"),
            profile: Profiles::check(&Default::default())
                .expect("the built-in profiles are good")
                .default_profile()
                .clone(),
            responder_der: responder.der().expect("the responder's certificate is signed").to_vec(),
            responder_key: key(&"ocsp-1".parse().expect("a name")),
        }
    }

    /// Reads and judges a certification request in DER.
    pub fn judge(&self, csr: &[u8]) -> CheckedCsr {
        ParsedCsr::from_der(csr)
            .and_then(|parsed| parsed.check(&self.profile.keys))
            .expect("the request is good")
    }

    /// Decides what the certificate holds, and encodes it.
    pub fn prepare(&self, request: IssueRequest) -> Prepared<'_> {
        prepare(&self.issuer, &self.profile, request, Serial::random(), now()).expect("the request is within the rules")
    }

    /// Goes from a certification request's octets to what can be recorded.
    pub fn decide(&self, csr: &[u8]) -> Linted {
        self.prepare(ask(&self.judge(csr)))
            .lint()
            .expect("the encoding passes its lint")
    }

    /// Issues a certificate as finalizing an order does: it is recorded before it is signed, and
    /// recorded again before it is handed out.
    pub async fn issue(&self, store: &dyn Store, csr: &[u8]) -> Serial {
        let linted = self.decide(csr);
        let serial = linted.serial();
        let recorded = linted.record_alone(store).await.expect("the intention is recorded");
        let signed = recorded.sign(&self.issuer).expect("the key signs");
        let batch = signed.batch(Actor::System("bench".to_owned()), now());
        store.commit(batch).await.expect("the certificate is recorded");
        serial
    }
}

/// Turns what a request says into what is asked of the issuer.
pub fn ask(csr: &CheckedCsr) -> IssueRequest {
    IssueRequest {
        spki_der: csr.spki_der().to_vec(),
        names: csr.names().iter().cloned().collect(),
        must_staple: csr.must_staple(),
        ..IssueRequest::default()
    }
}

/// Returns the present moment, as the daemon reads it.
pub fn now() -> Timestamp {
    SystemClock.now()
}
