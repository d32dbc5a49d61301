//! dns-01 through dynamic updates signed with TSIG (RFC 2136, RFC 8945).

use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use hickory_proto::op::{Message, MessageType, Query, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, RData, Record, RecordSet, RecordType, TSigner};
use serde::Deserialize;
use sigillo_protocol::acme::challenge::ChallengeType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Proof, Solver, SolverFuture};
use crate::error::{Error, Result};

/// How long one question to the name server may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);
/// How far the clocks may be apart: what RFC 8945 section 10 recommends, in seconds.
const TSIG_FUDGE: u16 = 300;
/// How long a record may be cached unless the settings say otherwise: it lives for minutes.
const TTL_DEFAULT: u32 = 60;

/// The file that describes the name server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rfc2136Settings {
    /// The address and port of the zone's primary server.
    pub server: SocketAddr,
    /// The name of the TSIG key.
    pub key: String,
    /// Its algorithm: `hmac-sha256`, `hmac-sha384` or `hmac-sha512`.
    #[serde(default = "default_algorithm")]
    pub algorithm: String,
    /// The secret, base64.
    pub secret: String,
    /// The zone; asked from the server when it is not given.
    #[serde(default)]
    pub zone: Option<String>,
    /// The records' time to live in seconds.
    #[serde(default = "default_ttl")]
    pub ttl: u32,
}

fn default_algorithm() -> String {
    "hmac-sha256".to_owned()
}

fn default_ttl() -> u32 {
    TTL_DEFAULT
}

/// Adds and removes TXT records at the zone's primary server.
pub struct Rfc2136 {
    server: SocketAddr,
    signer: TSigner,
    zone: Option<Name>,
    ttl: u32,
    wait: Duration,
}

