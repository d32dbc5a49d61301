//! Pre-authorization, weak keys and signatures, reach of validation, name constraints and profiles' contents.

use serde_json::{Value, json};

use super::finalize::{MakeRequest, refuse_each};
use crate::case::{Case, Finding, Judgement, OrFail, ensure, may, must, must_read, should, should_read};
use crate::der;
use crate::keys::Key;
use crate::read::certificate::{Certificate, NAME_CONSTRAINTS};
use crate::request::Csr;
use crate::responder::dns::A;
use crate::responder::http01::{Reply, challenge_path};
use crate::suite::{Run, refused};
use crate::weak::RawRsa;
use crate::wire::{Signed, Signer};

pub(super) const CASES: &[Case] = &[
    must_read!(c8555_7_4_1_01, "newAuthz gives a pending authorization."),
    must_read!(c8555_7_4_1_02, "Wildcards cannot be pre-authorized."),
    should!(c8555_7_4_1_03, "An unwanted identifier is 403 with the reason."),
    should!(c8555_8_2_03, "Repeated responses do not multiply the queries."),
    should_read!(c8555_10_4_01, "Validation reaches only where it may."),
    may!(c9864_2_01, "The alg Ed25519 works where it is listed."),
    should_read!(c2986_4_1_06, "Weak or odd certificate keys are refused."),
    should_read!(c2986_4_2_03, "Signatures over SHA-1 are refused."),
    must_read!(c7518_3_5_01, "PS256 has a salt as long as its hash."),
    should_read!(c2986_4_1_07, "A key revoked for keyCompromise is refused."),
    must_read!(
        c5280_4_2_1_10_02,
        "Nothing is issued outside the CA's name constraints."
    ),
    must!(cprof_4_02, "A profile that does not fit the order is invalidProfile."),
    must_read!(cprof_4_06, "Certificates match their profile."),
    must!(c7468_6_01, "A PEM CRL is labelled X509 CRL."),
];

fn authorize(run: &Run, kind: &str, value: &str) -> Judgement<crate::http::Answer> {
    let url = run.optional_url("newAuthz")?;
    run.post(
        run.account()?,
        &url,
        &json!({"identifier": {"type": kind, "value": value}}),
    )
}

fn c8555_7_4_1_01(run: &Run) -> Judgement {
    let name = run.name("pre");
    let answer = authorize(run, "dns", &name)?;
    ensure!(
        answer.status == 201 && answer.header("location").is_some(),
        "newAuthz: {}",
        answer.summary()
    );
    let object = answer.json()?;
    ensure!(
        object["status"] == "pending" && object["identifier"]["value"] == name.as_str(),
        "newAuthz gives {object}"
    );
    Ok(())
}

fn c8555_7_4_1_02(run: &Run) -> Judgement {
    let name = format!("*.{}", run.name("pre"));
    refused(&authorize(run, "dns", &name)?, "", "a wildcard")
}

fn c8555_7_4_1_03(run: &Run) -> Judgement {
    let answer = authorize(run, "example-type", "x")?;
    run.check(refused(&answer, "", "an unknown type"));
    ensure!(answer.status == 403, "an unknown type: {}", answer.summary());
    Ok(())
}

/// How often a response is repeated.
const REPEATS: usize = 50;

fn c8555_8_2_03(run: &Run) -> Judgement {
    let account = run.account()?;
    let (_, challenge) = run.challenge_for(account, &run.name("again"), "http-01")?;
    run.http01()?
        .script(&challenge_path(&challenge.token), [Reply::Nothing]);
    run.each(0..REPEATS, |_| {
        let answer = run.respond(account, &challenge)?;
        ensure!(
            answer.is_success() || answer.is_refusal(),
            "a repeated response: {}",
            answer.summary()
        );
        Ok(())
    });
    run.decided(account, &challenge.authorization).or_fail()?;
    let queries = run.http01()?.queries(&challenge_path(&challenge.token)).len();
    ensure!(queries < REPEATS / 2, "{REPEATS} responses made {queries} queries");
    Ok(())
}

