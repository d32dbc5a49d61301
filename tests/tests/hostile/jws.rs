//! Faults of the signed envelope (RFC 8555 section 6, RFC 7515).

use serde_json::{Value, json};
use sigillo_tests::acme::{AccountKey, Acme, base64url};
use sigillo_tests::daemon::Daemon;
use sigillo_tests::random::Random;

use super::faults::{FORBIDDEN, Faults, MUTANTS, REFUSED, counts};

const ORDER: &str = r#"{"identifiers":[{"type":"dns","value":"hostile.test"}]}"#;

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
