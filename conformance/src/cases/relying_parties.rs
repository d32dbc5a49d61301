//! What the texts ask of who asks for certificate status and renewal information: judged on the suite's own client
//! against peers of its own, never on the target.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::base64;
use crate::case::{Case, Complaint, Finding, Judgement, ensure, must};
use crate::der;
use crate::http::Client;
use crate::keys::{Key, sha256};
use crate::mock::authority::{Authority, Draft, from_now};
use crate::mock::server::{Mock, Received, Said};
use crate::read::certificate::{Certificate, OCSP_SIGNING, SERVER_AUTH};
use crate::read::ocsp::{NONCE, SHA256, Status, cert_id_of, extension};
use crate::relying::{Inquiry, Word};
use crate::renewing::{Plan, Watch};
use crate::suite::Run;

pub(super) const CASES: &[Case] = &[
    must!(
        c9773_4_3_3_01,
        "The suite's client asks, waits and renews as renewal information says."
    ),
    must!(
        c6960_4_2_2_2_02,
        "The suite's client believes the CA and its delegate alone."
    ),
    must!(
        c9654_2_1_06,
        "The suite's client sends 32 fresh random octets as nonce."
    ),
    must!(
        c9919_3_1_1_01,
        "The suite's client asks one plain SHA-256 question, by GET if it is short."
    ),
    must!(
        c9919_5_01,
        "The suite's client believes no answer without or past nextUpdate."
    ),
];

const ANY_USAGE: &str = "2.5.29.37.0";

/// Serves these octets to whatever is asked, and hands them to one look.
fn believed(run: &Run, ca: &Certificate, inquiry: &Inquiry, der: Vec<u8>) -> Judgement<Result<Word, String>> {
    let mock = Mock::start(move |_, _| Said::new(200, "application/ocsp-response", der.clone()));
    let mock = mock.map_err(Finding::Blocked)?;
    let answer = run
        .client
        .send(&inquiry.request(&mock.url("/ocsp")))
        .map_err(Finding::Blocked)?;
    Ok(inquiry.believe(&answer, ca, Timestamp::now()))
}

