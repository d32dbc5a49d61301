//! The daemon is killed again and again under load; nothing that it acknowledged may be lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sigillo_tests::acme::{Acme, Issued};
use sigillo_tests::daemon::Daemon;
use sigillo_tests::judge::{CRL_WITHIN, Crl, Papers};
use sigillo_tests::process::eventually;
use sigillo_tests::random::Random;
use sigillo_tests::webroot::Webroot;

/// How often the daemon is killed.
const ROUNDS: usize = 30;
/// How many clients work at the same time.
const CLIENTS: usize = 4;
/// The longest a daemon may live before it is killed.
const LIFE_MAX_MS: u64 = 1_500;
/// The shortest: some requests must be under way.
const LIFE_MIN_MS: u64 = 100;
/// The reasons that are revoked with: an account may give each of them without the key.
const REASONS: [u8; 3] = [0, 4, 5];

/// What the daemon has said yes to.
#[derive(Default)]
struct Ledger {
    issued: Vec<(usize, Issued)>,
    revoked: Vec<(Issued, u8)>,
}

/// One round's clients: they order and revoke until the daemon is gone.
fn work(client: usize, acme: &Acme, webroot: &Webroot, load: &Load, seed: u64) {
    let mut random = Random::seeded(seed);
    while !load.over.load(Ordering::Acquire) {
        let number = load.names.fetch_add(1, Ordering::Relaxed);
        let name = format!("n{number}.crash.test");
        // Any error here is the kill's: what was not acknowledged may be lost.
        let Ok(issued) = acme.obtain(&[&name], webroot) else {
            return;
        };
        load.ledger().issued.push((client, issued.clone()));
        if random.below(2) == 0 {
            let reason = REASONS[usize::try_from(random.below(3)).unwrap()];
            let Ok(answer) = acme.revoke(&issued.leaf_der(), reason) else {
                return;
            };
            assert_eq!(answer.status, 200, "{}", answer.text());
            load.ledger().revoked.push((issued, reason));
        }
    }
}

#[derive(Default)]
struct Load {
    over: AtomicBool,
    names: AtomicU64,
    ledger: Mutex<Ledger>,
}

impl Load {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_thirty_kills() {
    let mut random = Random::announced();
    let mut daemon = Daemon::start();
    let webroot = Arc::new(Webroot::serve(daemon.http01_port));
    let clients: Vec<Arc<Acme>> = (0..CLIENTS).map(|_| Arc::new(daemon.register().unwrap())).collect();
    let load = Arc::new(Load::default());
    let (mut checked, mut judged) = (0, 0);
    let mut last_number = String::new();
    for round in 0..ROUNDS {
        load.over.store(false, Ordering::Release);
        let workers: Vec<_> = clients
            .iter()
            .enumerate()
            .map(|(client, acme)| {
                let (acme, webroot, load) = (Arc::clone(acme), Arc::clone(&webroot), Arc::clone(&load));
                let seed = random.word();
                std::thread::spawn(move || work(client, &acme, &webroot, &load, seed))
            })
            .collect();
        let life = LIFE_MIN_MS + random.below(LIFE_MAX_MS - LIFE_MIN_MS);
        std::thread::sleep(Duration::from_millis(life));
        daemon.kill9();
        load.over.store(true, Ordering::Release);
        for worker in workers {
            worker.join().expect("a client's own check failed");
        }
        daemon.serve();
        let ledger = load.ledger();
        // Each round looks at what is new; the last one looks at everything.
        if round + 1 == ROUNDS {
            (checked, judged) = (0, 0);
        }
        println!(
            "round {round}: killed after {life} ms; {} issued, {} revoked in all",
            ledger.issued.len(),
            ledger.revoked.len()
        );
        check_downloads(&clients, &ledger.issued[checked..]);
        checked = ledger.issued.len();
        let known = ledger.revoked.len();
        if let Some(crl) = check_revocations(&daemon, &ledger.revoked, judged) {
            let number = crl.number();
            assert!(
                number >= last_number,
                "the CRL number went from {last_number} to {number}"
            );
            last_number = number;
        }
        judged = known;
    }
    let ledger = load.ledger();
    assert!(
        ledger.issued.len() >= ROUNDS,
        "too little load: {} issued",
        ledger.issued.len()
    );
    assert!(!ledger.revoked.is_empty(), "nothing was revoked");
    let serials: BTreeSet<String> = ledger.issued.iter().map(|(_, issued)| issued.serial()).collect();
    assert_eq!(serials.len(), ledger.issued.len(), "a serial number was used twice");
    daemon.admin(&["audit", "verify"]).succeeded();
}

/// Each acknowledged certificate is downloaded again, octet for octet.
fn check_downloads(clients: &[Arc<Acme>], issued: &[(usize, Issued)]) {
    for (client, certificate) in issued {
        let answer = clients[*client].read(&certificate.url).unwrap();
        assert_eq!(answer.status, 200, "{} is lost: {}", certificate.url, answer.text());
        assert_eq!(answer.text(), certificate.chain_pem, "{} has changed", certificate.url);
        let order = clients[*client].read(&certificate.order).unwrap().json();
        assert_eq!(order["status"], "valid", "{order}");
    }
}

/// Each acknowledged revocation is in OCSP at once (those before `judged` were asked for already)
/// and in the CRL soon, for its reason.
fn check_revocations(daemon: &Daemon, revoked: &[(Issued, u8)], judged: usize) -> Option<Crl> {
    let http = daemon.http_client();
    let (first, _) = revoked.first()?;
    let papers = |issued: &Issued| Papers::sort(&issued.chain_pem, &daemon.root(), &daemon.scratch().join("papers"));
    for (issued, code) in &revoked[judged..] {
        let answer = papers(issued).ocsp();
        assert_eq!(answer.status, "revoked", "{}: {}", issued.serial(), answer.text);
        let reason = sigillo_tests::judge::reason_name(*code);
        assert_eq!(answer.reason_or_unspecified(), reason, "{}", answer.text);
    }
    let papers = papers(first);
    let crl = eventually("every acknowledged revocation is in the CRL", CRL_WITHIN, || {
        let crl = papers.crl(&http);
        revoked
            .iter()
            .all(|(issued, _)| crl.reason_of(&issued.serial()).is_some())
            .then_some(crl)
    });
    for (issued, code) in revoked {
        let reason = sigillo_tests::judge::reason_name(*code);
        assert_eq!(crl.reason_of(&issued.serial()).as_deref(), Some(reason));
    }
    Some(crl)
}

#[test]
fn a_second_daemon_on_the_same_folder_is_refused() {
    let daemon = Daemon::start();
    let arguments = daemon.settings_arguments();
    let arguments: Vec<&str> = ["serve"]
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .collect();
    daemon.admin(&arguments).ended_with(1);
}

#[test]
fn sigterm_lets_requests_finish_and_ends_with_zero() {
    let mut daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let issued = daemon.register().unwrap().obtain(&["calm.test"], &webroot).unwrap();
    let status = daemon.stop();
    assert_eq!(status.code(), Some(0));
    daemon.serve();
    let listed = daemon.admin_json(&["certs", "list"]).to_string().to_uppercase();
    assert!(listed.contains(&issued.serial()), "{listed}");
}
