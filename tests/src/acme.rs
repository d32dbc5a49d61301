//! An ACME client (RFC 8555) of the harness's own, made for telling lies one at a time.

use std::path::Path;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use x509_parser::extensions::ParsedExtension;

use crate::http::{Http, HttpError, Response};
use crate::webroot::Webroot;

/// How long an order may take from the first request to the certificate.
pub const ORDER_WITHIN: Duration = Duration::from_secs(60);
/// How long to rest between two looks at an order.
const POLL: Duration = Duration::from_millis(50);
/// How often a refused nonce is replaced before giving up.
const NONCE_TRIES_MAX: usize = 5;

/// Encodes as JWS does.
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An account key (P-256).
#[derive(Debug)]
pub struct AccountKey(EcdsaKeyPair);

impl Default for AccountKey {
    fn default() -> Self {
        Self::generate()
    }
}

impl AccountKey {
    /// Makes a new key.
    ///
    /// # Panics
    ///
    /// If the machine has no randomness.
    pub fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self(pair)
    }

    /// Takes a key in PEM (PKCS#8), such as a certificate's.
    ///
    /// # Panics
    ///
    /// If it is no P-256 key.
    pub fn from_pem(pem: &str) -> Self {
        let block = pem::parse(pem).expect("a key in PEM");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, block.contents());
        Self(pair.expect("a P-256 key"))
    }

    /// Returns the public key as a JWK.
    pub fn jwk(&self) -> Value {
        let point = self.0.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..65])})
    }

    /// Returns the RFC 7638 thumbprint in base64url.
    pub fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
        base64url(digest(&SHA256, canonical.as_bytes()))
    }

    /// Signs as ES256 does.
    ///
    /// # Panics
    ///
    /// If the machine has no randomness.
    pub fn sign(&self, input: &[u8]) -> Vec<u8> {
        self.0
            .sign(&SystemRandom::new(), input)
            .expect("a signature")
            .as_ref()
            .to_vec()
    }

    /// Makes a flattened JWS of a protected header and a payload as they are.
    pub fn jws(&self, protected: &str, payload: &[u8]) -> Value {
        let (protected, payload) = (base64url(protected), base64url(payload));
        let signature = base64url(self.sign(format!("{protected}.{payload}").as_bytes()));
        json!({"protected": protected, "payload": payload, "signature": signature})
    }
}

/// A registered account at a server.
#[derive(Debug)]
pub struct Acme {
    /// The HTTP client.
    pub http: Http,
    /// The directory object.
    pub directory: Value,
    /// The account's key.
    pub key: AccountKey,
    /// The account's URL.
    pub kid: String,
}

/// A certificate as it was downloaded, with its key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The names that were ordered.
    pub names: Vec<String>,
    /// The certificate's URL.
    pub url: String,
    /// The order's URL.
    pub order: String,
    /// The chain in PEM, leaf first.
    pub chain_pem: String,
    /// The private key in PEM.
    pub key_pem: String,
}

impl Issued {
    /// Returns the leaf in DER.
    ///
    /// # Panics
    ///
    /// If the chain is empty.
    pub fn leaf_der(&self) -> Vec<u8> {
        let blocks = pem::parse_many(&self.chain_pem).expect("a chain in PEM");
        blocks.first().expect("a leaf").contents().to_vec()
    }

    /// Returns the serial number in upper-case hexadecimal, as OpenSSL prints it.
    ///
    /// # Panics
    ///
    /// If the leaf is no certificate.
    pub fn serial(&self) -> String {
        let der = self.leaf_der();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
        // The sign octet of DER is not part of the number as OpenSSL prints it.
        let octets = certificate.raw_serial().iter().skip_while(|octet| **octet == 0);
        octets.map(|octet| format!("{octet:02X}")).collect()
    }

    /// Returns the identifier under which renewal information is asked for (RFC 9773 section 4.1).
    ///
    /// # Panics
    ///
    /// If the leaf names no key of its issuer.
    pub fn renewal_id(&self) -> String {
        let der = self.leaf_der();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
        let issuer_key = certificate
            .iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref(),
                _ => None,
            })
            .expect("an authority key identifier");
        format!("{}.{}", base64url(issuer_key.0), base64url(certificate.raw_serial()))
    }

    /// Writes the leaf, the issuers and the key beside each other; returns the leaf's path.
    ///
    /// # Panics
    ///
    /// If the files cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> std::path::PathBuf {
        let leaf = folder.join(format!("{name}.pem"));
        let blocks = pem::parse_many(&self.chain_pem).expect("a chain in PEM");
        std::fs::write(&leaf, pem::encode(&blocks[0])).expect("the leaf");
        let issuers = pem::encode_many(&blocks[1..]);
        std::fs::write(folder.join(format!("{name}.issuers.pem")), issuers).expect("the issuers");
        std::fs::write(folder.join(format!("{name}.key")), &self.key_pem).expect("the key");
        leaf
    }
}

