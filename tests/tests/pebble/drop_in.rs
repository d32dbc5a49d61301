//! What a script around Pebble does: configure, ask the management interface, look at the answers.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use sigillo_tests::acme::{Acme, problem};
use sigillo_tests::http::Http;
use sigillo_tests::process::run;
use sigillo_tests::programs;
use sigillo_tests::test_server::{Options, TestServer};
use sigillo_tests::webroot::Webroot;

/// How long a command may take that says no.
const REFUSED_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn the_status_of_a_certificate_is_told_by_its_serial() {
    let server = TestServer::start(Options::default());
    let webroot = Webroot::serve(server.http01_port);
    let acme = server.register().unwrap();
    let issued = acme.obtain(&["status.test"], &webroot).unwrap();
    let path = format!("/cert-status-by-serial/{}", issued.serial());
    let told = server.ask(&path).json();
    assert_eq!(told["Status"], "Valid");
    assert!(told.get("Reason").is_none());
    let shown = pem::parse(told["Certificate"].as_str().unwrap()).unwrap();
    assert_eq!(shown.contents(), issued.leaf_der());

    assert_eq!(acme.revoke(&issued.leaf_der(), 4).unwrap().status, 200);
    let told = server.ask(&path).json();
    assert_eq!((&told["Status"], &told["Reason"]), (&json!("Revoked"), &json!(4)));
    assert!(told["RevokedAt"].is_string());
    assert_eq!(server.ask("/cert-status-by-serial/abc").status, 404);
    assert_eq!(server.ask("/cert-status-by-serial/xyz").status, 400);
    assert!(server.stop());
}

#[test]
fn renewal_information_is_what_was_set() {
    let server = TestServer::start(Options::default());
    let webroot = Webroot::serve(server.http01_port);
    let acme = server.register().unwrap();
    let issued = acme.obtain(&["renew.test"], &webroot).unwrap();
    let url = format!("{}/{}", acme.url("renewalInfo"), issued.renewal_id());
    assert!(acme.http.get(&url).unwrap().json()["explanationURL"].is_null());
    let wanted = json!({
        "suggestedWindow": { "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z" },
        "explanationURL": "https://a.test/why",
    });
    let wish = json!({ "certificate": issued.chain_pem, "ariResponse": wanted.to_string() });
    assert_eq!(server.tell("POST", "/set-renewal-info/", &wish.to_string()).status, 200);
    let told = acme.http.get(&url).unwrap();
    assert_eq!((told.status, told.json()), (200, wanted));
    assert!(told.header("retry-after").is_some());
    for wrong in ["", "{}", r#"{"certificate": "x", "ariResponse": ""}"#] {
        assert_eq!(server.tell("POST", "/set-renewal-info/", wrong).status, 400, "{wrong}");
    }
}

#[test]
fn links_have_the_host_that_was_asked() {
    let server = TestServer::start(Options::default());
    let other = server.directory.replace("localhost", "127.0.0.1");
    let directory = server.http_client().get(&other).unwrap().json();
    let base = other.trim_end_matches("/dir");
    assert_eq!(directory["newOrder"], format!("{base}/order-plz"));
    // And requests signed for them are taken.
    let acme = Acme::register(server.http_client(), &other).unwrap();
    assert!(acme.kid.starts_with(&format!("{base}/my-account/")), "{}", acme.kid);
    let (order, _) = acme.new_order(&["host.test"]).unwrap();
    assert!(order.starts_with(&format!("{base}/my-order/")), "{order}");
}

#[test]
fn configuration_and_environment_mean_what_they_mean_to_pebble() {
    let server = TestServer::start(
        Options::default()
            .member("domainBlocklist", json!(["blocked.test"]))
            .member("certificateValidityPeriod", json!(3600))
            .member("ocspResponderURL", json!("http://ocsp.test/x"))
            .member(
                "profiles",
                json!({"tiny": {"description": "tiny", "validityPeriod": 120}}),
            )
            .member("somethingNew", json!({"a": 1}))
            .variable("PEBBLE_WFE_ORDERS_PER_PAGE", "2")
            .arguments(&["-strict"]),
    );
    assert!(server.log().contains("somethingNew"), "{}", server.log());
    let webroot = Webroot::serve(server.http01_port);
    let acme = server.register().unwrap();
    assert!(acme.directory["meta"]["termsOfService"].is_string());
    assert_eq!(acme.directory["meta"]["profiles"]["tiny"], "tiny");
    assert!(
        acme.directory.get("sigilloUnknownMember").is_some(),
        "-strict shows clients what they have to ignore"
    );

    for name in ["blocked.test", "a.blocked.test"] {
        let refused = acme.ask_for_order(&[name, "free.test"], json!({})).unwrap();
        assert_eq!(problem(&refused), "rejectedIdentifier", "{name}");
    }
    let tiny = acme
        .obtain_with(&["tiny.test"], json!({"profile": "tiny"}), &webroot)
        .unwrap();
    let leaf = tiny.leaf_der();
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    let validity = leaf.validity();
    assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), 119);
    assert!(validity.is_valid(), "a certificate for two minutes has begun");
    let text = String::from_utf8_lossy(&tiny.leaf_der()).into_owned();
    assert!(text.contains("http://ocsp.test/x"), "the configured responder is named");

    for name in ["one.test", "two.test"] {
        acme.new_order(&[name]).unwrap();
    }
    let orders = acme.read(&acme.kid).unwrap().json()["orders"]
        .as_str()
        .unwrap()
        .to_owned();
    let page = acme.read(&orders).unwrap();
    assert_eq!(page.json()["orders"].as_array().map(Vec::len), Some(2));
    let next = page
        .headers
        .iter()
        .any(|(name, value)| name == "link" && value.contains("rel=\"next\""));
    assert!(next, "{:?}", page.headers);
}

