//! Other people's clients at the test server, with the faults that Pebble has by itself and some more.

use std::process::Command;

use sigillo_tests::place::Place;
use sigillo_tests::programs::available;
use sigillo_tests::test_server::Options;

/// Faults that a good client survives. Refused nonces never come twice in a row: certbot tries again once only.
fn place() -> Place {
    Place::with_test_server(
        Options::default()
            .variable("PEBBLE_ALTERNATE_ROOTS", "1")
            .arguments(&["-strict"])
            .chaos(&["authz:unknown-challenge", "order:processing=2s"])
            .chaos(&["nonce:reject,after=1,times=1", "nonce:reject,after=5,times=1"]),
    )
}

#[test]
fn certbot_issues_and_revokes() {
    if !available(&["certbot"]) {
        return;
    }
    let place = place();
    let certbot = |arguments: &[&str]| -> Command {
        let mut command = place.client("certbot");
        command.args(["--config-dir", &place.path("etc"), "--work-dir", &place.path("work")]);
        command.args(["--logs-dir", &place.path("log"), "--server", &place.directory]);
        command.args(["--non-interactive"]).args(arguments);
        command
    };
    let port = place.http01_port.to_string();
    let names = ["-d", "certbot.test", "-d", "www.certbot.test"];
    let how = [
        "certonly",
        "--standalone",
        "--http-01-port",
        &port,
        "--agree-tos",
        "--email",
        "a@example.test",
    ];
    place.succeed(&mut certbot(&[&how[..], &["--no-eff-email"], &names].concat()));
    let live = place.path("etc/live/certbot.test/fullchain.pem");
    let keep = [
        "revoke",
        "--cert-path",
        &live,
        "--reason",
        "superseded",
        "--no-delete-after-revoke",
    ];
    place.succeed(&mut certbot(&keep));
}

#[test]
fn lego_issues_over_http01_and_tls_alpn01() {
    if !available(&["lego"]) {
        return;
    }
    let place = place();
    let http = format!("127.0.0.1:{}", place.http01_port);
    let tls = format!("127.0.0.1:{}", place.tls_alpn01_port);
    for (how, name) in [
        (["--http", "--http.port", http.as_str()], "lego.test"),
        (["--tls", "--tls.port", tls.as_str()], "lego-tls.test"),
    ] {
        let mut command = place.client("lego");
        command.args([
            "--server",
            &place.directory,
            "--path",
            &place.path("lego"),
            "--accept-tos",
        ]);
        command
            .args(["--email", "a@example.test"])
            .args(how)
            .args(["--domains", name, "run"]);
        place.succeed(&mut command);
        let chain = std::fs::read_to_string(place.path(&format!("lego/certificates/{name}.crt"))).unwrap();
        assert_eq!(pem::parse_many(chain).unwrap().len(), 2, "{name}");
    }
}
