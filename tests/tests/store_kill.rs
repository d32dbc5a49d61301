//! Killing the process at any moment loses nothing that was acknowledged.

mod committing;

use std::thread;

use committing::{Committer, Random, check_sqlite};

/// How many times the process is killed.
const ROUNDS: u64 = 20;

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let mut random = Random::seeded();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store/sigillo.db");
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let mut committer = Committer::start("sqlite", &path, &round.to_string());
        if round % 4 == 3 {
            // Perhaps while it opens: recovery can be interrupted too.
            thread::sleep(random.time_below(30));
        } else {
            committer.run_for(random.time_below(150));
        }
        acknowledged.extend(committer.kill());
        let recorded = check_sqlite(&path, &acknowledged);
        assert!(recorded >= acknowledged.len() as u64, "each has its event");
    }
    assert!(
        acknowledged.len() > 100,
        "only {} commits were tried",
        acknowledged.len()
    );
    println!("{ROUNDS} kills, {} acknowledged commits, none lost", acknowledged.len());
}
