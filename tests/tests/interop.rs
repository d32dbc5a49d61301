//! Other people's ACME clients issue, renew and revoke; other people's tools judge the result.
//!
//! One test per client and way of proving. `SIGILLO_INTEROP=1` makes a missing client a failure.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sigillo_tests::daemon::Options;
use sigillo_tests::place::{Place, serial_of};
use sigillo_tests::process::{Background, eventually};
use sigillo_tests::programs::{available, python_with, third_party, workspace};

/// How long a web server that fetches certificates by itself may take.
const SERVER_WITHIN: Duration = Duration::from_secs(120);

fn remove(path: &str) {
    std::fs::remove_file(path).unwrap_or_else(|error| panic!("{path}: {error}"));
}

// ---------------------------------------------------------------- certbot

fn certbot(place: &Place, program: &str, arguments: &[&str]) -> Command {
    let mut command = place.client(program);
    command.args(["--config-dir", &place.path("etc"), "--work-dir", &place.path("work")]);
    command.args(["--logs-dir", &place.path("log"), "--server", &place.directory]);
    command.args(["--non-interactive", "--no-random-sleep-on-renew"]);
    command.args(arguments);
    command
}

fn certbot_journey(program: &str) {
    let place = Place::open();
    let port = place.http01_port.to_string();
    let live = place.path("etc/live/certbot.test/fullchain.pem");
    place.succeed(&mut certbot(
        &place,
        program,
        &[
            "certonly",
            "--standalone",
            "--http-01-port",
            &port,
            "--agree-tos",
            "--email",
            "a@example.test",
            "--no-eff-email",
            "-d",
            "certbot.test",
            "-d",
            "www.certbot.test",
        ],
    ));
    let first = place.good(&[&live]);
    place.succeed(&mut certbot(&place, program, &["renew", "--force-renewal"]));
    let second = place.good(&[&live]);
    assert_ne!(first, second, "a renewal is another certificate");
    let kept = place.path("certbot.pem");
    std::fs::copy(&live, &kept).unwrap();
    place.succeed(&mut certbot(
        &place,
        program,
        &[
            "revoke",
            "--cert-path",
            &live,
            "--reason",
            "superseded",
            "--no-delete-after-revoke",
        ],
    ));
    place.revoked(&[&kept], "superseded");
}

#[test]
fn certbot_issues_renews_and_revokes_over_http01() {
    if available(&["certbot"]) {
        certbot_journey("certbot");
    }
}

#[test]
fn current_certbot_issues_renews_and_revokes_over_http01() {
    // The CI puts the newest certbot from PyPI beside Debian's under this name.
    if available(&["certbot-current"]) {
        certbot_journey("certbot-current");
    }
}

#[test]
fn certbot_proves_a_wildcard_over_dns01_and_revokes_with_the_certificate_key() {
    if !available(&["certbot"]) {
        return;
    }
    let place = Place::open();
    let texts = place.dns().texts().display().to_string();
    let put = place.script(
        "put.sh",
        &format!("#!/bin/sh\nprintf '%s\\n' \"$CERTBOT_VALIDATION\" >> '{texts}/'_acme-challenge.$CERTBOT_DOMAIN\n"),
    );
    let take = place.script(
        "take.sh",
        &format!("#!/bin/sh\nrm -f '{texts}/'_acme-challenge.$CERTBOT_DOMAIN\n"),
    );
    place.succeed(&mut certbot(
        &place,
        "certbot",
        &[
            "certonly",
            "--manual",
            "--preferred-challenges",
            "dns",
            "--manual-auth-hook",
            &put,
            "--manual-cleanup-hook",
            &take,
            "--agree-tos",
            "--register-unsafely-without-email",
            "-d",
            "*.wild.test",
            "-d",
            "wild.test",
        ],
    ));
    let live = place.path("etc/live/wild.test/fullchain.pem");
    place.good(&[&live]);
    let kept = place.path("wild.pem");
    std::fs::copy(&live, &kept).unwrap();
    place.succeed(&mut certbot(
        &place,
        "certbot",
        &[
            "revoke",
            "--cert-path",
            &live,
            "--key-path",
            &place.path("etc/live/wild.test/privkey.pem"),
            "--reason",
            "keycompromise",
            "--no-delete-after-revoke",
        ],
    ));
    place.revoked(&[&kept], "keyCompromise");
}