impl Rfc2136 {
    /// Reads the settings file.
    ///
    /// # Errors
    /// When it cannot be read or something in it is wrong.
    pub fn from_file(path: &Path, wait: Duration) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::file("read", path, e))?;
        let settings = toml::from_str(&text).map_err(|e| Error::file("understand", path, e.message()))?;
        Self::new(&settings, wait)
    }

    /// Checks the settings; `wait` is how long the other servers of the zone need to follow.
    ///
    /// # Errors
    /// When a name, the algorithm or the secret is wrong.
    pub fn new(settings: &Rfc2136Settings, wait: Duration) -> Result<Self> {
        let algorithm = match settings.algorithm.as_str() {
            "hmac-sha256" => TsigAlgorithm::HmacSha256,
            "hmac-sha384" => TsigAlgorithm::HmacSha384,
            "hmac-sha512" => TsigAlgorithm::HmacSha512,
            other => {
                return Err(Error::usage(format!(
                    "the TSIG algorithm {other:?} is not one of hmac-sha256, hmac-sha384, hmac-sha512"
                )));
            }
        };
        let secret = base64::engine::general_purpose::STANDARD
            .decode(&settings.secret)
            .map_err(|_| Error::usage("the TSIG secret is not base64"))?;
        let key = absolute(&settings.key)?;
        let signer =
            TSigner::new(secret, algorithm, key, TSIG_FUDGE).map_err(|e| Error::local("cannot use the TSIG key", e))?;
        let zone = settings.zone.as_deref().map(absolute).transpose()?;
        Ok(Self {
            server: settings.server,
            signer,
            zone,
            ttl: settings.ttl,
            wait,
        })
    }

    async fn change(&self, proof: &Proof, add: bool) -> Result<()> {
        let name = absolute(&proof.subject.record_name()?)?;
        let zone = match &self.zone {
            Some(zone) => zone.clone(),
            None => self.find_zone(&name).await?,
        };
        if !zone.zone_of(&name) {
            return Err(Error::usage(format!("{name} is not in the zone {zone}")));
        }
        let text = RData::TXT(TXT::new(vec![proof.dns_value()]));
        let records = RecordSet::from(Record::from_rdata(name, self.ttl, text));
        let update = if add {
            update_message::append(records, zone, false, false)
        } else {
            update_message::delete_by_rdata(records, zone, false)
        };
        self.update(update).await
    }

    /// Sends a signed update; the answer has to be signed too.
    async fn update(&self, mut message: Message) -> Result<()> {
        let what = format!("cannot update the zone at {}", self.server);
        let now = jiff::Timestamp::now().as_second().unsigned_abs();
        let (signature, verifier) = self
            .signer
            .sign_message(&message, now)
            .map_err(|e| Error::local(&what, e))?;
        message.set_signature(signature);
        let answer = self.exchange(&what, &message).await?;
        // An error that the server could not sign (BADKEY, BADSIG) is said as such.
        let plain = Message::from_vec(&answer).map_err(|e| Error::server(&what, e))?;
        if plain.signature().is_none_or(|tsig| tsig.data.mac.is_empty()) {
            let code = plain.metadata.response_code;
            return Err(Error::server(&what, format!("the answer {code} is not signed")));
        }
        if let Some(mut verifier) = verifier {
            verifier.verify(&answer).map_err(|e| Error::server(&what, e))?;
        }
        match plain.metadata.response_code {
            ResponseCode::NoError => Ok(()),
            code => Err(Error::server(what, format!("the server answered {code}"))),
        }
    }

    /// Walks up from the record's name until the server says where the zone begins.
    async fn find_zone(&self, name: &Name) -> Result<Name> {
        let what = format!("cannot find the zone of {name} at {}", self.server);
        let mut candidate = name.base_name();
        while !candidate.is_root() {
            let mut query = Query::new();
            query.set_name(candidate.clone()).set_query_type(RecordType::SOA);
            let mut message = Message::query();
            message.add_query(query);
            let answer = self.exchange(&what, &message).await?;
            let answer = Message::from_vec(&answer).map_err(|e| Error::server(&what, e))?;
            let here = |r: &Record| r.record_type() == RecordType::SOA && r.name == candidate;
            if answer.answers.iter().any(here) {
                return Ok(candidate);
            }
            candidate = candidate.base_name();
        }
        Err(Error::local(what, "the server knows no such zone; name it with `zone`"))
    }

    /// One question and its answer over TCP, where size does not matter.
    async fn exchange(&self, what: &str, message: &Message) -> Result<Vec<u8>> {
        let question = message.to_vec().map_err(|e| Error::local(what, e))?;
        let length = u16::try_from(question.len()).map_err(|e| Error::local(what, e))?;
        let talk = async {
            let mut stream = TcpStream::connect(self.server).await?;
            stream
                .write_all(&[&length.to_be_bytes(), question.as_slice()].concat())
                .await?;
            let mut answer = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(EXCHANGE_TIMEOUT, talk)
            .await
            .map_err(|_| Error::network(what, "no answer in time"))?
            .map_err(|e| Error::network(what, e))?;
        let parsed = Message::from_vec(&answer).map_err(|e| Error::server(what, e))?;
        let ours = parsed.metadata.id == message.metadata.id
            && parsed.metadata.message_type == MessageType::Response
            && parsed.metadata.op_code == message.metadata.op_code;
        if ours {
            Ok(answer)
        } else {
            Err(Error::server(what, "the answer is to another question"))
        }
    }
}

impl Solver for Rfc2136 {
    fn kind(&self) -> ChallengeType {
        ChallengeType::Dns01
    }

    fn present<'a>(&'a self, proof: &'a Proof) -> SolverFuture<'a> {
        Box::pin(async move {
            self.change(proof, true).await?;
            tokio::time::sleep(self.wait).await;
            Ok(())
        })
    }

    fn remove<'a>(&'a self, proof: &'a Proof) -> SolverFuture<'a> {
        Box::pin(self.change(proof, false))
    }
}

