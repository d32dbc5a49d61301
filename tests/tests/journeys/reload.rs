//! A daemon that takes up a changed configuration at SIGHUP, or keeps the old one.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sigillo_tests::daemon::Daemon;
use sigillo_tests::http::HttpError;
use sigillo_tests::ports;
use sigillo_tests::process::eventually;
use sigillo_tests::webroot::Webroot;

use super::expect::status;

/// How long a changed configuration may take to be in force: open connections are drained first.
pub const RELOADED_WITHIN: Duration = Duration::from_secs(30);

/// How long the daemon has to refuse what it cannot put to work: there is no line to wait for that
/// every way of refusing would write.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// Adds text to the daemon's configuration file.
#[track_caller]
pub fn add_settings(daemon: &Daemon, text: &str) {
    let config = daemon.dir().join("sigillo.toml");
    let before = std::fs::read_to_string(&config).expect("a configuration file");
    std::fs::write(&config, format!("{before}\n{text}")).expect("the configuration file");
}

/// Says whether a connection ended before its request was read, as an idle one does when the server
/// lets go of it: the client tries again (RFC 9112 section 9.5). A refused connection is another thing.
fn is_no_answer(error: &HttpError) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(
        kind,
        Some(
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
        )
    )
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
                        Err(error) if is_no_answer(&error) => {}
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
fn certificates_are_issued_all_along_while_it_reloads() {
    const RELOADS: usize = 4;
    let mut daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let (done, issued) = (AtomicBool::new(false), AtomicUsize::new(0));
    let reloads = || daemon.log().matches("taking up the configuration anew").count();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let number = issued.load(Ordering::Acquire);
                match acme.obtain(&[&format!("n{number}.reload.test")], &webroot) {
                    Ok(_) => issued.store(number + 1, Ordering::Release),
                    Err(error) if is_no_answer(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        for count in 1..=RELOADS {
            let before = issued.load(Ordering::Acquire);
            daemon.signal("HUP");
            eventually("a reload, and a certificate after it", RELOADED_WITHIN, || {
                let went_on = reloads() >= count && issued.load(Ordering::Acquire) > before;
                (went_on || client.is_finished()).then_some(())
            });
        }
        done.store(true, Ordering::Release);
        client.join().expect("a client").expect("nobody is refused");
    });
    assert!(daemon.alive(), "{}", daemon.log());
    let (issued, listed) = (issued.into_inner(), daemon.admin_json(&["certs", "list"]));
    let names = listed.to_string().matches(".reload.test").count();
    assert!(
        names >= issued,
        "{issued} had their certificates, {names} are listed: {listed}"
    );
    acme.obtain(&["after.test"], &webroot).unwrap();
}

#[test]
fn a_new_listener_is_opened_and_closed_by_a_reload() {
    let daemon = Daemon::start();
    let config = daemon.dir().join("sigillo.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    let port = ports::free();
    let url = format!("http://127.0.0.1:{port}/healthz");
    let health = || daemon.http_client().get(&url).ok().map(|answer| answer.status);
    assert_eq!(health(), None);
    let with_health = before.replace("[server]\n", &format!("[server]\nhealth = \"127.0.0.1:{port}\"\n"));
    assert_ne!(with_health, before);
    std::fs::write(&config, with_health).unwrap();
    daemon.signal("HUP");
    eventually("health is served", RELOADED_WITHIN, || {
        (health() == Some(200)).then_some(())
    });
    std::fs::write(&config, before).unwrap();
    daemon.signal("HUP");
    eventually("health is gone", RELOADED_WITHIN, || health().is_none().then_some(()));
    eventually("the directory is still served", RELOADED_WITHIN, || {
        eab_required(&daemon).map(|_| ())
    });
}

#[test]
fn a_configuration_that_cannot_be_put_to_work_does_not_end_the_daemon() {
    let mut daemon = Daemon::start();
    let config = daemon.dir().join("sigillo.toml");
    let good = std::fs::read_to_string(&config).unwrap();
    // Each is sound as text; what it asks for is not to be had.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let occupied = good.replace("[server]\n", &format!("[server]\nhealth = \"{address}\"\n"));
    let no_store = format!("{good}\n[store]\nurl = \"sqlite:/proc/nowhere/sigillo.db\"\n");
    let mut ended = Vec::new();
    for (what, broken) in [("an occupied port", occupied), ("an impossible store", no_store)] {
        std::fs::write(&config, broken).unwrap();
        daemon.signal("HUP");
        std::thread::sleep(REFUSED_WITHIN);
        if !daemon.alive() {
            ended.push(what);
            std::fs::write(&config, &good).unwrap();
            daemon.kill9();
            daemon.serve();
        }
        status(&daemon.http_client().get(&daemon.directory).unwrap(), 200);
    }
    assert!(ended.is_empty(), "ended by {ended:?}");
}