#[test]
fn certbot_binds_an_external_account() {
    if !available(&["certbot"]) {
        return;
    }
    let place = Place::open_with(Options::default().set("acme.eab_required=true"));
    let Some(daemon) = place.daemon() else { return };
    let port = place.http01_port.to_string();
    let issue = [
        "certonly",
        "--standalone",
        "--http-01-port",
        &port,
        "--agree-tos",
        "--register-unsafely-without-email",
        "-d",
        "bound.test",
    ];
    let unbound = sigillo_tests::process::run(
        &mut certbot(&place, "certbot", &issue),
        sigillo_tests::place::CLIENT_WITHIN,
    );
    assert!(
        !unbound.status.success(),
        "an account without binding was let in: {unbound}"
    );
    let pair = daemon.admin_json(&["eab", "create"]);
    let (kid, hmac) = (pair["kid"].as_str().unwrap(), pair["hmac"].as_str().unwrap());
    let bound: Vec<&str> = issue
        .into_iter()
        .chain(["--eab-kid", kid, "--eab-hmac-key", hmac])
        .collect();
    place.succeed(&mut certbot(&place, "certbot", &bound));
    place.good(&[&place.path("etc/live/bound.test/fullchain.pem")]);
}

// ---------------------------------------------------------------- lego

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

// ---------------------------------------------------------------- dehydrated

fn dehydrated(place: &Place, settings: &str, arguments: &[&str]) -> Command {
    let config = place.folder().join("dehydrated.conf");
    std::fs::write(
        &config,
        format!(
            "CA=\"{}\"\nBASEDIR=\"{base}\"\nCONTACT_EMAIL=a@example.test\n\
         CURL_OPTS=\"--cacert {}\"\nIP_VERSION=4\n{settings}\n",
            place.directory,
            place.trust.display(),
            base = place.folder().display(),
        ),
    )
    .unwrap();
    let mut command = place.client("dehydrated");
    command.arg("--config").arg(config).args(arguments);
    command
}

#[test]
fn dehydrated_issues_renews_and_revokes_over_http01() {
    if !available(&["dehydrated"]) {
        return;
    }
    let place = Place::open();
    let webroot = place.webroot();
    let settings = format!("WELLKNOWN=\"{}\"\nKEY_ALGO=rsa", webroot.challenges().display());
    let call = |arguments: &[&str]| place.succeed(&mut dehydrated(&place, &settings, arguments));
    call(&["--register", "--accept-terms"]);
    call(&["--cron", "--domain", "dehydrated.test www.dehydrated.test"]);
    let chain = place.path("certs/dehydrated.test/fullchain.pem");
    let first = place.good(&[&chain]);
    call(&["--cron", "--force", "--domain", "dehydrated.test www.dehydrated.test"]);
    assert_ne!(place.good(&[&chain]), first, "a renewal is another certificate");
    let kept = place.path("dehydrated.pem");
    std::fs::copy(&chain, &kept).unwrap();
    call(&["--revoke", &place.path("certs/dehydrated.test/cert.pem")]);
    // dehydrated sends no reason.
    place.revoked(&[&kept], "unspecified");
}

#[test]
fn dehydrated_proves_over_dns01_with_a_hook() {
    if !available(&["dehydrated"]) {
        return;
    }
    let place = Place::open();
    let texts = place.dns().texts().display().to_string();
    // dehydrated calls it with: STEP DOMAIN TOKEN_FILE TOKEN_VALUE
    let hook = place.script(
        "hook.sh",
        &format!(
            "#!/bin/sh\ncase $1 in\ndeploy_challenge) printf '%s\\n' \"$4\" >> '{texts}/'_acme-challenge.$2 ;;\n\
         clean_challenge) rm -f '{texts}/'_acme-challenge.$2 ;;\nesac\n"
        ),
    );
    let settings = format!("CHALLENGETYPE=dns-01\nHOOK=\"{hook}\"\nKEY_ALGO=secp384r1");
    let call = |arguments: &[&str]| place.succeed(&mut dehydrated(&place, &settings, arguments));
    call(&["--register", "--accept-terms"]);
    call(&["--cron", "--domain", "*.hook.test hook.test", "--alias", "hook"]);
    place.good(&[&place.path("certs/hook/fullchain.pem")]);
}

