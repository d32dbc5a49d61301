//! What a server may do wrongly with the JWS around every request, with keys and with nonces.

use serde_json::{Value, json};
use sigillo_tests::mutant::fault::{
    after, before, header, headerless, object, problems, refuse, restatus, retype, tolerate,
};
use sigillo_tests::mutant::message::{Answer, Jws, Kind, Request, Resource};
use sigillo_tests::mutant::{Mutation, mutation};

/// A protected header that is no object at all, or has a name twice.
fn is_doubled(jws: &Jws) -> bool {
    ["alg", "url", "nonce"]
        .iter()
        .any(|name| jws.header_text.matches(&format!("\"{name}\":")).count() > 1)
}

fn is_strict(octets: &[u8]) -> bool {
    octets.is_empty() || serde_json::from_slice::<Value>(octets).is_ok()
}

fn has_others(part: &str) -> bool {
    part.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_' && c != '=')
}

fn is_padded(jws: &Jws) -> bool {
    let inside = ["x", "y"].iter().filter_map(|name| jws.header["jwk"][name].as_str());
    let outside = jws.payload["certificate"].as_str();
    jws.parts().chain(inside).chain(outside).any(|part| part.ends_with('='))
}

fn alg(jws: &Jws) -> &str {
    jws.header["alg"].as_str().unwrap_or_default()
}

fn kty(jws: &Jws) -> &str {
    jws.header["jwk"]["kty"].as_str().unwrap_or_default()
}

fn is_new_order(request: &Request) -> bool {
    request.resource() == Resource::NewOrder
}

/// A POST-as-GET.
fn is_fetch(request: &Request, jws: &Jws) -> bool {
    request.method == "POST" && jws.outer["payload"] == ""
}

pub fn mutations() -> Vec<Mutation> {
    let mut all = shapes();
    all.extend(headers());
    all.extend(keys());
    all.extend(nonces());
    all.extend(transport());
    all
}

fn shapes() -> Vec<Mutation> {
    vec![
        mutation(
            "A payload without its envelope is taken",
            &["8555-6.2-01"],
            tolerate(|request, jws, _| request.method == "POST" && !jws.outer["protected"].is_string()),
        ),
        mutation(
            "The compact form is taken",
            &["8555-6.2-03"],
            tolerate(|request, _, _| request.body.iter().filter(|octet| **octet == b'.').count() == 2),
        ),
        mutation(
            "The general form is taken",
            &["8555-6.2-03"],
            tolerate(|_, jws, _| jws.outer["signatures"].is_array()),
        ),
        mutation(
            "Unencoded payloads are taken",
            &["8555-6.2-04"],
            tolerate(|_, jws, _| jws.has("b64")),
        ),
        mutation(
            "Detached payloads are taken",
            &["8555-6.2-04"],
            tolerate(|_, jws, _| jws.outer["payload"].is_null() && jws.outer["protected"].is_string()),
        ),
        mutation(
            "Unprotected headers are taken",
            &["8555-6.2-05", "8555-6.4.1-01"],
            tolerate(|_, jws, _| jws.outer["header"].is_object()),
        ),
        mutation(
            "Text that is not UTF-8 is taken",
            &["8555-5-01"],
            tolerate(|_, jws, _| std::str::from_utf8(&jws.payload_octets).is_err()),
        ),
        mutation(
            "Padding is taken",
            &["8555-6.1-06"],
            tolerate(|_, jws, _| is_padded(jws)),
        ),
        mutation(
            "Other characters are skipped in base64url",
            &["7515-2-01"],
            tolerate(|_, jws, _| jws.parts().any(has_others)),
        ),
        mutation(
            "More than JSON is taken as a body",
            &["7515-10.12-01"],
            tolerate(|request, _, _| !is_strict(&request.body)),
        ),
        mutation(
            "More than JSON is taken as a header",
            &["7515-10.12-01"],
            tolerate(|_, jws, _| !is_strict(jws.header_text.as_bytes())),
        ),
        mutation(
            "More than JSON is taken as a payload",
            &["7515-10.12-01"],
            tolerate(|_, jws, _| !is_strict(&jws.payload_octets)),
        ),
        mutation(
            "An unknown member of the JWS is refused",
            &["7515-7.2.2-01"],
            refuse(|_, jws| !jws.outer["x"].is_null()),
        ),
        mutation(
            "Another Content-Type is 400",
            &["8555-6.2-16"],
            after(|_, _, answer| {
                if answer.status == 415 {
                    answer.status = 400;
                }
            }),
        ),
    ]
}

