//! What has to hold of every request, answer and object of the run, judged at its end.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::case::{Case, Complaint, Finding, Judgement, ensure, must, must_read, should};
use crate::evidence::{Exchange, Sighting};
use crate::read::{link, time};
use crate::suite::{Run, is_base64url};
use std::sync::Arc;

pub(super) const CASES: &[Case] = &[
    must!(c8555_6_1_07, "Base64url that the server writes has no padding."),
    must!(c8555_6_5_01, "Every successful POST brings a nonce."),
    should!(c8555_6_5_02, "Error answers bring a nonce too."),
    must!(c8555_6_5_1_02, "Every Replay-Nonce is base64url."),
    should!(c8555_6_7_01, "Every error is a problem document."),
    must!(c8555_6_7_02, "Only registered error types are used."),
    must!(c8555_6_7_03, "A problem's status is the answer's."),
    must!(
        c8555_6_7_1_01,
        "A problem has no identifier at its top level; compound has subproblems."
    ),
    must_read!(c8555_7_1_02, "Every resource links to the directory."),
    must_read!(
        c8555_7_1_3_03,
        "error is a problem; certificate is there exactly when valid."
    ),
    must!(
        c8555_7_1_3_06,
        "An order's identifiers and authorizations never change."
    ),
    must!(c8555_7_1_4_03, "wildcard is absent from other authorizations."),
    must!(
        c8555_8_01,
        "Every challenge has type, url and status; a valid one when it was validated."
    ),
    must!(c8555_8_02, "A challenge with an error is processing or invalid."),
    must_read!(c8555_9_7_01, "Identifier and challenge types are registered ones."),
    must_read!(c9110_10_2_3_01, "Every Retry-After is seconds or a date."),
    must!(c9110_15_5_6_01, "Every 405 has Allow."),
    must_read!(c8288_3_01, "Every Link header parses."),
    // The last of these: some servers fall silent when a challenge is answered again.
    must!(c8555_7_1_6_01, "States only move along the drawn edges."),
];

/// Error types of the IANA registry for ACME, with those of the extensions.
const REGISTERED_ERRORS: &[&str] = &[
    "accountDoesNotExist",
    "alreadyReplaced",
    "alreadyRevoked",
    "autoRenewalCanceled",
    "autoRenewalCancellationInvalid",
    "autoRenewalExpired",
    "autoRenewalRevocationNotSupported",
    "badCSR",
    "badNonce",
    "badPublicKey",
    "badRevocationReason",
    "badSignatureAlgorithm",
    "caa",
    "compound",
    "connection",
    "dns",
    "externalAccountRequired",
    "incorrectResponse",
    "invalidContact",
    "invalidProfile",
    "malformed",
    "onionCAARequired",
    "orderNotReady",
    "rateLimited",
    "rejectedIdentifier",
    "serverInternal",
    "tls",
    "unauthorized",
    "unknownDelegation",
    "unsupportedContact",
    "unsupportedIdentifier",
    "userActionRequired",
];

/// Challenge types of the registry and of the drafts this suite knows.
const REGISTERED_CHALLENGES: &[&str] = &[
    "http-01",
    "dns-01",
    "tls-alpn-01",
    "email-reply-00",
    "tkauth-01",
    "onion-csr-01",
    "bp-nodeid-00",
    "device-attest-01",
    "dns-account-01",
    "dns-persist-01",
];

const REGISTERED_IDENTIFIERS: &[&str] = &[
    "dns",
    "ip",
    "email",
    "TNAuthList",
    "NfInstanceId",
    "bundleEID",
    "permanent-identifier",
    "hardware-module",
];

/// Exchanges with the ACME server that came to an ACME resource.
fn acme(run: &Run) -> Vec<Arc<Exchange>> {
    let origin = run.origin();
    let mut exchanges = run.evidence.exchanges();
    exchanges.retain(|exchange| exchange.request.url.starts_with(&origin));
    exchanges
}

fn posts(run: &Run) -> Vec<Arc<Exchange>> {
    let mut exchanges = acme(run);
    exchanges.retain(|exchange| exchange.request.method == "POST");
    exchanges
}

/// Every problem document in a value: the value itself, subproblems, and errors of objects.
fn problems(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(members) => {
            let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
            let own = kind.starts_with("urn:").then_some(value);
            own.into_iter().chain(members.values().flat_map(problems)).collect()
        }
        Value::Array(items) => items.iter().flat_map(problems).collect(),
        _ => Vec::new(),
    }
}

