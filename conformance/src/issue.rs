//! The way from an order to a certificate, in steps that cases can stop at.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::base64;
use crate::case::{Finding, Judgement};
use crate::http::Answer;
use crate::keys::{Key, sha256};
use crate::read::certificate::Certificate;
use crate::read::pem;
use crate::request::{Csr, dns_name};
use crate::responder::tls_alpn01::Script;
use crate::suite::{Account, Run};
use crate::wire::Signer;

/// An order at the target.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) url: String,
    pub(crate) object: Value,
}

impl Order {
    pub(crate) fn status(&self) -> &str {
        self.object["status"].as_str().unwrap_or_default()
    }

    pub(crate) fn finalize(&self) -> &str {
        self.object["finalize"].as_str().unwrap_or_default()
    }

    pub(crate) fn authorizations(&self) -> Vec<String> {
        strings(&self.object["authorizations"])
    }
}

/// The strings of a JSON array.
pub(crate) fn strings(array: &Value) -> Vec<String> {
    array
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// A certificate the target issued.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) account: Account,
    pub(crate) names: Vec<String>,
    pub(crate) key: Key,
    pub(crate) order: Order,
    pub(crate) url: String,
    /// The answer that brought the chain.
    pub(crate) answer: Answer,
    pub(crate) chain: Vec<Certificate>,
}

impl Issued {
    pub(crate) fn leaf(&self) -> &Certificate {
        &self.chain[0]
    }

    /// The issuing CA's certificate.
    pub(crate) fn issuer(&self) -> Judgement<&Certificate> {
        self.chain
            .get(1)
            .ok_or_else(|| Finding::Blocked("the chain has only the end-entity certificate".into()))
    }
}

/// One challenge of an authorization.
#[derive(Debug, Clone)]
pub(crate) struct Challenge {
    pub(crate) authorization: String,
    pub(crate) identifier: String,
    pub(crate) url: String,
    pub(crate) token: String,
}

/// `{"type":"dns","value":...}` for each name.
pub(crate) fn identifiers(names: &[String]) -> Value {
    names.iter().map(|name| json!({"type": "dns", "value": name})).collect()
}

fn read_chain(text: &[u8]) -> Result<Vec<Certificate>, String> {
    let chain = pem::certificates(text)?;
    chain.iter().map(|der| Certificate::read(der)).collect()
}

impl Run {
    /// Asks for an order with this payload.
    pub(crate) fn try_order(&self, account: &Account, payload: &Value) -> Judgement<Answer> {
        let answer = self.post(account, &self.url("newOrder")?, payload)?;
        if let (true, Some(url)) = (answer.status == 201, answer.header("location")) {
            self.evidence.order(url, &answer.json()?);
        }
        Ok(answer)
    }

    /// An order with this payload, which the target should take.
    pub(crate) fn order_with(&self, account: &Account, payload: &Value) -> Judgement<Order> {
        let answer = self.try_order(account, payload)?;
        match (answer.status, answer.header("location")) {
            (201, Some(url)) => Ok(Order {
                url: url.to_owned(),
                object: answer.json()?,
            }),
            _ => Err(Finding::Blocked(format!(
                "no order for {payload}: {}",
                answer.summary()
            ))),
        }
    }

    pub(crate) fn order(&self, account: &Account, names: &[String]) -> Judgement<Order> {
        self.order_with(account, &json!({"identifiers": identifiers(names)}))
    }

    /// The order as it is now.
    pub(crate) fn look(&self, account: &Account, order: &Order) -> Judgement<Order> {
        let object = self.fetch_object(account, &order.url)?;
        self.evidence.order(&order.url, &object);
        Ok(Order {
            url: order.url.clone(),
            object,
        })
    }

    /// An authorization as it is now.
    pub(crate) fn authorization(&self, account: &Account, url: &str) -> Judgement<Value> {
        let object = self.fetch_object(account, url)?;
        self.evidence.authorization(url, &object);
        Ok(object)
    }

