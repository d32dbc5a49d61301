//! RFC 8555 section 7.4 from finalize on, and RFC 2986: certification requests.

use std::time::Duration;

use serde_json::{Value, json};

use crate::base64;
use crate::case::{Case, Finding, Judgement, OrFail, ensure, must, must_read, should, should_read};
use crate::der;
use crate::issue::{Order, identifiers};
use crate::keys::Key;
use crate::read::certificate::{BASIC_CONSTRAINTS, KEY_USAGE};
use crate::read::ocsp::extension;
use crate::request::{Csr, attribute, dns_name};
use crate::suite::{Account, Run, refused};

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

/// A ready order of the first account for one fresh name.
fn ready<'a>(run: &'a Run, label: &str) -> Judgement<(&'a Account, Order, String)> {
    let account = run.account()?;
    let name = run.name(label);
    let order = run.ready_order(account, std::slice::from_ref(&name))?;
    Ok((account, order, name))
}

/// The request is refused and the order is left ready.
fn refuse(run: &Run, account: &Account, order: &Order, csr: &[u8], what: &str) -> Judgement {
    let answer = run.finalize(account, order, csr)?;
    run.check(refused(&answer, "", what));
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
    let account = run.account()?;
    let names = [run.name("one"), run.name("two")];
    let order = run.ready_order(account, &names)?;
    let other = run.name("three");
    let key = Key::p256();
    let [one, two] = &names;
    for (what, wrong) in [
        ("more names than ordered", vec![one.clone(), two.clone(), other.clone()]),
        ("fewer names than ordered", vec![one.clone()]),
        ("another name", vec![one.clone(), other.clone()]),
        ("a wildcard for a base name", vec![one.clone(), format!("*.{two}")]),
    ] {
        refuse(run, account, &order, &Csr::of(&wrong).sign(&key), what)?;
    }
    let csr = Csr::of(&names).common_name(&other).sign(&key);
    refuse(run, account, &order, &csr, "another name in the CN")?;
    refuse(run, account, &order, &Csr::default().sign(&key), "no name at all")
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
    let (account, order, name) = ready(run, "better")?;
    let names = [name];
    let key = Key::p256();
    let mut broken = Csr::of(&names).sign(&key);
    if let Some(last) = broken.last_mut() {
        *last ^= 1;
    }
    let other = Csr::of(&[run.name("wrong")]).sign(&key);
    run.each(
        [("a broken signature", broken), ("a wrong name", other)],
        |(what, csr)| {
            let answer = run.finalize(account, &order, &csr)?;
            run.check(refused(&answer, "badCSR", what));
            ensure!(answer.json()?["detail"].is_string(), "{what}: badCSR without a reason");
            let later = run.look(account, &order)?;
            ensure!(
                later.status() == "ready",
                "after {what} the order is {}",
                later.status()
            );
            Ok(())
        },
    );
    let csr = Csr::of(&names).sign(&key);
    run.finish(account, &order, &csr, key, &names).or_fail()?;
    Ok(())
}