fn c8555_10_4_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let dns = run.dns()?;
    let http01 = run.http01()?;
    let mut trials = Vec::new();
    // What no configuration of a CA means by a host: the metadata service, the unspecified address, multicast.
    for address in [[169, 254, 169, 254], [0, 0, 0, 0], [224, 0, 0, 1]] {
        let name = run.name("reach");
        dns.set(&name, A, vec![address.to_vec()]);
        trials.push((format!("{address:?}"), run.challenge_for(account, &name, "http-01")?.1));
    }
    for target in [
        "ftp://{host}/x",
        "file:///etc/passwd",
        "gopher://{host}/x",
        "http://{host}:22/x",
        "http://169.254.169.254/x",
    ] {
        let name = run.name("reach");
        let challenge = run.challenge_for(account, &name, "http-01")?.1;
        http01.script(
            &challenge_path(&challenge.token),
            [Reply::Redirect(302, target.replace("{host}", &name))],
        );
        trials.push((target.to_owned(), challenge));
    }
    for (_, challenge) in &trials {
        run.respond(account, challenge)?;
    }
    run.each(trials, |(what, challenge)| {
        let object = run.decided(account, &challenge.authorization).or_fail()?;
        ensure!(object["status"] == "invalid", "{what}: {object}");
        Ok(())
    });
    Ok(())
}

fn c9864_2_01(run: &Run) -> Judgement {
    let key = Key::ed25519();
    let url = run.url("newAccount")?;
    let payload = run.account_payload(&key)?.to_string();
    let listed = listed_algorithms(run)?;
    if !listed.iter().any(|alg| alg == "Ed25519") {
        return Err(Finding::NotOffered(format!("algorithms are {listed:?}")));
    }
    let answer = run.post_signed(
        &url,
        &run.draft(Signer::Key(&key), &url, payload)?
            .with("alg", "Ed25519")
            .sign(&key),
    )?;
    ensure!(answer.is_success(), "alg Ed25519: {}", answer.summary());
    Ok(())
}

/// A request for one name over a key that no key pair of the suite stands for, signed by `sign`.
pub(super) fn request(name: &str, spki: Vec<u8>, algorithm: Vec<u8>, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let info = Csr {
        spki: Some(spki),
        ..Csr::of(&[name.to_owned()])
    }
    .info(&Key::p256());
    let signature = sign(&info);
    der::sequence(&[info, algorithm, der::bit_string(&signature)])
}

pub(super) fn rsa_algorithm(oid: &str) -> Vec<u8> {
    der::sequence(&[der::oid(oid), der::null()])
}

pub(super) const SHA256_RSA: &str = "1.2.840.113549.1.1.11";
const SHA1_RSA: &str = "1.2.840.113549.1.1.5";

/// P-256 in full, as RFC 5480 forbids it: prime, coefficients, generator, order, cofactor.
fn explicit_p256() -> Vec<u8> {
    let number = |hex: &str| -> Vec<u8> {
        (0..hex.len() / 2)
            .filter_map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok())
            .collect()
    };
    let prime = number("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
    let a = number("ffffffff00000001000000000000000000000000fffffffffffffffffffffffc");
    let b = number("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b");
    let x = number("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296");
    let y = number("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5");
    let order = number("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    der::sequence(&[
        der::unsigned(&[1]),
        der::sequence(&[der::oid("1.2.840.10045.1.1"), der::unsigned(&prime)]),
        der::sequence(&[der::octet_string(a), der::octet_string(b)]),
        der::octet_string([vec![4], x, y].concat()),
        der::unsigned(&order),
        der::unsigned(&[1]),
    ])
}

/// A request that an RSA key of any kind signs rightly.
pub(super) fn rsa_request(name: &str, key: &RawRsa) -> Vec<u8> {
    request(name, key.spki(), rsa_algorithm(SHA256_RSA), |info| {
        key.sign_sha256(info)
    })
}

