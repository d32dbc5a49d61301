//! Apache's mod_md: obtains a certificate beside running sites.

use std::path::Path;

use sigillo_tests::place::Place;
use sigillo_tests::process::Background;
use sigillo_tests::programs::{available, third_party};

use super::SERVER_WITHIN;

fn remove(path: &str) {
    std::fs::remove_file(path).unwrap_or_else(|error| panic!("{path}: {error}"));
}

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
