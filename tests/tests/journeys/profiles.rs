//! Profiles: what the directory offers is what an order gets.

use serde_json::json;
use sigillo_tests::acme::Issued;
use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::webroot::Webroot;

use super::expect::refused;

const DAY: i64 = 24 * 3600;

struct Seen {
    days: i64,
    server: bool,
    client: bool,
}

fn read(issued: &Issued) -> Seen {
    let der = issued.leaf_der();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
    let validity = certificate.validity();
    let usage = certificate
        .extended_key_usage()
        .expect("no error")
        .expect("an extended key usage");
    Seen {
        // Both ends count (RFC 5280 section 4.1.2.5); a backdate of hours is not a day.
        days: (validity.not_after.timestamp() + 1 - validity.not_before.timestamp()) / DAY,
        server: usage.value.server_auth,
        client: usage.value.client_auth,
    }
}

#[test]
fn each_advertised_profile_gives_what_it_says() {
    let daemon = Daemon::start_with(
        Options::default()
            .set("profiles.week.validity=7d")
            .set("profiles.week.extended_key_usage=[\"clientAuth\"]")
            .set("profiles.week.description=A week"),
    );
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let offered = acme.directory["meta"]["profiles"]
        .as_object()
        .expect("profiles")
        .clone();
    let expected = [
        ("default", 90, true, true),
        ("server", 90, true, false),
        ("client", 90, false, true),
        ("shortlived", 6, true, true),
        ("week", 7, false, true),
    ];
    assert_eq!(offered.len(), expected.len(), "{offered:?}");
    assert_eq!(offered["week"], "A week");
    for (profile, days, server, client) in expected {
        assert!(offered.contains_key(profile), "{offered:?}");
        let issued = acme
            .obtain_with(&["profile.test"], json!({"profile": profile}), &webroot)
            .unwrap();
        let seen = read(&issued);
        assert_eq!(
            (seen.days, seen.server, seen.client),
            (days, server, client),
            "{profile}"
        );
        let order = acme.read(&issued.order).unwrap().json();
        assert_eq!(order["profile"], profile, "the order says which");
    }
    let unnamed = read(&acme.obtain(&["profile.test"], &webroot).unwrap());
    assert_eq!(unnamed.days, 90, "without a wish it is the default");
}

#[test]
fn a_profile_that_is_not_offered_is_refused() {
    let daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    for profile in ["nonsense", "", "ocsp-responder", "ca-server", "DEFAULT"] {
        let answer = acme
            .ask_for_order(&["profile.test"], json!({"profile": profile}))
            .unwrap();
        refused(&answer, 400, "invalidProfile");
    }
}