fn c8555_6_1_07(run: &Run) -> Judgement {
    run.sweep_seen(run.evidence.authorizations(), |authorization| {
        for token in challenges(authorization)
            .iter()
            .filter_map(|challenge| challenge["token"].as_str())
        {
            ensure!(!token.contains('='), "a token is padded");
        }
        Ok(())
    });
    run.sweep(acme(run), |exchange| {
        let nonce = exchange.answer.header("replay-nonce").unwrap_or_default();
        ensure!(!nonce.contains('='), "the nonce is padded");
        Ok(())
    });
    Ok(())
}

fn c8555_6_5_01(run: &Run) -> Judgement {
    run.sweep(posts(run), |exchange| {
        let nonce = exchange.answer.header("replay-nonce");
        ensure!(!exchange.answer.is_success() || nonce.is_some(), "no Replay-Nonce");
        Ok(())
    });
    Ok(())
}

fn c8555_6_5_02(run: &Run) -> Judgement {
    run.sweep(posts(run), |exchange| {
        ensure!(exchange.answer.header("replay-nonce").is_some(), "no Replay-Nonce");
        Ok(())
    });
    Ok(())
}

fn c8555_6_5_1_02(run: &Run) -> Judgement {
    let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    run.sweep(acme(run), |exchange| {
        for nonce in exchange.answer.headers_named("replay-nonce") {
            ensure!(
                !nonce.is_empty() && nonce.bytes().all(in_alphabet),
                "the nonce has other characters"
            );
            run.expect(is_base64url(nonce), || "a nonce has spare bits".into());
        }
        Ok(())
    });
    Ok(())
}

fn c8555_6_7_01(run: &Run) -> Judgement {
    run.sweep(acme(run), |exchange| {
        if exchange.answer.status >= 400 && exchange.request.method != "HEAD" && exchange.request.method != "OPTIONS" {
            let kind = exchange.answer.media_type();
            ensure!(kind == "application/problem+json", "Content-Type is {kind:?}");
            let is_object = serde_json::from_slice::<Value>(&exchange.answer.body).is_ok_and(|body| body.is_object());
            ensure!(is_object, "no problem document");
        }
        Ok(())
    });
    Ok(())
}

fn c8555_6_7_02(run: &Run) -> Judgement {
    run.sweep(acme(run), |exchange| {
        let body: Value = serde_json::from_slice(&exchange.answer.body).unwrap_or_default();
        for problem in problems(&body) {
            let kind = problem["type"].as_str().unwrap_or_default();
            if let Some(name) = kind.strip_prefix("urn:ietf:params:acme:error:") {
                ensure!(REGISTERED_ERRORS.contains(&name), "the type {kind}");
            }
        }
        Ok(())
    });
    Ok(())
}

/// Judges each answer that is a problem document.
fn each_problem(run: &Run, judge: impl Fn(u16, &Value) -> Judgement) {
    run.sweep(acme(run), |exchange| {
        if exchange.answer.media_type() == "application/problem+json" && !exchange.answer.body.is_empty() {
            let problem: Value = serde_json::from_slice(&exchange.answer.body).unwrap_or_default();
            ensure!(problem.is_object(), "the problem is not a JSON object");
            judge(exchange.answer.status, &problem)?;
        }
        Ok(())
    });
}

fn c8555_6_7_03(run: &Run) -> Judgement {
    each_problem(run, |status, problem| {
        let shown = &problem["status"];
        ensure!(shown.is_null() || *shown == status, "the problem says {shown}");
        Ok(())
    });
    Ok(())
}

fn c8555_6_7_1_01(run: &Run) -> Judgement {
    each_problem(run, |_, problem| {
        ensure!(problem["identifier"].is_null(), "identifier at the top level");
        let compound = problem["type"].as_str().is_some_and(|kind| kind.ends_with(":compound"));
        let subproblems = problem["subproblems"].as_array().map_or(0, Vec::len);
        ensure!(!compound || subproblems > 0, "compound without subproblems");
        Ok(())
    });
    Ok(())
}

fn c8555_7_1_02(run: &Run) -> Judgement {
    let renewal = run.directory["renewalInfo"].as_str().unwrap_or("none").to_owned();
    run.sweep(acme(run), |exchange| {
        let url = &exchange.request.url;
        let exempt = *url == run.options.directory || url.starts_with(&renewal) || exchange.request.method == "OPTIONS";
        if exempt || exchange.answer.status >= 500 {
            return Ok(());
        }
        let index = exchange.answer.links("index");
        ensure!(index.contains(&run.options.directory), "Link rel=index is {index:?}");
        Ok(())
    });
    Ok(())
}

