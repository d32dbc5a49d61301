//! A run: what all cases share, and the order in which they are judged.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::base64;
use crate::case::{Case, Finding, Judgement, Level};
use crate::cases::{self, Expired};
use crate::deviation::{Collector, Deviation};
use crate::evidence::Evidence;
use crate::http::{Answer, Client, Request, Url};
use crate::issue::Issued;
use crate::keys::{Key, random};
use crate::report::{Outcome, Report};
use crate::responder::dns::Dns;
use crate::responder::dnssec::ZoneKey;
use crate::responder::http01::Http01;
use crate::responder::tls_alpn01::TlsAlpn01;
use crate::target::Options;
use crate::wire::{Draft, Signed, Signer, external_binding};

/// A sound request is tried again this often after badNonce: some servers refuse some nonces on purpose.
const NONCE_TRIES_MAX: usize = 8;

/// An account of the suite.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) key: Arc<Key>,
    pub(crate) url: String,
    /// As it was shown at creation.
    pub(crate) object: Value,
}

impl Account {
    pub(crate) fn signer(&self) -> Signer<'_> {
        Signer::Account(&self.key, &self.url)
    }

    /// Token, dot, thumbprint.
    pub(crate) fn key_authorization(&self, token: &str) -> String {
        format!("{token}.{}", self.key.thumbprint())
    }
}

/// What all cases share.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) options: Options,
    pub(crate) client: Client,
    pub(crate) evidence: Evidence,
    pub(crate) directory: Value,
    pub(crate) http01: Option<Http01>,
    pub(crate) tls_alpn01: Option<TlsAlpn01>,
    pub(crate) dns: Option<Dns>,
    pub(crate) found: Collector,
    counter: AtomicU64,
    external: AtomicUsize,
    account: OnceLock<Result<Account, String>>,
    other: OnceLock<Result<Account, String>>,
    certificate: OnceLock<Result<Arc<Issued>, String>>,
    pub(crate) expired: OnceLock<Result<Expired, String>>,
}

impl Run {
    pub(crate) fn start(options: Options) -> Result<Self, String> {
        let client = Client::new(options.ca_root.as_deref())?;
        let at = |port: u16| SocketAddr::new(options.address, port);
        let http01 = options.http01_port.map(|port| Http01::start(at(port))).transpose()?;
        let tls_alpn01 = options
            .tls_alpn01_port
            .map(|port| TlsAlpn01::start(at(port)))
            .transpose()?;
        let zone_key = options.dnssec_key.as_deref().map(ZoneKey::read).transpose()?;
        let dns = options
            .dns_port
            .map(|port| Dns::start(at(port), &options.zone, options.address, zone_key))
            .transpose()?;
        let evidence = Evidence::default();
        let request = Request::get(&options.directory);
        let answer = client.send(&request)?;
        evidence.exchange(&request, &answer);
        let directory: Value =
            serde_json::from_slice(&answer.body).map_err(|_| format!("no directory: {}", answer.summary()))?;
        Ok(Self {
            options,
            client,
            evidence,
            directory,
            http01,
            tls_alpn01,
            dns,
            found: Collector::default(),
            counter: AtomicU64::new(0),
            external: AtomicUsize::new(0),
            account: OnceLock::new(),
            other: OnceLock::new(),
            certificate: OnceLock::new(),
            expired: OnceLock::new(),
        })
    }

    /// A directory entry; its absence blocks the case.
    pub(crate) fn url(&self, resource: &str) -> Judgement<String> {
        match self.directory[resource].as_str() {
            Some(url) => Ok(url.to_owned()),
            None => Err(Finding::Blocked(format!("the directory has no {resource}"))),
        }
    }

    /// A resource that a server need not have.
    pub(crate) fn optional_url(&self, resource: &str) -> Judgement<String> {
        match self.directory[resource].as_str() {
            Some(url) => Ok(url.to_owned()),
            None => Err(Finding::NotOffered(format!("the directory has no {resource}"))),
        }
    }

    /// A name of the zone that was not used before.
    pub(crate) fn name(&self, label: &str) -> String {
        let number = self.counter.fetch_add(1, Ordering::SeqCst);
        let salt: String = random::<3>().iter().map(|octet| format!("{octet:02x}")).collect();
        format!("{label}-{number}-{salt}.{}", self.options.zone)
    }

    pub(crate) fn http01(&self) -> Judgement<&Http01> {
        self.http01
            .as_ref()
            .ok_or_else(|| Finding::Blocked("the run has no --http01-port".into()))
    }

