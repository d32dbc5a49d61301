//! A bad day: a key, an account or a profile is compromised, and everything that rests on it goes at once.

use sigillo_tests::acme::request_with;
use sigillo_tests::daemon::Daemon;
use sigillo_tests::judge::Papers;
use sigillo_tests::webroot::Webroot;

use super::expect::{refused, status};

#[test]
fn all_certificates_of_a_compromised_key_go_in_one_transaction_and_are_watched_until_replaced() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let lost = acme.obtain(&["one.drill.test"], &webroot).unwrap();
    let (_, order) = acme.new_order(&["two.drill.test"]).unwrap();
    acme.prove(&order, &webroot).unwrap();
    status(
        &acme
            .finalize(&order, &request_with(&["two.drill.test"], &lost.key_pem))
            .unwrap(),
        200,
    );
    let other = acme.obtain(&["three.drill.test"], &webroot).unwrap();
    let file = lost.write(daemon.scratch(), "lost").display().to_string();
    let selected = ["certs", "revoke", "--key", &file, "--reason", "keyCompromise"];

    // Looking changes nothing, and nobody is asked where nobody is.
    let seen = daemon.admin_json(&[&selected[..], &["--dry-run"]].concat());
    assert_eq!(seen["count"], 2, "{seen}");
    daemon.admin(&selected).ended_with(1);
    let good = Papers::sort(&lost.chain_pem, &daemon.root(), &daemon.scratch().join("good"));
    good.all_find_it_good(&daemon.http_client());

    let gone = daemon.admin_json(&[&selected[..], &["--yes"]].concat());
    assert_eq!(gone["count"], 2, "{gone}");
    good.all_find_it_revoked(&daemon.http_client(), "keyCompromise");
    let spared = Papers::sort(&other.chain_pem, &daemon.root(), &daemon.scratch().join("spared"));
    spared.all_find_it_good(&daemon.http_client());
    let log = daemon.admin(&["audit", "export"]).succeeded().stdout;
    assert_eq!(log.matches("\"certificates-revoked\"").count(), 1, "{log}");
    assert_eq!(log.matches("\"key-blocked\"").count(), 1, "{log}");
    daemon.admin(&["audit", "verify"]).succeeded();

    // The key is good for nothing any more, and who has replaced is no longer waited for.
    let (_, order) = acme.new_order(&["one.drill.test"]).unwrap();
    acme.prove(&order, &webroot).unwrap();
    let again = acme
        .finalize(&order, &request_with(&["one.drill.test"], &lost.key_pem))
        .unwrap();
    refused(&again, 400, "badCSR");
    let watched = ["certs", "replacements", "--key", &file];
    let waiting = daemon.admin_json(&watched);
    assert_eq!((&waiting["affected"], &waiting["waiting"]), (&2.into(), &2.into()));
    acme.obtain(&["one.drill.test"], &webroot).unwrap();
    let waiting = daemon.admin_json(&watched);
    assert_eq!((&waiting["affected"], &waiting["waiting"]), (&2.into(), &1.into()));
    assert_eq!(waiting["certificates"][0]["names"][0], "two.drill.test");
    acme.obtain(&["two.drill.test"], &webroot).unwrap();
    let done = daemon.admin(&[&watched[..], &["--watch"]].concat()).succeeded();
    assert!(done.stdout.contains("2 of 2 replaced"), "{done}");
}

#[test]
fn an_account_is_asked_to_renew_and_then_revoked_by_time_of_issue() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let (theirs, ours) = (daemon.register().unwrap(), daemon.register().unwrap());
    let first = theirs.obtain(&["a.account.test"], &webroot).unwrap();
    theirs.obtain(&["b.account.test"], &webroot).unwrap();
    let kept = ours.obtain(&["c.account.test"], &webroot).unwrap();
    let shown = daemon.admin_json(&["certs", "show", &first.serial()]);
    let account = shown["account"].as_str().unwrap().to_owned();

    let asked = daemon.admin_json(&["certs", "renew-now", "--account", &account, "--yes"]);
    assert_eq!(asked["count"], 2, "{asked}");
    let advice = |issued: &sigillo_tests::acme::Issued| {
        let url = format!("{}/{}", ours.url("renewalInfo"), issued.renewal_id());
        let answer = ours.http.get(&url).unwrap();
        answer.json()["suggestedWindow"]["end"].as_str().unwrap().to_owned()
    };
    let now = shown["not_before"].as_str().unwrap();
    assert!(advice(&kept).as_str() > &now[..10], "in the future");
    assert!(advice(&first) < advice(&kept));

    let between = ["2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"];
    let none = [
        "certs",
        "revoke",
        "--account",
        &account,
        "--issued-between",
        between[0],
        between[1],
        "--yes",
    ];
    assert_eq!(daemon.admin_json(&none)["count"], 0);
    let all = [
        "certs",
        "revoke",
        "--account",
        &account,
        "--issued-between",
        between[0],
        "2999-01-01T00:00:00Z",
        "--yes",
    ];
    assert_eq!(daemon.admin_json(&all)["count"], 2);
    let papers = Papers::sort(&first.chain_pem, &daemon.root(), &daemon.scratch().join("first"));
    papers.all_find_it_revoked(&daemon.http_client(), "unspecified");
    let papers = Papers::sort(&kept.chain_pem, &daemon.root(), &daemon.scratch().join("kept"));
    papers.all_find_it_good(&daemon.http_client());
}

#[test]
fn a_selection_that_says_nothing_is_refused_and_a_blocked_key_is_listed() {
    let daemon = Daemon::start();
    daemon.admin(&["certs", "revoke", "--yes"]).ended_with(2);
    daemon
        .admin(&["certs", "revoke", "00ff", "--profile", "default", "--yes"])
        .ended_with(2);
    daemon
        .admin(&["certs", "revoke", "--key", "abc", "--yes"])
        .ended_with(1);
    let key = "00".repeat(32);
    let blocked = daemon.admin_json(&["blocked-keys", "add", &key, "--comment", "seen in public"]);
    assert_eq!(blocked["spki_sha256"], key.as_str());
    let again = daemon.admin_json(&["blocked-keys", "add", &key, "--comment", "another word"]);
    assert_eq!(again["comment"], "seen in public", "it is blocked already");
    let listed = daemon.admin_json(&["blocked-keys", "list"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
}