fn c8555_7_1_3_03(run: &Run) -> Judgement {
    run.sweep_seen(run.evidence.orders(), |order| {
        let status = order["status"].as_str().unwrap_or_default();
        // RFC 8739 section 3.1.1 has another member for certificates that change, and says nothing of it once they are over.
        let renewed = order["auto-renewal"].is_object();
        let member = if renewed { "star-certificate" } else { "certificate" };
        let certificate = order[member].is_string();
        ensure!(
            (status == "valid") == certificate || (renewed && status == "canceled"),
            "{status}, with a {member} URL: {certificate}"
        );
        let error = &order["error"];
        let sound = error.is_null() || error["type"].is_string() || error["detail"].is_string();
        ensure!(sound, "the error is no problem document: {error}");
        run.expect(status != "invalid" || error.is_object(), || {
            "an order is invalid and does not say why".into()
        });
        Ok(())
    });
    Ok(())
}

fn as_set(value: &Value) -> HashSet<String> {
    value.as_array().into_iter().flatten().map(Value::to_string).collect()
}

fn c8555_7_1_3_06(run: &Run) -> Judgement {
    let mut first: HashMap<String, Arc<Sighting>> = HashMap::new();
    for sighting in run.evidence.orders() {
        let before = first.entry(sighting.url.clone()).or_insert_with(|| sighting.clone());
        for name in ["identifiers", "authorizations"] {
            if as_set(&before.object[name]) != as_set(&sighting.object[name]) {
                let shown = before.exchange.iter().chain(&sighting.exchange).cloned();
                let (before, after) = (&before.object[name], &sighting.object[name]);
                run.deviation_in(format!("{}: {name} went from {before} to {after}", sighting.url), shown);
            }
        }
    }
    Ok(())
}

fn c8555_7_1_4_03(run: &Run) -> Judgement {
    let wildcards: HashSet<String> = run
        .evidence
        .orders()
        .iter()
        .filter(|order| order.object["identifiers"].to_string().contains("*."))
        .flat_map(|order| crate::issue::strings(&order.object["authorizations"]))
        .collect();
    let mut ordinary = run.evidence.authorizations();
    ordinary.retain(|authorization| !wildcards.contains(&authorization.url));
    run.sweep_seen(ordinary, |authorization| {
        let shown = &authorization["wildcard"];
        ensure!(*shown != Value::Bool(true), "wildcard for an ordinary name");
        run.expect(shown.is_null(), || format!("wildcard is written out as {shown}"));
        Ok(())
    });
    Ok(())
}

/// Where each state may lead, itself apart.
fn may_become(kind: &str, from: &str, to: &str) -> bool {
    let rank = |status: &str| {
        ["pending", "ready", "processing", "valid"]
            .iter()
            .position(|known| *known == status)
    };
    match kind {
        // RFC 8739 section 3.1.2.
        "STAR order" if to == "canceled" => from == "valid",
        "order" | "STAR order" if matches!(from, "valid" | "invalid" | "canceled") => false,
        "order" | "STAR order" if to == "invalid" => true,
        "order" | "STAR order" => rank(to).is_some() && rank(from) < rank(to),
        "authorization" if from == "pending" => ["valid", "invalid", "deactivated", "expired"].contains(&to),
        "authorization" => from == "valid" && ["expired", "deactivated", "revoked"].contains(&to),
        _ if from == "pending" => ["processing", "valid", "invalid"].contains(&to),
        _ => from == "processing" && ["valid", "invalid"].contains(&to),
    }
}

/// What was seen of an object: its state, and the exchange that showed it.
type Seen = (String, Option<Arc<Exchange>>);

/// Answers all challenges of an authorization again after its decision: the server answers, and the decision stands.
fn answer_again(run: &Run, valid: bool) -> Judgement {
    let account = run.account()?;
    let (_, challenge) = run.challenge_for(account, &run.name("again"), "http-01")?;
    let offered = run.authorization(account, &challenge.authorization)?;
    if valid {
        run.provide(account, &challenge, "http-01")?;
    } else {
        run.http01()?.provide(&challenge.token, "wrong");
    }
    let decided = run.attempt(account, &challenge)?["status"].clone();
    for sibling in challenges(&offered) {
        let kind = &sibling["type"];
        let after = |what: String| Finding::Fail(format!("after a {kind} challenge was answered again: {what}"));
        let silent = |finding| match finding {
            Finding::Fail(why) => after(why),
            other => other,
        };
        let url = sibling["url"].as_str().unwrap_or_default();
        let answer = run.post(account, url, &json!({})).map_err(silent)?;
        if answer.status >= 500 {
            return Err(after(answer.summary()));
        }
        let later = run.authorization(account, &challenge.authorization).map_err(silent)?;
        if later["status"] != decided {
            return Err(after(format!("the authorization became {}", later["status"])));
        }
    }
    Ok(())
}

