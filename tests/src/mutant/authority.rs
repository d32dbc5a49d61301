//! Signs altered certificates, CRLs and OCSP answers with the CA's own keys, so that the fault is the only one in them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use super::der::{BIT_STRING, Extensions, OCTET_STRING, SEQUENCE, Tlv, oid};
use super::message::Answer;

/// Context tag 0, constructed.
const EXPLICIT_0: u8 = 0xa0;
/// Context tag 1, constructed.
const EXPLICIT_1: u8 = 0xa1;
/// Context tag 3, constructed.
const EXPLICIT_3: u8 = 0xa3;
/// id-pkix-ocsp-basic.
const BASIC: &str = "1.3.6.1.5.5.7.48.1.1";

/// Whose key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signer {
    /// The root.
    Root,
    /// The issuing CA.
    Issuer,
    /// The OCSP responder.
    Responder,
}

/// The keys of the CA under test.
#[derive(Debug)]
pub struct Authority {
    keys: HashMap<Signer, EcdsaKeyPair>,
    root: Vec<u8>,
    issuer: Vec<u8>,
    /// What an original became, so that it becomes the same again.
    altered: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
}

/// A certificate, CRL or basic OCSP response: the part that is signed, and what stands around it.
#[derive(Debug, Clone)]
pub struct Signed {
    /// SEQUENCE of the signed part, algorithm, signature, and perhaps more.
    pub whole: Tlv,
}

impl Signed {
    /// Takes one apart.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let whole = Tlv::read(octets)?;
        (whole.tag == SEQUENCE && whole.parts.len() >= 3).then_some(Self { whole })
    }

    /// The elements that are signed.
    pub fn fields(&mut self) -> &mut Vec<Tlv> {
        &mut self.whole.parts[0].parts
    }

    /// The last field of this tag.
    fn tagged(&mut self, tag: u8) -> Option<&mut Tlv> {
        self.fields().iter_mut().rev().find(|field| field.tag == tag)
    }

    fn listed(&mut self, tag: u8) -> Extensions<'_> {
        if self.tagged(tag).is_none() {
            self.fields().push(Tlv::with(tag, vec![Tlv::with(SEQUENCE, vec![])]));
        }
        let field = self.tagged(tag).expect("invariant: it was just added");
        Extensions(&mut field.parts[0].parts)
    }

    /// The extensions of a certificate.
    pub fn extensions(&mut self) -> Extensions<'_> {
        self.listed(EXPLICIT_3)
    }

    /// The extensions of a CRL.
    pub fn crl_extensions(&mut self) -> Extensions<'_> {
        self.listed(EXPLICIT_0)
    }

    /// The responseExtensions of an OCSP answer.
    pub fn response_extensions(&mut self) -> Extensions<'_> {
        self.listed(EXPLICIT_1)
    }

    /// The entries of a CRL; an empty list where there is none.
    pub fn entries(&mut self) -> &mut Vec<Tlv> {
        // version, algorithm, issuer, thisUpdate, nextUpdate, then perhaps the list.
        if self.fields().get(5).is_none_or(|field| field.tag != SEQUENCE) {
            let at = self.fields().len().min(5);
            self.fields().insert(at, Tlv::with(SEQUENCE, vec![]));
        }
        &mut self.fields()[5].parts
    }

    /// The SingleResponses of an OCSP answer.
    pub fn singles(&mut self) -> &mut Vec<Tlv> {
        let list = self
            .tagged(SEQUENCE)
            .expect("invariant: a basic response has responses");
        &mut list.parts
    }

    /// The certificates that come along with an OCSP answer.
    pub fn companions(&mut self) -> Option<&mut Vec<Tlv>> {
        let explicit = self.whole.parts.get_mut(3)?;
        Some(&mut explicit.parts.first_mut()?.parts)
    }
}