    pub(crate) fn tls_alpn01(&self) -> Judgement<&TlsAlpn01> {
        self.tls_alpn01
            .as_ref()
            .ok_or_else(|| Finding::Blocked("the run has no --tls-alpn01-port".into()))
    }

    pub(crate) fn dns(&self) -> Judgement<&Dns> {
        self.dns
            .as_ref()
            .ok_or_else(|| Finding::Blocked("the run has no --dns-port".into()))
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.options.patience_seconds)
    }

    /// How long a case may wait for time to pass.
    pub(crate) fn wait_max(&self) -> Duration {
        Duration::from_secs(self.options.wait_max_seconds)
    }

    /// Lets time pass, unless that is too long for a run.
    pub(crate) fn pause(&self, pause: Duration) -> Judgement {
        if pause > self.wait_max() {
            return Err(Finding::Blocked(format!(
                "it takes {} seconds, and the run waits {} (--wait-max)",
                pause.as_secs(),
                self.options.wait_max_seconds
            )));
        }
        std::thread::sleep(pause);
        Ok(())
    }

    /// Lets time pass until a moment is surely past.
    pub(crate) fn pause_until(&self, moment: Timestamp) -> Judgement {
        let left = moment.duration_since(Timestamp::now());
        // The target's clock may be a little behind.
        self.pause(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(2))
    }

    /// Sends a request and keeps it as evidence.
    pub(crate) fn send(&self, request: &Request) -> Judgement<Answer> {
        let answer = self.client.send(request).map_err(Finding::Fail)?;
        self.evidence.exchange(request, &answer);
        Ok(answer)
    }

    pub(crate) fn get(&self, url: &str) -> Judgement<Answer> {
        self.send(&Request::get(url))
    }

    /// A fresh nonce.
    pub(crate) fn nonce(&self) -> Judgement<String> {
        let answer = self.send(&Request::new("HEAD", &self.url("newNonce")?))?;
        let nonce = answer.header("replay-nonce").map(str::to_owned);
        nonce.ok_or_else(|| Finding::Fail("newNonce gave no Replay-Nonce".into()))
    }

    /// A POST as ACME has it.
    pub(crate) fn acme_post(&self, url: &str, body: impl Into<Vec<u8>>) -> Request {
        Request::new("POST", url)
            .header("Content-Type", "application/jose+json")
            .body(body)
    }

    /// Posts a body as ACME bodies are posted.
    pub(crate) fn post_body(&self, url: &str, body: impl Into<Vec<u8>>) -> Judgement<Answer> {
        self.send(&self.acme_post(url, body))
    }

    /// Sends several requests as nearly at once as can be, over connections that were made before.
    pub(crate) fn send_at_once(&self, requests: Vec<Request>) -> Judgement<Vec<Answer>> {
        let open = |request: &Request| self.client.open(&request.url).map_err(Finding::Fail);
        let connections = requests.iter().map(open).collect::<Judgement<Vec<_>>>()?;
        let start = std::sync::Barrier::new(requests.len());
        let answers: Vec<Result<Answer, String>> = std::thread::scope(|scope| {
            let start = &start;
            let racers: Vec<_> = requests
                .iter()
                .zip(connections)
                .map(|(request, connection)| {
                    scope.spawn(move || {
                        start.wait();
                        connection.send(request)
                    })
                })
                .collect();
            let died = || Err("the thread that sent it died".into());
            racers
                .into_iter()
                .map(|racer| racer.join().unwrap_or_else(|_| died()))
                .collect()
        });
        let told = |(request, answer): (&Request, Result<Answer, String>)| {
            let answer = answer.map_err(|why| Finding::Fail(format!("{} {}: {why}", request.method, request.url)))?;
            self.evidence.exchange(request, &answer);
            Ok(answer)
        };
        requests.iter().zip(answers).map(told).collect()
    }

    /// A sound draft with a fresh nonce.
    pub(crate) fn draft(&self, signer: Signer<'_>, url: &str, payload: impl Into<Vec<u8>>) -> Judgement<Draft> {
        Ok(Draft::new(signer, &self.nonce()?, url, payload))
    }

    /// Sends a signed request.
    pub(crate) fn post_signed(&self, url: &str, signed: &Signed) -> Judgement<Answer> {
        self.post_body(url, signed.body())
    }

    /// Sends a sound request, again after badNonce.
    pub(crate) fn post_as(&self, signer: Signer<'_>, url: &str, payload: &[u8]) -> Judgement<Answer> {
        let mut nonce = self.nonce()?;
        for _ in 0..NONCE_TRIES_MAX {
            let answer = self.post_signed(url, &Draft::new(signer, &nonce, url, payload).sign(signer.key()))?;
            match answer.header("replay-nonce") {
                Some(fresh) if answer.problem() == "badNonce" => nonce = fresh.to_owned(),
                _ => return Ok(answer),
            }
        }
        Err(Finding::Blocked("every nonce is refused".into()))
    }

    /// Posts an object as an account.
    pub(crate) fn post(&self, account: &Account, url: &str, object: &Value) -> Judgement<Answer> {
        self.post_as(account.signer(), url, object.to_string().as_bytes())
    }

    /// POST-as-GET.
    pub(crate) fn fetch(&self, account: &Account, url: &str) -> Judgement<Answer> {
        self.post_as(account.signer(), url, b"")
    }

    /// POST-as-GET of an object that has to be there.
    pub(crate) fn fetch_object(&self, account: &Account, url: &str) -> Judgement<Value> {
        let answer = self.fetch(account, url)?;
        match answer.status {
            200 => answer.json(),
            _ => Err(Finding::Fail(format!("fetching {url}: {}", answer.summary()))),
        }
    }

    /// The operator's key for the next new account; `take` counts it as used.
    pub(crate) fn external_account(&self, take: bool) -> Option<&(String, Vec<u8>)> {
        let at = self.external.fetch_add(usize::from(take), Ordering::SeqCst);
        let keys = &self.options.external_accounts;
        keys.get(at.min(keys.len().saturating_sub(1)))
    }

    /// The payload of a newAccount that the target should take.
    pub(crate) fn account_payload(&self, key: &Key) -> Judgement<Value> {
        self.account_payload_for(&key.jwk())
    }

    /// The same for a key of which there is only the JWK.
    pub(crate) fn account_payload_for(&self, jwk: &Value) -> Judgement<Value> {
        let mut payload = json!({"termsOfServiceAgreed": true});
        if self.directory["meta"]["externalAccountRequired"] == json!(true) {
            let Some((kid, mac_key)) = self.external_account(true) else {
                return Err(Finding::Blocked(
                    "the target wants an external account and the run has no key for one".into(),
                ));
            };
            payload["externalAccountBinding"] = external_binding(kid, mac_key, &self.url("newAccount")?, jwk);
        }
        Ok(payload)
    }

    /// A new account.
    pub(crate) fn new_account(&self, key: Key) -> Judgement<Account> {
        let payload = self.account_payload(&key)?;
        let answer = self.post_as(
            Signer::Key(&key),
            &self.url("newAccount")?,
            payload.to_string().as_bytes(),
        )?;
        match (answer.status, answer.header("location")) {
            (200 | 201, Some(url)) => Ok(Account {
                key: Arc::new(key),
                url: url.to_owned(),
                object: answer.json()?,
            }),
            _ => Err(Finding::Blocked(format!("no account: {}", answer.summary()))),
        }
    }

    /// The suite's first account.
    pub(crate) fn account(&self) -> Judgement<&Account> {
        shared(&self.account, || self.new_account(Key::p256()))
    }

    /// The suite's second account.
    pub(crate) fn other_account(&self) -> Judgement<&Account> {
        shared(&self.other, || self.new_account(Key::p256()))
    }

    /// A certificate of the first account that no case revokes.
    pub(crate) fn certificate(&self) -> Judgement<&Arc<Issued>> {
        shared(&self.certificate, || {
            self.issue(self.account()?, &[self.name("shared")])
        })
    }

    /// Takes a certificate that no target issued as the shared one.
    #[cfg(test)]
    pub(crate) fn assume(&self, issued: Issued) {
        let issued = Arc::new(issued);
        self.evidence.issued(issued.clone());
        let _ = self.certificate.set(Ok(issued));
    }

    /// Polls a resource until `done`, as long as the run's patience lasts.
    pub(crate) fn poll(&self, account: &Account, url: &str, done: impl Fn(&Value) -> bool) -> Judgement<Value> {
        let began = Instant::now();
        loop {
            let answer = self.fetch(account, url)?;
            if answer.status != 200 {
                return Err(Finding::Blocked(format!("polling {url}: {}", answer.summary())));
            }
            let object = answer.json()?;
            if done(&object) {
                return Ok(object);
            }
            if began.elapsed() > self.patience() {
                return Err(Finding::Blocked(format!("{url} did not get on: {object}")));
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// The origin of the target, for telling its answers from others.
    pub(crate) fn origin(&self) -> String {
        Url::parse(&self.options.directory)
            .map(|url| url.origin())
            .unwrap_or_default()
    }
}

/// Makes something once for all cases; what could not be made blocks each of them.
pub(crate) fn shared<T>(cell: &OnceLock<Result<T, String>>, make: impl FnOnce() -> Judgement<T>) -> Judgement<&T> {
    let made = cell.get_or_init(|| {
        make().map_err(|finding| match finding {
            Finding::Fail(why) | Finding::NotOffered(why) | Finding::Blocked(why) => why,
        })
    });
    made.as_ref().map_err(|why| Finding::Blocked(why.clone()))
}

/// A refusal: 4xx with a problem document, of this type unless it is empty.
pub(crate) fn refused(answer: &Answer, kind: &str, what: &str) -> Judgement {
    let problem = answer.problem();
    if !answer.is_refusal() || problem.is_empty() {
        return Err(Finding::Fail(format!(
            "{what}: expected a refusal, got {}",
            answer.summary()
        )));
    }
    if !kind.is_empty() && !kind.split('|').any(|kind| kind == problem) {
        return Err(Finding::Fail(format!(
            "{what}: expected {kind}, got {}",
            answer.summary()
        )));
    }
    if answer.header("location").is_some() && !matches!(problem.as_str(), "conflict") && answer.status != 409 {
        return Err(Finding::Fail(format!(
            "{what}: the refusal names a Location, {}",
            answer.summary()
        )));
    }
    Ok(())
}

/// Unpadded base64url of a value in an answer.
pub(crate) fn is_base64url(text: &str) -> bool {
    !text.is_empty() && base64::from_url(text).is_some()
}

/// A requirement that has a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Its id.
    pub id: String,
    /// How strongly the text asks.
    pub level: Level,
    /// The requirement in short.
    pub requirement: &'static str,
}

/// Every requirement that has a case, in the order in which they are judged.
pub fn requirements() -> impl Iterator<Item = Requirement> {
    cases::all().map(|case| Requirement {
        id: case.id(),
        level: case.level,
        requirement: case.requirement,
    })
}

/// Judges a target.
///
/// # Errors
/// When the run cannot begin: an answerer's port is taken, or the directory cannot be had.
pub fn judge(options: Options) -> Result<Report, String> {
    judge_telling(options, |_| ())
}

/// Judges a target and tells each outcome as soon as it is there; a whole run takes minutes.
///
/// # Errors
/// As [`judge`].
pub fn judge_telling(options: Options, mut tell: impl FnMut(&Outcome)) -> Result<Report, String> {
    judge_watching(options, |event| {
        if let Event::Ends(outcome) = event {
            tell(outcome);
        }
    })
}

/// What happens in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many cases will be judged.
    Cases(usize),
    /// The case of this requirement begins.
    Begins(&'a str),
    /// It ended so.
    Ends(&'a Outcome),
}

/// Judges a target and tells how far it is.
///
/// # Errors
/// As [`judge`].
pub fn judge_watching(options: Options, mut tell: impl FnMut(Event<'_>)) -> Result<Report, String> {
    let run = Run::start(options)?;
    let mut report = Report::new(&run.options.directory);
    let chosen = |id: &str| {
        let options = &run.options;
        (options.only.is_empty() || options.only.iter().any(|prefix| id.starts_with(prefix)))
            && !options.skip.iter().any(|prefix| id.starts_with(prefix))
    };
    let cases: Vec<&Case> = cases::all().filter(|case| chosen(&case.id())).collect();
    tell(Event::Cases(cases.len()));
    for case in cases {
        let id = case.id();
        tell(Event::Begins(&id));
        let outcome = judge_case(&run, case, id);
        tell(Event::Ends(&outcome));
        report.push(outcome);
    }
    for &(id, reason) in cases::NOT_YET {
        if chosen(id) {
            report.not_written(id, reason);
        }
    }
    Ok(report)
}

fn judge_case(run: &Run, case: &Case, id: String) -> Outcome {
    let began = Instant::now();
    run.begin(case.level);
    // An answer that no case foresaw must not take the whole run down, nor count as a pass.
    let judged = std::panic::catch_unwind(AssertUnwindSafe(|| (case.judge)(run)));
    let judgement = judged.unwrap_or_else(|_| Err(Finding::Fail("the case itself broke, see the error output".into())));
    let ending = run.end(judgement);
    let notes = ending
        .deviations
        .iter()
        .map(Deviation::line)
        .chain(ending.unjudged)
        .collect();
    Outcome {
        id,
        level: case.level,
        starred: case.starred,
        requirement: case.requirement,
        verdict: ending.verdict,
        notes,
        deviations: ending.deviations,
        took: began.elapsed(),
    }
}
