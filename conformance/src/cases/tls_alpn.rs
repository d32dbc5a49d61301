//! RFC 8737: tls-alpn-01.

use serde_json::Value;

use crate::case::{Case, Judgement, OrFail, ensure, may, must, must_read};
use crate::der;
use crate::issue::Challenge;
use crate::keys::sha256;
use crate::read::ocsp::extension;
use crate::request::{dns_name, ip_address};
use crate::responder::tls_alpn01::{ACME_IDENTIFIER, Handshake, PROTOCOL, Script, acme_identifier};
use crate::suite::{Account, Run};

pub(super) const CASES: &[Case] = &[
    must!(c8737_3_01, "The token has 128 bits of base64url."),
    must!(c8737_3_02, "The server connects to the name at the port for TLS."),
    must!(c8737_3_03, "It offers acme-tls/1 alone, and the name as SNI."),
    must_read!(c8737_3_04, "Without acme-tls/1 the challenge fails."),
    must_read!(c8737_3_05, "The certificate has the name as its only one."),
    must!(c8737_3_06, "acmeIdentifier is critical and holds the digest."),
    must!(c8737_3_07, "Names are compared without case."),
    must!(c8737_4_02, "No application data follows the handshake."),
    may!(c8737_4_03, "A bad signature in the certificate may be ignored."),
];

/// A tls-alpn-01 challenge for a fresh name.
fn challenge(run: &Run, account: &Account) -> Judgement<Challenge> {
    run.tls_alpn01()?;
    Ok(run.challenge_for(account, &run.name("alpn"), "tls-alpn-01")?.1)
}

type Show = Box<dyn Fn(&str, &str) -> Script>;

