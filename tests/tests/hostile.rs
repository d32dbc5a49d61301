//! Requests with one fault each: the right refusal, a server that lives on, and nothing stored.

use std::path::Path;

use serde_json::{Value, json};
use sigillo_tests::acme::{AccountKey, Acme, base64url, problem, request};
use sigillo_tests::daemon::Daemon;
use sigillo_tests::http::Response;
use sigillo_tests::judge::{Papers, openssl};
use sigillo_tests::random::Random;
use sigillo_tests::webroot::Webroot;

/// Adds every fault to a list, so that one run shows all of them.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn note(&mut self, fault: String) {
        eprintln!("{fault}");
        self.0.push(fault);
    }

    /// Compares an answer with what the RFCs allow.
    fn compare(&mut self, name: &str, answer: &Response, statuses: &[u16], problems: &[&str]) {
        let kind = problem(answer);
        if !statuses.contains(&answer.status) || !problems.contains(&kind.as_str()) {
            self.note(format!(
                "{name}: {} {}, not {statuses:?} {problems:?}",
                answer.status,
                answer.text()
            ));
        }
        if answer.header("content-type") != Some("application/problem+json") {
            self.note(format!("{name}: content type {:?}", answer.header("content-type")));
        }
    }

    #[track_caller]
    fn none(self) {
        assert!(self.0.is_empty(), "{} faults:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// What the store holds, as far as a request can change it.
fn counts(daemon: &Daemon) -> [usize; 3] {
    ["accounts", "orders", "certs"].map(|what| {
        daemon
            .admin_json(&[what, "list"])
            .as_array()
            .map_or(usize::MAX, Vec::len)
    })
}

const ORDER: &str = r#"{"identifiers":[{"type":"dns","value":"hostile.test"}]}"#;
const REFUSED: &[u16] = &[400];
const FORBIDDEN: &[u16] = &[401, 403];

/// A change to a correct request for a new order: gets the account and the protected header.
type Craft = fn(&Acme, Value) -> Vec<u8>;

fn signed(acme: &Acme, header: &Value) -> Value {
    acme.key.jws(&header.to_string(), ORDER.as_bytes())
}

/// Signs a correct header and changes the JWS afterwards.
fn altered(acme: &Acme, header: &Value, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut jws = signed(acme, header);
    change(&mut jws);
    jws.to_string().into_bytes()
}

/// Changes the header and signs it as it then is.
fn headed(acme: &Acme, mut header: Value, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    change(&mut header);
    signed(acme, &header).to_string().into_bytes()
}

/// Signs a protected header that is given as text.
fn texted(acme: &Acme, header: &str) -> Vec<u8> {
    acme.key.jws(header, ORDER.as_bytes()).to_string().into_bytes()
}

fn remove(value: &mut Value, member: &str) {
    value.as_object_mut().expect("invariant: an object").remove(member);
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_default().to_owned()
}

/// The faults of a JWS: name, allowed statuses, allowed problems, how it is made.
const JWS: &[(&str, &[u16], &[&str], Craft)] = &[
    ("J1 alg none", REFUSED, &["badSignatureAlgorithm"], |a, h| {
        headed(a, h, |h| h["alg"] = "none".into())
    }),
    (
        "J1 alg none without signature",
        REFUSED,
        &["badSignatureAlgorithm", "malformed"],
        |a, mut h| {
            h["alg"] = "none".into();
            altered(a, &h, |jws| jws["signature"] = "".into())
        },
    ),
    ("J2 a MAC", REFUSED, &["badSignatureAlgorithm"], |a, h| {
        headed(a, h, |h| h["alg"] = "HS256".into())
    }),
    ("an unknown alg", REFUSED, &["badSignatureAlgorithm"], |a, h| {
        headed(a, h, |h| h["alg"] = "ES256K".into())
    }),
    ("alg in lower case", REFUSED, &["badSignatureAlgorithm"], |a, h| {
        headed(a, h, |h| h["alg"] = "es256".into())
    }),
    (
        "alg of another key",
        REFUSED,
        &["badPublicKey", "malformed", "badSignatureAlgorithm"],
        |a, h| headed(a, h, |h| h["alg"] = "RS256".into()),
    ),
    ("alg no text", REFUSED, &["malformed"], |a, h| {
        headed(a, h, |h| h["alg"] = 256.into())
    }),
    ("no alg", REFUSED, &["malformed", "badSignatureAlgorithm"], |a, h| {
        headed(a, h, |h| remove(h, "alg"))
    }),
    ("J3 jwk besides kid", REFUSED, &["malformed"], |a, h| {
        headed(a, h, |h| h["jwk"] = a.key.jwk())
    }),
    ("J3 jwk where kid belongs", REFUSED, &["malformed"], |a, h| {
        headed(a, h, |h| {
            remove(h, "kid");
            h["jwk"] = a.key.jwk();
        })
    }),
    ("neither jwk nor kid", REFUSED, &["malformed"], |a, h| {
        headed(a, h, |h| remove(h, "kid"))
    }),
    ("a foreign jwk", REFUSED, &["malformed"], |_, mut h| {
        let stranger = AccountKey::generate();
        remove(&mut h, "kid");
        h["jwk"] = stranger.jwk();
        stranger.jws(&h.to_string(), ORDER.as_bytes()).to_string().into_bytes()
    }),
    (
        "J11 signed by a stranger",
        &[400, 401, 403],
        &["malformed", "unauthorized"],
        |_, h| {
            AccountKey::generate()
                .jws(&h.to_string(), ORDER.as_bytes())
                .to_string()
                .into_bytes()
        },
    ),
    ("a kid that is nobody", REFUSED, &["accountDoesNotExist"], |a, h| {
        headed(a, h, |h| h["kid"] = format!("{}x", a.kid).into())
    }),
    ("a kid of another server", REFUSED, &["accountDoesNotExist"], |a, h| {
        headed(a, h, |h| h["kid"] = "https://elsewhere.test/acme/account/1".into())
    }),
    ("a kid that is no text", REFUSED, &["malformed"], |a, h| {
        headed(a, h, |h| h["kid"] = json!([1]))
    }),
    (
        "an empty kid",
        REFUSED,
        &["malformed", "accountDoesNotExist"],
        |a, h| headed(a, h, |h| h["kid"] = "".into()),
    ),
    ("no nonce", REFUSED, &["badNonce"], |a, h| {
        headed(a, h, |h| remove(h, "nonce"))
    }),
    ("a nonce of another server", REFUSED, &["badNonce"], |a, h| {
        headed(a, h, |h| h["nonce"] = base64url([7; 32]).into())
    }),
    ("a nonce that is not base64url", REFUSED, &["malformed"], |a, h| {
        headed(a, h, |h| h["nonce"] = "not/base64+".into())
    }),
    ("a nonce that is no text", REFUSED, &["malformed"], |a, h| {
        headed(a, h, |h| h["nonce"] = 1.into())
    }),
    ("no url", REFUSED, &["malformed"], |a, h| {
        headed(a, h, |h| remove(h, "url"))
    }),
    ("J10 url of another resource", FORBIDDEN, &["unauthorized"], |a, h| {
        headed(a, h, |h| h["url"] = a.url("newAccount").into())
    }),
    ("J10 url with another host", FORBIDDEN, &["unauthorized"], |a, h| {
        headed(a, h, |h| h["url"] = "https://evil.test/acme/new-order".into())
    }),
    ("url with a query", FORBIDDEN, &["unauthorized"], |a, h| {
        headed(a, h, |h| h["url"] = format!("{}?x", text(h, "url")).into())
    }),
    ("J15 crit", REFUSED, &["malformed"], |a, h| {
        headed(a, h, |h| h["crit"] = json!(["url"]))
    }),
    ("J15 b64 false", REFUSED, &["malformed"], |a, h| {
        headed(a, h, |h| {
            h["b64"] = false.into();
            h["crit"] = json!(["b64"]);
        })
    }),
    ("J15 b64 without crit", REFUSED, &["malformed"], |a, h| {
        headed(a, h, |h| h["b64"] = false.into())
    }),
    ("J15 an unprotected header", REFUSED, &["malformed"], |a, h| {
        altered(a, &h, |jws| jws["header"] = json!({"kid": "x"}))
    }),
    ("J15 a detached payload", REFUSED, &["malformed"], |a, h| {
        altered(a, &h, |jws| remove(jws, "payload"))
    }),
    ("J15 a null payload", REFUSED, &["malformed"], |a, h| {
        altered(a, &h, |jws| jws["payload"] = Value::Null)
    }),
    ("J5 general serialization", REFUSED, &["malformed"], |a, h| {
        altered(a, &h, |jws| {
            let one = json!({"protected": jws["protected"], "signature": jws["signature"]});
            *jws = json!({"payload": jws["payload"], "signatures": [one]});
        })
    }),
    ("J5 signatures besides a signature", REFUSED, &["malformed"], |a, h| {
        altered(a, &h, |jws| jws["signatures"] = json!([]))
    }),
    ("compact serialization", REFUSED, &["malformed"], |a, h| {
        let jws = signed(a, &h);
        let parts = ["protected", "payload", "signature"].map(|member| text(&jws, member));
        parts.join(".").into_bytes()
    }),
    ("no signature", REFUSED, &["malformed"], |a, h| {
        altered(a, &h, |jws| remove(jws, "signature"))
    }),
    (
        "an empty signature",
        &[400, 401, 403],
        &["malformed", "unauthorized"],
        |a, h| altered(a, &h, |jws| jws["signature"] = "".into()),
    ),
    (
        "J4 r = s = 0",
        &[400, 401, 403],
        &["malformed", "unauthorized"],
        |a, h| altered(a, &h, |jws| jws["signature"] = base64url([0; 64]).into()),
    ),
    (
        "a short signature",
        &[400, 401, 403],
        &["malformed", "unauthorized"],
        |a, h| altered(a, &h, |jws| jws["signature"] = base64url([1; 63]).into()),
    ),
    (
        "a signature over something else",
        &[400, 401, 403],
        &["malformed", "unauthorized"],
        |a, h| {
            altered(a, &h, |jws| {
                jws["signature"] = base64url(a.key.sign(b"something else")).into()
            })
        },
    ),
    (
        "another payload under the signature",
        &[400, 401, 403],
        &["malformed", "unauthorized"],
        |a, h| {
            altered(a, &h, |jws| {
                jws["payload"] = base64url(ORDER.replace("hostile", "other")).into()
            })
        },
    ),
    ("J14 padding", REFUSED, &["malformed"], |a, h| {
        altered(a, &h, |jws| {
            jws["signature"] = format!("{}==", text(jws, "signature")).into()
        })
    }),
    ("J14 a line break", REFUSED, &["malformed"], |a, h| {
        altered(a, &h, |jws| {
            jws["signature"] = format!("{}\n", text(jws, "signature")).into()
        })
    }),
    ("J14 spare bits", REFUSED, &["malformed"], |a, h| {
        // 64 octets leave 4 spare bits in the last character, which must be zero.
        altered(a, &h, |jws| {
            let mut signature = text(jws, "signature");
            let last = signature.pop().expect("invariant: a signature");
            let next = char::from(u8::try_from(last).expect("invariant: ASCII") + 1);
            signature.push(next);
            jws["signature"] = signature.into();
        })
    }),
    ("J14 the other alphabet", REFUSED, &["malformed"], |a, h| {
        altered(a, &h, |jws| jws["payload"] = "e30+/w".into())
    }),
    ("J13 a header member twice", REFUSED, &["malformed"], |a, h| {
        let header = h.to_string();
        texted(a, &format!("{},\"alg\":\"ES256\"}}", &header[..header.len() - 1]))
    }),
    (
        "J13 a header member twice, once escaped",
        REFUSED,
        &["malformed"],
        |a, h| {
            let header = h.to_string();
            texted(a, &format!("{},\"\\u0061lg\":\"none\"}}", &header[..header.len() - 1]))
        },
    ),
    ("J13 a JWS member twice", REFUSED, &["malformed"], |a, h| {
        let jws = signed(a, &h).to_string();
        format!("{},\"payload\":\"e30\"}}", &jws[..jws.len() - 1]).into_bytes()
    }),
    ("bytes behind the JWS", REFUSED, &["malformed"], |a, h| {
        format!("{}x", signed(a, &h)).into_bytes()
    }),
    ("bytes behind the header", REFUSED, &["malformed"], |a, h| {
        texted(a, &format!("{h}x"))
    }),
    ("a header that is a list", REFUSED, &["malformed"], |a, _| {
        texted(a, "[]")
    }),
    ("a header that is no JSON", REFUSED, &["malformed"], |a, _| {
        texted(a, "{alg:ES256}")
    }),
    ("an empty header", REFUSED, &["malformed"], |a, _| texted(a, "")),
    ("an empty body", REFUSED, &["malformed"], |_, _| Vec::new()),
    ("a null body", REFUSED, &["malformed"], |_, _| b"null".to_vec()),
    ("a body that is not UTF-8", REFUSED, &["malformed"], |_, _| {
        vec![0xff, 0xfe, b'{', b'}']
    }),
    ("a byte order mark", REFUSED, &["malformed"], |a, h| {
        format!("\u{feff}{}", signed(a, &h)).into_bytes()
    }),
    ("H4 a deep body", REFUSED, &["malformed"], |_, _| {
        [b"[".repeat(5_000), b"]".repeat(5_000)].concat()
    }),
    ("H4 a deep header", REFUSED, &["malformed"], |a, h| {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let header = h.to_string();
        texted(a, &format!("{},\"x\":{deep}}}", &header[..header.len() - 1]))
    }),
    ("J8 a huge body", &[413], &["malformed"], |_, _| {
        b"{\"payload\":\""
            .iter()
            .copied()
            .chain(std::iter::repeat_n(b'A', 1 << 20))
            .collect()
    }),
];

#[test]
fn refuses_each_fault_of_a_jws() {
    let mut daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    let url = acme.url("newOrder");
    let before = counts(&daemon);
    let mut faults = Faults::default();
    for (name, statuses, problems, craft) in JWS {
        let header = acme.protected(&acme.nonce().unwrap(), &url);
        match acme.send(&url, &craft(&acme, header)) {
            Ok(answer) => {
                faults.compare(name, &answer, statuses, problems);
                if problems == &["badSignatureAlgorithm"] && !answer.json()["algorithms"].is_array() {
                    faults.note(format!("{name}: no list of algorithms"));
                }
                if answer.status != 413 && answer.header("replay-nonce").is_none() {
                    faults.note(format!("{name}: an error without a fresh nonce"));
                }
            }
            Err(error) => faults.note(format!("{name}: {error}")),
        }
    }
    // J12: a nonce is used up by the first request, also when that one is refused.
    let header = acme.protected(&acme.nonce().unwrap(), &url);
    let bad = altered(&acme, &header, |jws| jws["signature"] = base64url([1; 64]).into());
    acme.send(&url, &bad).unwrap();
    let again = acme.send(&url, signed(&acme, &header).to_string().as_bytes()).unwrap();
    faults.compare("J12 a nonce of a refused request", &again, REFUSED, &["badNonce"]);
    assert!(daemon.alive(), "{}", daemon.log());
    assert_eq!(counts(&daemon), before, "a refused request left something behind");
    // The request without a fault is taken: the refusals above were for the fault.
    assert_eq!(acme.post(&url, ORDER.as_bytes()).unwrap().status, 201);
    faults.none();
}

#[test]
fn refuses_wrong_methods_and_media_types() {
    let mut daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    let url = acme.url("newOrder");
    let before = counts(&daemon);
    for kind in ["application/json", "text/plain", "application/jose", ""] {
        let header = acme.protected(&acme.nonce().unwrap(), &url);
        let body = signed(&acme, &header).to_string();
        let answer = acme
            .http
            .request("POST", &url, &[("Content-Type", kind)], body.as_bytes())
            .unwrap();
        assert_eq!(answer.status, 415, "{kind}: {}", answer.text());
    }
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        assert_eq!(
            acme.http.request(method, &url, &[], b"").unwrap().status,
            405,
            "{method}"
        );
    }
    assert_eq!(
        acme.http.get(&acme.kid).unwrap().status,
        405,
        "an account is not shown to a GET"
    );
    assert!(daemon.alive());
    assert_eq!(counts(&daemon), before);
}

/// Payloads for a new order that are signed rightly.
fn orders() -> Vec<(&'static str, String, &'static [&'static str])> {
    const NAME: &[&str] = &["malformed", "rejectedIdentifier", "unsupportedIdentifier"];
    let dns = |value: &str| json!({"identifiers": [{"type": "dns", "value": value}]}).to_string();
    let ip = |value: &str| json!({"identifiers": [{"type": "ip", "value": value}]}).to_string();
    let long_label = format!("{}.test", "a".repeat(64));
    let long_name = format!("{}test", "abcdefgh.".repeat(28));
    let many: Vec<Value> = (0..1_000)
        .map(|n| json!({"type": "dns", "value": format!("n{n}.test")}))
        .collect();
    vec![
        ("an empty payload", String::new(), &["malformed"]),
        ("no identifiers", "{}".into(), &["malformed"]),
        ("an empty list", r#"{"identifiers":[]}"#.into(), &["malformed"]),
        ("a list as payload", "[]".into(), &["malformed"]),
        (
            "a text as identifiers",
            r#"{"identifiers":"a.test"}"#.into(),
            &["malformed"],
        ),
        ("no value", r#"{"identifiers":[{"type":"dns"}]}"#.into(), &["malformed"]),
        (
            "a number as value",
            r#"{"identifiers":[{"type":"dns","value":1}]}"#.into(),
            &["malformed"],
        ),
        (
            "J13 a member twice",
            r#"{"identifiers":[{"type":"dns","value":"a.test","value":"b.test"}]}"#.into(),
            &["malformed"],
        ),
        (
            "H4 a deep payload",
            format!("{}{}", "[".repeat(500), "]".repeat(500)),
            &["malformed"],
        ),
        (
            "an unknown type",
            r#"{"identifiers":[{"type":"email","value":"a@b.test"}]}"#.into(),
            &["unsupportedIdentifier"],
        ),
        ("an address as dns", dns("127.0.0.1"), NAME),
        ("N2 an empty label", dns("a..test"), NAME),
        ("N2 a leading dot", dns(".test"), NAME),
        ("N2 an empty name", dns(""), NAME),
        ("N2 a trailing dot", dns("a.test."), NAME),
        ("N2 a leading hyphen", dns("-a.test"), NAME),
        ("N2 a trailing hyphen", dns("a-.test"), NAME),
        ("N2 an underscore", dns("a_b.test"), NAME),
        ("N2 a long label", dns(&long_label), NAME),
        ("N2 a long name", dns(&long_name), NAME),
        ("N2 a numeric top label", dns("a.123"), NAME),
        ("N2 bad punycode", dns("xn--0.test"), NAME),
        ("N2 not ASCII", dns("bücher.test"), NAME),
        ("N3 the Kelvin sign", dns("\u{212a}.test"), NAME),
        ("N1 a NUL", dns("a.test\u{0}.evil.test"), NAME),
        ("N1 a line break", dns("a.test\n"), NAME),
        ("N1 a blank", dns(" a.test"), NAME),
        ("a bare star", dns("*"), NAME),
        ("two stars", dns("*.*.test"), NAME),
        ("a star inside", dns("a.*.test"), NAME),
        ("a star in a label", dns("a*.test"), NAME),
        ("a URL", dns("https://a.test/"), NAME),
        ("an address out of range", ip("300.1.1.1"), NAME),
        ("an address with leading zeros", ip("010.1.1.1"), NAME),
        ("an address with a zone", ip("fe80::1%eth0"), NAME),
        ("an address not in RFC 5952's form", ip("2001:DB8:0:0::1"), NAME),
        ("a name as address", ip("a.test"), NAME),
        (
            "a bad notBefore",
            r#"{"identifiers":[{"type":"dns","value":"a.test"}],"notBefore":"soon"}"#.into(),
            &["malformed"],
        ),
        (
            "an unknown profile",
            r#"{"identifiers":[{"type":"dns","value":"a.test"}],"profile":"nonsense"}"#.into(),
            &["invalidProfile"],
        ),
        (
            "a bad replaces",
            r#"{"identifiers":[{"type":"dns","value":"a.test"}],"replaces":"nonsense"}"#.into(),
            &["malformed"],
        ),
        (
            "too many names",
            json!({"identifiers": many}).to_string(),
            &["malformed", "rejectedIdentifier", "rateLimited"],
        ),
    ]
}

#[test]
fn refuses_each_fault_of_an_order() {
    let mut daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    let before = counts(&daemon);
    let mut faults = Faults::default();
    for (name, payload, problems) in orders() {
        match acme.post(&acme.url("newOrder"), payload.as_bytes()) {
            Ok(answer) => faults.compare(name, &answer, &[400, 403, 413, 429], problems),
            Err(error) => faults.note(format!("{name}: {error}")),
        }
    }
    assert!(daemon.alive(), "{}", daemon.log());
    assert_eq!(counts(&daemon), before, "a refused order was stored");
    faults.none();
}

/// Keys that must not become accounts.
fn keys(honest: &Value) -> Vec<(&'static str, Value, &'static [&'static str])> {
    const KEY: &[&str] = &["badPublicKey", "malformed"];
    const ANY: &[&str] = &["badPublicKey", "malformed", "badSignatureAlgorithm"];
    let with = |member: &str, value: Value| {
        let mut jwk = honest.clone();
        jwk[member] = value;
        jwk
    };
    let rsa = |octets: usize, last: u8, exponent: &str| {
        let mut modulus = vec![0xc5; octets];
        modulus[octets - 1] = last;
        json!({"kty": "RSA", "n": base64url(modulus), "e": exponent})
    };
    vec![
        ("J6 a point off the curve", with("y", base64url([1; 32]).into()), KEY),
        ("J6 the point at infinity", with("x", base64url([0; 32]).into()), KEY),
        ("a short coordinate", with("x", base64url([1; 31]).into()), KEY),
        ("a long coordinate", with("x", base64url([1; 33]).into()), KEY),
        ("another curve's name", with("crv", "P-384".into()), ANY),
        ("an unknown curve", with("crv", "secp256k1".into()), ANY),
        ("a private member", with("d", base64url([1; 32]).into()), KEY),
        (
            "no x",
            {
                let mut jwk = honest.clone();
                remove(&mut jwk, "x");
                jwk
            },
            KEY,
        ),
        (
            "J2 a shared secret",
            json!({"kty": "oct", "k": base64url([1; 32])}),
            ANY,
        ),
        (
            "J18 a low order point",
            json!({"kty": "OKP", "crv": "Ed25519", "x": base64url([0; 32])}),
            ANY,
        ),
        ("an unknown type", json!({"kty": "PQ", "x": ""}), ANY),
        ("a text as jwk", json!("key"), KEY),
        ("J16 RSA of 1024 bits", rsa(128, 0xc5, "AQAB"), ANY),
        ("J16 RSA with e = 1", rsa(256, 0xc5, "AQ"), ANY),
        ("J16 RSA with an even modulus", rsa(256, 0xc4, "AQAB"), ANY),
        ("J17 RSA of 32768 bits", rsa(4096, 0xc5, "AQAB"), ANY),
        (
            "RSA with a leading zero",
            json!({"kty": "RSA", "n": base64url([0; 256]), "e": "AQAB"}),
            ANY,
        ),
    ]
}

#[test]
fn refuses_each_bad_account() {
    const AGREED: &str = r#"{"termsOfServiceAgreed":true}"#;
    let mut daemon = Daemon::start();
    let mut acme = daemon.register().unwrap();
    let url = acme.url("newAccount");
    let before = counts(&daemon);
    let mut faults = Faults::default();
    for (name, jwk, problems) in keys(&acme.key.jwk()) {
        let alg = match jwk["kty"].as_str() {
            Some("RSA") => "RS256",
            Some("OKP") => "EdDSA",
            Some("oct") => "HS256",
            _ => "ES256",
        };
        let header = json!({"alg": alg, "nonce": acme.nonce().unwrap(), "url": url, "jwk": jwk});
        let body = acme.key.jws(&header.to_string(), AGREED.as_bytes()).to_string();
        match acme.send(&url, body.as_bytes()) {
            Ok(answer) => faults.compare(name, &answer, REFUSED, problems),
            Err(error) => faults.note(format!("{name}: {error}")),
        }
    }
    let with_kid = acme.post(&url, AGREED.as_bytes()).unwrap();
    faults.compare("kid at newAccount", &with_kid, REFUSED, &["malformed"]);
    // From here on as a stranger who shows a correct key.
    acme.key = AccountKey::generate();
    acme.kid.clear();
    const CONTACT: &[&str] = &["invalidContact", "unsupportedContact", "malformed"];
    for (name, payload, problems) in [
        ("an empty payload", "", &["malformed"][..]),
        ("a null payload", "null", &["malformed"]),
        (
            "a member twice",
            r#"{"termsOfServiceAgreed":true,"termsOfServiceAgreed":false}"#,
            &["malformed"],
        ),
        (
            "an unsupported contact",
            r#"{"contact":["tel:+391234"]}"#,
            &["unsupportedContact"],
        ),
        (
            "a contact with header fields",
            r#"{"contact":["mailto:a@b.test?subject=x"]}"#,
            CONTACT,
        ),
        (
            "a contact of two",
            r#"{"contact":["mailto:a@b.test,c@d.test"]}"#,
            CONTACT,
        ),
        ("a contact without domain", r#"{"contact":["mailto:a"]}"#, CONTACT),
        (
            "a contact with a line break",
            r#"{"contact":["mailto:a@b.test\r\nBcc: c"]}"#,
            CONTACT,
        ),
        ("contact no list", r#"{"contact":"mailto:a@b.test"}"#, &["malformed"]),
        (
            "nobody to return",
            r#"{"onlyReturnExisting":true}"#,
            &["accountDoesNotExist"],
        ),
    ] {
        match acme.post(&url, payload.as_bytes()) {
            Ok(answer) => faults.compare(name, &answer, REFUSED, problems),
            Err(error) => faults.note(format!("{name}: {error}")),
        }
    }
    assert!(daemon.alive(), "{}", daemon.log());
    assert_eq!(counts(&daemon), before, "a refused account was stored");
    faults.none();
}

/// Makes a CSR with OpenSSL; returns its DER.
fn openssl_request(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let (key, out) = (folder.join("openssl.key"), folder.join("openssl.csr"));
    let fixed = ["req", "-new", "-nodes", "-outform", "DER"];
    let all: Vec<&str> = fixed
        .into_iter()
        .chain(arguments.iter().copied())
        .chain(["-keyout"])
        .collect();
    openssl(&all, &[&key, Path::new("-out"), &out]).succeeded();
    std::fs::read(out).unwrap()
}

const SAN: &str = "subjectAltName=DNS:csr.test";
const P256: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

#[test]
fn refuses_each_fault_of_a_csr_and_keeps_the_order_ready() {
    let mut daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let (url, order) = acme.new_order(&["csr.test"]).unwrap();
    acme.prove(&order, &webroot).unwrap();
    assert_eq!(acme.wait(&url, "pending").unwrap()["status"], "ready");
    let before = counts(&daemon);
    let folder = daemon.scratch().to_owned();
    let make = |extra: &[&str]| openssl_request(&folder, extra);
    let p256 = |extra: &[&str]| make(&[&P256, extra].concat());
    let good = request(&["csr.test"]).0;
    let flipped = |at: usize| {
        let mut der = good.clone();
        let at = if at == usize::MAX { der.len() - 1 } else { at };
        der[at] ^= 1;
        der
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("no DER", b"-----BEGIN".to_vec()),
        ("half a request", good[..good.len() / 2].to_vec()),
        ("bytes behind the request", [good.as_slice(), b"x"].concat()),
        ("N6 a signature by nobody", flipped(usize::MAX)),
        ("another version", {
            // SEQUENCE, SEQUENCE, then INTEGER 0 is the version.
            let at = good.windows(3).position(|w| w == [2, 1, 0]).unwrap() + 2;
            flipped(at)
        }),
        ("A3 a name too many", request(&["csr.test", "more.test"]).0),
        ("A3 another name", request(&["other.test"]).0),
        ("A3 no name", p256(&["-subj", "/O=nobody"])),
        ("N4 another CN", p256(&["-subj", "/CN=other.test", "-addext", SAN])),
        ("a wildcard", request(&["*.csr.test"]).0),
        ("an address", request(&["csr.test", "127.0.0.1"]).0),
        (
            "an e-mail address",
            p256(&["-subj", "/", "-addext", "subjectAltName=DNS:csr.test,email:a@csr.test"]),
        ),
        (
            "a directory name",
            p256(&[
                "-subj",
                "/",
                "-addext",
                "subjectAltName=DNS:csr.test,URI:https://csr.test/",
            ]),
        ),
        (
            "J16 RSA of 1024 bits",
            make(&["-newkey", "rsa:1024", "-subj", "/", "-addext", SAN]),
        ),
        (
            "an unsupported curve",
            make(&[
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:secp256k1",
                "-subj",
                "/",
                "-addext",
                SAN,
            ]),
        ),
        (
            "SHA-1",
            make(&["-newkey", "rsa:2048", "-sha1", "-subj", "/", "-addext", SAN]),
        ),
        (
            "N10 a deep request",
            [[0x30, 0x80].repeat(2_000), vec![0; 4_000]].concat(),
        ),
        (
            "N10 a lying length",
            [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &good].concat(),
        ),
    ];
    let finalize = order["finalize"].as_str().unwrap();
    let mut faults = Faults::default();
    for (name, csr) in cases {
        let payload = json!({"csr": base64url(csr)}).to_string();
        match acme.post(finalize, payload.as_bytes()) {
            Ok(answer) => faults.compare(name, &answer, REFUSED, &["badCSR", "badPublicKey", "malformed"]),
            Err(error) => faults.note(format!("{name}: {error}")),
        }
    }
    for (name, payload) in [
        ("no csr", "{}".to_owned()),
        ("an empty payload", String::new()),
        ("padding", json!({"csr": format!("{}=", base64url(&good))}).to_string()),
        ("PEM", json!({"csr": "-----BEGIN CERTIFICATE REQUEST-----"}).to_string()),
    ] {
        match acme.post(finalize, payload.as_bytes()) {
            Ok(answer) => faults.compare(name, &answer, REFUSED, &["badCSR", "malformed"]),
            Err(error) => faults.note(format!("{name}: {error}")),
        }
    }
    let stranger = daemon.register().unwrap();
    let payload = json!({"csr": base64url(&good)}).to_string();
    let answer = stranger.post(finalize, payload.as_bytes()).unwrap();
    faults.compare(
        "another account's order",
        &answer,
        &[401, 403, 404],
        &["unauthorized", "malformed"],
    );
    assert!(daemon.alive(), "{}", daemon.log());
    let after = counts(&daemon);
    assert_eq!(
        [after[0] - 1, after[1], after[2]],
        before,
        "a refused CSR left something behind"
    );
    assert_eq!(acme.read(&url).unwrap().json()["status"], "ready");
    let answer = acme.post(finalize, payload.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "the honest request: {}", answer.text());
    let again = acme.post(finalize, payload.as_bytes()).unwrap();
    faults.compare("A9 a second finalize", &again, &[403], &["orderNotReady"]);
    faults.none();
}

#[test]
fn takes_nothing_from_a_csr_but_key_and_names() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let (url, order) = acme.new_order(&["csr.test"]).unwrap();
    acme.prove(&order, &webroot).unwrap();
    acme.wait(&url, "pending").unwrap();
    let greedy = openssl_request(
        daemon.scratch(),
        &[
            P256[0],
            P256[1],
            P256[2],
            P256[3],
            "-subj",
            "/CN=csr.test/O=Somebody Else",
            "-addext",
            SAN,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=keyCertSign,cRLSign",
            "-addext",
            "extendedKeyUsage=OCSPSigning",
        ],
    );
    let finalize = order["finalize"].as_str().unwrap();
    let answer = acme
        .post(finalize, json!({"csr": base64url(greedy)}).to_string().as_bytes())
        .unwrap();
    if answer.status != 200 {
        assert_eq!(problem(&answer), "badCSR", "{}", answer.text());
        return;
    }
    let done = acme.wait(&url, "processing").unwrap();
    let chain = acme.read(done["certificate"].as_str().unwrap()).unwrap().text();
    let papers = Papers::sort(&chain, &daemon.root(), &daemon.scratch().join("greedy"));
    let shown = openssl(&["x509", "-noout", "-text", "-in"], &[&papers.leaf])
        .succeeded()
        .stdout;
    for taken in [
        "CA:TRUE",
        "Certificate Sign",
        "CRL Sign",
        "OCSP Signing",
        "Somebody Else",
    ] {
        assert!(!shown.contains(taken), "{taken} was taken over:\n{shown}");
    }
    papers.openssl_accepts_the_chain();
}

#[test]
fn refuses_each_fault_of_a_revocation() {
    let mut daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let issued = acme.obtain(&["keep.test"], &webroot).unwrap();
    let der = issued.leaf_der();
    let url = acme.url("revokeCert");
    let mut faults = Faults::default();
    for reason in [2, 6, 7, 8, 10, 11, 255] {
        let answer = acme.revoke(&der, reason).unwrap();
        faults.compare(&format!("reason {reason}"), &answer, REFUSED, &["badRevocationReason"]);
    }
    let mut forged = der.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    for (name, certificate) in [
        ("A17 the serial in another certificate", forged),
        ("half a certificate", der[..der.len() / 2].to_vec()),
        ("bytes behind it", [der.as_slice(), b"x"].concat()),
        ("nothing", Vec::new()),
    ] {
        let answer = acme.revoke(&certificate, 0).unwrap();
        faults.compare(name, &answer, &[400, 403, 404], &["malformed", "unauthorized"]);
    }
    for (name, payload) in [
        ("no certificate", "{}".to_owned()),
        (
            "a reason that is no number",
            json!({"certificate": base64url(&der), "reason": "key"}).to_string(),
        ),
        (
            "a reason out of range",
            json!({"certificate": base64url(&der), "reason": 1e30}).to_string(),
        ),
    ] {
        let answer = acme.post(&url, payload.as_bytes()).unwrap();
        faults.compare(name, &answer, REFUSED, &["malformed", "badRevocationReason"]);
    }
    let stranger = daemon.register().unwrap();
    let answer = stranger.revoke(&der, 0).unwrap();
    faults.compare("A1 a stranger", &answer, FORBIDDEN, &["unauthorized"]);
    let papers = Papers::sort(&issued.chain_pem, &daemon.root(), &daemon.scratch().join("keep"));
    assert_eq!(papers.ocsp().status, "good");
    assert_eq!(acme.revoke(&der, 0).unwrap().status, 200);
    let twice = acme.revoke(&der, 0).unwrap();
    faults.compare("twice", &twice, REFUSED, &["alreadyRevoked"]);
    assert!(daemon.alive());
    faults.none();
}

/// An OCSP response that says `malformedRequest` and nothing else.
const OCSP_MALFORMED: &[u8] = &[0x30, 0x03, 0x0a, 0x01, 0x01];
/// How many requests are mutated.
const MUTANTS: usize = 400;

/// Says whether an answer refuses an OCSP request, in HTTP or in OCSP.
fn refused(answer: &Response) -> bool {
    (400..500).contains(&answer.status) || (answer.status == 200 && answer.body == OCSP_MALFORMED)
}

#[test]
fn ocsp_refuses_what_is_no_request_and_survives_mutants() {
    let mut daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let issued = daemon.register().unwrap().obtain(&["status.test"], &webroot).unwrap();
    let papers = Papers::sort(&issued.chain_pem, &daemon.root(), &daemon.scratch().join("ocsp"));
    let before = counts(&daemon);
    let file = daemon.scratch().join("request.der");
    openssl(
        &["ocsp", "-no_nonce", "-issuer"],
        &[
            &papers.issuer,
            Path::new("-cert"),
            &papers.leaf,
            Path::new("-reqout"),
            &file,
        ],
    )
    .succeeded();
    let honest = std::fs::read(&file).unwrap();
    let (http, url) = (daemon.http_client(), papers.ocsp_url());
    let post = |body: &[u8]| http.request("POST", &url, &[("Content-Type", "application/ocsp-request")], body);
    let honest_answer = post(&honest).unwrap();
    assert_eq!(honest_answer.status, 200);
    assert_ne!(honest_answer.body, OCSP_MALFORMED);
    let mut faults = Faults::default();
    let bytes_behind = [honest.as_slice(), &[0]].concat();
    let deep = [[0x30, 0x80].repeat(2_000), vec![0; 4_000]].concat();
    let lying = [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &honest].concat();
    for (name, body) in [
        ("nothing", &[][..]),
        ("one octet", &[0x30]),
        ("text", b"hello"),
        ("half a request", &honest[..honest.len() / 2]),
        ("bytes behind the request", &bytes_behind),
        ("a deep request", &deep),
        ("a lying length", &lying),
        ("a megabyte", &vec![0x30; 1 << 20]),
    ] {
        match post(body) {
            Ok(answer) if refused(&answer) => {}
            Ok(answer) => faults.note(format!("{name}: {} {:02x?}", answer.status, answer.body)),
            Err(error) => faults.note(format!("{name}: {error}")),
        }
    }
    let base = url.trim_end_matches('/');
    for path in ["", "AA", "%00", "!!!!", "AAAA/AAAA//", &"A".repeat(20_000)] {
        match http.get(&format!("{base}/{path}")) {
            Ok(answer) if refused(&answer) => {}
            Ok(answer) => faults.note(format!("GET {path:.20}: {} {:02x?}", answer.status, answer.body)),
            Err(error) => faults.note(format!("GET {path:.20}: {error}")),
        }
    }
    for method in ["PUT", "DELETE"] {
        assert_eq!(http.request(method, &url, &[], b"").unwrap().status, 405, "{method}");
    }
    let mut random = Random::announced();
    for number in 0..MUTANTS {
        let mut mutant = honest.clone();
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(mutant.len() as u64)).unwrap();
            mutant[at] = u8::try_from(random.below(256)).unwrap();
        }
        match post(&mutant) {
            Ok(answer) if answer.status < 500 => {}
            Ok(answer) => faults.note(format!("mutant {number} {mutant:02x?}: {}", answer.status)),
            Err(error) => faults.note(format!("mutant {number} {mutant:02x?}: {error}")),
        }
    }
    assert!(daemon.alive(), "{}", daemon.log());
    assert_eq!(counts(&daemon), before);
    assert_eq!(papers.ocsp().status, "good");
    faults.none();
}

#[test]
fn plain_http_gives_status_and_nothing_else() {
    let daemon = Daemon::start();
    let http = daemon.http_client();
    for path in [
        "/acme/directory",
        "/acme/new-nonce",
        "/admin/",
        "/portal/",
        "/",
        "/ca/../keys/issuer.pem",
        "/crl/../../keys/root.pem",
        "/ca/%2e%2e/keys/root.pem",
        "/ca/nobody.cer",
        "/crl/nobody.crl",
    ] {
        let answer = http.get(&format!("{}{path}", daemon.http)).unwrap();
        assert!(
            (400..500).contains(&answer.status),
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
        assert!(!answer.text().contains("PRIVATE KEY"), "{path}");
    }
}

#[test]
fn refuses_ambiguous_http() {
    let mut daemon = Daemon::start();
    let http = daemon.http_client();
    let status = format!("{}/ocsp", daemon.http);
    for (name, head) in [
        (
            "H1 both lengths",
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("H1 two lengths", "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
        ("H1 a signed length", "Content-Length: +4\r\n\r\nabcd"),
        (
            "H1 an unknown coding",
            "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        ),
    ] {
        for base in [&status, &daemon.directory] {
            let request = format!("POST /ocsp HTTP/1.1\r\nHost: x\r\n{head}");
            let answer = http.raw(base, request.as_bytes());
            // Closing without a word is a refusal too.
            if let Ok(bytes) = answer {
                let line = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
                let answers = String::from_utf8_lossy(&bytes).matches("HTTP/1.1 ").count();
                assert!(
                    line.starts_with("HTTP/1.1 4") || line.starts_with("HTTP/1.1 5"),
                    "{name}: {line}"
                );
                assert_eq!(answers, 1, "{name}: one request, {answers} answers");
            }
        }
    }
    assert!(daemon.alive());
}

#[test]
fn mutants_of_a_signed_request_change_nothing() {
    let mut daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    let url = acme.url("newOrder");
    let before = counts(&daemon);
    let mut random = Random::announced();
    let mut faults = Faults::default();
    for number in 0..MUTANTS {
        let header = acme.protected(&acme.nonce().unwrap(), &url);
        let mut body = signed(&acme, &header).to_string().into_bytes();
        let at = usize::try_from(random.below(body.len() as u64)).unwrap();
        let old = body[at];
        body[at] = u8::try_from(random.below(256)).unwrap();
        if body[at] == old || (old.is_ascii_whitespace() && body[at].is_ascii_whitespace()) {
            continue;
        }
        match acme.send(&url, &body) {
            Ok(answer) if (400..500).contains(&answer.status) => {}
            Ok(answer) => faults.note(format!(
                "mutant {number} (octet {at} from {old:#04x} to {:#04x}): {} {}",
                body[at],
                answer.status,
                answer.text()
            )),
            Err(error) => faults.note(format!("mutant {number}: {error}")),
        }
    }
    assert!(daemon.alive(), "{}", daemon.log());
    assert_eq!(counts(&daemon), before, "a mutant was taken");
    faults.none();
}
