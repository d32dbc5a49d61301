//! The operator puts a backup in the place of a store that is lost.

use std::time::Duration;

use sigillo_tests::acme::Issued;
use sigillo_tests::daemon::Daemon;
use sigillo_tests::judge::Papers;
use sigillo_tests::webroot::Webroot;

use super::expect::status;

/// How long a restore takes at the least. CRL numbers are no lower than the time in seconds, so
/// they rise although the store has forgotten the last ones, of which a second may have seen a few.
const RESTORED_AFTER: Duration = Duration::from_secs(3);

#[test]
fn a_backup_brings_everything_back() {
    let mut daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let good = acme.obtain(&["good.test"], &webroot).unwrap();
    let revoked = acme.obtain(&["revoked.test"], &webroot).unwrap();
    status(&acme.revoke(&revoked.leaf_der(), 4).unwrap(), 200);
    let http = daemon.http_client();
    let sort =
        |issued: &Issued, name: &str| Papers::sort(&issued.chain_pem, &daemon.root(), &daemon.scratch().join(name));
    let (good_papers, revoked_papers) = (sort(&good, "good"), sort(&revoked, "revoked"));
    revoked_papers.all_find_it_revoked(&http, "superseded");
    let listed = daemon.admin_json(&["certs", "list"]);
    let backup = daemon.scratch().join("backup").display().to_string();
    daemon.admin(&["backup", &backup]).succeeded();

    // What comes after the backup is lost with the disk, the CRL's number with it.
    daemon.admin(&["crl", "publish"]).succeeded();
    let number = good_papers.crl(&http).number();
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