fn headers() -> Vec<Mutation> {
    vec![
        mutation(
            "What is refused has happened all the same",
            &[
                "7515-2-01",
                "7515-4.1.11-01",
                "7515-10.12-01",
                "7518-3.4-01",
                "8037-3.1-02",
                "8555-6.1-06",
                "8555-6.2-02",
                "8555-6.2-03",
                "8555-6.2-04",
                "8555-6.2-05",
                "8555-6.2-06",
                "8555-6.2-07",
                "8555-6.2-10",
                "8555-6.2-11",
                "8555-6.2-12",
                "8555-6.4.1-01",
            ],
            object(Kind::Orders, |scene, _, list| {
                list["orders"] = json!([format!("{}/acme/order/unwanted", scene.origin)]);
            }),
        ),
        mutation(
            "The first of two equal names counts",
            &["7515-4-01"],
            tolerate(|_, jws, _| is_doubled(jws)),
        ),
        mutation(
            "Unknown header parameters are refused",
            &["7515-4-02"],
            refuse(|_, jws| jws.has("x-foo") && !jws.has("crit")),
        ),
        mutation(
            "Keys behind jku, x5u and x5c are trusted",
            &["7515-4.1.2-01"],
            tolerate(|_, jws, _| ["jku", "x5u", "x5c"].iter().any(|name| jws.has(name))),
        ),
        mutation(
            "Keys are fetched from jku",
            &["7515-4.1.2-01"],
            before(|scene, request| {
                if let Some(url) = request.jws().header["jku"].as_str() {
                    scene.fetch(url);
                }
                None
            }),
        ),
        mutation(
            "crit is not looked at",
            &["7515-4.1.11-01"],
            tolerate(|_, jws, _| jws.has("crit")),
        ),
        mutation(
            "The header is written anew before it is verified",
            &["7515-5.2-01"],
            refuse(|_, jws| jws.header_text.contains('\n')),
        ),
        mutation(
            "Names are compared before they are unescaped",
            &["7515-10.13-01"],
            refuse(|_, jws| jws.header_text.contains("\\u0061lg")),
        ),
        mutation(
            "Names are compared without case",
            &["7515-10.13-01"],
            tolerate(|_, jws, _| jws.has("ALG")),
        ),
        mutation(
            "Signatures are not verified",
            &["8555-6.2-02", "8555-6.2-12", "8037-3.1-02", "7518-3.4-01"],
            tolerate(|request, _, answer| is_new_order(request) && answer.problem() == "malformed"),
        ),
        mutation(
            "A jwk need not have signed",
            &["8555-6.2-12"],
            tolerate(|request, _, _| request.resource() == Resource::NewAccount),
        ),
        mutation(
            "Required header parameters may be missing",
            &["8555-6.2-06"],
            tolerate(|_, jws, _| !jws.has("alg") || !jws.has("nonce") || !jws.has("url")),
        ),
        mutation(
            "jwk and kid may both be missing",
            &["8555-6.2-06"],
            tolerate(|_, jws, _| jws.header.is_object() && !jws.has("jwk") && !jws.has("kid")),
        ),
        mutation(
            "alg none is taken",
            &["8555-6.2-07"],
            tolerate(|_, jws, _| alg(jws) == "none"),
        ),
        mutation(
            "The public key serves as MAC key",
            &["8555-6.2-07"],
            tolerate(|_, jws, _| alg(jws).starts_with("HS")),
        ),
        mutation(
            "ES256 is refused",
            &["8555-6.2-08"],
            refuse(|request, jws| request.resource() == Resource::NewAccount && alg(jws) == "ES256"),
        ),
        mutation(
            "jwk and kid together are taken",
            &["8555-6.2-10"],
            tolerate(|_, jws, _| jws.has("jwk") && jws.has("kid")),
        ),
        mutation(
            "A kid is taken at newAccount",
            &["8555-6.2-11"],
            tolerate(|request, jws, _| request.resource() == Resource::NewAccount && jws.has("kid")),
        ),
        mutation(
            "A jwk is taken everywhere",
            &["8555-6.2-11"],
            tolerate(|request, jws, _| request.resource() != Resource::NewAccount && jws.has("jwk")),
        ),
        mutation(
            "A kid may be any URL",
            &["8555-6.2-13"],
            tolerate(|_, jws, _| jws.header["kid"].as_str().is_some_and(|kid| !kid.contains("localhost"))),
        ),
        mutation(
            "An unknown account is malformed",
            &["8555-6.2-13"],
            retype("accountDoesNotExist", "malformed"),
        ),
        mutation(
            "The url header is not compared",
            &["8555-6.4-01"],
            tolerate(|_, _, answer| answer.problem() == "unauthorized"),
        ),
        mutation(
            "A wrong url is malformed",
            &["8555-6.4-01"],
            retype("unauthorized", "malformed"),
        ),
        mutation(
            "The url header may be anything",
            &["8555-6.4.1-01"],
            tolerate(|_, jws, _| jws.header.is_object() && !jws.header["url"].is_string()),
        ),
    ]
}