#[test]
fn a_mac_key_binds_accounts_as_often_as_it_is_used() {
    let server = TestServer::start(
        Options::default()
            .member("externalAccountBindingRequired", json!(true))
            .member(
                "externalAccountMACKeys",
                json!({"kid-1": "bWFjIGtleSBtYWMga2V5IG1hYyBrZXkgbWFjIGtleSBtYWMga2V5"}),
            ),
    );
    let refused = server.register().unwrap_err().to_string();
    assert!(refused.contains("externalAccountRequired"), "{refused}");
    for home in ["first", "second"] {
        let mut command = Command::new(programs::own("sigillo"));
        command
            .args(["register", "--agree-tos", "--eab-kid", "kid-1"])
            .args(["--eab-hmac", "bWFjIGtleSBtYWMga2V5IG1hYyBrZXkgbWFjIGtleSBtYWMga2V5"])
            .env("SIGILLO_DIRECTORY", &server.directory)
            .env("SIGILLO_CA_ROOT", &server.trust)
            .env("SIGILLO_HOME", server.scratch().join(home));
        run(&mut command, REFUSED_WITHIN).succeeded();
    }
}

#[test]
fn without_its_files_https_shows_a_certificate_of_its_own() {
    let server = TestServer::start(
        Options::default()
            .member("certificate", json!("no/such/cert.pem"))
            .member("managementListenAddress", json!("")),
    );
    let log = server.log();
    let root = log.lines().find_map(|line| line.split_once("its root is ")).unwrap().1;
    let http = Http::trusting(std::path::Path::new(root));
    assert_eq!(http.get(&server.directory).unwrap().status, 200);
    assert!(log.contains("Management interface is disabled"), "{log}");
    assert!(log.contains("FOR TESTS ONLY"), "{log}");
}

#[test]
fn it_refuses_other_machines_and_other_peoples_folders() {
    let scratch = tempfile::tempdir().unwrap();
    let config = scratch.path().join("pebble.json");
    std::fs::write(&config, r#"{"pebble": {"listenAddress": "192.0.2.1:14000"}}"#).unwrap();
    let mut command = Command::new(programs::own("sigillo-ca"));
    command.args(["pebble", "-config"]).arg(&config);
    let refused = run(&mut command, REFUSED_WITHIN).ended_with(1);
    assert!(refused.stderr.contains("--public"), "{refused}");

    let mut command = Command::new(programs::own("sigillo-ca"));
    command.args(["pebble", "--dir"]).arg(scratch.path());
    let refused = run(&mut command, REFUSED_WITHIN).ended_with(1);
    assert!(refused.stderr.contains("no pebble has made"), "{refused}");

    for wrong in [&["-config", "no/such.json"][..], &["--chaos", "any:explode"]] {
        let mut command = Command::new(programs::own("sigillo-ca"));
        run(command.arg("pebble").args(wrong), REFUSED_WITHIN).ended_with(1);
    }
}

#[test]
fn valid_authorizations_are_used_again_in_about_the_share_that_was_asked_for() {
    let ready = |percent: &str, orders: usize| {
        let server = TestServer::start(
            Options::default()
                .variable("PEBBLE_AUTHZREUSE", percent)
                .variable("PEBBLE_VA_ALWAYS_VALID", "1"),
        );
        let webroot = Webroot::serve(server.http01_port);
        let acme = server.register().unwrap();
        acme.obtain(&["reuse.test"], &webroot).unwrap();
        let statuses = (0..orders).map(|_| acme.new_order(&["reuse.test"]).unwrap().1["status"].clone());
        statuses.filter(|status| status == "ready").count()
    };
    assert_eq!(ready("0", 8), 0);
    assert_eq!(ready("100", 8), 8);
    let half = ready("50", 60);
    assert!((12..=48).contains(&half), "{half} of 60");
}

#[test]
fn validations_take_their_time_unless_told_not_to() {
    let server = TestServer::start(
        Options::default()
            .variable("PEBBLE_VA_NOSLEEP", "0")
            .variable("PEBBLE_VA_SLEEPTIME", "2")
            .variable("PEBBLE_VA_ALWAYS_VALID", "1"),
    );
    let webroot = Webroot::serve(server.http01_port);
    let acme = server.register().unwrap();
    let begun = Instant::now();
    // One after the other: that all six pauses together are shorter than this is one case in many thousands.
    acme.obtain(&["a.test", "b.test", "c.test", "d.test", "e.test", "f.test"], &webroot)
        .unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
}
