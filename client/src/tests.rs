//! The client against an ACME server that misbehaves in chosen ways.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use sigillo_protocol::base64url;

use crate::account::Registration;
use crate::keystore::{CertificateName, CertificateSet, ChallengeSettings, Keystore, Renewal, RenewalState};
use crate::progress::Silent;
use crate::renew::{self, Outcome};
use crate::testing::{Answer, Heard, Server};
use crate::transport::Transport;
use crate::{Client, OrderSettings};

/// How the server misbehaves, and what it has noted.
#[derive(Default)]
struct Manners {
    /// How many requests are still refused with `badNonce`.
    bad_nonces: u32,
    /// What the download of a certificate gives.
    chain: String,
    /// The renewal information, if it is offered.
    renewal_info: Option<Answer>,
    /// Whether `replaces` is refused.
    already_replaced: bool,
    /// How many nonces were given out.
    nonces: u32,
}

struct World {
    server: Server,
    transport: Transport,
    home: tempfile::TempDir,
    directory: String,
}

impl World {
    async fn new(manners: Manners) -> Self {
        let mut directory = String::new();
        let (server, transport) = Server::tls(|base| {
            directory = format!("{base}/directory");
            let manners = Mutex::new(manners);
            move |heard: &Heard| answer(&mut manners.lock().unwrap(), &base, heard)
        })
        .await;
        Self {
            server,
            transport,
            home: tempfile::tempdir().unwrap(),
            directory,
        }
    }

    fn store(&self) -> Keystore {
        Keystore::new(self.home.path())
    }

    async fn client(&self) -> Client {
        Client::connect(self.transport.clone(), &self.directory, self.store())
            .await
            .unwrap()
    }

    async fn registered(&self) -> Client {
        let client = self.client().await;
        client.register(&Registration::default(), &Silent).await.unwrap();
        client
    }

    /// Returns the requests to a path, their JWS opened: protected header and payload.
    fn posts(&self, path: &str) -> Vec<(Value, Value)> {
        let heard = self.server.heard();
        heard
            .iter()
            .filter(|heard| heard.path == path && heard.method == "POST")
            .map(open)
            .collect()
    }
}

fn open(heard: &Heard) -> (Value, Value) {
    let jws: Value = serde_json::from_slice(&heard.body).unwrap();
    let part = |name: &str| {
        let octets = base64url::decode(jws[name].as_str().unwrap()).unwrap();
        serde_json::from_slice(&octets).unwrap_or(Value::Null)
    };
    (part("protected"), part("payload"))
}

fn problem(status: u16, kind: &str) -> Answer {
    let body = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "as the test wants" });
    Answer::new(status, "application/problem+json", body.to_string())
}

fn json_answer(status: u16, body: &Value) -> Answer {
    Answer::new(status, "application/json", body.to_string())
}

fn answer(manners: &mut Manners, base: &str, heard: &Heard) -> Answer {
    manners.nonces += 1;
    let nonce = format!("nonce-{}", manners.nonces);
    if heard.method == "POST" && manners.bad_nonces > 0 {
        manners.bad_nonces -= 1;
        return problem(400, "badNonce").with("replay-nonce", format!("fresh-{}", manners.bad_nonces));
    }
    let order = |status: &str| {
        json!({ "status": status, "identifiers": [{ "type": "dns", "value": "a.example" }],
            "authorizations": [format!("{base}/authz")], "finalize": format!("{base}/finalize"),
            "certificate": (status == "valid").then(|| format!("{base}/certificate")) })
    };
    let answer = match heard.path.as_str() {
        "/directory" => {
            let mut directory = json!({ "newNonce": format!("{base}/nonce"), "newAccount": format!("{base}/account"),
                "newOrder": format!("{base}/order"), "revokeCert": format!("{base}/revoke"),
                "keyChange": format!("{base}/key") });
            if manners.renewal_info.is_some() {
                directory["renewalInfo"] = json!(format!("{base}/ari"));
            }
            json_answer(200, &directory)
        }
        "/nonce" => Answer {
            status: 200,
            ..Answer::default()
        },
        "/account" => json_answer(201, &json!({ "status": "valid" })).with("location", format!("{base}/account/1")),
        "/order" if manners.already_replaced && open(heard).1.get("replaces").is_some() => {
            problem(409, "alreadyReplaced")
        }
        "/order" => json_answer(201, &order("ready")).with("location", format!("{base}/order/1")),
        "/finalize" | "/order/1" => json_answer(200, &order("valid")),
        "/certificate" => Answer::new(200, "application/pem-certificate-chain", manners.chain.clone()),
        path if path.starts_with("/ari/") => manners.renewal_info.clone().unwrap_or_default(),
        _ => problem(404, "malformed"),
    };
    answer.with("replay-nonce", nonce)
}