/// Makes a CSR for names with a new P-256 key; returns it in DER and the key in PEM.
///
/// # Panics
///
/// If a name cannot stand in a certificate.
pub fn request(names: &[&str]) -> (Vec<u8>, String) {
    let key_pem = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    (request_with(names, &key_pem), key_pem)
}

/// Makes a CSR for names with a key in PEM; returns it in DER.
///
/// # Panics
///
/// If a name cannot stand in a certificate or the key cannot be read.
pub fn request_with(names: &[&str], key_pem: &str) -> Vec<u8> {
    let key = rcgen::KeyPair::from_pem(key_pem).expect("a key in PEM");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serialize_request(&key).expect("a request").der().to_vec()
}

impl Acme {
    /// Registers a new account.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or refuses.
    pub fn register(http: Http, directory: &str) -> Result<Self, HttpError> {
        let answer = http.get(directory)?;
        if answer.status != 200 {
            return Err(format!("directory: {} {}", answer.status, answer.text()).into());
        }
        let directory = answer.json();
        let key = AccountKey::generate();
        let mut acme = Self {
            http,
            directory,
            key,
            kid: String::new(),
        };
        let url = acme.url("newAccount");
        let payload = json!({"termsOfServiceAgreed": true, "contact": ["mailto:a@example.test"]});
        let answer = acme.post(&url, payload.to_string().as_bytes())?;
        if answer.status != 201 {
            return Err(format!("newAccount: {} {}", answer.status, answer.text()).into());
        }
        acme.kid = answer.header("location").ok_or("no account URL")?.to_owned();
        Ok(acme)
    }

    /// Returns a URL of the directory.
    pub fn url(&self, name: &str) -> String {
        self.directory[name].as_str().unwrap_or_default().to_owned()
    }

