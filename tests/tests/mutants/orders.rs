//! What a server may do wrongly with orders, authorizations, challenges and their validation.

use serde_json::json;
use sigillo_tests::mutant::fault::{
    Fault, Prober, after, challenges, header, headerless, member, none, object, probes, query, refuse, restatus,
    retype, since, swap, takes, tolerate, without,
};
use sigillo_tests::mutant::message::{Answer, Jws, Kind, Request, Resource};
use sigillo_tests::mutant::{Mutation, Stage, mutation};

pub fn mutations() -> Vec<Mutation> {
    let mut all = orders();
    all.extend(names());
    all.extend(authorizations());
    all.extend(states());
    all.extend(responses());
    all.extend(validations());
    all
}

fn orders() -> Vec<Mutation> {
    vec![
        mutation(
            "A new order is 200",
            &["8555-7.4-01"],
            restatus(Resource::NewOrder, 201, 200),
        ),
        mutation(
            "An order loses one of its names",
            &["8555-7.4-01"],
            object(Kind::Order, |_, _, order| {
                order["identifiers"].as_array_mut().map(Vec::pop);
            }),
        ),
        mutation(
            "An order loses one of its authorizations",
            &["8555-7.4-01"],
            object(Kind::Order, |_, _, order| {
                order["authorizations"].as_array_mut().map(Vec::pop);
            }),
        ),
        mutation(
            "Dates that cannot be met are altered",
            &["8555-7.4-02"],
            tolerate(|_, jws, _| !jws.payload["notAfter"].is_null() || !jws.payload["notBefore"].is_null()),
        ),
        mutation(
            "Malformed identifiers are called refused",
            &["8555-7.4-04"],
            retype("malformed", "rejectedIdentifier"),
        ),
        mutation(
            "Orders without identifiers are taken",
            &["8555-7.4-04"],
            takes(Resource::NewOrder, &["malformed"]),
        ),
        mutation(
            "Orders have no finalize",
            &["8555-7.1.3-01"],
            without(Kind::Order, "finalize"),
        ),
        mutation(
            "Valid orders show no certificate",
            &["8555-7.1.3-03"],
            without(Kind::Order, "certificate"),
        )
        .beside(&["8555-7.4.2-01"]),
        mutation(
            "Pending orders show a certificate",
            &["8555-7.1.3-03"],
            object(Kind::Order, |_, _, order| {
                order["certificate"] = json!("https://elsewhere.example/")
            }),
        )
        .beside(&["8555-7.4-01"]),
        mutation(
            "A pending order does not expire",
            &["8555-7.1.3-02"],
            without(Kind::Order, "expires"),
        ),
        mutation(
            "A pending order has expired",
            &["8555-7.1.3-02"],
            member(Kind::Order, "expires", json!("2020-01-01T00:00:00Z")),
        ),
        mutation(
            "An order's identifiers change",
            &["8555-7.1.3-06"],
            object(Kind::Order, |_, request, order| {
                if request.resource() == Resource::Order {
                    order["identifiers"] = json!([{"type": "dns", "value": "other.test"}]);
                }
            }),
        )
        .beside(&["8555-7.1.3-01"]),
        mutation(
            "An order's authorizations change",
            &["8555-7.1.3-06"],
            object(Kind::Order, |_, request, order| {
                if request.resource() == Resource::Order {
                    order["authorizations"] = json!([]);
                }
            }),
        )
        .beside(&["8555-7.1.3-01"]),
    ]
}

fn is_wildcard(jws: &Jws) -> bool {
    jws.names().contains('*')
}