    /// The challenge of this type; its absence is not an error of the target.
    pub(crate) fn challenge(&self, account: &Account, authorization: &str, kind: &str) -> Judgement<Challenge> {
        let object = self.authorization(account, authorization)?;
        let found = object["challenges"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|challenge| challenge["type"] == kind);
        let Some(challenge) = found else {
            return Err(Finding::NotOffered(format!("no {kind} for {}", object["identifier"])));
        };
        let text = |name: &str| challenge[name].as_str().unwrap_or_default().to_owned();
        Ok(Challenge {
            authorization: authorization.to_owned(),
            identifier: object["identifier"]["value"].as_str().unwrap_or_default().to_owned(),
            url: text("url"),
            token: text("token"),
        })
    }

    /// A new order for one name, and its challenge of this type.
    pub(crate) fn challenge_for(&self, account: &Account, name: &str, kind: &str) -> Judgement<(Order, Challenge)> {
        let order = self.order(account, &[name.to_owned()])?;
        let authorizations = order.authorizations();
        let [authorization] = authorizations.as_slice() else {
            return Err(Finding::Fail(format!(
                "an order for one name has {} authorizations",
                authorizations.len()
            )));
        };
        let challenge = self.challenge(account, authorization, kind)?;
        Ok((order, challenge))
    }

    /// Tells the target that the challenge can be tried.
    pub(crate) fn respond(&self, account: &Account, challenge: &Challenge) -> Judgement<Answer> {
        self.post(account, &challenge.url, &json!({}))
    }

    /// Waits until the authorization is decided.
    pub(crate) fn decided(&self, account: &Account, authorization: &str) -> Judgement<Value> {
        let object = self.poll(account, authorization, |object| object["status"] != "pending")?;
        self.evidence.authorization(authorization, &object);
        Ok(object)
    }

    /// Responds and waits for the decision.
    pub(crate) fn attempt(&self, account: &Account, challenge: &Challenge) -> Judgement<Value> {
        let answer = self.respond(account, challenge)?;
        if answer.status != 200 {
            return Err(Finding::Blocked(format!(
                "the challenge response: {}",
                answer.summary()
            )));
        }
        self.decided(account, &challenge.authorization)
    }

    /// Puts the right answer where the target will look for it.
    pub(crate) fn provide(&self, account: &Account, challenge: &Challenge, kind: &str) -> Judgement {
        let authorization = account.key_authorization(&challenge.token);
        match kind {
            "http-01" => self.http01()?.provide(&challenge.token, &authorization),
            "dns-01" => {
                let value = base64::url(sha256(&authorization));
                self.dns()?
                    .set_txt(&format!("_acme-challenge.{}", challenge.identifier), &[&value]);
            }
            _ => {
                let script = Script::sound(&[dns_name(&challenge.identifier)], &authorization);
                self.tls_alpn01()?.script(&challenge.identifier, script);
            }
        }
        Ok(())
    }

    /// Makes an authorization valid by whatever the run can answer.
    pub(crate) fn fulfil(&self, account: &Account, authorization: &str) -> Judgement<Value> {
        let object = self.authorization(account, authorization)?;
        if object["status"] == "valid" {
            return Ok(object);
        }
        let offered = |kind: &str| {
            object["challenges"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|one| one["type"] == kind)
        };
        let able = [
            ("http-01", self.http01.is_some()),
            ("dns-01", self.dns.is_some()),
            ("tls-alpn-01", self.tls_alpn01.is_some()),
        ];
        let Some((kind, _)) = able.into_iter().find(|(kind, able)| *able && offered(kind)) else {
            return Err(Finding::Blocked(
                "the run can answer none of the challenges offered".into(),
            ));
        };
        let challenge = self.challenge(account, authorization, kind)?;
        self.provide(account, &challenge, kind)?;
        let object = self.attempt(account, &challenge)?;
        match object["status"].as_str() {
            Some("valid") => Ok(object),
            _ => Err(Finding::Blocked(format!(
                "a right answer to {kind} did not validate: {object}"
            ))),
        }
    }

    /// An order of which every authorization is valid.
    pub(crate) fn ready_order(&self, account: &Account, names: &[String]) -> Judgement<Order> {
        self.ready_order_with(account, &json!({"identifiers": identifiers(names)}))
    }

