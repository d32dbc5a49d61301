//! RFC 8738: IP identifiers.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::case::{Case, Finding, Judgement, OrFail, ensure, may, must, must_read};
use crate::der;
use crate::issue::{Challenge, Order};
use crate::keys::Key;
use crate::request::{Csr, dns_name, ip_address};
use crate::responder::dns::address;
use crate::responder::http01::challenge_path;
use crate::responder::tls_alpn01::Script;
use crate::suite::{Run, refused};

pub(super) const CASES: &[Case] = &[
    must!(c8738_3_01, "An address is authorized as type ip."),
    must!(c8738_3_02, "Addresses are in their one canonical form."),
    must_read!(c8738_3_03, "Request and certificate carry the address as iPAddress."),
    must!(c8738_4_01, "The address itself is contacted, without DNS."),
    must!(c8738_5_01, "The Host of http-01 is the address."),
    must!(c8738_6_01, "The SNI of tls-alpn-01 is the reverse name."),
    must!(c8738_6_02, "The validation certificate has the single address."),
    must!(c8738_7_01, "dns-01 is not offered for addresses."),
    may!(c8738_9_1_01, "Policy may refuse addresses."),
];

fn payload(value: &str) -> Value {
    json!({"identifiers": [{"type": "ip", "value": value}]})
}

/// An order for the address of the answerers.
fn order(run: &Run) -> Judgement<Order> {
    let account = run.account()?;
    let answer = run.try_order(account, &payload(&run.options.address.to_string()))?;
    match (answer.status, answer.header("location")) {
        (201, Some(url)) => Ok(Order {
            url: url.to_owned(),
            object: answer.json()?,
        }),
        _ => Err(Finding::NotOffered(format!("addresses: {}", answer.summary()))),
    }
}

/// So many authorizations of earlier cases may be there to be reused.
const REUSED_MAX: usize = 8;

/// A pending authorization for the address; one that is reused is given up first.
fn pending(run: &Run) -> Judgement<(Order, Value, String)> {
    let account = run.account()?;
    for _ in 0..REUSED_MAX {
        let order = order(run)?;
        let url = order.authorizations().into_iter().next().unwrap_or_default();
        let object = run.authorization(account, &url)?;
        if object["status"] == "pending" {
            return Ok((order, object, url));
        }
        run.post(account, &url, &json!({"status": "deactivated"}))?;
    }
    Err(Finding::Blocked("no pending authorization for the address".into()))
}

fn challenge(run: &Run, kind: &str) -> Judgement<(Order, Challenge)> {
    let (order, _, url) = pending(run)?;
    Ok((order, run.challenge(run.account()?, &url, kind)?))
}

fn c8738_3_01(run: &Run) -> Judgement {
    let (_, object, _) = pending(run)?;
    let identifier = &object["identifier"];
    ensure!(identifier["type"] == "ip", "the authorization is for {identifier}");
    ensure!(
        identifier["value"] == run.options.address.to_string(),
        "the authorization is for {identifier}"
    );
    Ok(())
}

