//! Caddy: a web server that obtains certificates and replaces revoked ones by itself.

use sigillo_tests::place::{Place, serial_of};
use sigillo_tests::process::{Background, eventually};
use sigillo_tests::programs::available;

use super::SERVER_WITHIN;

/// Starts Caddy for a site; returns it with the file in which it keeps the chain.
fn caddy(place: &Place, name: &str, challenge: &str) -> (Background, String) {
    let https = if challenge == "tls-alpn-01" {
        place.tls_alpn01_port
    } else {
        sigillo_tests::ports::free()
    };
    let http = if challenge == "http-01" {
        place.http01_port
    } else {
        sigillo_tests::ports::free()
    };
    let other = if challenge == "http-01" {
        "disable_tlsalpn_challenge"
    } else {
        "disable_http_challenge"
    };
    let file = place.folder().join("Caddyfile");
    std::fs::write(&file, format!(
        "{{\n admin off\n http_port {http}\n https_port {https}\n default_bind 127.0.0.1\n\
         skip_install_trust\n email a@example.test\n}}\n\
         https://{name} {{\n tls {{\n issuer acme {{\n dir {}\n trusted_roots {}\n {other}\n }}\n }}\n respond hello\n}}\n",
        place.directory,
        place.trust.display(),
    ))
    .unwrap();
    let mut command = place.client("caddy");
    command
        .arg("run")
        .arg("--config")
        .arg(&file)
        .args(["--adapter", "caddyfile"]);
    command
        .env("XDG_DATA_HOME", place.folder())
        .env("XDG_CONFIG_HOME", place.folder());
    let server = Background::start(&mut command, &place.folder().join("caddy.log"));
    let issuer = place.directory.trim_start_matches("https://").replace([':', '/'], "-");
    (
        server,
        place.path(&format!("caddy/certificates/{issuer}/{name}/{name}.crt")),
    )
}

/// Tells whether a chain is there to its end: Caddy makes the file first and fills it then.
fn written(chain: &str) -> bool {
    std::fs::read_to_string(chain).is_ok_and(|text| text.ends_with("-----END CERTIFICATE-----\n"))
}

fn caddy_journey(name: &str, challenge: &str) {
    let place = Place::open();
    let (mut server, chain) = caddy(&place, name, challenge);
    server.wait_for(SERVER_WITHIN, |_| written(&chain).then_some(()));
    let first = place.good(&[&chain]);
    let kept = place.path("caddy.pem");
    std::fs::copy(&chain, &kept).unwrap();
    server.terminate();
    let Some(daemon) = place.daemon() else { return };
    daemon
        .admin(&["certs", "revoke", &first, "--reason", "keyCompromise"])
        .succeeded();
    place.revoked(&[&kept], "keyCompromise");
    // Caddy looks its certificates up by OCSP when it starts, and replaces a revoked one; but it
    // believes an answer that it has kept for as long as that is fresh.
    let _ = std::fs::remove_dir_all(place.folder().join("caddy/ocsp"));
    let (_server, chain) = caddy(&place, name, challenge);
    let second = eventually("Caddy replaces its revoked certificate", SERVER_WITHIN, || {
        let now = written(&chain).then(|| serial_of(&chain))?;
        (now != first).then_some(now)
    });
    assert_eq!(place.good(&[&chain]), second);
}

#[test]
fn caddy_gets_a_certificate_over_http01_and_replaces_a_revoked_one() {
    if available(&["caddy"]) {
        caddy_journey("caddy.test", "http-01");
    }
}

#[test]
fn caddy_gets_a_certificate_over_tls_alpn01_and_replaces_a_revoked_one() {
    if available(&["caddy"]) {
        caddy_journey("caddy-alpn.test", "tls-alpn-01");
    }
}
