//! Orders certificates as clients do: order, http-01, finalize, download.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use hyper::body::Bytes;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::{Value, json};
use sigillo_protocol::{
    base64url,
    jose::{JwsSigner as _, SignWith, SigningKey, jws::sign},
};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::{
    Failure,
    answers::Answers,
    connection::{Answer, Connection, trusting},
    primitives::{Primitives, Traffic},
    server::Used,
    tally::Tally,
};

/// How long something may stay undecided.
const DECIDED_WITHIN: Duration = Duration::from_secs(60);
/// The first pause before something is looked at again; each further one is longer by half.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// How often a request is signed again because its nonce was refused.
const NONCE_TRIES_MAX: usize = 10;

/// How certificates are ordered.
#[derive(Debug, clap::Args)]
pub struct Load {
    /// The ACME directory
    #[arg(long)]
    directory: String,
    /// Whom the server's HTTPS is trusted by, in PEM
    #[arg(long)]
    ca_root: PathBuf,
    /// Where the server asks http-01
    #[arg(long)]
    http01: SocketAddr,
    /// How many clients there are at the same time, each with an account and a connection of its own
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// How many certificates are ordered in all
    #[arg(long, default_value_t = 500)]
    count: usize,
    /// The domain below which the names are; all of it has to resolve to the address of --http01
    #[arg(long, default_value = "load.test")]
    zone: String,
    /// Writes each certificate into this folder, for others to verify
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Runs the load.
pub async fn run(load: &Load, pid: Option<u32>) -> Result<Tally, Failure> {
    let tls = trusting(&load.ca_root)?;
    let answers = Answers::serve(load.http01).await?;
    // Accounts are made before the clock runs: a client has one for years.
    let sent = Arc::new(Sent::default());
    let mut clients = Vec::with_capacity(load.concurrency);
    for _ in 0..load.concurrency.max(1) {
        clients.push(Client::register(load, tls.clone(), answers.clone(), sent.clone()).await?);
    }
    sent.begin_anew();
    let taken = Arc::new(AtomicUsize::new(0));
    let (count, run) = (load.count, std::process::id());
    let before = pid.map(Used::by).transpose()?;
    let began = Instant::now();
    let mut working = JoinSet::new();
    for mut client in clients {
        let (taken, zone, keep) = (taken.clone(), load.zone.clone(), load.keep.clone());
        working.spawn(async move {
            let (mut each, mut failures) = (Vec::new(), Vec::new());
            loop {
                let number = taken.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return (each, failures);
                }
                let began = Instant::now();
                match client.obtain(&format!("n{number}-{run}.{zone}")).await {
                    Ok(chain) => {
                        each.push(began.elapsed());
                        if let Some(folder) = &keep
                            && let Err(error) = std::fs::write(folder.join(format!("{number}.pem")), &chain)
                        {
                            failures.push(error.to_string());
                        }
                    }
                    Err(error) => failures.push(error.to_string()),
                }
            }
        });
    }
    let (mut each, mut failures) = (Vec::new(), Vec::new());
    while let Some(ended) = working.join_next().await {
        let (times, failed) = ended?;
        each.extend(times);
        failures.extend(failed);
    }
    let wall = began.elapsed();
    let used = match (pid, before) {
        (Some(pid), Some(before)) => Some(Used::by(pid)?.since(before)),
        _ => None,
    };
    each.sort_unstable();
    let primitives = Some(Primitives::measure(sent.traffic(), each.len())?);
    Ok(Tally {
        unit: "certificate",
        count: each.len(),
        failed: (failures.len(), failures.into_iter().next()),
        wall,
        each,
        used,
        primitives,
    })
}

/// What all clients have sent and got.
#[derive(Debug, Default)]
struct Sent {
    requests: AtomicU64,
    octets: AtomicU64,
}

impl Sent {
    fn begin_anew(&self) {
        self.requests.store(0, Ordering::Relaxed);
        self.octets.store(0, Ordering::Relaxed);
    }

    fn count(&self, request: &Bytes, answer: &Answer) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let octets = request.len() + answer.body.len();
        self.octets.fetch_add(octets as u64, Ordering::Relaxed);
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            octets: self.octets.load(Ordering::Relaxed),
        }
    }
}

/// An account with its connection.
struct Client {
    connection: Connection,
    directory: Value,
    key: SigningKey,
    kid: String,
    nonce: Option<String>,
    answers: Answers,
    sent: Arc<Sent>,
}

