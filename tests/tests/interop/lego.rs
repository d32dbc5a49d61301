//! lego: all three challenges, each with a server or hook of its own.

use std::process::Command;

use sigillo_tests::place::Place;
use sigillo_tests::programs::available;

fn lego(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.client("lego");
    command.args([
        "--server",
        &place.directory,
        "--path",
        &place.path("lego"),
        "--accept-tos",
    ]);
    command.args(["--email", "a@example.test"]).args(arguments);
    command
}

fn lego_journey(place: &Place, how: &[&str], names: &[&str], reason: (&str, &str)) {
    let domains: Vec<&str> = names.iter().flat_map(|name| ["--domains", *name]).collect();
    let command = |verb: &[&str]| lego(place, &[how, &domains, verb].concat());
    place.succeed(&mut command(&["run"]));
    let file = names[0].replace('*', "_");
    let chain = place.path(&format!("lego/certificates/{file}.crt"));
    let first = place.good(&[&chain]);
    place.succeed(&mut command(&["renew", "--days", "36500", "--no-random-sleep"]));
    assert_ne!(place.good(&[&chain]), first, "a renewal is another certificate");
    place.succeed(&mut command(&["revoke", "--keep", "--reason", reason.0]));
    place.revoked(&[&chain], reason.1);
}

#[test]
fn lego_issues_renews_and_revokes_over_http01() {
    if available(&["lego"]) {
        let place = Place::open();
        let port = format!("127.0.0.1:{}", place.http01_port);
        let how = ["--http", "--http.port", &port, "--key-type", "ec384"];
        lego_journey(
            &place,
            &how,
            &["lego.test", "www.lego.test"],
            ("5", "cessationOfOperation"),
        );
    }
}

#[test]
fn lego_issues_renews_and_revokes_over_tls_alpn01() {
    if available(&["lego"]) {
        let place = Place::open();
        let port = format!("127.0.0.1:{}", place.tls_alpn01_port);
        let how = ["--tls", "--tls.port", &port, "--key-type", "rsa2048"];
        lego_journey(&place, &how, &["alpn.test"], ("1", "keyCompromise"));
    }
}

#[test]
fn lego_issues_renews_and_revokes_over_dns01() {
    if available(&["lego"]) {
        let place = Place::open();
        let texts = place.dns().texts().display().to_string();
        // lego calls it with: present|cleanup NAME. VALUE
        let hook = place.script(
            "lego-dns.sh",
            &format!(
                "#!/bin/sh\nowner=${{2%.}}\ncase $1 in\npresent) printf '%s\\n' \"$3\" >> '{texts}/'$owner ;;\n\
             cleanup) rm -f '{texts}/'$owner ;;\nesac\n"
            ),
        );
        let resolver = place.dns().address();
        let how = ["--dns", "exec", "--dns.resolvers", &resolver, "--dns.disable-cp"];
        let names = ["*.lego-dns.test", "lego-dns.test"];
        let domains: Vec<&str> = names.iter().flat_map(|name| ["--domains", *name]).collect();
        let command = |verb: &[&str]| {
            let mut command = lego(&place, &[&how, domains.as_slice(), verb].concat());
            command.env("EXEC_PATH", &hook).env("EXEC_POLLING_INTERVAL", "1");
            // lego handles the two names one after the other, and rests a minute between unless told.
            command.env("EXEC_SEQUENCE_INTERVAL", "1");
            command
        };
        place.succeed(&mut command(&["run"]));
        let chain = place.path("lego/certificates/_.lego-dns.test.crt");
        let first = place.good(&[&chain]);
        place.succeed(&mut command(&["renew", "--days", "36500", "--no-random-sleep"]));
        assert_ne!(place.good(&[&chain]), first, "a renewal is another certificate");
        place.succeed(&mut command(&["revoke", "--keep", "--reason", "3"]));
        place.revoked(&[&chain], "affiliationChanged");
    }
}
