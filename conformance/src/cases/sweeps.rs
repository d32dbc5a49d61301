//! What has to hold of every request, answer and object of the run, judged at its end.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

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
    must!(c8555_7_1_6_01, "States only move along the drawn edges."),
    must!(
        c8555_8_01,
        "Every challenge has type, url and status; a valid one when it was validated."
    ),
    must!(c8555_8_02, "A challenge with an error is processing or invalid."),
    must_read!(c8555_9_7_01, "Identifier and challenge types are registered ones."),
    must_read!(c9110_10_2_3_01, "Every Retry-After is seconds or a date."),
    must!(c9110_15_5_6_01, "Every 405 has Allow."),
    must_read!(c8288_3_01, "Every Link header parses."),
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

/// Every problem document of the run, subproblems and errors of objects too.
fn problems(run: &Run) -> Vec<(String, Value)> {
    fn collect(value: &Value, label: &str, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(members) => {
                if members
                    .get("type")
                    .is_some_and(|kind| kind.as_str().is_some_and(|kind| kind.starts_with("urn:")))
                {
                    found.push((label.to_owned(), value.clone()));
                }
                members.values().for_each(|member| collect(member, label, found));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, label, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for exchange in acme(run) {
        if let Ok(body) = serde_json::from_slice::<Value>(&exchange.answer.body) {
            collect(&body, &exchange.label(), &mut found);
        }
    }
    found
}

fn c8555_6_1_07(run: &Run) -> Judgement {
    for sighting in run.evidence.authorizations() {
        for challenge in sighting.object["challenges"].as_array().into_iter().flatten() {
            if let Some(token) = challenge["token"].as_str() {
                ensure!(!token.contains('='), "{}: the token {token}", sighting.url);
            }
        }
    }
    for exchange in acme(run) {
        let nonce = exchange.answer.header("replay-nonce").unwrap_or_default();
        ensure!(!nonce.contains('='), "{}: the nonce {nonce}", exchange.label());
    }
    Ok(())
}

fn c8555_6_5_01(run: &Run) -> Judgement {
    for exchange in posts(run) {
        let nonce = exchange.answer.header("replay-nonce");
        ensure!(
            !exchange.answer.is_success() || nonce.is_some(),
            "{}: no Replay-Nonce",
            exchange.label()
        );
    }
    Ok(())
}

fn c8555_6_5_02(run: &Run) -> Judgement {
    for exchange in posts(run) {
        ensure!(
            exchange.answer.header("replay-nonce").is_some(),
            "{}: no Replay-Nonce",
            exchange.label()
        );
    }
    Ok(())
}

fn c8555_6_5_1_02(run: &Run) -> Judgement {
    for exchange in acme(run) {
        for nonce in exchange.answer.headers_named("replay-nonce") {
            let sound = !nonce.is_empty()
                && nonce
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            ensure!(sound, "{}: the nonce {nonce:?}", exchange.label());
            run.expect(is_base64url(nonce), || format!("the nonce {nonce:?} has spare bits"));
        }
    }
    Ok(())
}

fn c8555_6_7_01(run: &Run) -> Judgement {
    for exchange in acme(run) {
        if exchange.answer.status >= 400 && exchange.request.method != "HEAD" && exchange.request.method != "OPTIONS" {
            let kind = exchange.answer.media_type();
            ensure!(
                kind == "application/problem+json",
                "{}: Content-Type is {kind:?}",
                exchange.label()
            );
            ensure!(
                exchange.answer.json()?.is_object(),
                "{}: no problem document",
                exchange.label()
            );
        }
    }
    Ok(())
}

fn c8555_6_7_02(run: &Run) -> Judgement {
    for (label, problem) in problems(run) {
        let kind = problem["type"].as_str().unwrap_or_default();
        if let Some(name) = kind.strip_prefix("urn:ietf:params:acme:error:") {
            ensure!(REGISTERED_ERRORS.contains(&name), "{label}: the type {kind}");
        }
    }
    Ok(())
}

fn c8555_6_7_03(run: &Run) -> Judgement {
    for exchange in acme(run) {
        if exchange.answer.media_type() == "application/problem+json" {
            let status = &exchange.answer.json()?["status"];
            let same = status.is_null() || *status == exchange.answer.status;
            ensure!(same, "{}: the problem says {status}", exchange.label());
        }
    }
    Ok(())
}

fn c8555_6_7_1_01(run: &Run) -> Judgement {
    for exchange in acme(run) {
        if exchange.answer.media_type() == "application/problem+json" {
            let problem = exchange.answer.json()?;
            ensure!(
                problem["identifier"].is_null(),
                "{}: identifier at the top level",
                exchange.label()
            );
            let compound = problem["type"].as_str().is_some_and(|kind| kind.ends_with(":compound"));
            let subproblems = problem["subproblems"].as_array().map_or(0, Vec::len);
            ensure!(
                !compound || subproblems > 0,
                "{}: compound without subproblems",
                exchange.label()
            );
        }
    }
    Ok(())
}

fn c8555_7_1_02(run: &Run) -> Judgement {
    let renewal = run.directory["renewalInfo"].as_str().unwrap_or("none").to_owned();
    for exchange in acme(run) {
        let url = &exchange.request.url;
        let exempt = *url == run.options.directory || url.starts_with(&renewal) || exchange.request.method == "OPTIONS";
        if exempt || exchange.answer.status >= 500 {
            continue;
        }
        let index = exchange.answer.links("index");
        ensure!(
            index.contains(&run.options.directory),
            "{}: Link rel=index is {index:?}",
            exchange.label()
        );
    }
    Ok(())
}

fn c8555_7_1_3_03(run: &Run) -> Judgement {
    for sighting in run.evidence.orders() {
        let order = &sighting.object;
        let valid = order["status"] == "valid";
        ensure!(valid == order["certificate"].is_string(), "{}: {order}", sighting.url);
        let error = &order["error"];
        let sound = error.is_null() || error["type"].is_string() || error["detail"].is_string();
        ensure!(sound, "{}: the error is {error}", sighting.url);
    }
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
            let same = as_set(&before.object[name]) == as_set(&sighting.object[name]);
            ensure!(
                same,
                "{}: {name} went from {} to {}",
                sighting.url,
                before.object[name],
                sighting.object[name]
            );
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
    for sighting in run.evidence.authorizations() {
        let shown = &sighting.object["wildcard"];
        if !wildcards.contains(&sighting.url) {
            ensure!(
                *shown != Value::Bool(true),
                "{}: wildcard for an ordinary name",
                sighting.url
            );
            run.expect(shown.is_null(), || {
                format!("{}: wildcard is written out as {shown}", sighting.url)
            });
        }
    }
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
        "order" if matches!(from, "valid" | "invalid") => false,
        "order" if to == "invalid" => true,
        "order" => rank(from) < rank(to),
        "authorization" if from == "pending" => ["valid", "invalid", "deactivated"].contains(&to),
        "authorization" => from == "valid" && ["expired", "deactivated", "revoked"].contains(&to),
        _ if from == "pending" => ["processing", "valid", "invalid"].contains(&to),
        _ => from == "processing" && ["valid", "invalid"].contains(&to),
    }
}

fn c8555_7_1_6_01(run: &Run) -> Judgement {
    let mut last: HashMap<String, String> = HashMap::new();
    let mut step = |kind: &str, url: &str, status: &Value| -> Judgement {
        let status = status.as_str().unwrap_or_default().to_owned();
        if let Some(before) = last.insert(url.to_owned(), status.clone()) {
            ensure!(
                before == status || may_become(kind, &before, &status),
                "{url}: {kind} went from {before} to {status}"
            );
        }
        Ok(())
    };
    for sighting in run.evidence.orders() {
        step("order", &sighting.url, &sighting.object["status"])?;
    }
    for sighting in run.evidence.authorizations() {
        step("authorization", &sighting.url, &sighting.object["status"])?;
        for challenge in sighting.object["challenges"].as_array().into_iter().flatten() {
            step(
                "challenge",
                challenge["url"].as_str().unwrap_or_default(),
                &challenge["status"],
            )?;
        }
    }
    Ok(())
}

fn challenges(run: &Run) -> Vec<(String, Value)> {
    let sightings = run.evidence.authorizations();
    let each = sightings.iter().flat_map(|sighting| {
        let all = sighting.object["challenges"].as_array().cloned().unwrap_or_default();
        all.into_iter().map(|challenge| (sighting.url.clone(), challenge))
    });
    each.collect()
}

fn c8555_8_01(run: &Run) -> Judgement {
    for (url, challenge) in challenges(run) {
        for name in ["type", "url", "status"] {
            ensure!(challenge[name].is_string(), "{url}: {challenge}");
        }
        if challenge["status"] == "valid" {
            time::rfc3339(challenge["validated"].as_str().unwrap_or_default()).read_as(&format!("{url}: validated"))?;
        }
    }
    Ok(())
}

fn c8555_8_02(run: &Run) -> Judgement {
    for (url, challenge) in challenges(run) {
        let status = challenge["status"].as_str().unwrap_or_default();
        let tried = ["processing", "invalid"].contains(&status);
        ensure!(
            challenge["error"].is_null() || tried,
            "{url}: a {status} challenge with an error"
        );
        run.expect(status != "invalid" || challenge["error"].is_object(), || {
            format!("{url}: invalid without error")
        });
    }
    Ok(())
}

fn c8555_9_7_01(run: &Run) -> Judgement {
    for sighting in run.evidence.authorizations() {
        let kind = sighting.object["identifier"]["type"].as_str().unwrap_or_default();
        ensure!(
            REGISTERED_IDENTIFIERS.contains(&kind),
            "{}: identifier type {kind}",
            sighting.url
        );
    }
    for (url, challenge) in challenges(run) {
        let kind = challenge["type"].as_str().unwrap_or_default();
        ensure!(!kind.starts_with("tls-sni-"), "{url}: {kind}");
        ensure!(REGISTERED_CHALLENGES.contains(&kind), "{url}: challenge type {kind}");
    }
    Ok(())
}

fn c9110_10_2_3_01(run: &Run) -> Judgement {
    for exchange in run.evidence.exchanges() {
        if let Some(value) = exchange.answer.header("retry-after") {
            time::retry_after(value, exchange.at).read_as(&exchange.label())?;
        }
    }
    Ok(())
}

fn c9110_15_5_6_01(run: &Run) -> Judgement {
    let mut seen = false;
    for exchange in run.evidence.exchanges() {
        if exchange.answer.status == 405 {
            seen = true;
            ensure!(
                exchange.answer.header("allow").is_some(),
                "{}: no Allow",
                exchange.label()
            );
        }
    }
    if seen {
        Ok(())
    } else {
        Err(Finding::Blocked("no 405 in the run".into()))
    }
}

fn c8288_3_01(run: &Run) -> Judgement {
    for exchange in run.evidence.exchanges() {
        for field in exchange.answer.headers_named("link") {
            link::parse(field).read_as(&exchange.label())?;
        }
    }
    Ok(())
}
