//! The operator changes the configuration of a running daemon, and puts a backup back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::judge::Papers;
use sigillo_tests::process::eventually;
use sigillo_tests::webroot::Webroot;

use super::expect::status;

/// How long a changed configuration may take to be in force: open connections are drained first.
pub const RELOADED_WITHIN: Duration = Duration::from_secs(30);

/// How long a restore takes at the least. CRL numbers are no lower than the time in seconds, so
/// they rise although the store has forgotten the last ones, of which a second may have seen a few.
const RESTORED_AFTER: Duration = Duration::from_secs(3);

/// Adds text to the daemon's configuration file.
#[track_caller]
pub fn add_settings(daemon: &Daemon, text: &str) {
    let config = daemon.dir().join("sigillo.toml");
    let before = std::fs::read_to_string(&config).expect("a configuration file");
    std::fs::write(&config, format!("{before}\n{text}")).expect("the configuration file");
}

fn eab_required(daemon: &Daemon) -> Option<bool> {
    let directory = daemon.http_client().get(&daemon.directory).ok()?.json();
    let meta = directory["meta"].as_object()?;
    Some(
        meta.get("externalAccountRequired")
            .and_then(serde_json::Value::as_bool)
            .unwrap_or(false),
    )
}

#[test]
fn a_changed_configuration_is_taken_up_without_refusing_anybody() {
    let mut daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let issued = acme.obtain(&["reload.test"], &webroot).unwrap();
    assert_eq!(eab_required(&daemon), Some(false));
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let mut failures = Vec::new();
            while !done.load(Ordering::Acquire) {
                for url in [&daemon.directory, &format!("{}/ca/roots.pem", daemon.http)] {
                    match acme.http.get(url) {
                        Ok(answer) if answer.status == 200 => {}
                        Ok(answer) => failures.push(format!("{url}: {}", answer.status)),
                        Err(error) => failures.push(format!("{url}: {error}")),
                    }
                }
                asked.fetch_add(1, Ordering::Release);
            }
            failures
        });
        let visited = |times: usize| {
            let before = asked.load(Ordering::Acquire);
            eventually("the visitor asks on", RELOADED_WITHIN, || {
                (asked.load(Ordering::Acquire) >= before + times || visitor.is_finished()).then_some(())
            });
        };
        visited(3);
        add_settings(&daemon, "[acme]\neab_required = true\n");
        daemon.signal("HUP");
        eventually("the change is in force", RELOADED_WITHIN, || {
            (eab_required(&daemon) == Some(true)).then_some(())
        });
        visited(3);
        done.store(true, Ordering::Release);
        let failures = visitor.join().expect("the visitor");
        assert!(failures.is_empty(), "{failures:?}");
    });
    assert!(daemon.alive());
    assert!(daemon.register().is_err(), "an account needs the operator's key now");
    // Accounts and certificates that were there are still served.
    status(&acme.read(&acme.kid).unwrap(), 200);
    status(&acme.read(&issued.url).unwrap(), 200);
    acme.obtain(&["reload.test"], &webroot).unwrap();
    assert!(daemon.stop().success());
}

#[test]
fn a_broken_configuration_changes_nothing() {
    let mut daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let config = daemon.dir().join("sigillo.toml");
    let good = std::fs::read_to_string(&config).unwrap();
    for broken in [
        "[acme\n".to_owned(),
        "[acme]\neab_required = \"perhaps\"\n".to_owned(),
        "[acme]\neab_required = true\nnonsense = 1\n".to_owned(),
        "[acme]\neab_required = true\n[ocsp]\nvalidity = \"soon\"\n".to_owned(),
    ] {
        std::fs::write(&config, format!("{good}\n{broken}")).unwrap();
        let complaints = || daemon.log().matches("the old one stays in force").count();
        let before = complaints();
        daemon.signal("HUP");
        eventually("the daemon says that it cannot use it", RELOADED_WITHIN, || {
            (complaints() > before).then_some(())
        });
        assert_eq!(eab_required(&daemon), Some(false), "{broken}");
    }
    assert!(daemon.alive());
    acme.obtain(&["broken.test"], &webroot).unwrap();
    std::fs::write(&config, format!("{good}\n[acme]\neab_required = true\n")).unwrap();
    daemon.signal("HUP");
    eventually("the repaired file is in force", RELOADED_WITHIN, || {
        (eab_required(&daemon) == Some(true)).then_some(())
    });
}

#[test]
fn a_backup_brings_everything_back() {
    let mut daemon = Daemon::start_with(Options::default());
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let good = acme.obtain(&["good.test"], &webroot).unwrap();
    let revoked = acme.obtain(&["revoked.test"], &webroot).unwrap();
    status(&acme.revoke(&revoked.leaf_der(), 4).unwrap(), 200);
    let http = daemon.http_client();
    let sort = |issued: &sigillo_tests::acme::Issued, name: &str| {
        Papers::sort(&issued.chain_pem, &daemon.root(), &daemon.scratch().join(name))
    };
    let (good_papers, revoked_papers) = (sort(&good, "good"), sort(&revoked, "revoked"));
    revoked_papers.all_find_it_revoked(&http, "superseded");
    let listed = daemon.admin_json(&["certs", "list"]);
    let backup = daemon.scratch().join("backup").display().to_string();
    daemon.admin(&["backup", &backup]).succeeded();

    // What comes after the backup is lost with the disk, the CRL's number with it.
    daemon.admin(&["crl", "publish"]).succeeded();
    let number = eventually("the newest CRL", RELOADED_WITHIN, || {
        Some(good_papers.crl(&http).number())
    });
    daemon.admin(&["restore", &backup]).ended_with(1);
    assert!(daemon.stop().success());
    daemon.admin(&["restore", &backup]).ended_with(1);
    std::fs::rename(daemon.dir().join("store"), daemon.scratch().join("lost")).unwrap();
    daemon.admin(&["restore", &backup]).succeeded();
    std::thread::sleep(RESTORED_AFTER);
    daemon.serve();

    assert_eq!(daemon.admin_json(&["certs", "list"]), listed);
    daemon.admin(&["audit", "verify"]).succeeded();
    status(&acme.read(&acme.kid).unwrap(), 200);
    assert_eq!(acme.read(&good.url).unwrap().text(), good.chain_pem);
    good_papers.all_find_it_good(&http);
    revoked_papers.all_find_it_revoked(&http, "superseded");
    daemon.admin(&["crl", "publish"]).succeeded();
    let after = good_papers.crl(&http).number();
    assert!(after > number, "the CRL number went from {number} back to {after}");
    acme.obtain(&["after.test"], &webroot).unwrap();
}