/// A certificate from a CA that names its key, as ARI needs it.
fn certificate(key: &KeyPair) -> String {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(params, ca_key);
    let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    params.not_before = time::OffsetDateTime::now_utc() - time::Duration::DAY;
    params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(89);
    params.signed_by(key, &issuer).unwrap().pem()
}

#[tokio::test]
async fn c8555_6_1_03_every_request_says_who_sends_it() {
    let world = World::new(Manners::default()).await;
    world.registered().await;
    let heard = world.server.heard();
    let paths: Vec<&str> = heard.iter().map(|heard| heard.path.as_str()).collect();
    assert_eq!(paths, ["/directory", "/nonce", "/account"]);
    for request in &heard {
        let agent = request.headers["user-agent"].to_str().unwrap();
        assert!(agent.starts_with("sigillo/"), "{agent}");
        assert!(request.headers.contains_key("accept-language"));
    }
}

#[tokio::test]
async fn c8555_6_5_08_the_retry_uses_the_nonce_of_the_refusal() {
    let world = World::new(Manners {
        bad_nonces: 2,
        ..Manners::default()
    })
    .await;
    world.registered().await;
    let nonces: Vec<String> = world
        .posts("/account")
        .iter()
        .map(|(header, _)| header["nonce"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(nonces.len(), 3);
    assert_eq!(nonces[1..], ["fresh-1", "fresh-0"]);
}

#[tokio::test]
async fn a_server_that_never_takes_a_nonce_is_given_up() {
    let world = World::new(Manners {
        bad_nonces: 1000,
        ..Manners::default()
    })
    .await;
    let client = world.client().await;
    let error = client.register(&Registration::default(), &Silent).await.unwrap_err();
    assert!(error.problem().is_some(), "{error}");
    assert!(world.posts("/account").len() < 10);
}

#[tokio::test]
async fn c8555_11_4_01_a_chain_with_a_private_key_is_refused_and_not_kept() {
    let key = KeyPair::generate().unwrap();
    for chain in [
        format!("{}{}", certificate(&key), key.serialize_pem()),
        format!("{}{}", key.serialize_pem(), certificate(&key)),
        format!("{}# a comment\n", certificate(&key)),
        // For another key than the one that was made for the order.
        certificate(&key),
    ] {
        let world = World::new(Manners {
            chain,
            ..Manners::default()
        })
        .await;
        let client = world.registered().await;
        let settings = OrderSettings {
            names: vec!["a.example".parse().unwrap()],
            ..OrderSettings::default()
        };
        let error = client.order(&settings, &Vec::new(), &Silent).await.unwrap_err();
        assert!(matches!(error, crate::Error::Server { .. }), "{error}");
        assert!(world.store().certificate_names().unwrap().is_empty());
    }
}

/// Keeps a certificate whose key will be used again, so that the same chain fits its renewal.
fn keep(world: &World, key: &KeyPair, certificate: &str, state: RenewalState) -> CertificateName {
    let name: CertificateName = "a.example".parse().unwrap();
    let renewal = Renewal {
        directory: world.directory.clone(),
        ca_root: None,
        names: vec!["a.example".into()],
        challenges: ChallengeSettings::default(),
        key_type: Default::default(),
        reuse_key: true,
        profile: None,
        csr: None,
        deploy_hook: None,
        state,
    };
    let set = CertificateSet {
        certificates: vec![certificate.to_owned()],
        key: Some(zeroize::Zeroizing::new(key.serialize_pem())),
        renewal,
    };
    let store = world.store();
    store.store_certificate(&store.lock().unwrap(), &name, &set).unwrap();
    name
}

async fn look(world: &World) -> Outcome {
    let client = Arc::new(world);
    let connect = |_: Renewal| {
        let world = client.clone();
        async move { Client::connect(world.transport.clone(), &world.directory, world.store()).await }
    };
    let mut outcomes = renew::run_due(&world.store(), connect, &Silent).await.unwrap();
    outcomes.remove(0).1
}

fn window(start: SignedDuration, end: SignedDuration, retry_after: &str) -> Answer {
    let now = Timestamp::now();
    let window = json!({ "start": now + start, "end": now + end });
    json_answer(200, &json!({ "suggestedWindow": window })).with("retry-after", retry_after)
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn not_yet() -> RenewalState {
    RenewalState {
        renew_at: Some(Timestamp::now() + HOUR * 24 * 30),
        ..RenewalState::default()
    }
}

#[tokio::test]
async fn c9773_4_3_3_01_waits_for_the_window_and_asks_again_as_told() {
    let key = KeyPair::generate().unwrap();
    let certificate = certificate(&key);
    let ari = Some(window(HOUR * 24, HOUR * 48, "7200"));
    let world = World::new(Manners {
        renewal_info: ari,
        ..Manners::default()
    })
    .await;
    world.registered().await;
    let name = keep(&world, &key, &certificate, not_yet());
    assert!(matches!(look(&world).await, Outcome::NotDue(Some(_))));
    let state = world.store().require_certificate(&name).unwrap().renewal.state;
    let now = Timestamp::now();
    let (renew_in, ask_in) = (
        state.renew_at.unwrap().duration_since(now),
        state.ask_again.unwrap().duration_since(now),
    );
    assert!(renew_in > HOUR * 23 && renew_in < HOUR * 49, "{renew_in}");
    assert!(ask_in > HOUR && ask_in <= HOUR * 2, "{ask_in}");
    // Not asked again before its time, and the chosen moment stays.
    let asked = |world: &World| {
        world
            .server
            .heard()
            .iter()
            .filter(|h| h.path.starts_with("/ari/"))
            .count()
    };
    look(&world).await;
    assert_eq!(asked(&world), 1);
    assert_eq!(
        world.store().require_certificate(&name).unwrap().renewal.state.renew_at,
        state.renew_at
    );
}

#[tokio::test]
async fn c9773_4_3_3_01_a_past_window_renews_now_and_names_the_old_certificate() {
    for already_replaced in [false, true] {
        let key = KeyPair::generate().unwrap();
        let certificate = certificate(&key);
        let manners = Manners {
            chain: certificate.clone(),
            renewal_info: Some(window(-HOUR * 48, -HOUR * 24, "21600")),
            already_replaced,
            ..Manners::default()
        };
        let world = World::new(manners).await;
        world.registered().await;
        keep(&world, &key, &certificate, not_yet());
        assert!(matches!(look(&world).await, Outcome::Renewed(_)));
        let orders = world.posts("/order");
        let der = pem::parse(&certificate).unwrap().into_contents();
        assert_eq!(orders[0].1["replaces"], json!(renew::ari_identifier(&der).unwrap()));
        assert_eq!(orders.len(), if already_replaced { 2 } else { 1 });
        if already_replaced {
            assert!(
                orders[1].1.get("replaces").is_none(),
                "ordered again without a predecessor"
            );
        }
    }
}

#[tokio::test]
async fn c9773_4_3_3_01_after_a_long_term_error_it_waits_six_hours() {
    let key = KeyPair::generate().unwrap();
    for (ari, least, most) in [
        (problem(404, "malformed"), HOUR * 5, HOUR * 6),
        (json_answer(200, &json!({ "suggestedWindow": 7 })), HOUR * 5, HOUR * 6),
        (
            problem(503, "serverInternal"),
            SignedDuration::ZERO,
            SignedDuration::from_secs(61),
        ),
    ] {
        let world = World::new(Manners {
            renewal_info: Some(ari),
            ..Manners::default()
        })
        .await;
        world.registered().await;
        let name = keep(&world, &key, &certificate(&key), not_yet());
        assert!(matches!(look(&world).await, Outcome::NotDue(Some(_))));
        let state = world.store().require_certificate(&name).unwrap().renewal.state;
        let pause = state.ask_again.unwrap().duration_since(Timestamp::now());
        assert!(pause > least && pause <= most, "{pause}");
    }
}

#[tokio::test]
async fn c9773_4_3_3_01_the_revoked_is_left_alone() {
    let key = KeyPair::generate().unwrap();
    let ari = Some(window(-HOUR * 48, -HOUR * 24, "21600"));
    let world = World::new(Manners {
        renewal_info: ari,
        ..Manners::default()
    })
    .await;
    keep(
        &world,
        &key,
        &certificate(&key),
        RenewalState {
            revoked: true,
            ..not_yet()
        },
    );
    assert!(matches!(look(&world).await, Outcome::NotDue(None)));
    assert!(world.server.heard().is_empty());
}

#[test]
fn the_ari_identifier_is_the_rfcs() {
    // RFC 9773 section 4.1: the certificate of appendix A has this one.
    let key_identifier = [
        0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01,
        0xc8, 0xd4,
    ];
    let serial = [0x00, 0x87, 0x65, 0x43, 0x21];
    let made = format!("{}.{}", base64url::encode(key_identifier), base64url::encode(serial));
    assert_eq!(made, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    // A certificate with these values has this identifier.
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(key_identifier.to_vec());
    let issuer = Issuer::new(ca, ca_key);
    let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    assert_eq!(renew::ari_identifier(leaf.der()).unwrap(), made);
}