fn names() -> Vec<Mutation> {
    vec![
        mutation(
            "A wildcard's authorization does not say so",
            &["8555-7.1.3-04"],
            without(Kind::Authorization, "wildcard"),
        ),
        mutation(
            "A wildcard's authorization is for the wildcard",
            &["8555-7.1.3-04"],
            object(Kind::Authorization, |_, _, authorization| {
                let base = authorization["identifier"]["value"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                authorization["identifier"]["value"] = format!("*.{base}").into();
            }),
        ),
        mutation(
            "Every authorization is for a wildcard",
            &["8555-7.1.4-03"],
            member(Kind::Authorization, "wildcard", json!(true)),
        )
        .beside(&["8555-7.1.4-01"]),
        mutation(
            "Asterisks may stand anywhere",
            &["8555-7.1.3-05"],
            tolerate(|request, jws, _| request.resource() == Resource::NewOrder && is_wildcard(jws)),
        ),
        mutation(
            "U-labels are taken",
            &["8555-7.1.4-04"],
            tolerate(|_, jws, _| !jws.names().is_ascii()),
        ),
        mutation(
            "Labels beginning xn-- are not looked at",
            &["8555-7.1.4-05"],
            tolerate(|_, jws, _| jws.names().contains("xn--")),
        ),
        mutation(
            "An address is a DNS name",
            &["8738-3-01"],
            object(Kind::Authorization, |_, _, authorization| {
                authorization["identifier"]["type"] = "dns".into()
            }),
        ),
        mutation(
            "Addresses may be written in many ways",
            &["8738-3-02"],
            tolerate(|_, jws, _| jws.payload["identifiers"][0]["type"] == "ip"),
        ),
        mutation(
            "dns-01 is offered for addresses",
            &["8738-7-01"],
            object(Kind::Authorization, |_, _, authorization| {
                let mut one = authorization["challenges"][0].clone();
                one["type"] = "dns-01".into();
                if let Some(all) = authorization["challenges"].as_array_mut() {
                    all.push(one);
                }
            }),
        ),
        mutation(
            "Wildcards are offered http-01",
            &["br-3.2.2.4-01"],
            object(Kind::Authorization, |_, _, authorization| {
                authorization["challenges"][0]["type"] = "http-01".into();
            }),
        ),
        mutation(
            "Wildcards can be pre-authorized",
            &["8555-7.4.1-02"],
            takes(Resource::NewAuthorization, &[]),
        ),
        mutation(
            "newAuthz gives no Location",
            &["8555-7.4.1-01"],
            headerless("location", |request, _| {
                request.resource() == Resource::NewAuthorization
            }),
        ),
        mutation(
            "newAuthz gives a valid authorization",
            &["8555-7.4.1-01"],
            swap(Kind::Authorization, "status", "pending", "valid"),
        ),
    ]
}

fn authorizations() -> Vec<Mutation> {
    vec![
        mutation(
            "Authorizations have no challenges",
            &["8555-7.1.4-01"],
            member(Kind::Authorization, "challenges", json!([])),
        ),
        mutation(
            "Challenges have no status",
            &["8555-7.1.4-01", "8555-8-01"],
            challenges(|_, challenge| {
                challenge.as_object_mut().map(|members| members.remove("status"));
            }),
        ),
        mutation(
            "Challenges have no URL",
            &["8555-7.1.4-01"],
            challenges(|_, challenge| {
                challenge.as_object_mut().map(|members| members.remove("url"));
            }),
        ),
        mutation(
            "Tokens have 64 bits",
            &["8555-8.3-01", "8737-3-01"],
            challenges(|_, challenge| {
                let token: String = challenge["token"]
                    .as_str()
                    .unwrap_or_default()
                    .chars()
                    .take(11)
                    .collect();
                challenge["token"] = token.into();
            }),
        ),
        mutation(
            "Tokens are given twice",
            &["8555-8.3-01"],
            challenges(|_, challenge| challenge["token"] = "AAAAAAAAAAAAAAAAAAAAAA".into()),
        ),
        mutation(
            "Tokens are padded",
            &["8555-6.1-07", "8555-8.3-01", "8737-3-01"],
            challenges(|_, challenge| {
                let token = challenge["token"].as_str().unwrap_or_default().to_owned();
                challenge["token"] = format!("{token}=").into();
            }),
        )
        .beside(&["8555-7.1.4-01"]),
        mutation(
            "A challenge is of a type that nobody registered",
            &["8555-9.7-01"],
            challenges(|_, challenge| challenge["type"] = "tls-sni-01".into()),
        )
        .beside(&["8555-7.1.4-01"]),
        mutation(
            "An identifier is of a type that nobody registered",
            &["8555-9.7-01"],
            object(Kind::Authorization, |_, _, authorization| {
                authorization["identifier"]["type"] = "host".into()
            }),
        )
        .beside(&["8555-7.1.4-01"]),
        mutation(
            "A valid challenge does not say when it was validated",
            &["8555-8-01"],
            challenges(|_, challenge| {
                challenge.as_object_mut().map(|members| members.remove("validated"));
            }),
        )
        .beside(&["8555-7.4.2-01"]),
        mutation(
            "A pending challenge has an error",
            &["8555-8-02"],
            challenges(|_, challenge| {
                challenge["error"] = json!({"type": "urn:ietf:params:acme:error:dns", "detail": "x"});
            }),
        )
        .beside(&["8555-7.1.4-01"]),
        mutation(
            "A challenge links to no authorization",
            &["8555-7.1-03"],
            headerless("link", |request, _| request.resource() == Resource::Challenge),
        ),
        mutation(
            "A final authorization does not show its challenge",
            &["8555-7.1.4-02"],
            object(Kind::Authorization, |_, _, authorization| {
                if authorization["status"] != "pending" {
                    authorization["challenges"] = json!([]);
                }
            }),
        ),
        mutation(
            "A valid authorization does not expire",
            &["8555-7.1.4-02"],
            without(Kind::Authorization, "expires"),
        ),
    ]
}

/// Alters the status of objects that are fetched, not those that are made.
fn later(kind: Kind, from: &'static str, to: &'static str) -> Fault {
    object(kind, move |_, request, object| {
        let made = matches!(request.resource(), Resource::NewOrder | Resource::NewAuthorization);
        if !made && object["status"] == from {
            object["status"] = to.into();
        }
    })
}

fn states() -> Vec<Mutation> {
    vec![
        mutation(
            "A valid order becomes pending again",
            &["8555-7.1.6-01"],
            after(|scene, request, answer| {
                let mut body = answer.json();
                if request.resource() == Resource::Order && body["status"] == "valid" && scene.next() % 2 == 0 {
                    body["status"] = "pending".into();
                    answer.put_json(&body);
                }
            }),
        )
        .beside(&["8555-7.1.3-01", "8555-7.4-10", "8555-7.4-09"]),
        mutation(
            "An invalid authorization becomes valid",
            &["8555-7.1.6-01"],
            goes_round(),
        )
        .beside(&["8555-7.5.1-03"]),
        mutation(
            "An order with valid authorizations is pending",
            &["8555-7.1.6-02"],
            swap(Kind::Order, "status", "ready", "pending"),
        ),
        mutation(
            "An order is ready before its authorizations are valid",
            &["8555-7.1.6-02"],
            object(Kind::Order, |_, request, order| {
                if request.resource() == Resource::NewOrder {
                    order["status"] = if order["status"] == "pending" {
                        "ready"
                    } else {
                        "pending"
                    }
                    .into();
                }
            }),
        ),
        mutation(
            "An order outlives its authorization",
            &["8555-7.1.6-03"],
            swap(Kind::Order, "status", "invalid", "ready"),
        ),
        mutation(
            "A deactivated authorization stays valid",
            &["8555-7.5.2-01"],
            later(Kind::Authorization, "deactivated", "valid"),
        ),
        mutation(
            "The next order uses a deactivated authorization",
            &["8555-7.5.2-01"],
            since(
                |request, jws| request.resource() == Resource::Authorization && jws.payload["status"] == "deactivated",
                |request, answer| {
                    let mut body = answer.json();
                    if request.resource() == Resource::Authorization && body["status"] == "pending" {
                        body["status"] = "valid".into();
                        answer.put_json(&body);
                    }
                },
            ),
        ),
        mutation(
            "A deactivated authorization still leads to a certificate",
            &["8555-7.5.2-01"],
            after(|_, request, answer| {
                let is_invalid = answer.json()["status"] == "invalid";
                if request.resource() == Resource::Finalize && answer.is_refusal() {
                    *answer = Answer::of(200, &json!({"status": "valid"}));
                } else if request.resource() == Resource::Order && is_invalid {
                    let mut body = answer.json();
                    body["status"] = "valid".into();
                    answer.put_json(&body);
                }
            }),
        ),
    ]
}

/// Shows authorizations invalid and valid by turns.
fn goes_round() -> Fault {
    object(Kind::Authorization, |scene, _, authorization| {
        authorization["status"] = if scene.next() % 2 == 0 { "valid" } else { "invalid" }.into();
    })
}

fn responds(request: &Request, jws: &Jws) -> bool {
    request.resource() == Resource::Challenge && !jws.payload_octets.is_empty()
}

fn responses() -> Vec<Mutation> {
    vec![
        mutation(
            "Anybody may respond to a challenge",
            &["8555-7.5-01"],
            takes(Resource::Challenge, &[]),
        ),
        mutation(
            "Anybody may deactivate an authorization",
            &["8555-7.5-01"],
            takes(Resource::Authorization, &[]),
        ),
        mutation(
            "A foreign deactivation is refused and done",
            &["8555-7.5-01"],
            later(Kind::Authorization, "pending", "deactivated"),
        ),
        mutation(
            "A response is answered 202",
            &["8555-7.5.1-01", "8555-7.5.1-02"],
            after(|_, request, answer| {
                if responds(request, &request.jws()) && answer.status == 200 {
                    answer.status = 202;
                }
            }),
        ),
        mutation(
            "A response is answered with the authorization",
            &["8555-7.5.1-01"],
            after(|_, request, answer| {
                if responds(request, &request.jws()) {
                    answer.put_json(&json!({"status": "pending", "challenges": []}));
                }
            }),
        ),
        mutation(
            "Fields that a response does not define are refused",
            &["8555-7.5.1-02"],
            refuse(|_, jws| !jws.payload["keyAuthorization"].is_null()),
        ),
        mutation(
            "A response may be anything",
            &["8555-7.5.1-03"],
            takes(Resource::Challenge, &["malformed"]),
        ),
        mutation(
            "A refused response has been tried",
            &["8555-7.5.1-03"],
            later(Kind::Authorization, "pending", "invalid"),
        ),
        mutation(
            "Polling is answered 202",
            &["8555-7.5.1-04"],
            restatus(Resource::Authorization, 200, 202),
        ),
    ]
}

fn becomes(from: &'static str, to: &'static str) -> Fault {
    swap(Kind::Authorization, "status", from, to)
}

fn replaces(from: &'static str, to: &'static str) -> Fault {
    query(move |octets| String::from_utf8_lossy(&octets).replacen(from, to, 1).into_bytes())
}

fn validations() -> Vec<Mutation> {
    vec![
        mutation(
            "Every challenge is valid",
            &[
                "8555-6.7-06",
                "8555-7.1.4-02",
                "8555-7.1.6-03",
                "8555-8.1-01",
                "8555-8.3-02",
                "8555-8.3-05",
                "8555-8.4-01",
                "8555-8.4-03",
                "8555-8.4-04",
                "8737-3-02",
                "8737-3-03",
                "8737-3-04",
                "8737-3-05",
                "8737-3-06",
                "8737-4-01",
                "8737-4-02",
                "8738-4-01",
                "8738-5-01",
                "8738-6-01",
                "8738-6-02",
                "br-3.2.2.4-01",
            ],
            none(),
        )
        .on(Stage::Careless),
        mutation(
            "No challenge is valid",
            &[
                "7638-3-01",
                "8555-7.5.1-02",
                "8555-7.5.1-04",
                "8555-8.1-01",
                "8555-8.3-02",
                "8555-8.3-06",
                "8555-8.4-01",
                "8555-8.4-02",
                "8555-8.4-04",
                "8737-3-02",
                "8737-3-07",
                "8738-3-03",
                "8738-4-01",
                "8738-5-01",
                "8738-6-01",
            ],
            becomes("valid", "invalid"),
        ),
        mutation("http-01 asks with HEAD", &["8555-8.3-02"], replaces("GET ", "HEAD ")),
        mutation(
            "http-01 asks another host",
            &["8555-8.3-02", "8738-5-01"],
            query(|octets| {
                let text = String::from_utf8_lossy(&octets).into_owned();
                let lines = text.split("\r\n").map(|line| {
                    let is_host = line.to_ascii_lowercase().starts_with("host:");
                    if is_host { "Host: elsewhere.example" } else { line }
                });
                lines.collect::<Vec<_>>().join("\r\n").into_bytes()
            }),
        ),
        mutation(
            "http-01 asks another path",
            &["8555-8.3-02", "8555-8.1-01"],
            replaces("/.well-known/acme-challenge/", "/.well-known/acme/"),
        ),
        mutation(
            "tls-alpn-01 offers other protocols too",
            &["8737-3-03"],
            probes(Prober::OffersMore),
        ),
        mutation("tls-alpn-01 sends a request", &["8737-4-02"], probes(Prober::SendsData)),
        mutation(
            "A failed validation does not tell its cause",
            &["8555-6.7-06", "8555-8.4-03"],
            challenges(|_, challenge| {
                if challenge["error"].is_object() {
                    challenge["error"]["type"] = "urn:ietf:params:acme:error:serverInternal".into();
                }
            }),
        ),
        mutation(
            "Between tries no error is shown",
            &["8555-8.2-02"],
            challenges(|_, challenge| {
                challenge.as_object_mut().map(|members| members.remove("error"));
            }),
        ),
        mutation(
            "Between tries there is no Retry-After",
            &["8555-8.2-02"],
            headerless("retry-after", |request, _| request.resource() == Resource::Challenge),
        ),
        mutation(
            "Addresses are authorized as names in finalize",
            &["8738-3-03"],
            takes(Resource::Finalize, &[]),
        ),
        mutation(
            "Retry-After of a challenge is a fraction",
            &["9110-10.2.3-01"],
            header("retry-after", "0.5", |request, _| {
                request.resource() == Resource::Challenge
            }),
        )
        .beside(&["8555-7.1-03"]),
    ]
}