    /// Asks for a nonce.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn nonce(&self) -> Result<String, HttpError> {
        let answer = self.http.request("HEAD", &self.url("newNonce"), &[], b"")?;
        Ok(answer.header("replay-nonce").ok_or("no nonce")?.to_owned())
    }

    /// Returns the protected header of a correct request.
    pub fn protected(&self, nonce: &str, url: &str) -> Value {
        let mut header = json!({"alg": "ES256", "nonce": nonce, "url": url});
        if self.kid.is_empty() {
            header["jwk"] = self.key.jwk();
        } else {
            header["kid"] = Value::from(self.kid.clone());
        }
        header
    }

    /// Sends bytes with the content type of ACME.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub fn send(&self, url: &str, body: &[u8]) -> Result<Response, HttpError> {
        self.http
            .request("POST", url, &[("Content-Type", "application/jose+json")], body)
    }

    /// Sends a correct signed request; a refused nonce is replaced.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub fn post(&self, url: &str, payload: &[u8]) -> Result<Response, HttpError> {
        let mut answer = None;
        for _ in 0..NONCE_TRIES_MAX {
            let header = self.protected(&self.nonce()?, url).to_string();
            let response = self.send(url, self.key.jws(&header, payload).to_string().as_bytes())?;
            let stale = problem(&response) == "badNonce";
            answer = Some(response);
            if !stale {
                break;
            }
        }
        answer.ok_or_else(|| "no try".into())
    }

    /// Reads a resource (POST-as-GET).
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub fn read(&self, url: &str) -> Result<Response, HttpError> {
        self.post(url, b"")
    }

    fn expect(&self, url: &str, payload: &Value, status: u16) -> Result<Response, HttpError> {
        let answer = self.post(url, payload.to_string().as_bytes())?;
        if answer.status != status {
            return Err(format!("{url}: {} {}", answer.status, answer.text()).into());
        }
        Ok(answer)
    }

    /// Opens an order; returns its URL and the object.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub fn new_order(&self, names: &[&str]) -> Result<(String, Value), HttpError> {
        self.new_order_with(names, json!({}))
    }

    /// Opens an order with further members, for example a profile; returns its URL and the object.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub fn new_order_with(&self, names: &[&str], members: Value) -> Result<(String, Value), HttpError> {
        let answer = self.ask_for_order(names, members)?;
        if answer.status != 201 {
            return Err(format!("newOrder: {} {}", answer.status, answer.text()).into());
        }
        let url = answer.header("location").ok_or("no order URL")?.to_owned();
        Ok((url, answer.json()))
    }

    /// Sends an order with further members and returns whatever the answer is.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub fn ask_for_order(&self, names: &[&str], members: Value) -> Result<Response, HttpError> {
        let mut payload = members;
        payload["identifiers"] = names.iter().map(|name| identifier(name)).collect();
        self.post(&self.url("newOrder"), payload.to_string().as_bytes())
    }

    /// Proves each pending authorization of an order over http-01.
    ///
    /// # Errors
    ///
    /// If the server refuses or finds the proof wrong.
    pub fn prove(&self, order: &Value, webroot: &Webroot) -> Result<(), HttpError> {
        for url in order["authorizations"].as_array().into_iter().flatten() {
            let url = url.as_str().ok_or("an authorization without URL")?;
            let authorization = self.read(url)?.json();
            if authorization["status"] == "valid" {
                continue;
            }
            let challenge = authorization["challenges"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|challenge| challenge["type"] == "http-01")
                .ok_or("no http-01")?;
            let token = challenge["token"].as_str().ok_or("no token")?;
            webroot.put(token, &format!("{token}.{}", self.key.thumbprint()));
            self.expect(challenge["url"].as_str().ok_or("no URL")?, &json!({}), 200)?;
            self.wait(url, "pending")?;
        }
        Ok(())
    }

    /// Reads a resource until its status is another one.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub fn wait(&self, url: &str, status: &str) -> Result<Value, HttpError> {
        let deadline = Instant::now() + ORDER_WITHIN;
        loop {
            let object = self.read(url)?.json();
            if object["status"] != status {
                return Ok(object);
            }
            if Instant::now() > deadline {
                return Err(format!("{url} stays {status}: {object}").into());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Orders, proves, finalizes and downloads.
    ///
    /// # Errors
    ///
    /// If a step is refused; the server may have gone away in the middle.
    pub fn obtain(&self, names: &[&str], webroot: &Webroot) -> Result<Issued, HttpError> {
        self.obtain_with(names, json!({}), webroot)
    }

    /// Does the same with further members in the order.
    ///
    /// # Errors
    ///
    /// As for [`Acme::obtain`].
    pub fn obtain_with(&self, names: &[&str], members: Value, webroot: &Webroot) -> Result<Issued, HttpError> {
        let (order_url, order) = self.new_order_with(names, members)?;
        self.prove(&order, webroot)?;
        let ready = self.wait(&order_url, "pending")?;
        if ready["status"] != "ready" {
            return Err(format!("{order_url} is not ready: {ready}").into());
        }
        let (csr, key_pem) = request(names);
        let answer = self.finalize(&order, &csr)?;
        if answer.status != 200 {
            return Err(format!("finalize: {} {}", answer.status, answer.text()).into());
        }
        let chain = self.download(&order_url)?;
        Ok(Issued {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            url: chain.0,
            order: order_url,
            chain_pem: chain.1,
            key_pem,
        })
    }

    /// Sends a request (in DER) for an order's certificate and returns whatever the answer is.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub fn finalize(&self, order: &Value, csr: &[u8]) -> Result<Response, HttpError> {
        let finalize = order["finalize"].as_str().ok_or("no finalize")?;
        self.post(finalize, json!({"csr": base64url(csr)}).to_string().as_bytes())
    }

    /// Waits for an order's certificate; returns its URL and the chain in PEM.
    ///
    /// # Errors
    ///
    /// If the order ends without one.
    pub fn download(&self, order_url: &str) -> Result<(String, String), HttpError> {
        let done = self.wait(order_url, "processing")?;
        let url = done["certificate"]
            .as_str()
            .ok_or_else(|| format!("no certificate: {done}"))?;
        let chain = self.read(url)?;
        if chain.status != 200 {
            return Err(format!("{url}: {} {}", chain.status, chain.text()).into());
        }
        Ok((url.to_owned(), chain.text()))
    }

    /// Revokes a certificate with a reason code.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub fn revoke(&self, certificate_der: &[u8], reason: u8) -> Result<Response, HttpError> {
        let payload = json!({"certificate": base64url(certificate_der), "reason": reason});
        self.post(&self.url("revokeCert"), payload.to_string().as_bytes())
    }
}

fn identifier(name: &str) -> Value {
    let kind = if name.parse::<std::net::IpAddr>().is_ok() {
        "ip"
    } else {
        "dns"
    };
    json!({"type": kind, "value": name})
}

/// Returns the short name of the ACME problem in an answer; empty if there is none.
pub fn problem(response: &Response) -> String {
    let document = response.json();
    let kind = document["type"].as_str().unwrap_or_default();
    kind.strip_prefix("urn:ietf:params:acme:error:")
        .unwrap_or(kind)
        .to_owned()
}