fn c8738_3_02(run: &Run) -> Judgement {
    order(run)?;
    run.each(
        [
            "127.1",
            "0177.0.0.1",
            "01.2.3.4",
            "0x7f.0.0.1",
            "2130706433",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            " 127.0.0.1",
            "2001:DB8::1",
            "2001:0db8::1",
            "2001:db8:0:0:0:0:0:1",
            "[2001:db8::1]",
            "fe80::1%eth0",
            "2001:db8::0:1",
            "127.0.0.1/32",
        ],
        |wrong| {
            let answer = run.try_order(run.account()?, &payload(wrong))?;
            if answer.status != 201 {
                return refused(&answer, "", wrong);
            }
            let shown = answer.json()?["identifiers"][0]["value"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let canonical = shown
                .parse::<IpAddr>()
                .is_ok_and(|address| address.to_string() == shown);
            ensure!(canonical, "{wrong} is taken, and shown as {shown}");
            // What is authorized is in its one form then.
            run.warn(format!("{wrong} is taken for {shown} and not refused"));
            Ok(())
        },
    );
    Ok(())
}

fn c8738_3_03(run: &Run) -> Judgement {
    let account = run.account()?;
    let (order, challenge) = challenge(run, "http-01")?;
    run.provide(account, &challenge, "http-01")?;
    let object = run.attempt(account, &challenge).or_fail()?;
    ensure!(object["status"] == "valid", "the right answer made {object}");
    let order = run.until(account, &order, &["ready"])?;
    let text = run.options.address.to_string();
    let key = Key::p256();
    run.each(
        [
            (
                "the address as dNSName",
                Csr {
                    names: vec![dns_name(&text)],
                    ..Csr::default()
                },
            ),
            ("the address in the CN alone", Csr::default().common_name(&text)),
        ],
        |(what, csr)| {
            run.check(refused(&run.finalize(account, &order, &csr.sign(&key))?, "", what));
            Ok(())
        },
    );
    let octets = address(run.options.address);
    let csr = Csr {
        names: vec![ip_address(&octets)],
        ..Csr::default()
    }
    .sign(&key);
    let issued = run.finish(account, &order, &csr, key, &[text]).or_fail()?;
    let names = issued.leaf().names().map_err(Finding::Fail)?;
    ensure!(names == [(der::context(7), octets)], "the SAN is {names:02x?}");
    Ok(())
}

fn attempt_http(run: &Run) -> Judgement<Challenge> {
    let account = run.account()?;
    let (_, challenge) = challenge(run, "http-01")?;
    run.provide(account, &challenge, "http-01")?;
    let object = run.attempt(account, &challenge).or_fail()?;
    ensure!(object["status"] == "valid", "the right answer made {object}");
    Ok(challenge)
}

fn c8738_4_01(run: &Run) -> Judgement {
    let challenge = attempt_http(run)?;
    ensure!(
        !run.http01()?.queries(&challenge_path(&challenge.token)).is_empty(),
        "no query came to the address"
    );
    if let Ok(dns) = run.dns() {
        let asked = dns.questions(&run.options.address.to_string());
        ensure!(asked.is_empty(), "the address was looked up: {asked:?}");
    }
    Ok(())
}

fn c8738_5_01(run: &Run) -> Judgement {
    let challenge = attempt_http(run)?;
    let host = match run.options.address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let queries = run.http01()?.queries(&challenge_path(&challenge.token));
    ensure!(!queries.is_empty(), "no query came to the address");
    run.each(queries, |query| {
        let rest = query.host.strip_prefix(&host);
        ensure!(
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':')),
            "the Host is {:?}",
            query.host
        );
        Ok(())
    });
    Ok(())
}

/// The name under in-addr.arpa or ip6.arpa.
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            let nibbles = octets.iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            format!(
                "{}.ip6.arpa",
                nibbles
                    .map(|nibble| format!("{nibble:x}"))
                    .collect::<Vec<_>>()
                    .join(".")
            )
        }
    }
}

fn attempt_tls(run: &Run, names: &[Vec<u8>]) -> Judgement<Value> {
    let account = run.account()?;
    let (_, challenge) = challenge(run, "tls-alpn-01")?;
    let script = Script::sound(names, &account.key_authorization(&challenge.token));
    run.tls_alpn01()?.script(&reverse(run.options.address), script);
    run.attempt(account, &challenge).or_fail()
}

fn c8738_6_01(run: &Run) -> Judgement {
    let object = attempt_tls(run, &[ip_address(&address(run.options.address))])?;
    ensure!(object["status"] == "valid", "the right answer made {object}");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let handshakes = run.tls_alpn01()?.handshakes(&reverse(run.options.address));
    ensure!(!handshakes.is_empty(), "no handshake with the reverse name");
    Ok(())
}

fn c8738_6_02(run: &Run) -> Judgement {
    let own = ip_address(&address(run.options.address));
    let arpa = dns_name(&reverse(run.options.address));
    run.each(
        [
            ("the reverse name as dNSName", vec![arpa]),
            ("two addresses", vec![own, ip_address(&[127, 0, 0, 2])]),
            ("another address", vec![ip_address(&[127, 0, 0, 2])]),
        ],
        |(what, names)| {
            let object = attempt_tls(run, &names)?;
            ensure!(object["status"] == "invalid", "{what} made {object}");
            Ok(())
        },
    );
    Ok(())
}

fn c8738_7_01(run: &Run) -> Judgement {
    let (_, object, _) = pending(run)?;
    let kinds: Vec<&str> = object["challenges"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["type"].as_str())
        .collect();
    ensure!(
        !kinds.iter().any(|kind| kind.starts_with("dns-")),
        "{kinds:?} are offered"
    );
    Ok(())
}

fn c8738_9_1_01(run: &Run) -> Judgement {
    order(run)?;
    run.each(
        ["169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255"],
        |value| {
            let answer = run.try_order(run.account()?, &payload(value))?;
            if answer.status != 201 {
                run.check(refused(&answer, "rejectedIdentifier|malformed", value));
            }
            Ok(())
        },
    );
    Ok(())
}