// ---------------------------------------------------------------- uacme

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

// ---------------------------------------------------------------- acme-tiny

#[test]
fn acme_tiny_issues_and_renews_over_http01() {
    if !available(&["acme-tiny", "openssl"]) {
        return;
    }
    let place = Place::open();
    let webroot = place.webroot();
    let (account, key, csr) = (
        place.path("account.key"),
        place.path("tiny.key"),
        place.path("tiny.csr"),
    );
    place.succeed(third_party("openssl").args(["genrsa", "-traditional", "-out", &account, "2048"]));
    place.succeed(third_party("openssl").args([
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-384",
        "-nodes",
        "-keyout",
        &key,
        "-out",
        &csr,
        "-subj",
        "/CN=tiny.test",
        "-addext",
        "subjectAltName=DNS:tiny.test",
    ]));
    let issue = || {
        let mut tiny = place.client("acme-tiny");
        tiny.args([
            "--account-key",
            &account,
            "--csr",
            &csr,
            "--directory-url",
            &place.directory,
        ]);
        tiny.arg("--acme-dir").arg(webroot.challenges()).arg("--disable-check");
        let output = place.succeed(&mut tiny);
        let chain = place.path("tiny.pem");
        std::fs::write(&chain, output.stdout).unwrap();
        place.good(&[&chain])
    };
    let first = issue();
    assert_ne!(issue(), first, "a renewal is another certificate");
    if let Some(daemon) = place.daemon() {
        let serial = serial_of(&place.path("tiny.pem"));
        daemon
            .admin(&["certs", "revoke", &serial, "--reason", "affiliationChanged"])
            .succeeded();
        place.revoked(&[&place.path("tiny.pem")], "affiliationChanged");
    }
}

// ---------------------------------------------------------------- Python's acme

#[test]
fn pythons_acme_library_issues_and_revokes() {
    if python_with("acme").is_none() {
        return;
    }
    let place = Place::open();
    let webroot = place.webroot();
    let trust = place.trust.display().to_string();
    let prefix = place.path("python");
    let call = |verb: &str, rest: &[&str]| {
        let Some(mut python) = python_with("acme") else {
            return;
        };
        place.surround(&mut python);
        python.arg(workspace().join("tests/python/journey.py"));
        place.succeed(python.args([verb, &place.directory, &trust, &prefix]).args(rest));
    };
    let challenges = webroot.challenges().display().to_string();
    call("issue", &[&challenges, "python.test"]);
    let chain = place.path("python.chain.pem");
    place.good(&[&chain]);
    call("revoke", &["5"]);
    place.revoked(&[&chain], "cessationOfOperation");
}

// ---------------------------------------------------------------- Caddy

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