/// Requests whose only fault is their key: each is signed rightly.
fn odd_requests(name: &str) -> Vec<(&'static str, Vec<u8>)> {
    let rsa = |key: RawRsa| rsa_request(name, &key);
    let key = Key::p256();
    let point = key.public().to_vec();
    let ec = |curve: Vec<u8>, point: &[u8]| {
        let spki = der::sequence(&[
            der::sequence(&[der::oid("1.2.840.10045.2.1"), curve]),
            der::bit_string(point),
        ]);
        request(name, spki, key.signature_algorithm(), |info| key.sign_x509(info))
    };
    let hybrid = [&[6 | (point[64] & 1)], &point[1..]].concat();
    vec![
        ("RSA of 1024 bits", rsa(RawRsa::bits_1024())),
        ("RSA of 2047 bits", rsa(RawRsa::bits_2047())),
        ("RSA with an exponent of one", rsa(RawRsa::exponent_one())),
        ("explicit curve parameters", ec(explicit_p256(), &point)),
        ("a hybrid point", ec(der::oid("1.2.840.10045.3.1.7"), &hybrid)),
    ]
}

fn c2986_4_1_06(run: &Run) -> Judgement {
    let kinds = odd_requests("").into_iter().map(|(what, _)| what).enumerate();
    let requests = kinds.map(|(at, what)| -> (&str, MakeRequest<'_>) {
        (what, Box::new(move |names| odd_requests(&names[0]).swap_remove(at).1))
    });
    refuse_each(run, &["weak"], requests.collect())
}

fn c2986_4_2_03(run: &Run) -> Judgement {
    let key = &RawRsa::bits_2048();
    let sha1 = |names: &[String]| {
        request(&names[0], key.spki(), rsa_algorithm(SHA1_RSA), |info| {
            key.sign_sha1(info)
        })
    };
    refuse_each(run, &["weak"], vec![("a SHA-1 signature", Box::new(sha1))])
}

/// What a server lists as signature algorithms.
fn listed_algorithms(run: &Run) -> Judgement<Vec<String>> {
    let key = Key::p256();
    let url = run.url("newAccount")?;
    let probe = run
        .draft(Signer::Key(&key), &url, "{}")?
        .with("alg", "ES999")
        .sign(&key);
    Ok(crate::issue::strings(
        &run.post_signed(&url, &probe)?.json()?["algorithms"],
    ))
}

fn c7518_3_5_01(run: &Run) -> Judgement {
    if !listed_algorithms(run)?.iter().any(|alg| alg == "PS256") {
        return Err(Finding::NotOffered("PS256 is not listed".into()));
    }
    let key = RawRsa::bits_2048();
    let jwk = json!({"kty": "RSA", "n": crate::base64::url(key.modulus()), "e": "AQAB"});
    let url = run.url("newAccount")?;
    run.each([0, 20, 64, 32], |salt| {
        let any = Key::p256();
        let payload = run.account_payload_for(&jwk)?;
        let draft = run
            .draft(Signer::Key(&any), &url, payload.to_string())?
            .with("alg", "PS256")
            .with("jwk", jwk.clone());
        let sound = draft.sign(&any);
        let signed = Signed::over(sound.protected, sound.payload, |input| key.sign_pss(input, salt));
        let answer = run.post_signed(&url, &signed)?;
        if salt == 32 {
            ensure!(answer.is_success(), "a salt of 32 octets: {}", answer.summary());
        } else {
            run.check(refused(&answer, "", &format!("a salt of {salt} octets")));
        }
        Ok(())
    });
    Ok(())
}

fn c2986_4_1_07(run: &Run) -> Judgement {
    let account = run.account()?;
    let issued = run.issue(account, &[run.name("leaked")])?;
    let payload = json!({"certificate": crate::base64::url(&issued.leaf().der), "reason": 1}).to_string();
    let answer = run.post_as(Signer::Key(&issued.key), &run.url("revokeCert")?, payload.as_bytes())?;
    if !answer.is_success() {
        return Err(Finding::NotOffered(format!("keyCompromise: {}", answer.summary())));
    }
    let name = run.name("leaked");
    let order = run.ready_order(account, std::slice::from_ref(&name))?;
    let csr = Csr::of(&[name]).sign(&issued.key);
    refused(
        &run.finalize(account, &order, &csr)?,
        "badCSR|badPublicKey",
        "a key revoked for keyCompromise",
    )
}

