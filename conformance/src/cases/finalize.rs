//! RFC 8555 section 7.4 from finalize on, and RFC 2986: certification requests.

use std::time::Duration;

use serde_json::json;

use crate::base64;
use crate::case::{Case, Finding, Judgement, OrFail, ensure, must, must_read, should, should_read};
use crate::der;
use crate::issue::{Order, identifiers};
use crate::keys::Key;
use crate::read::certificate::{BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE, KEY_USAGE, OCSP_SIGNING};
use crate::read::ocsp::extension;
use crate::request::{Csr, attribute, dns_name};
use crate::suite::{Account, Run, refused};
use crate::weak::RawRsa;

pub(super) const CASES: &[Case] = &[
    must!(c8555_7_4_05, "finalize takes base64url DER in csr."),
    must!(c8555_7_4_06, "The request's names are exactly the order's."),
    must!(c8555_7_4_07, "A name may stand in the CN, in the SAN, or in both."),
    should!(c8555_7_4_08, "After badCSR the order stays ready for a better request."),
    must!(
        c8555_7_4_09,
        "finalize before ready or after valid is 403 orderNotReady."
    ),
    must_read!(c8555_7_4_10, "finalize gives the order, which becomes valid."),
    must_read!(
        c8555_7_4_11,
        "Extensions that nobody ordered do not reach the certificate."
    ),
    must!(
        c8555_7_4_03,
        "The certificate has no other names and dates than ordered."
    ),
    must!(c8555_11_1_01, "An account key is no certificate key."),
    must!(c5280_7_2_01, "DNS names are compared without case."),
    must_read!(c2986_4_1_01, "The version is 0."),
    must_read!(c2986_4_1_02, "Only extensionRequest counts among the attributes."),
    should_read!(c2986_4_1_03, "A repeated extensionRequest or SAN is refused."),
    should_read!(c2986_4_1_04, "Names of other types than the order's are refused."),
    should_read!(c2986_4_1_05, "Subject attributes that were not validated do not pass."),
    must_read!(c2986_4_2_01, "The request is signed by its own key."),
    must_read!(c2986_4_2_02, "The request is DER with nothing behind it."),
];

const ANY_USAGE: &str = "2.5.29.37.0";

/// A ready order of the first account for one fresh name.
fn ready<'a>(run: &'a Run, label: &str) -> Judgement<(&'a Account, Order, String)> {
    let account = run.account()?;
    let name = run.name(label);
    let order = run.ready_order(account, std::slice::from_ref(&name))?;
    Ok((account, order, name))
}

/// Makes the octets of a request for an order's names.
pub(super) type MakeRequest<'a> = Box<dyn Fn(&[String]) -> Vec<u8> + 'a>;