fn caddy_journey(name: &str, challenge: &str) {
    let place = Place::open();
    let (mut server, chain) = caddy(&place, name, challenge);
    server.wait_for(SERVER_WITHIN, |_| Path::new(&chain).exists().then_some(()));
    let first = place.good(&[&chain]);
    let kept = place.path("caddy.pem");
    std::fs::copy(&chain, &kept).unwrap();
    server.terminate();
    let Some(daemon) = place.daemon() else { return };
    daemon
        .admin(&["certs", "revoke", &first, "--reason", "keyCompromise"])
        .succeeded();
    place.revoked(&[&kept], "keyCompromise");
    // Caddy looks its certificates up by OCSP when it starts, and replaces a revoked one.
    let (_server, chain) = caddy(&place, name, challenge);
    let second = eventually("Caddy replaces its revoked certificate", SERVER_WITHIN, || {
        let now = Path::new(&chain).exists().then(|| serial_of(&chain))?;
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

// ---------------------------------------------------------------- Apache mod_md

/// Starts an Apache of our own that manages one domain with mod_md.
fn apache(place: &Place, https: u16, extra: &str) -> Background {
    const MODULES: &str = "/usr/lib/apache2/modules";
    let root = place.folder().display().to_string();
    let loads: String = [
        "mpm_event",
        "authz_core",
        "unixd",
        "socache_shmcb",
        "ssl",
        "watchdog",
        "md",
    ]
    .iter()
    .filter(|module| Path::new(&format!("{MODULES}/mod_{module}.so")).exists())
    .map(|module| format!("LoadModule {module}_module {MODULES}/mod_{module}.so\n"))
    .collect();
    let config = place.folder().join("httpd.conf");
    std::fs::write(
        &config,
        format!(
            "ServerRoot {root}\nServerName md.test\nPidFile {root}/httpd.pid\n{loads}\
         <IfModule unixd_module>\nUser www-data\nGroup www-data\n</IfModule>\n\
         DefaultRuntimeDir {root}\nMutex file:{root}\nErrorLog {root}/error.log\nLogLevel info md:debug\n\
         Listen 127.0.0.1:{http}\nListen 127.0.0.1:{https}\nDocumentRoot {root}/htdocs\n\
         MDStoreDir {root}/md\nMDCertificateAuthority {directory}\nMDCACertificateFile {trust}\n\
         MDCertificateAgreement accepted\nMDContactEmail a@example.test\nMDPortMap http:{http} https:{https}\n\
         MDCAChallenges http-01\nMDRetryDelay 1s\n{extra}\nMDomain md.test\n\
         <VirtualHost 127.0.0.1:{https}>\nServerName md.test\nSSLEngine on\n</VirtualHost>\n",
            http = place.http01_port,
            directory = place.directory,
            trust = place.trust.display(),
        ),
    )
    .unwrap();
    std::fs::create_dir_all(place.folder().join("htdocs")).unwrap();
    let mut command = place.client("apache2");
    command.arg("-d").arg(&root).arg("-f").arg(&config).arg("-DFOREGROUND");
    Background::start(&mut command, &place.folder().join("error.log"))
}

#[test]
fn apache_mod_md_gets_a_certificate_and_renews_a_revoked_one() {
    use std::os::unix::fs::PermissionsExt as _;
    if !available(&["apache2"]) {
        return;
    }
    let place = Place::open();
    // Apache's children run as another user when we are root, and must reach their folder.
    std::fs::set_permissions(place.folder(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let https = sigillo_tests::ports::free();
    let mut server = apache(&place, https, "");
    // The new certificate waits in `staging` until the server starts again.
    let staged = place.path("md/staging/md.test/pubcert.pem");
    server.wait_for(SERVER_WITHIN, |_| Path::new(&staged).exists().then_some(()));
    server.wait_for(SERVER_WITHIN, |server| {
        server.log().contains("will be activated on next").then_some(())
    });
    server.terminate();
    let mut server = apache(&place, https, "");
    let chain = place.path("md/domains/md.test/pubcert.pem");
    server.wait_for(SERVER_WITHIN, |_| Path::new(&chain).exists().then_some(()));
    let first = place.good(&[&chain]);
    let Some(daemon) = place.daemon() else { return };
    let output = place.succeed(
        third_party("openssl")
            .args([
                "s_client",
                "-connect",
                &format!("127.0.0.1:{https}"),
                "-servername",
                "md.test",
                "-CAfile",
            ])
            .arg(&place.trust)
            .args(["-verify_return_error", "-brief"]),
    );
    assert!(output.text().contains("Verification: OK"), "{output}");
    server.terminate();
    daemon
        .admin(&["certs", "revoke", &first, "--reason", "superseded"])
        .succeeded();
    place.revoked(&[&chain], "superseded");
    remove(&chain);
    let mut server = apache(&place, https, "");
    server.wait_for(SERVER_WITHIN, |_| Path::new(&staged).exists().then_some(()));
    server.terminate();
}