fn c5280_4_2_1_10_02(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    let constrained = issued
        .chain
        .iter()
        .find_map(|one| one.extension(NAME_CONSTRAINTS).map(|found| found.value.clone()));
    let Some(value) = constrained else {
        return Err(Finding::NotOffered("the CA has no name constraints".into()));
    };
    let outside = "outside.name-constraints.example";
    ensure!(
        !String::from_utf8_lossy(&value).contains(outside),
        "the suite's name is inside"
    );
    let payload = json!({"identifiers": [{"type": "dns", "value": outside}]});
    refused(
        &run.try_order(run.account()?, &payload)?,
        "",
        "a name outside the constraints",
    )
}

fn profiles(run: &Run) -> Judgement<Vec<String>> {
    let profiles = run.directory["meta"]["profiles"].as_object();
    profiles
        .map(|all| all.keys().cloned().collect())
        .ok_or_else(|| Finding::NotOffered("no profiles in meta".into()))
}

fn c7468_6_01(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    for url in issued.leaf().crl_uris() {
        let Some(front) = url.strip_suffix(".crl") else {
            continue;
        };
        let answer = run.get(&format!("{front}.pem"))?;
        if answer.status == 200 {
            let text = answer.text();
            let labelled =
                text.starts_with("-----BEGIN X509 CRL-----") && text.trim_end().ends_with("-----END X509 CRL-----");
            ensure!(labelled, "the PEM CRL begins {:?}", text.lines().next());
            return Ok(());
        }
    }
    Err(Finding::NotOffered("no PEM CRL".into()))
}

fn cprof_4_02(run: &Run) -> Judgement {
    let mut judged = false;
    run.each(profiles(run)?, |profile| {
        let far = (jiff::Timestamp::now() + std::time::Duration::from_secs(86_400 * 365 * 50)).to_string();
        run.each([json!({"notAfter": far}), json!({})], |extra| {
            let mut payload: Value = extra.clone();
            payload["profile"] = json!(profile);
            let address = extra.as_object().is_some_and(serde_json::Map::is_empty);
            payload["identifiers"] = if address {
                json!([{"type": "ip", "value": run.options.address.to_string()}])
            } else {
                json!([{"type": "dns", "value": run.name("fit")}])
            };
            let answer = run.try_order(run.account()?, &payload)?;
            if !answer.is_success() {
                judged = true;
                // Without the profile the same order must be the point of difference for invalidProfile to be due.
                run.check(refused(&answer, "", &format!("{profile} with {extra}")));
            }
            Ok(())
        });
        Ok(())
    });
    if judged {
        Ok(())
    } else {
        Err(Finding::NotOffered(
            "no profile is limited in a way the suite can reach".into(),
        ))
    }
}

fn cprof_4_06(run: &Run) -> Judgement {
    let known = profiles(run)?;
    let mut shapes: Vec<(String, Vec<String>)> = Vec::new();
    let shape = |leaf: &Certificate| {
        let mut oids: Vec<String> = leaf
            .extensions
            .iter()
            .map(|extension| format!("{}:{}", extension.oid, extension.critical))
            .collect();
        oids.push(format!("{:?}", leaf.extended_usages()));
        oids
    };
    for profile in known {
        run.each(0..2, |_| {
            let Ok(issued) = run.issue_with(run.account()?, &[run.name("profile")], json!({"profile": profile})) else {
                return Ok(());
            };
            let found = shape(issued.leaf());
            match shapes.iter().find(|(name, _)| *name == profile) {
                Some((_, before)) => ensure!(
                    *before == found,
                    "{profile}: two certificates differ in kind: {before:?}, {found:?}"
                ),
                None => shapes.push((profile.clone(), found)),
            }
            Ok(())
        });
    }
    if shapes.is_empty() {
        Err(Finding::Blocked("no profile led to a certificate".into()))
    } else {
        Ok(())
    }
}