fn c8555_7_4_09(run: &Run) -> Judgement {
    let account = run.account()?;
    let name = run.name("early");
    let pending = run.order(account, std::slice::from_ref(&name))?;
    let csr = Csr::of(&[name]).sign(&Key::p256());
    let issued = run.certificate()?;
    let again = Csr::of(&issued.names).sign(&Key::p256());
    run.each(
        [
            ("a pending order", &pending, csr),
            ("a valid order", &issued.order, again),
        ],
        |(what, order, csr)| {
            let answer = run.finalize(account, order, &csr)?;
            run.check(refused(&answer, "orderNotReady", &format!("finalize on {what}")));
            ensure!(answer.status == 403, "finalize on {what}: {}", answer.summary());
            Ok(())
        },
    );
    let later = run.look(account, &issued.order)?;
    ensure!(
        later.object["certificate"] == issued.url.as_str(),
        "the valid order's certificate changed"
    );
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
    let attempts: [(&str, &str, bool, Vec<u8>); 3] = [
        ("CA:TRUE", BASIC_CONSTRAINTS, true, ca),
        ("keyCertSign", KEY_USAGE, true, cert_sign),
        ("an unknown critical extension", unknown, true, der::null()),
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
        let leaf = crate::read::certificate::Certificate::read(&chain[0]).map_err(Finding::Fail)?;
        ensure!(!leaf.is_ca(), "{what} made a CA");
        ensure!(!leaf.has_usage(5), "{what} reached the certificate");
        ensure!(leaf.extension(unknown).is_none(), "{what} reached the certificate");
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
    let (account, order, name) = ready(run, "reuse")?;
    let csr = Csr::of(&[name]);
    refuse(run, account, &order, &csr.sign(&account.key), "the account's own key")?;
    refuse(
        run,
        account,
        &order,
        &csr.sign(&run.other_account()?.key),
        "another account's key",
    )
}

fn c5280_7_2_01(run: &Run) -> Judgement {
    let (account, order, name) = ready(run, "case")?;
    let key = Key::p256();
    let csr = Csr::of(&[name.to_ascii_uppercase()]).sign(&key);
    run.finish(account, &order, &csr, key, &[name]).or_fail()?;
    Ok(())
}

fn c2986_4_1_01(run: &Run) -> Judgement {
    let (account, order, name) = ready(run, "version")?;
    let csr = Csr {
        version: 1,
        ..Csr::of(&[name])
    };
    refuse(run, account, &order, &csr.sign(&Key::p256()), "version 1")
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
    let (account, order, name) = ready(run, "twice")?;
    let names = der::sequence(&[dns_name(&name)]);
    let san = extension("2.5.29.17", false, &names);
    let mut twice = Csr::of(std::slice::from_ref(&name));
    twice.extensions.push(san.clone());
    refuse(run, account, &order, &twice.sign(&Key::p256()), "two SAN extensions")?;
    let mut twice = Csr::of(&[name]);
    twice
        .attributes
        .push(attribute(crate::request::EXTENSION_REQUEST, &der::sequence(&[san])));
    refuse(
        run,
        account,
        &order,
        &twice.sign(&Key::p256()),
        "two extensionRequest attributes",
    )
}

fn c2986_4_1_04(run: &Run) -> Judgement {
    let (account, order, name) = ready(run, "types")?;
    let other_name = der::tlv(
        der::constructed(0),
        [
            der::oid("1.3.6.1.4.1.311.20.2.3"),
            der::tlv(der::constructed(0), der::tlv(der::UTF8_STRING, "a@b")),
        ]
        .concat(),
    );
    let directory = der::tlv(
        der::constructed(4),
        crate::request::name(&[("2.5.4.3".into(), "x".into())]),
    );
    for (what, extra) in [
        ("an rfc822Name", der::tlv(der::context(1), format!("admin@{name}"))),
        ("a URI", der::tlv(der::context(6), format!("https://{name}/"))),
        ("an otherName", other_name),
        ("a directoryName", directory),
        ("an iPAddress", crate::request::ip_address(&[127, 0, 0, 1])),
    ] {
        let mut csr = Csr::of(std::slice::from_ref(&name));
        csr.names.push(extra);
        refuse(run, account, &order, &csr.sign(&Key::p256()), what)?;
    }
    Ok(())
}

fn c2986_4_1_05(run: &Run) -> Judgement {
    let (account, order, name) = ready(run, "subject")?;
    let names = [name];
    let key = Key::p256();
    let marker = "Unvalidated Organization";
    let csr = Csr::of(&names)
        .subject("2.5.4.10", marker)
        .subject("2.5.4.6", "XX")
        .sign(&key);
    let answer = run.finalize(account, &order, &csr)?;
    if !answer.is_success() {
        return refused(&answer, "badCSR", "subject attributes");
    }
    let order = run.until(account, &order, &["valid"])?;
    let answer = run.fetch(account, order.object["certificate"].as_str().unwrap_or_default())?;
    let chain = crate::read::pem::certificates(&answer.body).map_err(Finding::Fail)?;
    let copied = chain[0].windows(marker.len()).any(|window| window == marker.as_bytes());
    ensure!(!copied, "an organization that nobody validated is in the certificate");
    Ok(())
}

fn c2986_4_2_01(run: &Run) -> Judgement {
    let (account, order, name) = ready(run, "possession")?;
    let csr = Csr::of(&[name]);
    let key = Key::p256();
    let mut flipped = csr.sign(&key);
    if let Some(last) = flipped.last_mut() {
        *last ^= 1;
    }
    refuse(run, account, &order, &flipped, "a flipped bit in the signature")?;
    let foreign = Csr {
        spki: Some(Key::p256().spki()),
        ..csr
    };
    refuse(run, account, &order, &foreign.sign(&key), "a signature by another key")
}

fn c2986_4_2_02(run: &Run) -> Judgement {
    let (account, order, name) = ready(run, "der")?;
    let key = Key::p256();
    let csr = Csr::of(&[name]);
    let sound = csr.sign(&key);
    let trailing = [sound.as_slice(), &[0]].concat();
    refuse(run, account, &order, &trailing, "an octet behind the request")?;
    let content = &der::single(&sound, der::SEQUENCE).map_err(Finding::Blocked)?.content;
    let indefinite = [&[der::SEQUENCE, 0x80][..], content, &[0, 0]].concat();
    refuse(run, account, &order, &indefinite, "an indefinite length")?;
    let truncated = &sound[..sound.len() - 1];
    refuse(run, account, &order, truncated, "a truncated request")?;
    let later: Value = run.look(account, &order)?.object;
    ensure!(later["certificate"].is_null(), "a refused request led to a certificate");
    Ok(())
}