impl Client {
    async fn register(load: &Load, tls: TlsConnector, answers: Answers, sent: Arc<Sent>) -> Result<Self, Failure> {
        let mut connection = Connection::new(Some(tls));
        let answer = connection.send("GET", &load.directory, None, &Bytes::new()).await?;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| "no account key can be made")?;
        let mut client = Self {
            connection,
            directory: serde_json::from_slice(&answer.body)?,
            key: SigningKey::from_pkcs8(pkcs8.as_ref())?,
            kid: String::new(),
            nonce: None,
            answers,
            sent,
        };
        let url = client.resource("newAccount")?;
        let payload = json!({"termsOfServiceAgreed": true, "contact": ["mailto:load@example.test"]});
        let answer = client.post(&url, payload.to_string().as_bytes()).await?;
        client.kid = answer
            .header("location")
            .ok_or("newAccount gave no Location")?
            .to_owned();
        Ok(client)
    }

    fn resource(&self, name: &str) -> Result<String, Failure> {
        let url = self.directory[name].as_str();
        Ok(url.ok_or_else(|| format!("the directory has no {name}"))?.to_owned())
    }

    /// Posts a signed payload, again after badNonce; anything but success is an error.
    async fn post(&mut self, url: &str, payload: &[u8]) -> Result<Answer, Failure> {
        for _ in 0..NONCE_TRIES_MAX {
            let nonce = match self.nonce.take() {
                Some(nonce) => nonce,
                None => self.fresh_nonce().await?,
            };
            let with = match self.kid.as_str() {
                "" => SignWith::Jwk,
                kid => SignWith::Kid(kid),
            };
            let body = Bytes::from(sign(&self.key, Some(&nonce), url, with, payload)?);
            let answer = self
                .connection
                .send("POST", url, Some("application/jose+json"), &body)
                .await?;
            self.sent.count(&body, &answer);
            self.nonce = answer.header("replay-nonce").map(str::to_owned);
            if answer.status < 300 {
                return Ok(answer);
            }
            let text = String::from_utf8_lossy(&answer.body);
            if !text.contains(":badNonce") {
                return Err(format!("{url}: {} {text}", answer.status).into());
            }
        }
        Err("every nonce is refused".into())
    }

    async fn fresh_nonce(&mut self) -> Result<String, Failure> {
        let url = self.resource("newNonce")?;
        let answer = self.connection.send("HEAD", &url, None, &Bytes::new()).await?;
        Ok(answer.header("replay-nonce").ok_or("newNonce gave none")?.to_owned())
    }

    async fn fetch(&mut self, url: &str) -> Result<Value, Failure> {
        let answer = self.post(url, b"").await?;
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// Looks at a resource until its status is none of those that pass.
    async fn settled(&mut self, url: &str, passing: &[&str]) -> Result<Value, Failure> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let object = self.fetch(url).await?;
            let status = object["status"].as_str().unwrap_or_default();
            if !passing.contains(&status) {
                return Ok(object);
            }
            if began.elapsed() > DECIDED_WITHIN {
                return Err(format!("{url} stays {status}").into());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(PAUSE_MAX);
        }
    }

    /// Goes the whole way to a certificate; returns the chain as it was downloaded.
    async fn obtain(&mut self, name: &str) -> Result<Bytes, Failure> {
        let new_order = self.resource("newOrder")?;
        let payload = json!({"identifiers": [{"type": "dns", "value": name}]});
        let answer = self.post(&new_order, payload.to_string().as_bytes()).await?;
        let order_url = answer.header("location").ok_or("newOrder gave no Location")?.to_owned();
        let order: Value = serde_json::from_slice(&answer.body)?;
        for url in order["authorizations"].as_array().into_iter().flatten() {
            self.prove(url.as_str().ok_or("an authorization is no URL")?).await?;
        }
        let order = self.settled(&order_url, &["pending"]).await?;
        let finalize = order["finalize"].as_str().ok_or("the order has no finalize")?;
        let csr = json!({"csr": base64url::encode(certification_request(name)?)});
        let answer = self.post(finalize, csr.to_string().as_bytes()).await?;
        let mut order: Value = serde_json::from_slice(&answer.body)?;
        if order["status"] != "valid" {
            order = self.settled(&order_url, &["ready", "processing"]).await?;
        }
        let url = order["certificate"].as_str();
        let url = url.ok_or_else(|| format!("the order became {order}"))?;
        Ok(self.post(url, b"").await?.body)
    }

    async fn prove(&mut self, url: &str) -> Result<(), Failure> {
        let authorization = self.fetch(url).await?;
        let mut challenges = authorization["challenges"].as_array().into_iter().flatten();
        let challenge = challenges
            .find(|one| one["type"] == "http-01")
            .ok_or("no http-01 is offered")?;
        let token = challenge["token"].as_str().ok_or("http-01 has no token")?.to_owned();
        let answer_url = challenge["url"].as_str().ok_or("http-01 has no url")?;
        self.answers
            .put(&token, format!("{token}.{}", self.key.jwk().thumbprint()));
        self.post(answer_url, b"{}").await?;
        let decided = self.settled(url, &["pending"]).await?;
        self.answers.remove(&token);
        match decided["status"].as_str() {
            Some("valid") => Ok(()),
            _ => Err(format!("the authorization became {decided}").into()),
        }
    }
}

fn certification_request(name: &str) -> Result<Vec<u8>, Failure> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key)?.der().to_vec())
}
