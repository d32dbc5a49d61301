//! A server in memory: it verifies every request, and misbehaves as it is told to.

use std::{cell::RefCell, collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::{
    acme::identifier::Identifier,
    jose::{Jwk, KeyRef, UnverifiedJws, eab::UnverifiedBinding},
    ordering::{JOSE_JSON, Link, Method, PEM_CHAIN, Request, Response},
};

pub const BASE: &str = "https://ca.example";
pub const ACCOUNT: &str = "https://ca.example/account/1";
pub const MAC_KEY: [u8; 32] = [7; 32];

pub fn url(path: &str) -> String {
    format!("{BASE}{path}")
}

/// What the server does beside or against the rules.
#[derive(Clone, Default)]
pub struct Manners {
    pub bad_nonces: u32,
    pub bad_nonce_without_nonce: bool,
    pub nonce: Option<&'static str>,
    pub busy: Vec<u64>,
    pub already_replaced: bool,
    pub valid_at_once: bool,
    pub polls: u32,
    pub refuse: Option<&'static str>,
    pub retry_after: Option<u64>,
    pub finalize_gets_lost: bool,
    pub never_ready: bool,
    pub token: Option<&'static str>,
    pub order_for: Option<&'static str>,
    pub chain: Option<String>,
    pub chain_type: Option<&'static str>,
    pub alternates: Vec<String>,
}

#[derive(Default)]
pub struct State {
    pub issued_nonces: u32,
    pub open_nonces: BTreeSet<String>,
    pub names: Vec<Identifier>,
    pub responded: BTreeSet<usize>,
    pub polls: u32,
    pub finalized: bool,
    pub log: Vec<String>,
}

pub struct Server {
    pub jwk: Jwk,
    pub manners: Manners,
    pub state: RefCell<State>,
}

impl Server {
    pub fn new(jwk: &Jwk, manners: Manners) -> Self {
        Self {
            jwk: jwk.clone(),
            manners,
            state: RefCell::default(),
        }
    }

    fn nonce(state: &mut State) -> String {
        state.issued_nonces += 1;
        let nonce = format!("nonce-{}", state.issued_nonces);
        state.open_nonces.insert(nonce.clone());
        nonce
    }

    pub fn answer(&self, request: &Request) -> Response {
        let state = &mut *self.state.borrow_mut();
        let path = request.url.strip_prefix(BASE).expect("a URL of this server").to_owned();
        state.log.push(format!("{} {path}", request.method.as_str()));
        if request.method == Method::Head {
            let nonce = self.manners.nonce.map_or_else(|| Self::nonce(state), str::to_owned);
            return Response {
                status: 200,
                nonce: Some(nonce),
                ..Response::default()
            };
        }
        assert_eq!((request.method, request.content_type), (Method::Post, Some(JOSE_JSON)));
        let jws = UnverifiedJws::parse(request.body.as_deref().unwrap().as_bytes()).unwrap();
        assert_eq!(jws.url(), request.url);
        assert_eq!(matches!(jws.key(), KeyRef::Jwk(_)), path == "/new-account");
        if let KeyRef::Kid(kid) = jws.key() {
            assert_eq!(kid, ACCOUNT);
        }
        let known = state.open_nonces.remove(jws.nonce().expect("a nonce"));
        let jws = jws.verify(&self.jwk).expect("a signature that verifies");
        let mut response =
            if !known || state.log.iter().filter(|l| *l == "bad").count() < self.manners.bad_nonces as usize {
                state.log.push("bad".to_owned());
                refuse(400, "badNonce")
            } else if let Some(wait) = self.manners.busy.get(state.log.iter().filter(|l| *l == "busy").count()) {
                state.log.push("busy".to_owned());
                Response {
                    retry_after: Some(Duration::from_secs(*wait)),
                    ..refuse(503, "serverInternal")
                }
            } else {
                self.route(state, &path, jws.payload())
            };
        if !(self.manners.bad_nonce_without_nonce && response.status == 400) {
            response.nonce = Some(Self::nonce(state));
        }
        response
    }

    fn route(&self, state: &mut State, path: &str, payload: &[u8]) -> Response {
        let body: Value = if payload.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(payload).unwrap()
        };
        match path.split('/').collect::<Vec<_>>()[1..] {
            ["new-account"] => self.account(&body),
            ["new-order"] => self.new_order(state, &body),
            ["order"] => self.order(state, 200),
            ["authorization", n] => self.authorization(state, n.parse().unwrap()),
            ["challenge", n] => {
                assert_eq!(body, json!({}));
                state.responded.insert(n.parse().unwrap());
                reply(200, &self.challenge(state, n.parse().unwrap(), "http-01"))
            }
            ["finalize"] => self.finalize(state, &body),
            ["certificate"] => self.certificate(state, None),
            ["alternate", n] => self.certificate(state, Some(n.parse().unwrap())),
            _ => panic!("no such path: {path}"),
        }
    }

    fn account(&self, body: &Value) -> Response {
        if let Some(binding) = body.get("externalAccountBinding") {
            let binding = UnverifiedBinding::parse(&binding.to_string()).unwrap();
            assert_eq!(binding.kid(), "kid-1");
            binding.verify(&MAC_KEY, &url("/new-account"), &self.jwk).unwrap();
        }
        assert_eq!(body.get("termsOfServiceAgreed"), Some(&json!(true)));
        assert_eq!(body.get("contact"), Some(&json!(["mailto:a@example.org"])));
        Response {
            location: Some(ACCOUNT.to_owned()),
            ..reply(201, &json!({"status": "valid"}))
        }
    }

    fn new_order(&self, state: &mut State, body: &Value) -> Response {
        if self.manners.already_replaced && body.get("replaces").is_some() {
            return refuse(409, "alreadyReplaced");
        }
        state.names = serde_json::from_value(body["identifiers"].clone()).unwrap();
        Response {
            location: Some(url("/order")),
            ..self.order(state, 201)
        }
    }

    fn is_valid(&self, state: &State, at: usize) -> bool {
        self.manners.valid_at_once || state.responded.contains(&at)
    }

    fn order(&self, state: &mut State, status: u16) -> Response {
        let all = (0..state.names.len()).all(|at| self.is_valid(state, at));
        if state.finalized && status == 200 {
            state.polls += 1;
        }
        let text = match (all, state.finalized) {
            (_, true) if state.polls <= self.manners.polls => "processing",
            (_, true) => "valid",
            (true, false) if self.manners.never_ready => "invalid",
            (true, false) => "ready",
            (false, false) => "pending",
        };
        let authorizations: Vec<_> = (0..state.names.len())
            .map(|at| url(&format!("/authorization/{at}")))
            .collect();
        let identifiers = match self.manners.order_for {
            Some(other) => vec![Identifier::dns(other)],
            None => state.names.clone(),
        };
        let mut order = json!({
            "status": text, "identifiers": identifiers, "authorizations": authorizations, "finalize": url("/finalize"),
        });
        if text == "valid" {
            order["certificate"] = json!(url("/certificate"));
        }
        let retry_after = self.manners.retry_after.map(Duration::from_secs);
        Response {
            retry_after,
            ..reply(status, &order)
        }
    }

    fn challenge(&self, state: &State, at: usize, kind: &str) -> Value {
        let status = match (self.is_valid(state, at), self.manners.refuse) {
            (true, Some(_)) => "invalid",
            (true, None) => "valid",
            (false, _) => "pending",
        };
        let mut challenge = json!({
            "type": kind, "url": url(&format!("/challenge/{at}")), "status": status,
            "token": self.manners.token.unwrap_or("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"),
        });
        if let (true, Some(detail)) = (self.is_valid(state, at), self.manners.refuse) {
            challenge["error"] = json!({"type": "urn:ietf:params:acme:error:unauthorized", "detail": detail});
        }
        challenge
    }

    fn authorization(&self, state: &mut State, at: usize) -> Response {
        let text = match (self.is_valid(state, at), self.manners.refuse) {
            (true, Some(_)) => "invalid",
            (true, None) => "valid",
            (false, _) => "pending",
        };
        let name = &state.names[at];
        let base = name.value.strip_prefix("*.").unwrap_or(&name.value);
        let unknown = json!({"type": "unheard-of-01", "url": url("/challenge/99"), "status": "pending"});
        reply(
            200,
            &json!({
                "status": text,
                "identifier": {"type": name.kind, "value": base},
                "wildcard": base != name.value,
                "challenges": [unknown, self.challenge(state, at, "http-01")],
            }),
        )
    }

    fn finalize(&self, state: &mut State, body: &Value) -> Response {
        assert_eq!(body, &json!({"csr": "Y3Ny"}));
        state.finalized = true;
        if self.manners.finalize_gets_lost {
            refuse(403, "orderNotReady")
        } else {
            self.order(state, 200)
        }
    }

    fn certificate(&self, state: &State, alternate: Option<usize>) -> Response {
        assert!(state.finalized);
        let text = match alternate {
            Some(n) => self.manners.alternates[n].clone(),
            None => self.manners.chain.clone().expect("a chain"),
        };
        let link = |n| Link {
            relation: "alternate".to_owned(),
            url: url(&format!("/alternate/{n}")),
        };
        Response {
            status: 200,
            content_type: Some(self.manners.chain_type.unwrap_or(PEM_CHAIN).to_owned()),
            links: (0..self.manners.alternates.len()).map(link).collect(),
            body: text.into_bytes(),
            ..Response::default()
        }
    }
}

fn reply(status: u16, body: &Value) -> Response {
    Response {
        status,
        body: body.to_string().into_bytes(),
        ..Response::default()
    }
}

fn refuse(status: u16, name: &str) -> Response {
    reply(
        status,
        &json!({"type": format!("urn:ietf:params:acme:error:{name}"), "detail": "no"}),
    )
}
