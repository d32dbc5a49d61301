//! RFC 8555 section 6.1 and RFC 8737 section 4: TLS of the past is refused, by the target's front and by its validator.

use crate::case::{Case, Finding, Judgement, OrFail, ensure, must, should};
use crate::http::Url;
use crate::old_tls::{Heard, SSL_3_0, TLS_1_0, TLS_1_1, TLS_1_2, client_hello, say};
use crate::request::dns_name;
use crate::responder::tls_alpn01::Script;
use crate::suite::Run;

pub(super) const CASES: &[Case] = &[
    should!(c8555_6_1_02, "Old versions of TLS and weak suites are refused."),
    must!(c8737_4_01, "A validator speaks TLS 1.2 or later only."),
];

/// Suites that old versions have and that are not weak otherwise.
const OF_OLD_VERSIONS: &[u16] = &[0xc009, 0xc00a, 0xc013, 0xc014, 0x002f, 0x0035, 0x000a];

/// Suites of TLS 1.2 that RFC 9325 section 4.2 recommends.
const SOUND: &[u16] = &[0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca8, 0xcca9];

/// Suites that RFC 9325 section 4.1 forbids, by what is wrong with them.
const WEAK: &[(&str, &[u16])] = &[
    ("no encryption", &[0x0001, 0x0002, 0x003b, 0xc006, 0xc010]),
    ("export keys", &[0x0003, 0x0006, 0x0008, 0x000b, 0x000e, 0x0014, 0x0062]),
    ("RC4", &[0x0004, 0x0005, 0xc007, 0xc011]),
    ("DES", &[0x0009, 0x000c, 0x0015]),
    ("3DES", &[0x000a, 0x0016, 0xc008, 0xc012]),
    ("no authentication", &[0x0018, 0x0034, 0x00a6, 0xc017, 0xc018]),
];

/// The alert of a server that would have another version.
const PROTOCOL_VERSION: u8 = 70;

fn c8555_6_1_02(run: &Run) -> Judgement {
    let url = Url::parse(&run.options.directory)
        .filter(|url| url.scheme == "https")
        .ok_or_else(|| Finding::Fail("the directory is not at an https URL".into()))?;
    let heard = |version, suites| {
        say(&url, &client_hello(&url.host, version, suites))
            .map_err(|why| Finding::Blocked(format!("the target cannot be reached: {why}")))
    };
    // A server of TLS 1.3 alone refuses all of this by its version; any other takes the sound hello.
    match heard(TLS_1_2, SOUND)? {
        Heard::Hello {
            version: TLS_1_2,
            suite,
        } if SOUND.contains(&suite) => {}
        Heard::Alert(PROTOCOL_VERSION) => {}
        other => {
            return Err(Finding::Blocked(format!(
                "the suite's sound hello of TLS 1.2 is answered by {other:?}"
            )));
        }
    }
    let refuses = |what: &str, heard: Heard| {
        ensure!(matches!(heard, Heard::Alert(_) | Heard::End), "{what}: {heard:?}");
        Ok(())
    };
    let old = [("SSL 3.0", SSL_3_0), ("TLS 1.0", TLS_1_0), ("TLS 1.1", TLS_1_1)];
    run.each(old, |(what, version)| refuses(what, heard(version, OF_OLD_VERSIONS)?));
    run.each(WEAK, |(what, suites)| {
        refuses(&format!("suites with {what}"), heard(TLS_1_2, suites)?)
    });
    Ok(())
}

fn c8737_4_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let answerer = run.tls_alpn01()?;
    let (_, challenge) = run.challenge_for(account, &run.name("old"), "tls-alpn-01")?;
    let authorization = account.key_authorization(&challenge.token);
    let sound = Script::sound(&[dns_name(&challenge.identifier)], &authorization);
    answerer.script(
        &challenge.identifier,
        Script {
            old_version: Some(TLS_1_1),
            ..sound
        },
    );
    let object = run.attempt(account, &challenge).or_fail()?;
    ensure!(
        object["status"] == "invalid",
        "an answerer of TLS 1.1 made the authorization {object}"
    );
    // The record is written when the peer has spoken.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let handshakes = answerer.handshakes(&challenge.identifier);
    ensure!(!handshakes.is_empty(), "invalid without a handshake");
    for handshake in handshakes {
        let said = handshake.said_to_old;
        ensure!(
            matches!(said, Some(Heard::Alert(_) | Heard::End)),
            "to a ServerHello of TLS 1.1 the validator says {said:?}"
        );
    }
    Ok(())
}
