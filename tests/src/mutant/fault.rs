//! What one mutation does to what passes: families of faults, made from a few words.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use super::authority::{Authority, Signed, Signer};
use super::message::{Answer, Jws, Kind, Request, Resource};

/// What a fault can use besides the message.
#[derive(Debug)]
pub struct Scene {
    /// The keys of the CA.
    pub authority: Authority,
    /// The base of the ACME URLs.
    pub origin: String,
    /// The base of the URLs in certificates.
    pub files: String,
    counter: AtomicU64,
}

impl Scene {
    /// A scene with these keys and bases.
    pub fn new(authority: Authority, origin: String, files: String) -> Self {
        Self {
            authority,
            origin,
            files,
            counter: AtomicU64::new(1),
        }
    }

    /// Fetches a URL as a server does that trusts whoever names one.
    pub fn fetch(&self, url: &str) {
        let _ = crate::http::Http::trusting_nobody().get(url);
    }

    /// A number that was not given before.
    pub fn next(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::SeqCst)
    }
}

type Before = Box<dyn Fn(&Scene, &mut Request) -> Option<Answer> + Send + Sync>;
type After = Box<dyn Fn(&Scene, &Request, &mut Answer) + Send + Sync>;
type Octets = Box<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>;

/// What validation does wrongly in the server's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prober {
    /// A TLS handshake for the challenge that offers more protocols.
    OffersMore,
    /// A TLS handshake for the challenge that sends data afterwards.
    SendsData,
}

/// A fault.
#[derive(Default)]
pub struct Fault {
    before: Option<Before>,
    after: Option<After>,
    dns: Option<Octets>,
    query: Option<Octets>,
    /// What tls-alpn-01 does wrongly.
    pub prober: Option<Prober>,
    /// Whether plain HTTP is served where TLS belongs.
    pub plain: bool,
}

impl Fault {
    /// This fault and, after it, another one; of DNS, http-01 and tls-alpn-01 the other one's are taken where it has any.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let (first, second) = (self.before, other.before);
        let (spoils, spoils_more) = (self.after, other.after);
        Self {
            before: Some(Box::new(move |scene, request| {
                let met = first.as_ref().and_then(|meet| meet(scene, request));
                met.or_else(|| second.as_ref().and_then(|meet| meet(scene, request)))
            })),
            after: Some(Box::new(move |scene, request, answer| {
                for spoil in spoils.iter().chain(&spoils_more) {
                    spoil(scene, request, answer);
                }
            })),
            dns: other.dns.or(self.dns),
            query: other.query.or(self.query),
            prober: other.prober.or(self.prober),
            plain: other.plain || self.plain,
        }
    }

    /// Answers in the server's place, or alters the request.
    pub fn meet(&self, scene: &Scene, request: &mut Request) -> Option<Answer> {
        self.before.as_ref().and_then(|before| before(scene, request))
    }

    /// Alters an answer.
    pub fn spoil(&self, scene: &Scene, request: &Request, answer: &mut Answer) {
        if let Some(after) = &self.after {
            after(scene, request, answer);
        }
    }

    /// Alters what a DNS server answers.
    pub fn resolve(&self, octets: Vec<u8>) -> Vec<u8> {
        match &self.dns {
            Some(dns) => dns(octets),
            None => octets,
        }
    }

    /// Alters what http-01 asks.
    pub fn ask(&self, octets: Vec<u8>) -> Vec<u8> {
        match &self.query {
            Some(query) => query(octets),
            None => octets,
        }
    }
}

/// Nothing: how the daemon was started is the fault.
pub fn none() -> Fault {
    Fault::default()
}

/// Answers in the server's place, or alters the request.
pub fn before(meet: impl Fn(&Scene, &mut Request) -> Option<Answer> + Send + Sync + 'static) -> Fault {
    Fault {
        before: Some(Box::new(meet)),
        ..Fault::default()
    }
}

/// Alters answers.
pub fn after(spoil: impl Fn(&Scene, &Request, &mut Answer) + Send + Sync + 'static) -> Fault {
    Fault {
        after: Some(Box::new(spoil)),
        ..Fault::default()
    }
}

