//! uacme: a webroot, and tls-alpn-01 with its companion ualpn.

use std::path::Path;
use std::process::Command;

use sigillo_tests::place::Place;
use sigillo_tests::process::Background;
use sigillo_tests::programs::available;

use super::SERVER_WITHIN;

/// uacme trusts the system's certificate list and has no option for another one, so it runs where
/// that file is ours: in a mount namespace of its own.
fn uacme(place: &Place, hook: &str, arguments: &[&str]) -> Command {
    const SYSTEM_LIST: &str = "/etc/ssl/certs/ca-certificates.crt";
    let mut command = place.client("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c"]);
    command
        .arg(format!("mount --bind \"$1\" {SYSTEM_LIST} && shift && exec \"$@\""))
        .arg("sh");
    command
        .arg(&place.trust)
        .arg("uacme")
        .args(["--verbose", "--acme-url", &place.directory]);
    command
        .args(["--confdir", &place.path("uacme"), "--hook", hook, "--yes"])
        .args(arguments);
    command
}

fn uacme_journey(place: &Place, hook: &str, name: &str, reason: (&str, &str)) {
    let call = |arguments: &[&str]| place.succeed(&mut uacme(place, hook, arguments));
    call(&["new", "a@example.test"]);
    call(&["issue", name]);
    let chain = place.path(&format!("uacme/{name}/cert.pem"));
    let first = place.good(&[&chain]);
    call(&["--force", "issue", name]);
    assert_ne!(place.good(&[&chain]), first, "a renewal is another certificate");
    let kept = place.path("uacme.pem");
    std::fs::copy(&chain, &kept).unwrap();
    call(&["--reason", reason.0, "revoke", &chain]);
    place.revoked(&[&kept], reason.1);
}

#[test]
fn uacme_issues_renews_and_revokes_over_http01() {
    if available(&["uacme", "unshare"]) {
        let place = Place::open();
        let webroot = place.webroot();
        // uacme calls it with: METHOD TYPE IDENTIFIER TOKEN KEY_AUTHORIZATION
        let hook = place.script(
            "uacme-http.sh",
            &format!(
                "#!/bin/sh\n[ \"$2\" = http-01 ] || exit 1\ncase $1 in\n\
             begin) printf '%s' \"$5\" > '{folder}/'$4 ;;\n*) rm -f '{folder}/'$4 ;;\nesac\n",
                folder = webroot.challenges().display()
            ),
        );
        uacme_journey(&place, &hook, "uacme.test", ("4", "superseded"));
    }
}

#[test]
fn uacme_issues_renews_and_revokes_over_tls_alpn01() {
    if available(&["uacme", "ualpn", "unshare"]) {
        let place = Place::open();
        let (socket, pid) = (place.path("ualpn.sock"), place.path("ualpn.pid"));
        let bind = format!("127.0.0.1@{}", place.tls_alpn01_port);
        let mut server = place.client("ualpn");
        // Port 9 is a backend that nothing must reach.
        server.args(["--bind", &bind, "--connect", "127.0.0.1@9", "--sock", &socket]);
        server.args(["--pidfile", &pid, "--num-workers", "1", "-v"]);
        let log = place.folder().join("ualpn.log");
        let mut server = Background::start(&mut server, &log);
        server.wait_for(SERVER_WITHIN, |_| Path::new(&socket).exists().then_some(()));
        let hook = place.script(
            "uacme-alpn.sh",
            &format!(
                "#!/bin/sh\n[ \"$2\" = tls-alpn-01 ] || exit 1\ncase $1 in\nbegin) line=\"auth $3 $5\" ;;\n\
             *) line=\"unauth $3\" ;;\nesac\n[ \"$(echo \"$line\" | ualpn --sock '{socket}')\" = OK ]\n"
            ),
        );
        uacme_journey(&place, &hook, "ualpn.test", ("9", "privilegeWithdrawn"));
    }
}