impl Authority {
    /// Reads the keys of a state folder that `init` made without a passphrase.
    ///
    /// # Panics
    ///
    /// If they are missing or no P-256 keys.
    pub fn of(folder: &Path) -> Self {
        let key = |name: &str| {
            let file = folder.join("keys").join(name);
            let text = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let block = pem::parse(text).expect("a key in PEM");
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, block.contents()).expect("a P-256 key")
        };
        let keys = [
            (Signer::Root, key("root.pem")),
            (Signer::Issuer, key("issuing-1.pem")),
            (Signer::Responder, key("ocsp-1.pem")),
        ];
        let certificate = |name: &str| {
            let text = std::fs::read(folder.join(name)).expect("a certificate");
            pem::parse(text).expect("PEM").into_contents()
        };
        Self {
            keys: HashMap::from(keys),
            root: certificate("root.pem"),
            issuer: certificate("chain.pem"),
            altered: Mutex::default(),
        }
    }

    /// Returns the root's certificate.
    ///
    /// # Panics
    ///
    /// If the state folder held something else.
    pub fn root(&self) -> Signed {
        Signed::read(&self.root).expect("a certificate")
    }

    /// Returns the issuing CA's certificate.
    ///
    /// # Panics
    ///
    /// If the state folder held something else.
    pub fn issuer(&self) -> Signed {
        Signed::read(&self.issuer).expect("a certificate")
    }

    /// Forgets what was altered: another mutation begins.
    pub fn forget(&self) {
        self.altered.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Signs the first element of the three again.
    ///
    /// # Panics
    ///
    /// If the machine has no randomness.
    pub fn sign(&self, signed: &mut Signed, signer: Signer) {
        let message = signed.whole.parts[0].der();
        let signature = self.keys[&signer]
            .sign(&SystemRandom::new(), &message)
            .expect("a signature");
        signed.whole.parts[2] = Tlv::of(BIT_STRING, [&[0], signature.as_ref()].concat());
    }

    /// Alters and signs again; what was altered before becomes what it was then.
    fn remake(&self, der: &[u8], signer: Signer, change: impl FnOnce(&mut Signed)) -> Vec<u8> {
        let mut altered = self.altered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = altered.get(der) {
            return known.clone();
        }
        let Some(mut signed) = Signed::read(der) else {
            return der.to_vec();
        };
        change(&mut signed);
        self.sign(&mut signed, signer);
        let made = signed.whole.der();
        altered.insert(der.to_vec(), made.clone());
        made
    }

    /// Alters one certificate of a PEM chain.
    pub fn recertify(&self, answer: &mut Answer, at: usize, change: impl FnOnce(&mut Signed)) {
        let mut blocks = pem::parse_many(&answer.body).unwrap_or_default();
        if let Some(block) = blocks.get_mut(at) {
            let signer = if at == 0 { Signer::Issuer } else { Signer::Root };
            *block = pem::Pem::new(block.tag(), self.remake(block.contents(), signer, change));
            answer.body = chain(&blocks);
        }
    }

    /// Alters a certificate that is a file of its own.
    pub fn recertify_file(&self, answer: &mut Answer, signer: Signer, change: impl FnOnce(&mut Signed)) {
        answer.body = self.remake(&answer.body, signer, change);
    }

    /// Alters a CRL.
    pub fn relist(&self, answer: &mut Answer, change: impl FnOnce(&mut Signed)) {
        answer.body = self.remake(&answer.body, Signer::Issuer, change);
    }

    /// Alters a successful OCSP answer; the responder signs it again.
    pub fn reanswer(&self, answer: &mut Answer, change: impl FnOnce(&Self, &mut Signed)) {
        let Some(mut response) = Tlv::read(&answer.body) else {
            return;
        };
        let Some(explicit) = response.parts.get_mut(1) else {
            return;
        };
        let octets = &mut explicit.parts[0].parts[1];
        if let Some(mut basic) = Signed::read(&octets.content) {
            change(self, &mut basic);
            self.sign(&mut basic, Signer::Responder);
            octets.content = basic.whole.der();
        }
        answer.body = response.der();
    }

    /// Alters the responder's certificate that comes along with an OCSP answer, signed by `signer`.
    pub fn redelegate(&self, basic: &mut Signed, signer: Signer, change: impl FnOnce(&mut Signed)) {
        if let Some(one) = basic.companions().and_then(|all| all.first_mut()) {
            let mut delegate = Signed { whole: one.clone() };
            change(&mut delegate);
            self.sign(&mut delegate, signer);
            *one = delegate.whole;
        }
    }
}

/// A PEM chain as the daemon writes it.
pub fn chain(blocks: &[pem::Pem]) -> Vec<u8> {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_many_config(blocks, config)
        .replace("\n\n", "\n")
        .into_bytes()
}

/// A successful OCSP answer around a basic response.
pub fn successful(basic: &Signed) -> Vec<u8> {
    let octets = Tlv::of(OCTET_STRING, basic.whole.der());
    let bytes = Tlv::with(SEQUENCE, vec![oid(BASIC), octets]);
    let status = Tlv::of(super::der::ENUMERATED, [0]);
    Tlv::with(SEQUENCE, vec![status, Tlv::with(EXPLICIT_0, vec![bytes])]).der()
}