fn c6960_4_2_2_2_02(run: &Run) -> Judgement {
    let (ca, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    // The same name as the CA's, another key.
    let twin = Authority::new("ca");
    let key = Key::p256();
    let subject = ca.certify(&Key::p256(), "subject", &[]);
    let draft = Draft::good(&cert_id_of(SHA256, &ca.certificate, &subject.serial));
    let signed_by = |certificate: Certificate| draft.sign(&key, &[&certificate]);
    let trials = [
        ("the CA itself", draft.sign(&ca.key, &[]), true),
        (
            "a delegate of the CA",
            signed_by(ca.certify_for(&key, "delegate", &[OCSP_SIGNING])),
            true,
        ),
        (
            "a leaf without the usage",
            signed_by(ca.certify_for(&key, "leaf", &[SERVER_AUTH])),
            false,
        ),
        (
            "a leaf for any usage",
            signed_by(ca.certify_for(&key, "leaf", &[ANY_USAGE])),
            false,
        ),
        ("a leaf without usages", signed_by(ca.certify(&key, "leaf", &[])), false),
        (
            "a delegate of another CA",
            signed_by(stranger.certify_for(&key, "delegate", &[OCSP_SIGNING])),
            false,
        ),
        (
            "a delegate of another CA of the same name",
            signed_by(twin.certify_for(&key, "delegate", &[OCSP_SIGNING])),
            false,
        ),
        (
            "another CA of the same name",
            draft.sign(&twin.key, &[&twin.certificate]),
            false,
        ),
        ("nobody's key", draft.sign(&key, &[]), false),
    ];
    for (what, der, sound) in trials {
        let inquiry = Inquiry::about(&ca.certificate, &subject.serial);
        let word = believed(run, &ca.certificate, &inquiry, der)?;
        ensure!(
            word.is_ok() == sound,
            "signed by {what}: the client says {:?}",
            word.map(|word| word.single.status)
        );
    }
    Ok(())
}

/// A responder of one CA that keeps what it is asked; the questions of each request, as DER.
fn asked(run: &Run, count: usize, make: impl Fn(&Authority) -> Inquiry) -> Judgement<Vec<(Received, Vec<u8>)>> {
    let ca = Arc::new(Authority::new("ca"));
    let signer = ca.clone();
    let mock = Mock::start(move |_, request| {
        let nonce = question(request)
            .and_then(|der| nonce_of(&der))
            .map(|nonce| extension(NONCE, false, &nonce));
        let draft = Draft {
            extensions: nonce.into_iter().collect(),
            ..Draft::good(&cert_id_of(SHA256, &signer.certificate, &[1]))
        };
        Said::new(200, "application/ocsp-response", draft.sign(&signer.key, &[]))
    })
    .map_err(Finding::Blocked)?;
    for _ in 0..count {
        let inquiry = make(&ca);
        let answer = run
            .client
            .send(&inquiry.request(&mock.url("/ocsp")))
            .map_err(Finding::Blocked)?;
        let word = inquiry.believe(&answer, &ca.certificate, Timestamp::now());
        ensure!(
            word.as_ref().is_ok_and(|word| word.single.status == Status::Good),
            "a sound answer is not believed: {:?}",
            word.err()
        );
    }
    let received = mock.received().into_iter();
    received
        .map(|request| {
            let der = question(&request)
                .ok_or_else(|| Finding::Fail(format!("no question in {} {}", request.method, request.path)))?;
            Ok((request, der))
        })
        .collect()
}

/// The OCSPRequest of a request, by the rules of RFC 6960 appendix A.1.
fn question(request: &Received) -> Option<Vec<u8>> {
    if request.method == "POST" {
        return Some(request.body.clone());
    }
    let text = request.path.strip_prefix("/ocsp/")?;
    if text.contains(['+', '/', '=']) {
        return None;
    }
    let text = text.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    base64::from_standard(&text)
}

/// The value of the nonce extension of a question.
fn nonce_of(question: &[u8]) -> Option<Vec<u8>> {
    let tbs = der::single(question, der::SEQUENCE)
        .ok()?
        .inside()
        .expect(der::SEQUENCE)
        .ok()?;
    let parts = tbs.inside().all().ok()?;
    let explicit = parts.iter().find(|part| part.tag == der::constructed(2))?;
    let extensions = crate::read::certificate::extensions(explicit).ok()?;
    extensions
        .into_iter()
        .find(|extension| extension.oid == NONCE)
        .map(|extension| extension.value)
}

/// How many questions show that nonces are fresh.
const QUESTIONS: usize = 12;

fn c9654_2_1_06(run: &Run) -> Judgement {
    let mut seen = HashSet::new();
    for (_, der) in asked(run, QUESTIONS, |ca| Inquiry::fresh(&ca.certificate, &[1]))? {
        let value = nonce_of(&der).ok_or_else(|| Finding::Fail("a question for a fresh answer has no nonce".into()))?;
        let nonce = der::single(&value, der::OCTET_STRING).read_as("the nonce")?.content;
        ensure!((32..=128).contains(&nonce.len()), "a nonce has {} octets", nonce.len());
        let distinct: HashSet<&u8> = nonce.iter().collect();
        // Of 32 random octets fewer than 16 different ones come about once in 10^15.
        ensure!(distinct.len() >= 16, "a nonce is not random: {nonce:02x?}");
        ensure!(seen.insert(nonce.to_vec()), "a nonce came twice: {nonce:02x?}");
    }
    Ok(())
}

fn c9919_3_1_1_01(run: &Run) -> Judgement {
    for (request, der) in asked(run, 1, |ca| Inquiry::about(&ca.certificate, &[1]))? {
        ensure!(request.method == "GET", "a short question went by {}", request.method);
        ensure!(
            request.path.len() <= 255,
            "a URL of {} octets went by GET",
            request.path.len()
        );
        is_plain(&der)?;
    }
    // A long host name, or a long serial number, makes the URL too long for GET.
    let long = [0x5a; 120];
    let ca = Authority::new("ca");
    let request = Inquiry::about(&ca.certificate, &long).request("http://127.0.0.1/ocsp");
    ensure!(request.method == "POST", "a long question goes by {}", request.method);
    let kind = request.headers.iter().find(|(name, _)| name == "Content-Type");
    ensure!(
        kind.is_some_and(|(_, value)| value == "application/ocsp-request"),
        "by POST it is {kind:?}"
    );
    is_plain(&request.body.unwrap_or_default())
}

/// One request, a SHA-256 CertID of 32-octet hashes, no singleRequestExtensions, no signature.
fn is_plain(question: &[u8]) -> Judgement {
    let read = || -> Result<(usize, Vec<usize>, String), String> {
        let outer = der::single(question, der::SEQUENCE)?.inside().all()?;
        let tbs = outer.first().ok_or("no tbsRequest")?.inside().all()?;
        let list = tbs
            .iter()
            .find(|part| part.tag == der::SEQUENCE)
            .ok_or("no requestList")?;
        let requests = list.inside().all()?;
        let parts = requests.first().ok_or("no Request")?.inside().all()?;
        let id = parts.first().ok_or("no CertID")?.inside().all()?;
        let algorithm = id.first().ok_or("no algorithm")?.inside().expect(der::OID)?;
        let lengths = id.iter().skip(1).take(2).map(|hash| hash.content.len()).collect();
        Ok((
            outer.len() + requests.len() + parts.len() + tbs.len(),
            lengths,
            der::dotted(algorithm.content),
        ))
    };
    let (count, lengths, algorithm) = read().read_as("the suite's question")?;
    ensure!(
        count == 4,
        "the question has more than one plain request in it: {question:02x?}"
    );
    ensure!(
        algorithm == SHA256 && lengths == [sha256([]).len(); 2],
        "the CertID is by {algorithm} with hashes of {lengths:?} octets"
    );
    Ok(())
}

fn c9919_5_01(run: &Run) -> Judgement {
    let ca = Authority::new("ca");
    let id = cert_id_of(SHA256, &ca.certificate, &[1]);
    let good = || Draft::good(&id);
    let other = extension(NONCE, false, &der::octet_string([7; 32]));
    let trials = [
        ("a sound answer", good(), true),
        (
            "an answer without nextUpdate",
            Draft {
                next_update: None,
                ..good()
            },
            false,
        ),
        (
            "an answer past its nextUpdate",
            Draft {
                this_update: from_now(-7200),
                next_update: Some(from_now(-60)),
                ..good()
            },
            false,
        ),
        (
            "an answer from the future",
            Draft {
                this_update: from_now(600),
                ..good()
            },
            false,
        ),
        (
            "an answer about another certificate",
            Draft::good(&cert_id_of(SHA256, &ca.certificate, &[2])),
            false,
        ),
        (
            "an answer with another nonce",
            Draft {
                extensions: vec![other],
                ..good()
            },
            false,
        ),
    ];
    for (what, draft, sound) in trials {
        for inquiry in [
            Inquiry::about(&ca.certificate, &[1]),
            Inquiry::fresh(&ca.certificate, &[1]),
        ] {
            let word = believed(run, &ca.certificate, &inquiry, draft.sign(&ca.key, &[]))?;
            ensure!(
                word.is_ok() == sound,
                "{what}: the client says {:?}",
                word.map(|word| word.single.status)
            );
            // Without its nonce an answer is believed for its times alone, and known to be.
            if let Ok(word) = word {
                ensure!(!word.by_nonce, "{what}: the client sees a nonce that is not there");
            }
        }
    }
    Ok(())
}

/// What the mock says next, and what came to it.
struct Informant {
    mock: Mock,
    next: Arc<Mutex<Said>>,
}

impl Informant {
    fn start() -> Judgement<Self> {
        let next = Arc::new(Mutex::new(Said::new(404, "text/plain", "")));
        let said = next.clone();
        let mock = Mock::start(move |_, _| said.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Ok(Self {
            mock: mock.map_err(Finding::Blocked)?,
            next,
        })
    }

    fn say(&self, said: Said) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    fn asked(&self) -> usize {
        self.mock.received().len()
    }

    /// A fresh watch over a certificate that lives another 30 days.
    fn watch(&self, now: Timestamp) -> Watch {
        Watch::new(self.mock.url("/renewal-info/x.y"), after(now, 30 * DAY))
    }
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now)
}

fn window(start: Timestamp, end: Timestamp) -> Said {
    let object = json!({"suggestedWindow": {"start": start.to_string(), "end": end.to_string()}});
    Said::json(200, &object)
}

fn c9773_4_3_3_01(run: &Run) -> Judgement {
    let informant = Informant::start()?;
    let now = from_now(0);
    renews_within_the_window(&informant, &run.client, now)?;
    follows_retry_after(&informant, &run.client, now)?;
    waits_after_errors(&informant, &run.client, now)?;
    stops_at_the_end(&informant, &run.client, now)
}

fn renews_within_the_window(informant: &Informant, client: &Client, now: Timestamp) -> Judgement {
    let (start, end) = (after(now, 10 * DAY), after(now, 12 * DAY));
    informant.say(window(start, end).header("Retry-After", "21600"));
    let mut moments = HashSet::new();
    for _ in 0..QUESTIONS {
        let mut watch = informant.watch(now);
        let Plan::Wait {
            renew: Some(renew),
            ask,
            ..
        } = watch.look(client, now)
        else {
            return Err(Finding::Fail("no time of renewal is chosen from a window".into()));
        };
        ensure!(
            (start..=end).contains(&renew),
            "{renew} is chosen from the window {start} to {end}"
        );
        ensure!(ask == after(now, 6 * HOUR), "after Retry-After 21600 it asks at {ask}");
        let plan = watch.look(client, renew);
        ensure!(plan == Plan::Renew, "at the chosen time the client's plan is {plan:?}");
        moments.insert(renew);
    }
    ensure!(
        moments.len() > QUESTIONS / 2,
        "the time of renewal is not drawn: {moments:?}"
    );
    informant.say(window(after(now, -2 * DAY), after(now, -DAY)));
    let plan = informant.watch(now).look(client, now);
    ensure!(plan == Plan::Renew, "for a window that is past the plan is {plan:?}");
    Ok(())
}

fn follows_retry_after(informant: &Informant, client: &Client, now: Timestamp) -> Judgement {
    let window = window(after(now, 10 * DAY), after(now, 12 * DAY));
    for (said, least, most) in [
        ("7200", 2 * HOUR, 2 * HOUR),
        ("1", MINUTE, HOUR),
        ("8640000", HOUR, DAY),
    ] {
        informant.say(window.clone().header("Retry-After", said));
        let (mut watch, before) = (informant.watch(now), informant.asked());
        let Plan::Wait { ask, .. } = watch.look(client, now) else {
            return Err(Finding::Fail(format!(
                "after Retry-After {said} the client does not wait"
            )));
        };
        ensure!(
            (after(now, least)..=after(now, most)).contains(&ask),
            "after Retry-After {said} at {now} it asks at {ask}"
        );
        watch.look(client, after(now, least - 1));
        let early = informant.asked() - before - 1;
        ensure!(early == 0, "the client asks {early} times before Retry-After {said}");
        watch.look(client, ask);
        ensure!(
            informant.asked() == before + 2,
            "after Retry-After {said} the client does not ask again"
        );
    }
    Ok(())
}

fn waits_after_errors(informant: &Informant, client: &Client, now: Timestamp) -> Judgement {
    let lasting = [
        ("404", Said::problem(404, "malformed")),
        ("no JSON", Said::new(200, "application/json", "{")),
        (
            "a window without end",
            Said::json(200, &json!({"suggestedWindow": {"start": now.to_string()}})),
        ),
        ("a window that ends first", window(after(now, 2 * DAY), after(now, DAY))),
    ];
    for (what, said) in lasting {
        informant.say(said);
        let plan = informant.watch(now).look(client, now);
        let wanted = Plan::Wait {
            ask: after(now, 6 * HOUR),
            renew: None,
        };
        ensure!(plan == wanted, "after {what} the plan is {plan:?}");
    }
    informant.say(Said::new(503, "text/plain", "later"));
    let mut watch = informant.watch(now);
    let (mut at, mut waits) = (now, Vec::new());
    for _ in 0..4 {
        let Plan::Wait { ask, renew: None } = watch.look(client, at) else {
            return Err(Finding::Fail("after 503 the client does not wait".into()));
        };
        waits.push(ask.as_second() - at.as_second());
        at = ask;
    }
    ensure!(
        waits.windows(2).all(|pair| pair[0] < pair[1]) && waits[0] < HOUR && waits[3] == 6 * HOUR,
        "after 503 again and again the client waits {waits:?} seconds"
    );
    Ok(())
}

fn stops_at_the_end(informant: &Informant, client: &Client, now: Timestamp) -> Judgement {
    informant.say(window(after(now, -DAY), after(now, DAY)));
    let mut replaced = informant.watch(now);
    replaced.replaced = true;
    for (what, mut watch, at) in [
        ("expired", informant.watch(now), after(now, 31 * DAY)),
        ("replaced", replaced, now),
    ] {
        let before = informant.asked();
        let plan = watch.look(client, at);
        ensure!(plan == Plan::Leave, "for an {what} certificate the plan is {plan:?}");
        ensure!(
            informant.asked() == before,
            "the client asks about an {what} certificate"
        );
    }
    Ok(())
}