    pub(crate) fn ready_order_with(&self, account: &Account, payload: &Value) -> Judgement<Order> {
        let order = self.order_with(account, payload)?;
        for authorization in order.authorizations() {
            self.fulfil(account, &authorization)?;
        }
        self.until(account, &order, &["ready"])
    }

    /// Waits until the order has one of these states.
    pub(crate) fn until(&self, account: &Account, order: &Order, states: &[&str]) -> Judgement<Order> {
        let settled =
            |object: &Value| states.iter().any(|state| object["status"] == *state) || object["status"] == "invalid";
        let object = self.poll(account, &order.url, settled)?;
        self.evidence.order(&order.url, &object);
        if states.iter().any(|state| object["status"] == *state) {
            return Ok(Order {
                url: order.url.clone(),
                object,
            });
        }
        Err(Finding::Blocked(format!("the order became {object}")))
    }

    /// Hands a CSR in.
    pub(crate) fn finalize(&self, account: &Account, order: &Order, csr: &[u8]) -> Judgement<Answer> {
        self.post(account, order.finalize(), &json!({"csr": base64::url(csr)}))
    }

    /// Finalizes a ready order and downloads the certificate.
    pub(crate) fn finish(
        &self,
        account: &Account,
        order: &Order,
        csr: &[u8],
        key: Key,
        names: &[String],
    ) -> Judgement<Arc<Issued>> {
        let answer = self.finalize(account, order, csr)?;
        if answer.status != 200 {
            return Err(Finding::Blocked(format!("finalize: {}", answer.summary())));
        }
        let order = self.until(account, order, &["valid"])?;
        let Some(url) = order.object["certificate"].as_str().map(str::to_owned) else {
            return Err(Finding::Fail(format!(
                "a valid order without certificate: {}",
                order.object
            )));
        };
        let answer = self.fetch(account, &url)?;
        if answer.status != 200 {
            return Err(Finding::Blocked(format!("the certificate: {}", answer.summary())));
        }
        let chain = read_chain(&answer.body).map_err(|why| {
            self.evidence.unreadable(&url, &why);
            Finding::Fail(why)
        })?;
        let issued = Issued {
            account: account.clone(),
            names: names.to_vec(),
            key,
            order,
            url,
            answer,
            chain,
        };
        let issued = Arc::new(issued);
        self.evidence.issued(issued.clone());
        Ok(issued)
    }

    /// A certificate with a P-256 key for these names.
    pub(crate) fn issue(&self, account: &Account, names: &[String]) -> Judgement<Arc<Issued>> {
        self.issue_for(account, names, Key::p256())
    }

    pub(crate) fn issue_for(&self, account: &Account, names: &[String], key: Key) -> Judgement<Arc<Issued>> {
        let order = self.ready_order(account, names)?;
        let csr = Csr::of(names).sign(&key);
        self.finish(account, &order, &csr, key, names)
    }

    /// A certificate of an order with more than identifiers in it.
    pub(crate) fn issue_with(&self, account: &Account, names: &[String], mut extra: Value) -> Judgement<Arc<Issued>> {
        extra["identifiers"] = identifiers(names);
        let order = self.ready_order_with(account, &extra)?;
        let key = Key::p256();
        let csr = Csr::of(names).sign(&key);
        self.finish(account, &order, &csr, key, names)
    }

    /// Revokes with the certificate's own key.
    pub(crate) fn revoke_by_key(&self, issued: &Issued, reason: Option<i64>) -> Judgement<Answer> {
        let mut payload = json!({"certificate": base64::url(&issued.leaf().der)});
        if let Some(reason) = reason {
            payload["reason"] = reason.into();
        }
        let url = self.url("revokeCert")?;
        self.post_as(Signer::Key(&issued.key), &url, payload.to_string().as_bytes())
    }

    /// Revokes as an account.
    pub(crate) fn revoke(&self, account: &Account, issued: &Issued, reason: Option<i64>) -> Judgement<Answer> {
        let mut payload = json!({"certificate": base64::url(&issued.leaf().der)});
        if let Some(reason) = reason {
            payload["reason"] = reason.into();
        }
        self.post(account, &self.url("revokeCert")?, &payload)
    }
}