/// Shows each script for a challenge of its own and waits for all decisions.
fn decide(run: &Run, shows: Vec<(&'static str, Show)>) -> Judgement<Vec<(&'static str, Value)>> {
    let account = run.account()?;
    let mut trials = Vec::new();
    for (what, show) in shows {
        let challenge = challenge(run, account)?;
        let authorization = account.key_authorization(&challenge.token);
        run.tls_alpn01()?
            .script(&challenge.identifier, show(&challenge.identifier, &authorization));
        run.respond(account, &challenge)?;
        trials.push((what, challenge));
    }
    let decide =
        |(what, challenge): (_, Challenge)| Ok((what, run.decided(account, &challenge.authorization).or_fail()?));
    trials.into_iter().map(decide).collect()
}

fn all_become(run: &Run, shows: Vec<(&'static str, Show)>, status: &str) -> Judgement {
    super::challenges::all_become(run, decide(run, shows)?, status);
    Ok(())
}

fn sound_attempt(run: &Run) -> Judgement<(Challenge, Vec<Handshake>)> {
    let account = run.account()?;
    let challenge = challenge(run, account)?;
    run.provide(account, &challenge, "tls-alpn-01")?;
    let object = run.attempt(account, &challenge).or_fail()?;
    ensure!(object["status"] == "valid", "the right answer made {object}");
    // The record is written when the peer has closed.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let handshakes = run.tls_alpn01()?.handshakes(&challenge.identifier);
    ensure!(
        !handshakes.is_empty(),
        "valid without a handshake for {}",
        challenge.identifier
    );
    Ok((challenge, handshakes))
}

fn c8737_3_01(run: &Run) -> Judgement {
    let challenge = challenge(run, run.account()?)?;
    let sound = challenge
        .token
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    ensure!(
        challenge.token.len() >= 22 && sound,
        "the token is {:?}",
        challenge.token
    );
    Ok(())
}

fn c8737_3_02(run: &Run) -> Judgement {
    sound_attempt(run).map(|_| ())
}

fn c8737_3_03(run: &Run) -> Judgement {
    let (challenge, handshakes) = sound_attempt(run)?;
    run.each(handshakes, |handshake| {
        ensure!(
            handshake.protocols == [PROTOCOL.to_vec()],
            "{:?} is offered",
            handshake.protocols
        );
        ensure!(
            handshake.server_name.as_deref() == Some(&challenge.identifier),
            "SNI is {:?}",
            handshake.server_name
        );
        Ok(())
    });
    Ok(())
}

fn c8737_3_04(run: &Run) -> Judgement {
    let with = |protocols: Vec<Vec<u8>>| -> Show {
        Box::new(move |name, authorization| Script {
            protocols: protocols.clone(),
            ..Script::sound(&[dns_name(name)], authorization)
        })
    };
    all_become(
        run,
        vec![
            ("no ALPN", with(vec![])),
            ("http/1.1", with(vec![b"http/1.1".to_vec()])),
        ],
        "invalid",
    )
}

fn c8737_3_05(run: &Run) -> Judgement {
    let with = |names: fn(&str) -> Vec<Vec<u8>>| -> Show {
        Box::new(move |name, authorization| Script::sound(&names(name), authorization))
    };
    let shows = vec![
        (
            "a second dNSName",
            with(|name| vec![dns_name(name), dns_name("other.test")]),
        ),
        (
            "an iPAddress beside",
            with(|name| vec![dns_name(name), ip_address(&[127, 0, 0, 1])]),
        ),
        ("no SAN", with(|_| vec![])),
        ("another name", with(|_| vec![dns_name("other.test")])),
        (
            "a wildcard",
            with(|name| {
                vec![dns_name(&format!(
                    "*.{}",
                    name.split_once('.').map_or("", |(_, rest)| rest)
                ))]
            }),
        ),
    ];
    all_become(run, shows, "invalid")
}

fn c8737_3_06(run: &Run) -> Judgement {
    let with = |make: fn(&str) -> Vec<Vec<u8>>| -> Show {
        Box::new(move |name, authorization| Script::new(&[dns_name(name)], &make(authorization)))
    };
    fn one(critical: bool, value: &[u8]) -> Vec<Vec<u8>> {
        vec![extension(ACME_IDENTIFIER, critical, value)]
    }
    let shows = vec![
        (
            "not critical",
            with(|authorization| one(false, &der::octet_string(sha256(authorization)))),
        ),
        ("missing", with(|_| vec![])),
        (
            "twice",
            with(|authorization| vec![acme_identifier(authorization), acme_identifier(authorization)]),
        ),
        ("a wrong digest", with(|_| one(true, &der::octet_string(sha256("x"))))),
        ("raw octets", with(|authorization| one(true, &sha256(authorization)))),
        (
            "31 octets",
            with(|authorization| one(true, &der::octet_string(&sha256(authorization)[..31]))),
        ),
        (
            "33 octets",
            with(|authorization| one(true, &der::octet_string([sha256(authorization), vec![0]].concat()))),
        ),
        (
            "octets behind",
            with(|authorization| one(true, &[der::octet_string(sha256(authorization)), vec![5, 0]].concat())),
        ),
    ];
    all_become(run, shows, "invalid")
}

fn c8737_3_07(run: &Run) -> Judgement {
    let show: Show =
        Box::new(|name, authorization| Script::sound(&[dns_name(&name.to_ascii_uppercase())], authorization));
    all_become(run, vec![("an upper-case SAN", show)], "valid")
}

fn c8737_4_02(run: &Run) -> Judgement {
    run.each(sound_attempt(run)?.1, |handshake| {
        ensure!(
            handshake.data.is_empty(),
            "{} octets follow the handshake",
            handshake.data.len()
        );
        Ok(())
    });
    Ok(())
}

fn c8737_4_03(run: &Run) -> Judgement {
    let show: Show = Box::new(|name, authorization| {
        let mut script = Script::sound(&[dns_name(name)], authorization);
        if let Some(last) = script.certificate.last_mut() {
            *last ^= 1;
        }
        script
    });
    run.each(
        decide(run, vec![("a broken signature", show)])?,
        |(_, authorization)| {
            let decided = authorization["status"] == "valid" || authorization["status"] == "invalid";
            ensure!(decided, "a certificate with a broken signature made {authorization}");
            Ok(())
        },
    );
    Ok(())
}