fn keys() -> Vec<Mutation> {
    vec![
        mutation(
            "An unsupported alg is malformed",
            &["8555-6.2-14"],
            retype("badSignatureAlgorithm", "malformed"),
        ),
        mutation(
            "The algorithms are not listed",
            &["8555-6.2-14"],
            problems(|_, problem| {
                problem.as_object_mut().map(|members| members.remove("algorithms"));
            }),
        ),
        mutation(
            "An algorithm is listed that does not work",
            &["8555-6.2-14"],
            refuse(|request, jws| request.resource() == Resource::NewAccount && alg(jws) == "RS256"),
        ),
        mutation(
            "PS256 takes a salt of any length",
            &["7518-3.5-01"],
            tolerate(|_, jws, _| alg(jws) == "PS256"),
        ),
        mutation(
            "PS256 is listed and does not work",
            &["7518-3.5-01"],
            refuse(|_, jws| alg(jws) == "PS256"),
        ),
        mutation(
            "A bad key is malformed",
            &["8555-6.2-15", "8037-3.1-01"],
            retype("badPublicKey", "malformed"),
        ),
        mutation(
            "A short or odd key is an internal error",
            &["7518-3.3-01", "7518-6.2-01", "8555-8.1-02"],
            retype("badPublicKey", "serverInternal"),
        ),
        mutation(
            "Short and odd RSA keys are taken",
            &["7518-3.3-01", "7518-6.3-01", "8555-6.2-15"],
            tolerate(|_, jws, _| kty(jws) == "RSA"),
        ),
        mutation(
            "Odd EC keys are taken",
            &["7518-6.2-01", "8555-6.2-15"],
            tolerate(|_, jws, _| kty(jws) == "EC"),
        ),
        mutation(
            "Odd OKP keys are taken",
            &["8037-2-01", "8037-3.1-01", "8037-3.1-02", "8555-6.2-15"],
            tolerate(|_, jws, _| kty(jws) == "OKP"),
        ),
        mutation(
            "Ed25519 signatures are not looked at closely",
            &["8037-3.1-02"],
            tolerate(|_, jws, _| alg(jws) == "EdDSA" && jws.has("kid")),
        ),
        mutation(
            "ECDSA signatures may have any length",
            &["7518-3.4-01"],
            tolerate(|_, jws, _| alg(jws) == "ES256" && jws.signature.len() != 64),
        ),
        mutation(
            "Leading zeros of signatures are left out",
            &["7518-3.4-01"],
            refuse(|request, jws| {
                is_new_order(request) && (jws.signature.first() == Some(&0) || jws.signature.get(32) == Some(&0))
            }),
        ),
        mutation(
            "Unknown members of a JWK are refused",
            &["7517-4-01"],
            refuse(|_, jws| !jws.header["jwk"]["x-foo"].is_null()),
        ),
        mutation(
            "A JWK needs no kty",
            &["7517-4-01"],
            tolerate(|_, jws, _| jws.header["jwk"].is_object() && kty(jws).is_empty()),
        ),
        mutation(
            "Another member of the JWK makes another account",
            &["7638-3-02"],
            after(|scene, request, answer| {
                if !request.jws().header["jwk"]["use"].is_null() {
                    answer.put("location", &format!("{}/acme/account/another", scene.origin));
                }
            }),
        ),
        mutation(
            "A known key is answered 201",
            &["7638-3-02", "8555-7.3.1-01", "8555-7.3.1-02"],
            restatus(Resource::NewAccount, 200, 201),
        ),
    ]
}