fn c8555_7_1_6_01(run: &Run) -> Judgement {
    for valid in [true, false] {
        // A server that has fallen silent would be waited for again.
        if !run.has_deviations() {
            run.check(answer_again(run, valid));
        }
    }
    let mut last: HashMap<String, Seen> = HashMap::new();
    let mut step = |kind: &str, url: &str, status: &Value, sighting: &Sighting| {
        let status = status.as_str().unwrap_or_default().to_owned();
        let now = (status.clone(), sighting.exchange.clone());
        if let Some((before, earlier)) = last.insert(url.to_owned(), now)
            && before != status
            && !may_become(kind, &before, &status)
        {
            let shown = earlier.into_iter().chain(sighting.exchange.clone());
            run.deviation_in(format!("{url}: {kind} went from {before} to {status}"), shown);
        }
    };
    for sighting in run.evidence.orders() {
        let renewed = sighting.object["auto-renewal"].is_object();
        let kind = if renewed { "STAR order" } else { "order" };
        step(kind, &sighting.url, &sighting.object["status"], &sighting);
    }
    for sighting in run.evidence.authorizations() {
        step("authorization", &sighting.url, &sighting.object["status"], &sighting);
        for challenge in challenges(&sighting.object) {
            let url = challenge["url"].as_str().unwrap_or_default();
            step("challenge", url, &challenge["status"], &sighting);
        }
    }
    Ok(())
}

fn challenges(authorization: &Value) -> &[Value] {
    authorization["challenges"].as_array().map_or(&[], Vec::as_slice)
}

fn c8555_8_01(run: &Run) -> Judgement {
    run.sweep_seen(run.evidence.authorizations(), |authorization| {
        for challenge in challenges(authorization) {
            for name in ["type", "url", "status"] {
                ensure!(challenge[name].is_string(), "a challenge without {name}");
            }
            if challenge["status"] == "valid" {
                time::rfc3339(challenge["validated"].as_str().unwrap_or_default()).read_as("validated")?;
            }
        }
        Ok(())
    });
    Ok(())
}

fn c8555_8_02(run: &Run) -> Judgement {
    run.sweep_seen(run.evidence.authorizations(), |authorization| {
        for challenge in challenges(authorization) {
            let status = challenge["status"].as_str().unwrap_or_default();
            let tried = ["processing", "invalid"].contains(&status);
            ensure!(
                challenge["error"].is_null() || tried,
                "a {status} challenge with an error"
            );
            let told = status != "invalid" || challenge["error"].is_object();
            run.expect(told, || "a challenge is invalid and does not say why".into());
        }
        Ok(())
    });
    Ok(())
}

fn c8555_9_7_01(run: &Run) -> Judgement {
    run.sweep_seen(run.evidence.authorizations(), |authorization| {
        let kind = authorization["identifier"]["type"].as_str().unwrap_or_default();
        ensure!(REGISTERED_IDENTIFIERS.contains(&kind), "identifier type {kind}");
        for challenge in challenges(authorization) {
            let kind = challenge["type"].as_str().unwrap_or_default();
            ensure!(!kind.starts_with("tls-sni-"), "challenge type {kind}");
            ensure!(REGISTERED_CHALLENGES.contains(&kind), "challenge type {kind}");
        }
        Ok(())
    });
    Ok(())
}

fn c9110_10_2_3_01(run: &Run) -> Judgement {
    run.sweep(run.evidence.exchanges(), |exchange| {
        if let Some(value) = exchange.answer.header("retry-after") {
            time::retry_after(value, exchange.at).read_as("Retry-After")?;
        }
        Ok(())
    });
    Ok(())
}

fn c9110_15_5_6_01(run: &Run) -> Judgement {
    let mut refusals = run.evidence.exchanges();
    refusals.retain(|exchange| exchange.answer.status == 405);
    if refusals.is_empty() {
        return Err(Finding::Blocked("no 405 in the run".into()));
    }
    run.sweep(refusals, |exchange| {
        ensure!(exchange.answer.header("allow").is_some(), "no Allow");
        Ok(())
    });
    Ok(())
}

fn c8288_3_01(run: &Run) -> Judgement {
    run.sweep(run.evidence.exchanges(), |exchange| {
        for field in exchange.answer.headers_named("link") {
            link::parse(field).read_as("Link")?;
        }
        Ok(())
    });
    Ok(())
}