/// Alters what DNS answers.
pub fn dns(change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Fault {
    Fault {
        dns: Some(Box::new(change)),
        ..Fault::default()
    }
}

/// Alters what http-01 asks.
pub fn query(change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Fault {
    Fault {
        query: Some(Box::new(change)),
        ..Fault::default()
    }
}

/// Asks wrongly over tls-alpn-01.
pub fn probes(prober: Prober) -> Fault {
    Fault {
        prober: Some(prober),
        ..Fault::default()
    }
}

/// Serves plain HTTP where TLS belongs.
pub fn plain() -> Fault {
    Fault {
        plain: true,
        ..Fault::default()
    }
}

/// What a server says that takes what it should refuse.
pub fn yes(scene: &Scene, request: &Request) -> Answer {
    let url = |path: &str| format!("{}/acme/{path}/made-up-{}", scene.origin, scene.next());
    let mut answer = match request.resource() {
        Resource::NewAccount => {
            let object = json!({"status": "valid", "orders": url("orders")});
            Answer::of(201, &object)
        }
        Resource::NewOrder => {
            let identifiers = request.jws().payload["identifiers"].clone();
            let authorizations = [url("authz")];
            let object = json!({
                "status": "pending", "identifiers": identifiers, "authorizations": authorizations,
                "finalize": format!("{}/finalize", url("order")), "expires": "2999-01-01T00:00:00Z",
            });
            Answer::of(201, &object)
        }
        _ => Answer::of(200, &json!({"status": "valid"})),
    };
    match request.resource() {
        Resource::NewAccount => answer.put("location", &url("account")),
        Resource::NewOrder => answer.put("location", &url("order")),
        _ => {}
    }
    answer
}

/// Takes what the daemon refuses, where `which` says so.
pub fn tolerate(which: impl Fn(&Request, &Jws, &Answer) -> bool + Send + Sync + 'static) -> Fault {
    after(move |scene, request, answer| {
        if answer.is_refusal() && which(request, &request.jws(), answer) {
            let nonce = answer.header("replay-nonce").map(str::to_owned);
            *answer = yes(scene, request);
            if let Some(nonce) = nonce {
                answer.put("replay-nonce", &nonce);
            }
        }
    })
}

/// Takes what the daemon refuses with these problem types about a resource.
pub fn takes(resource: Resource, kinds: &'static [&'static str]) -> Fault {
    tolerate(move |request, _, answer| {
        request.resource() == resource && (kinds.is_empty() || kinds.contains(&answer.problem().as_str()))
    })
}

/// Refuses what is sound, where `which` says so.
pub fn refuse(which: impl Fn(&Request, &Jws) -> bool + Send + Sync + 'static) -> Fault {
    after(move |_, request, answer| {
        if which(request, &request.jws()) {
            let nonce = answer.header("replay-nonce").map(str::to_owned);
            *answer = Answer::refusal(400, "malformed");
            if let Some(nonce) = nonce {
                answer.put("replay-nonce", &nonce);
            }
        }
    })
}

/// Answers with another status about a resource.
pub fn restatus(resource: Resource, from: u16, to: u16) -> Fault {
    after(move |_, request, answer| {
        if request.resource() == resource && answer.status == from {
            answer.status = to;
        }
    })
}

/// Says another problem type.
pub fn retype(from: &'static str, to: &'static str) -> Fault {
    after(move |_, _, answer| {
        if answer.problem() == from {
            answer.retype(to);
        }
    })
}

/// Leaves a field out, where `which` says so.
pub fn headerless(name: &'static str, which: impl Fn(&Request, &Answer) -> bool + Send + Sync + 'static) -> Fault {
    after(move |_, request, answer| {
        if which(request, answer) {
            answer.drop(name);
        }
    })
}

/// Sets a field, where `which` says so.
pub fn header(
    name: &'static str,
    value: &'static str,
    which: impl Fn(&Request, &Answer) -> bool + Send + Sync + 'static,
) -> Fault {
    after(move |_, request, answer| {
        if which(request, answer) {
            answer.put(name, value);
        }
    })
}

/// Alters every object of a kind.
pub fn object(kind: Kind, change: impl Fn(&Scene, &Request, &mut Value) + Send + Sync + 'static) -> Fault {
    after(move |scene, request, answer| {
        if answer.shows(request) == Some(kind) && answer.json().is_object() {
            let mut body = answer.json();
            change(scene, request, &mut body);
            answer.put_json(&body);
        }
    })
}

/// Once a request of this kind has come by, alters what is answered.
pub fn since(
    trigger: impl Fn(&Request, &Jws) -> bool + Send + Sync + 'static,
    spoil: impl Fn(&Request, &mut Answer) + Send + Sync + 'static,
) -> Fault {
    let happened = AtomicBool::new(false);
    after(move |_, request, answer| {
        if trigger(request, &request.jws()) {
            happened.store(true, Ordering::SeqCst);
        } else if happened.load(Ordering::SeqCst) {
            spoil(request, answer);
        }
    })
}

/// Sets a member in every object of a kind.
pub fn member(kind: Kind, name: &'static str, value: Value) -> Fault {
    object(kind, move |_, _, object| object[name] = value.clone())
}

/// Leaves a member out of every object of a kind.
pub fn without(kind: Kind, name: &'static str) -> Fault {
    object(kind, move |_, _, object| {
        object.as_object_mut().map(|members| members.remove(name));
    })
}

/// Sets a member that has one value to another.
pub fn swap(kind: Kind, name: &'static str, from: &'static str, to: &'static str) -> Fault {
    object(kind, move |_, _, object| {
        if object[name] == from {
            object[name] = to.into();
        }
    })
}

/// Alters every challenge, alone or in its authorization.
pub fn challenges(change: impl Fn(&Scene, &mut Value) + Send + Sync + 'static) -> Fault {
    after(move |scene, request, answer| {
        let mut body = answer.json();
        match answer.shows(request) {
            Some(Kind::Challenge) => change(scene, &mut body),
            Some(Kind::Authorization) => {
                let all = body["challenges"].as_array_mut().into_iter().flatten();
                all.for_each(|challenge| change(scene, challenge));
            }
            _ => return,
        }
        answer.put_json(&body);
    })
}

/// Alters every problem document.
pub fn problems(change: impl Fn(&Request, &mut Value) + Send + Sync + 'static) -> Fault {
    after(move |_, request, answer| {
        if !answer.problem().is_empty() && answer.status >= 400 {
            let mut body = answer.json();
            change(request, &mut body);
            answer.put_json(&body);
        }
    })
}

/// Whether this answer brings a certificate chain.
fn is_chain(request: &Request, answer: &Answer) -> bool {
    request.resource() == Resource::Certificate && answer.status == 200
}

/// Alters the end-entity certificates.
pub fn leaf(change: impl Fn(&Scene, &mut Signed) + Send + Sync + 'static) -> Fault {
    after(move |scene, request, answer| {
        if is_chain(request, answer) {
            scene.authority.recertify(answer, 0, |signed| change(scene, signed));
        }
    })
}

/// Alters the issuing CA's certificate, in chains and as a file.
pub fn issuer(change: impl Fn(&Scene, &mut Signed) + Send + Sync + 'static) -> Fault {
    after(move |scene, request, answer| {
        if is_chain(request, answer) {
            scene.authority.recertify(answer, 1, |signed| change(scene, signed));
        } else if request.resource() == Resource::File && request.target.contains("issuing-1.cer") {
            let change = |signed: &mut Signed| change(scene, signed);
            scene.authority.recertify_file(answer, Signer::Root, change);
        }
    })
}

/// Signs the end-entity certificates with another key.
pub fn leaf_by(signer: Signer) -> Fault {
    after(move |scene, request, answer| {
        if is_chain(request, answer) {
            let mut blocks = pem::parse_many(&answer.body).unwrap_or_default();
            if let Some(mut signed) = blocks.first().and_then(|block| Signed::read(block.contents())) {
                scene.authority.sign(&mut signed, signer);
                blocks[0] = pem::Pem::new(blocks[0].tag(), signed.whole.der());
                answer.body = super::authority::chain(&blocks);
            }
        }
    })
}

/// Adds the root to chains, altered and signed by `signer`.
pub fn root(signer: Signer, change: impl Fn(&mut Signed) + Send + Sync + 'static) -> Fault {
    after(move |scene, request, answer| {
        if is_chain(request, answer) {
            let mut signed = scene.authority.root();
            change(&mut signed);
            scene.authority.sign(&mut signed, signer);
            let block = pem::Pem::new("CERTIFICATE", signed.whole.der());
            answer.body.extend(super::authority::chain(&[block]));
        }
    })
}

/// Alters the text of a chain.
pub fn chain(change: impl Fn(String) -> String + Send + Sync + 'static) -> Fault {
    after(move |_, request, answer| {
        if is_chain(request, answer) {
            answer.body = change(answer.text()).into_bytes();
        }
    })
}

/// Alters the CRLs of the issuing CA.
pub fn crl(change: impl Fn(&Scene, &mut Signed) + Send + Sync + 'static) -> Fault {
    after(move |scene, request, answer| {
        let of_issuer = request.resource() == Resource::Crl && !request.target.contains("root");
        if of_issuer && answer.status == 200 {
            scene.authority.relist(answer, |signed| change(scene, signed));
        }
    })
}

/// Alters the successful OCSP answers.
pub fn ocsp(change: impl Fn(&Scene, &Request, &mut Signed) + Send + Sync + 'static) -> Fault {
    after(move |scene, request, answer| {
        if request.resource() == Resource::Ocsp && answer.status == 200 {
            scene
                .authority
                .reanswer(answer, |_, signed| change(scene, request, signed));
        }
    })
}

/// Alters the certificate of the OCSP responder.
pub fn delegate(signer: Signer, change: impl Fn(&mut Signed) + Send + Sync + 'static) -> Fault {
    ocsp(move |scene, _, basic| scene.authority.redelegate(basic, signer, &change))
}

/// Answers OCSP requests with an error status.
pub fn ocsp_error(status: u8, which: impl Fn(&Request, &Answer) -> bool + Send + Sync + 'static) -> Fault {
    after(move |_, request, answer| {
        if request.resource() == Resource::Ocsp && which(request, answer) {
            answer.body = vec![0x30, 3, 0x0a, 1, status];
        }
    })
}