fn nonces() -> Vec<Mutation> {
    vec![
        mutation(
            "Nonces are not looked at",
            &["8555-6.5-03", "8555-6.5-04", "8555-6.5-05", "8555-6.5-06"],
            tolerate(|_, _, answer| answer.problem() == "badNonce"),
        ),
        mutation(
            "A bad nonce is malformed",
            &["8555-6.5-03", "8555-6.5-04", "8555-6.5-05", "8555-6.5-06"],
            retype("badNonce", "malformed"),
        ),
        mutation(
            "A bad nonce is 403",
            &["8555-6.5-03"],
            after(|_, _, answer| {
                if answer.problem() == "badNonce" {
                    answer.status = 403;
                }
            }),
        ),
        mutation(
            "Every nonce is bad",
            &["8555-6.2-08"],
            before(|_, request| {
                (request.method == "POST").then(|| {
                    let mut answer = Answer::refusal(400, "badNonce");
                    answer.put("replay-nonce", "AAAAAAAAAAAAAAAAAAAAAA");
                    answer
                })
            }),
        )
        .beside(&["8555-6.5-04"]),
        mutation(
            "badNonce brings no nonce",
            &["8555-6.5-06"],
            headerless("replay-nonce", |_, answer| answer.problem() == "badNonce"),
        ),
        mutation(
            "badNonce brings a nonce that does not work",
            &["8555-6.5-06"],
            header("replay-nonce", "AAAAAAAAAAAAAAAAAAAAAA", |_, answer| {
                answer.problem() == "badNonce"
            }),
        ),
        mutation(
            "Nonces are a counter",
            &["8555-6.5.1-01"],
            before(|scene, request| {
                (request.resource() == Resource::NewNonce).then(|| {
                    let mut answer = Answer::of(200, &Value::Null);
                    answer.put("replay-nonce", &format!("AAAAAAAAAAAAAAAA{:08}", scene.next()));
                    answer
                })
            }),
        ),
        mutation(
            "Nonces come again",
            &["8555-7.2-01", "8555-6.5.1-01"],
            before(|_, request| {
                (request.resource() == Resource::NewNonce).then(|| {
                    let mut answer = Answer::of(204, &Value::Null);
                    answer.put("replay-nonce", "AAAAAAAAAAAAAAAAAAAAAAAA");
                    answer
                })
            }),
        ),
        mutation(
            "Nonces are standard base64",
            &["8555-6.5.1-02"],
            header("replay-nonce", "ab+/", |request, _| {
                request.resource() == Resource::Directory
            }),
        ),
        mutation(
            "Nonces are padded",
            &["8555-6.1-07", "8555-6.5.1-02"],
            header("replay-nonce", "YWI=", |request, _| {
                request.resource() == Resource::Directory
            }),
        ),
        mutation(
            "Nonces that are not base64url are just unknown",
            &["8555-6.5.2-01"],
            after(|_, request, answer| {
                let sound = |nonce: &str| !nonce.is_empty() && !has_others(nonce) && !nonce.contains('=');
                let nonce = &request.jws().header["nonce"];
                if request.method == "POST" && !nonce.as_str().is_some_and(sound) {
                    answer.retype("badNonce");
                }
            }),
        ),
        mutation(
            "newNonce gives no nonce on GET",
            &["8555-7.2-01"],
            headerless("replay-nonce", |request, _| request.method == "GET"),
        ),
        mutation(
            "newNonce answers GET with 200",
            &["8555-7.2-01"],
            restatus(Resource::NewNonce, 204, 200),
        ),
        mutation(
            "newNonce may be cached",
            &["8555-7.2-02"],
            headerless("cache-control", |_, _| true),
        ),
        mutation(
            "Successful POSTs bring no nonce",
            &["8555-6.5-01"],
            headerless("replay-nonce", |request, answer| {
                request.method == "POST" && answer.is_success()
            }),
        )
        .beside(&["8555-6.3-05"]),
    ]
}

