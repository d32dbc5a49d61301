//! Issues what the daemon refuses, with every extension of the request in it, as a careless CA does.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::authority::{Signed, Signer, chain};
use super::der::{BIT_STRING, INTEGER, Tlv, null, oid, sequence};
use super::fault::{Fault, Scene, after};
use super::message::{Answer, Resource};

/// The extensionRequest attribute of PKCS#9.
const EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";
/// ecdsa-with-SHA256.
const ECDSA: &str = "1.2.840.10045.4.3.2";

/// Certificates that were never issued: the request by the order's path and by the certificate's.
#[derive(Debug, Default)]
struct Forged {
    certificates: HashMap<String, String>,
    requests: HashMap<String, Vec<u8>>,
}

/// Takes requests that the daemon refuses, and copies their extensions into certificates.
pub fn copies_extensions() -> Fault {
    let forged: Mutex<Forged> = Mutex::default();
    after(move |scene, request, answer| {
        let mut forged = forged.lock().unwrap_or_else(PoisonError::into_inner);
        let order = request.target.trim_end_matches("/finalize").to_owned();
        match request.resource() {
            Resource::Finalize if answer.is_refusal() => {
                let path = format!("/acme/cert/forged-{}", scene.next());
                forged.requests.insert(path.clone(), request.jws().octets("csr"));
                forged.certificates.insert(order.clone(), path);
                show(scene, &forged, &order, answer);
            }
            Resource::Order => show(scene, &forged, &order, answer),
            Resource::Certificate => {
                let made = forged.requests.get(&request.target).and_then(|csr| forge(scene, csr));
                if let Some(chain) = made {
                    *answer = Answer {
                        status: 200,
                        headers: answer.headers.clone(),
                        body: chain,
                    };
                    answer.put("content-type", "application/pem-certificate-chain");
                }
            }
            _ => {}
        }
    })
}

/// Shows the order valid, if its certificate was forged.
fn show(scene: &Scene, forged: &Forged, order: &str, answer: &mut Answer) {
    if let Some(path) = forged.certificates.get(order) {
        let certificate = format!("{}{path}", scene.origin);
        let nonce = answer.header("replay-nonce").unwrap_or_default().to_owned();
        *answer = Answer::of(200, &json!({"status": "valid", "certificate": certificate}));
        answer.put("replay-nonce", &nonce);
    }
}

/// A chain for a request, whatever it asks for.
fn forge(scene: &Scene, csr: &[u8]) -> Option<Vec<u8>> {
    let csr = Tlv::read(csr)?;
    let [_, _, key, attributes] = csr.parts.first()?.parts.as_slice() else {
        return None;
    };
    let wanted = oid(EXTENSION_REQUEST);
    let requested = attributes.parts.iter().find(|one| one.parts.first() == Some(&wanted))?;
    let extensions = requested.parts.get(1)?.parts.first()?.clone();
    let mut issuer = scene.authority.issuer();
    let (validity, name) = (issuer.fields()[4].clone(), issuer.fields()[5].clone());
    let tbs = sequence(vec![
        Tlv::with(0xa0, vec![Tlv::of(INTEGER, [2])]),
        Tlv::of(INTEGER, [&[0x11; 8][..], &scene.next().to_be_bytes()].concat()),
        sequence(vec![oid(ECDSA)]),
        name,
        validity,
        sequence(vec![]),
        key.clone(),
        Tlv::with(0xa3, vec![extensions]),
    ]);
    let mut leaf = Signed {
        whole: sequence(vec![tbs, sequence(vec![oid(ECDSA)]), Tlv::of(BIT_STRING, null().der())]),
    };
    scene.authority.sign(&mut leaf, Signer::Issuer);
    let blocks = [leaf, issuer].map(|one| pem::Pem::new("CERTIFICATE", one.whole.der()));
    Some(chain(&blocks))
}