/// Each of these requests is refused and leaves its order ready; where one is taken, the next gets a fresh order.
pub(super) fn refuse_each(run: &Run, labels: &[&str], requests: Vec<(&str, MakeRequest<'_>)>) -> Judgement {
    let account = run.account()?;
    let fresh = || -> Judgement<(Order, Vec<String>)> {
        let names: Vec<String> = labels.iter().map(|label| run.name(label)).collect();
        Ok((run.ready_order(account, &names)?, names))
    };
    let mut ready = fresh()?;
    run.each(requests, |(what, make)| {
        if run.look(account, &ready.0)?.status() != "ready" {
            ready = fresh()?;
        }
        let (order, names) = &ready;
        let answer = run.finalize(account, order, &make(names))?;
        refused(&answer, "", what)?;
        let kind = answer.problem();
        run.expect(["badCSR", "badPublicKey"].contains(&kind.as_str()), || {
            format!("{what} is {kind} instead of badCSR")
        });
        let later = run.look(account, order)?;
        ensure!(
            later.status() == "ready",
            "after {what} the order is {}",
            later.status()
        );
        Ok(())
    });
    Ok(())
}

fn c8555_7_4_05(run: &Run) -> Judgement {
    let (account, order, name) = ready(run, "form")?;
    let der = Csr::of(std::slice::from_ref(&name)).sign(&Key::p256());
    let standard = base64::standard(&der);
    let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{standard}\n-----END CERTIFICATE REQUEST-----\n");
    let mut forms = vec![
        ("PEM", json!({"csr": pem})),
        ("no csr", json!({})),
        ("a csr that is a number", json!({"csr": 7})),
        (
            "octets behind the request",
            json!({"csr": base64::url([der.as_slice(), &[0, 0]].concat())}),
        ),
    ];
    if standard.contains(['+', '/', '=']) {
        forms.push(("standard base64", json!({"csr": standard})));
    }
    run.each(forms, |(what, payload)| {
        run.check(refused(
            &run.post(account, order.finalize(), &payload)?,
            "malformed|badCSR",
            what,
        ));
        Ok(())
    });
    let later = run.look(account, &order)?;
    ensure!(later.status() == "ready", "after that the order is {}", later.status());
    Ok(())
}

fn c8555_7_4_06(run: &Run) -> Judgement {
    let key = &Key::p256();
    let other = &run.name("three");
    let names = |all: &[&String]| Csr::of(&all.iter().map(|name| (*name).clone()).collect::<Vec<_>>()).sign(key);
    let requests: Vec<(&str, MakeRequest<'_>)> = vec![
        ("more names than ordered", Box::new(|n| names(&[&n[0], &n[1], other]))),
        ("fewer names than ordered", Box::new(|n| names(&[&n[0]]))),
        ("another name", Box::new(|n| names(&[&n[0], other]))),
        (
            "a wildcard for a base name",
            Box::new(|n| names(&[&n[0], &format!("*.{}", n[1])])),
        ),
        (
            "another name in the CN",
            Box::new(|n| Csr::of(n).common_name(other).sign(key)),
        ),
        (
            "an IP address beside",
            Box::new(|n| {
                let mut csr = Csr::of(n);
                csr.names.push(crate::request::ip_address(&[127, 0, 0, 1]));
                csr.sign(key)
            }),
        ),
        ("no name at all", Box::new(|_| Csr::default().sign(key))),
    ];
    refuse_each(run, &["one", "two"], requests)
}

fn c8555_7_4_07(run: &Run) -> Judgement {
    let account = run.account()?;
    let names = [run.name("cn"), run.name("san")];
    let [first, second] = &names;
    let only = run.name("alone");
    let shuffled = [second.to_ascii_uppercase(), first.clone()];
    let requests = [
        ("CN and SAN", names.to_vec(), Csr::of(&shuffled).common_name(first)),
        (
            "one in the CN, the other in the SAN",
            names.to_vec(),
            Csr::of(std::slice::from_ref(second)).common_name(first),
        ),
        ("SAN alone", names.to_vec(), Csr::of(&shuffled)),
        ("CN alone", vec![only.clone()], Csr::default().common_name(&only)),
    ];
    run.each(requests, |(what, names, csr)| {
        let order = run.ready_order(account, &names)?;
        let key = Key::p256();
        let der = csr.sign(&key);
        let issued = run
            .finish(account, &order, &der, key, &names)
            .map_err(|finding| match finding {
                Finding::Fail(why) | Finding::Blocked(why) => Finding::Fail(format!("{what}: {why}")),
                other => other,
            })?;
        let mut wanted = names.clone();
        wanted.sort();
        ensure!(
            issued.leaf().dns_names() == wanted,
            "{what}: the names are {:?}",
            issued.leaf().dns_names()
        );
        Ok(())
    });
    Ok(())
}

fn c8555_7_4_08(run: &Run) -> Judgement {
    let key = &Key::p256();
    let broken = |names: &[String]| flipped(Csr::of(names).sign(key));
    let requests: [(&str, MakeRequest<'_>); 3] = [
        ("a broken signature", Box::new(broken)),
        ("a wrong name", Box::new(|_| Csr::of(&[run.name("wrong")]).sign(key))),
        ("an RSA key of 1024 bits", Box::new(|names| weak_request(&names[0]))),
    ];
    run.each(requests, |(what, make)| {
        let (account, order, name) = ready(run, "better")?;
        let names = [name];
        let answer = run.finalize(account, &order, &make(&names))?;
        refused(&answer, "badCSR|badPublicKey", what)?;
        ensure!(answer.json()?["detail"].is_string(), "{what}: badCSR without a reason");
        let later = run.look(account, &order)?;
        ensure!(
            later.status() == "ready",
            "after {what} the order is {}",
            later.status()
        );
        let better = Key::p256();
        let csr = Csr::of(&names).sign(&better);
        run.finish(account, &order, &csr, better, &names).or_fail()?;
        Ok(())
    });
    Ok(())
}

fn weak_request(name: &str) -> Vec<u8> {
    let key = RawRsa::bits_1024();
    super::preauthorization::rsa_request(name, &key)
}

/// With one bit of its last octet changed.
fn flipped(mut octets: Vec<u8>) -> Vec<u8> {
    if let Some(last) = octets.last_mut() {
        *last ^= 1;
    }
    octets
}

/// An order that a wrong answer made invalid.
fn invalid_order(run: &Run, name: &str) -> Judgement<Order> {
    let account = run.account()?;
    let (order, challenge) = run.challenge_for(account, name, "http-01")?;
    run.http01()?.provide(&challenge.token, "wrong");
    run.attempt(account, &challenge)?;
    run.poll(account, &order.url, |object| object["status"] == "invalid")?;
    Ok(order)
}

fn c8555_7_4_09(run: &Run) -> Judgement {
    let account = run.account()?;
    let issued = run.certificate()?;
    let names = [run.name("early"), run.name("spoilt")];
    let pending = || run.order(account, &names[..1]);
    let orders: [(&str, Judgement<Order>, &[String]); 3] = [
        ("a pending order", pending(), &names[..1]),
        ("a valid order", Ok(issued.order.clone()), &issued.names),
        ("an invalid order", invalid_order(run, &names[1]), &names[1..]),
    ];
    run.each(orders, |(what, order, names)| {
        let csr = Csr::of(names).sign(&Key::p256());
        let answer = run.finalize(account, &order?, &csr)?;
        refused(&answer, "orderNotReady", &format!("finalize on {what}"))?;
        ensure!(answer.status == 403, "finalize on {what}: {}", answer.summary());
        Ok(())
    });
    let later = run.look(account, &issued.order)?;
    run.demand(later.object["certificate"] == issued.url.as_str(), || {
        "the valid order's certificate changed".into()
    });
    run.check(race_to_finalize(run));
    Ok(())
}

/// How many requests race to finalize one order, and on how many orders: a server that lets two win does not always.
const RACERS: usize = 12;
const RACES: usize = 8;

/// Only one request finds the order ready.
fn race_to_finalize(run: &Run) -> Judgement {
    for _ in 0..RACES {
        let (account, order, name) = ready(run, "race")?;
        let names = [name];
        // All is made before the start, so that they arrive together.
        let requests = (0..RACERS).map(|_| {
            let csr = json!({"csr": base64::url(Csr::of(&names).sign(&Key::p256()))}).to_string();
            let draft = run.draft(account.signer(), order.finalize(), csr)?;
            Ok(run.acme_post(order.finalize(), draft.sign(&account.key).body()))
        });
        let answers = run.send_at_once(requests.collect::<Judgement<Vec<_>>>()?)?;
        let won = answers.iter().filter(|answer| answer.is_success()).count();
        ensure!(
            won <= 1,
            "{won} of {RACERS} different requests finalized one order at once"
        );
        let lost = answers
            .iter()
            .filter(|answer| !answer.is_success() && answer.problem() != "badNonce");
        for answer in lost {
            refused(answer, "orderNotReady", "a loser of the race to finalize")?;
        }
    }
    Ok(())
}

fn c8555_7_4_10(run: &Run) -> Judgement {
    let (account, order, name) = ready(run, "final")?;
    let names = [name];
    let key = Key::p256();
    let answer = run.finalize(account, &order, &Csr::of(&names).sign(&key))?;
    ensure!(answer.status == 200, "finalize: {}", answer.summary());
    let object = answer.json()?;
    ensure!(
        ["processing", "valid"].iter().any(|status| object["status"] == *status),
        "finalize gives {object}"
    );
    ensure!(object["identifiers"] == identifiers(&names), "finalize gives {object}");
    let order = run.until(account, &order, &["valid"]).or_fail()?;
    ensure!(
        order.object["certificate"].is_string(),
        "the valid order is {}",
        order.object
    );
    Ok(())
}

fn c8555_7_4_11(run: &Run) -> Judgement {
    let unknown = "1.3.6.1.4.1.55555.1";
    let ca = der::sequence(&[der::boolean(true)]);
    let cert_sign = der::tlv(der::BIT_STRING, [2, 0x04]);
    let usages = |oid: &str| der::sequence(&[der::oid(oid)]);
    let attempts: [(&str, &str, bool, Vec<u8>); 5] = [
        ("CA:TRUE", BASIC_CONSTRAINTS, true, ca),
        ("keyCertSign", KEY_USAGE, true, cert_sign),
        ("an unknown critical extension", unknown, true, der::null()),
        ("OCSPSigning", EXTENDED_KEY_USAGE, false, usages(OCSP_SIGNING)),
        ("anyExtendedKeyUsage", EXTENDED_KEY_USAGE, false, usages(ANY_USAGE)),
    ];
    run.each(attempts, |(what, oid, critical, value)| {
        let (account, order, name) = ready(run, "extra")?;
        let names = [name];
        let key = Key::p256();
        let csr = Csr::of(&names).extension(oid, critical, &value).sign(&key);
        let answer = run.finalize(account, &order, &csr)?;
        if !answer.is_success() {
            run.check(refused(&answer, "badCSR", what));
            return Ok(());
        }
        let order = run.until(account, &order, &["valid"])?;
        let answer = run.fetch(account, order.object["certificate"].as_str().unwrap_or_default())?;
        let chain = crate::read::pem::certificates(&answer.body).map_err(Finding::Fail)?;
        let first = chain.first().map(Vec::as_slice).unwrap_or_default();
        let leaf = crate::read::certificate::Certificate::read(first).map_err(Finding::Fail)?;
        ensure!(!leaf.is_ca(), "{what} made a CA");
        ensure!(!leaf.has_usage(5), "{what} reached the certificate");
        ensure!(leaf.extension(unknown).is_none(), "{what} reached the certificate");
        let usages = leaf.extended_usages();
        let wider = usages.iter().any(|usage| *usage == OCSP_SIGNING || *usage == ANY_USAGE);
        ensure!(!wider, "{what}: the certificate has the usages {usages:?}");
        Ok(())
    });
    Ok(())
}

fn c8555_7_4_03(run: &Run) -> Judgement {
    let names = [run.name("exact"), run.name("exact")];
    let issued = run.issue(run.account()?, &names).or_fail()?;
    let mut wanted = names.to_vec();
    wanted.sort();
    ensure!(
        issued.leaf().dns_names() == wanted,
        "the names are {:?}",
        issued.leaf().dns_names()
    );
    let now = jiff::Timestamp::now();
    let soon = |hours: i64| (now + Duration::from_secs(3600 * hours as u64)).to_string();
    let seconds = |text: String| {
        text.split('.')
            .next()
            .map(|front| format!("{}Z", front.trim_end_matches('Z')))
            .unwrap_or_default()
    };
    let (from, to) = (seconds(soon(0)), seconds(soon(24)));
    let payload = json!({"identifiers": identifiers(&names), "notBefore": from, "notAfter": to});
    let answer = run.try_order(run.account()?, &payload)?;
    if answer.status != 201 {
        return Ok(());
    }
    let order = Order {
        url: answer.header("location").unwrap_or_default().to_owned(),
        object: answer.json()?,
    };
    for authorization in order.authorizations() {
        run.fulfil(run.account()?, &authorization)?;
    }
    let key = Key::p256();
    let csr = Csr::of(&names).sign(&key);
    let issued = run.finish(run.account()?, &order, &csr, key, &names)?;
    let shown = |time: jiff::Timestamp| seconds(time.to_string());
    let dates = (shown(issued.leaf().not_before), shown(issued.leaf().not_after));
    ensure!(
        dates == (from.clone(), to.clone()),
        "ordered for {from} to {to}, issued for {} to {}",
        dates.0,
        dates.1
    );
    Ok(())
}

fn c8555_11_1_01(run: &Run) -> Judgement {
    let (own, other) = (run.account()?, run.other_account()?);
    let gone = run.new_account(Key::p256())?;
    run.post(&gone, &gone.url, &json!({"status": "deactivated"}))?;
    let requests: Vec<(&str, MakeRequest<'_>)> = vec![
        ("the account's own key", Box::new(|names| Csr::of(names).sign(&own.key))),
        (
            "a deactivated account's key",
            Box::new(|names| Csr::of(names).sign(&gone.key)),
        ),
        (
            "another account's key",
            Box::new(|names| Csr::of(names).sign(&other.key)),
        ),
    ];
    refuse_each(run, &["reuse"], requests)
}

fn c5280_7_2_01(run: &Run) -> Judgement {
    let (account, order, name) = ready(run, "case")?;
    let key = Key::p256();
    let csr = Csr::of(&[name.to_ascii_uppercase()]).sign(&key);
    run.check(run.finish(account, &order, &csr, key, &[name]).or_fail().map(drop));
    // The same the other way about, where a name in capitals is taken.
    let name = run.name("case");
    let capitals = [name.to_ascii_uppercase()];
    let answer = run.try_order(account, &json!({"identifiers": identifiers(&capitals)}))?;
    if answer.status != 201 {
        return refused(&answer, "", "an order in capitals");
    }
    let order = Order {
        url: answer.header("location").unwrap_or_default().to_owned(),
        object: answer.json()?,
    };
    let shown = order.object["identifiers"][0]["value"].to_string();
    run.expect(!shown.contains(&capitals[0]), || {
        format!("a name in capitals is kept so: {shown}")
    });
    for authorization in order.authorizations() {
        run.fulfil(account, &authorization)?;
    }
    let order = run.until(account, &order, &["ready"])?;
    let key = Key::p256();
    let csr = Csr::of(std::slice::from_ref(&name)).sign(&key);
    let finished = run.finish(account, &order, &csr, key, &[name]);
    finished.map(drop).map_err(|finding| match finding {
        Finding::Blocked(why) => Finding::Fail(format!("ordered in capitals, requested in small letters: {why}")),
        other => other,
    })
}

fn c2986_4_1_01(run: &Run) -> Judgement {
    let csr = |names: &[String]| Csr {
        version: 1,
        ..Csr::of(names)
    };
    refuse_each(
        run,
        &["version"],
        vec![("version 1", Box::new(|names| csr(names).sign(&Key::p256())))],
    )
}

fn c2986_4_1_02(run: &Run) -> Judgement {
    let (account, order, name) = ready(run, "attributes")?;
    let names = [name];
    let key = Key::p256();
    let password = "secret-challenge";
    let mut csr = Csr::of(&names);
    csr.attributes
        .push(attribute("1.2.840.113549.1.9.7", &der::tlv(der::UTF8_STRING, password)));
    let der = csr.sign(&key);
    let issued = run.finish(account, &order, &der, key, &names).or_fail()?;
    let copied = issued
        .leaf()
        .der
        .windows(password.len())
        .any(|window| window == password.as_bytes());
    ensure!(!copied, "the challengePassword is in the certificate");
    Ok(())
}

fn c2986_4_1_03(run: &Run) -> Judgement {
    let san = |names: &[String]| extension("2.5.29.17", false, &der::sequence(&[dns_name(&names[0])]));
    let requests: Vec<(&str, MakeRequest<'_>)> = vec![
        (
            "two SAN extensions",
            Box::new(|names| {
                let mut twice = Csr::of(names);
                twice.extensions.push(san(names));
                twice.sign(&Key::p256())
            }),
        ),
        (
            "two extensionRequest attributes",
            Box::new(|names| {
                let mut twice = Csr::of(names);
                let again = der::sequence(&[san(names)]);
                twice
                    .attributes
                    .push(attribute(crate::request::EXTENSION_REQUEST, &again));
                twice.sign(&Key::p256())
            }),
        ),
    ];
    refuse_each(run, &["twice"], requests)
}

fn c2986_4_1_04(run: &Run) -> Judgement {
    let other_name = || {
        let value = der::tlv(der::constructed(0), der::tlv(der::UTF8_STRING, "a@b"));
        der::tlv(
            der::constructed(0),
            [der::oid("1.3.6.1.4.1.311.20.2.3"), value].concat(),
        )
    };
    let directory = || {
        der::tlv(
            der::constructed(4),
            crate::request::name(&[("2.5.4.3".into(), "x".into())]),
        )
    };
    let with = |names: &[String], extra: Vec<u8>| {
        let mut csr = Csr::of(names);
        csr.names.push(extra);
        csr.sign(&Key::p256())
    };
    let requests: Vec<(&str, MakeRequest<'_>)> = vec![
        (
            "an rfc822Name",
            Box::new(|n| with(n, der::tlv(der::context(1), format!("admin@{}", n[0])))),
        ),
        (
            "a URI",
            Box::new(|n| with(n, der::tlv(der::context(6), format!("https://{}/", n[0])))),
        ),
        ("an otherName", Box::new(|n| with(n, other_name()))),
        ("a directoryName", Box::new(|n| with(n, directory()))),
        (
            "a registeredID",
            Box::new(|n| with(n, der::tlv(der::context(8), [0x2a, 0x03]))),
        ),
    ];
    refuse_each(run, &["types"], requests)
}

fn c2986_4_1_05(run: &Run) -> Judgement {
    let attributes = [
        ("an organization", "2.5.4.10", "Unvalidated Organization"),
        ("an organizational unit", "2.5.4.11", "Unvalidated Unit"),
        ("a locality", "2.5.4.7", "Unvalidated Town"),
        ("a serialNumber", "2.5.4.5", "Unvalidated 1"),
        (
            "an emailAddress",
            "1.2.840.113549.1.9.1",
            "unvalidated@elsewhere.example",
        ),
    ];
    run.each(attributes, |(what, oid, marker)| {
        let (account, order, name) = ready(run, "subject")?;
        let csr = Csr::of(&[name]).subject(oid, marker).sign(&Key::p256());
        let answer = run.finalize(account, &order, &csr)?;
        if !answer.is_success() {
            return refused(&answer, "badCSR", what);
        }
        let order = run.until(account, &order, &["valid"])?;
        let answer = run.fetch(account, order.object["certificate"].as_str().unwrap_or_default())?;
        let chain = crate::read::pem::certificates(&answer.body).map_err(Finding::Fail)?;
        let leaf = chain.first().map(Vec::as_slice).unwrap_or_default();
        let copied = leaf.windows(marker.len()).any(|window| window == marker.as_bytes());
        ensure!(!copied, "{what} that nobody validated is in the certificate");
        Ok(())
    });
    Ok(())
}

fn c2986_4_2_01(run: &Run) -> Judgement {
    let key = &Key::p256();
    let foreign = |names: &[String]| Csr {
        spki: Some(Key::p256().spki()),
        ..Csr::of(names)
    };
    let signed = |names: &[String], signature: &[u8]| {
        let info = Csr::of(names).info(key);
        der::sequence(&[info, key.signature_algorithm(), der::bit_string(signature)])
    };
    let requests: Vec<(&str, MakeRequest<'_>)> = vec![
        (
            "a flipped bit in the signature",
            Box::new(|names| flipped(Csr::of(names).sign(key))),
        ),
        ("a signature by another key", Box::new(|names| foreign(names).sign(key))),
        (
            "a signature over other text",
            Box::new(|names| signed(names, &key.sign_x509(b"other text"))),
        ),
        ("an empty signature", Box::new(|names| signed(names, &[]))),
        (
            "an r and s of zero",
            Box::new(|names| {
                let zero = der::tlv(der::INTEGER, [0]);
                signed(names, &der::sequence(&[zero.clone(), zero]))
            }),
        ),
    ];
    refuse_each(run, &["possession"], requests)
}

fn c2986_4_2_02(run: &Run) -> Judgement {
    let key = &Key::p256();
    let sound = |names: &[String]| Csr::of(names).sign(key);
    let indefinite = |octets: Vec<u8>| match der::single(&octets, der::SEQUENCE) {
        Ok(whole) => [&[der::SEQUENCE, 0x80][..], whole.content, &[0, 0]].concat(),
        Err(_) => Vec::new(),
    };
    let requests: Vec<(&str, MakeRequest<'_>)> = vec![
        (
            "an octet behind the request",
            Box::new(|names| [sound(names), vec![0]].concat()),
        ),
        ("an indefinite length", Box::new(move |names| indefinite(sound(names)))),
        (
            "a truncated request",
            Box::new(|names| {
                let mut octets = sound(names);
                octets.pop();
                octets
            }),
        ),
    ];
    refuse_each(run, &["der"], requests)
}