fn transport() -> Vec<Mutation> {
    vec![
        mutation(
            "Plain HTTP is served where TLS belongs",
            &["8555-6.1-01"],
            sigillo_tests::mutant::fault::plain(),
        ),
        mutation(
            "GET on what is not for GET is 404",
            &["8555-6.3-01"],
            after(|_, _, answer| {
                if answer.status == 405 {
                    answer.status = 404;
                }
            }),
        ),
        mutation(
            "GET shows accounts and orders",
            &["8555-6.3-01"],
            tolerate(|request, _, answer| request.method == "GET" && answer.status == 405),
        ),
        mutation(
            "405 does not say what is allowed",
            &["9110-15.5.6-01"],
            headerless("allow", |_, _| true),
        )
        .beside(&["8555-6.3-01"]),
        mutation(
            "POST-as-GET does not fetch the list of orders",
            &["8555-6.3-02"],
            refuse(|request, _| request.resource() == Resource::Orders),
        ),
        mutation(
            "POST-as-GET does not fetch challenges",
            &["8555-6.3-02"],
            refuse(|request, jws| request.resource() == Resource::Challenge && is_fetch(request, jws)),
        ),
        mutation(
            "Anybody may fetch anything",
            &["8555-6.3-03"],
            tolerate(is_fetch_of_somebody),
        ),
        mutation(
            "Fetching a challenge starts it",
            &["8555-6.3-04"],
            after(|_, request, answer| {
                if request.resource() == Resource::Challenge && is_fetch(request, &request.jws()) {
                    let mut body = answer.json();
                    body["status"] = "processing".into();
                    answer.put_json(&body);
                }
            }),
        ),
        mutation(
            "newNonce is not for POST-as-GET",
            &["8555-6.3-05"],
            refuse(|request, _| request.method == "POST" && request.resource() == Resource::NewNonce),
        ),
        mutation(
            "The directory is not for POST-as-GET",
            &["8555-6.3-05"],
            takes_nothing(Resource::Directory),
        ),
        mutation(
            "Content-Language is no language",
            &["8555-6.1-03"],
            header("content-language", "it, not a language", |request, _| {
                request.header("accept-language").is_some()
            }),
        ),
        mutation(
            "Accept-Language changes the problem into text",
            &["8555-6.1-03"],
            after(|_, request, answer| {
                if request.header("accept-language").is_some() {
                    answer.body = b"spiacente".to_vec();
                }
            }),
        ),
    ]
}

fn is_fetch_of_somebody(request: &Request, jws: &Jws, _: &Answer) -> bool {
    is_fetch(request, jws)
}

fn takes_nothing(resource: Resource) -> sigillo_tests::mutant::fault::Fault {
    refuse(move |request, _| request.method == "POST" && request.resource() == resource)
}