fn absolute(text: &str) -> Result<Name> {
    let mut name = Name::from_str(text).map_err(|e| Error::usage(format!("{text:?} is no DNS name: {e}")))?;
    name.set_fqdn(true);
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solver::{Subject, Token};
    use hickory_proto::op::{OpCode, UpdateMessage};
    use hickory_proto::rr::TSigResponseContext;
    use std::sync::{Arc, Mutex};
    use tokio::net::TcpListener;

    const SECRET: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0";

    fn settings(server: SocketAddr) -> Rfc2136Settings {
        Rfc2136Settings {
            server,
            key: "update-key".into(),
            algorithm: default_algorithm(),
            secret: SECRET.into(),
            zone: None,
            ttl: TTL_DEFAULT,
        }
    }

    /// A primary server for a.example that verifies, remembers and signs with the given key.
    async fn primary(key: TSigner) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut question).await.unwrap();
                let answer = answer(&key, &question, &log);
                let length = (answer.len() as u16).to_be_bytes();
                stream.write_all(&length).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        (address, seen)
    }

    fn answer(key: &TSigner, question: &[u8], log: &Mutex<Vec<String>>) -> Vec<u8> {
        let message = Message::from_vec(question).unwrap();
        let mut reply = Message::response(message.metadata.id, message.metadata.op_code);
        if message.metadata.op_code == OpCode::Query {
            let query = message.queries[0].clone();
            if query.name().to_string() == "a.example." {
                let soa = hickory_proto::rr::rdata::SOA::new(query.name().clone(), query.name().clone(), 1, 1, 1, 1, 1);
                reply.add_answer(Record::from_rdata(query.name().clone(), 1, RData::SOA(soa)));
            }
            return reply.to_vec().unwrap();
        }
        let now = jiff::Timestamp::now().as_second() as u64;
        let Ok((mac, _, _)) = key.verify_message_byte(question, None, true) else {
            reply.metadata.response_code = ResponseCode::NotAuth;
            return reply.to_vec().unwrap();
        };
        for record in message.updates() {
            log.lock()
                .unwrap()
                .push(format!("{} {} {}", record.dns_class, record.name, record.data));
        }
        let unsigned = reply.to_vec().unwrap();
        let context = TSigResponseContext::new(message.metadata.id, now, key.clone(), mac, None);
        reply.set_signature(context.sign(&unsigned).unwrap());
        reply.to_vec().unwrap()
    }

    fn proof() -> Proof {
        Proof {
            subject: Subject::Dns("www.a.example".into()),
            token: Token::parse("tok").unwrap(),
            key_authorization: "tok.thumb".into(),
        }
    }

    #[tokio::test]
    async fn adds_and_removes_exactly_its_own_value() {
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let key = Rfc2136::new(&settings(address), Duration::ZERO).unwrap().signer;
        let (address, seen) = primary(key).await;
        let solver = Rfc2136::new(&settings(address), Duration::ZERO).unwrap();
        solver.present(&proof()).await.unwrap();
        solver.remove(&proof()).await.unwrap();
        let record = "_acme-challenge.www.a.example.";
        let value = proof().dns_value();
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen, [format!("IN {record} {value}"), format!("NONE {record} {value}")]);
    }

    #[tokio::test]
    async fn an_answer_under_another_key_is_refused() {
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let mut other = settings(address);
        other.secret = "b3RoZXIgb3RoZXIgb3RoZXI=".into();
        let (address, seen) = primary(Rfc2136::new(&other, Duration::ZERO).unwrap().signer).await;
        let solver = Rfc2136::new(&settings(address), Duration::ZERO).unwrap();
        let error = solver.present(&proof()).await.unwrap_err().to_string();
        assert!(error.contains("not signed"), "{error}");
        assert!(seen.lock().unwrap().is_empty());
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let good = settings("127.0.0.1:53".parse().unwrap());
        let md5 = Rfc2136Settings {
            algorithm: "hmac-md5".into(),
            ..good.clone()
        };
        assert!(Rfc2136::new(&md5, Duration::ZERO).is_err());
        let secret = Rfc2136Settings {
            secret: "§".into(),
            ..good
        };
        assert!(Rfc2136::new(&secret, Duration::ZERO).is_err());
        assert!(toml::from_str::<Rfc2136Settings>("server='1.2.3.4:53'\nkeys='x'").is_err());
    }
}
