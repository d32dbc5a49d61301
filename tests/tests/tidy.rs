//! The rules of the house, checked on the source text: `ARCHITECTURE.md` says why they are there.

use std::path::{Path, PathBuf};
use std::process::Command;

use sigillo_tests::programs::workspace;

/// A file longer than this probably tells two stories: it is named, not refused.
const LONG_LINES: usize = 500;
/// A file longer than this surely does.
const TOO_LONG_LINES: usize = 900;
/// The crates whose code runs in production.
const PRODUCTION: [&str; 4] = ["protocol/src/", "ca/src/", "client/src/", "conformance/src/"];

struct Source {
    /// The path from the workspace's root, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// Returns the part that is not for tests, without comments and without the text of strings'
    /// lines that are comments themselves, as numbered lines.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        self.text[..end]
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn is_production(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let for_tests = name.ends_with("tests.rs") || name == "testing.rs" || name == "contract.rs";
        !for_tests
            && !["/tests/", "/testing/", "/contract/"]
                .iter()
                .any(|folder| self.path.contains(folder))
            && self.is_in(&PRODUCTION)
    }

    fn is_in(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }
}

fn sources() -> Vec<Source> {
    let root = workspace();
    let mut files = Vec::new();
    for member in ["protocol", "ca", "client", "conformance", "benches", "tests"] {
        collect(&root.join(member), &mut files);
    }
    files.sort();
    assert!(files.len() > 20, "the sources were not found below {}", root.display());
    files
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(&file).expect("a source file");
            let path = file.strip_prefix(&root).expect("invariant: below the root");
            Source {
                path: path.to_string_lossy().replace('\\', "/"),
                text,
            }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Fails with every line that breaks a rule, and the rule's reason.
fn forbid(reason: &str, applies: impl Fn(&Source) -> bool, breaks: impl Fn(&str) -> bool) {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| applies(source)) {
        for (number, line) in source.code().filter(|(_, line)| breaks(line)) {
            found.push(format!("{}:{number}: {}", source.path, line.trim()));
        }
    }
    assert!(found.is_empty(), "{reason}\n{}", found.join("\n"));
}

fn manifest(member: &str) -> String {
    std::fs::read_to_string(workspace().join(member).join("Cargo.toml")).expect("a manifest")
}

#[test]
fn every_file_says_first_what_it_keeps() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "the first line must be a //! sentence: {silent:?}");
}

#[test]
fn files_tell_one_story() {
    let mut too_long = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LONG_LINES {
            eprintln!("long: {} has {lines} lines; does it tell two stories?", source.path);
        }
        if lines > TOO_LONG_LINES {
            too_long.push(source.path);
        }
    }
    assert!(too_long.is_empty(), "more than {TOO_LONG_LINES} lines: {too_long:?}");
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["todo!", "unimplemented!", "dbg!"];
    forbid(
        "unfinished code has no place in the tree",
        |source| source.path != "tests/tests/tidy.rs",
        |line| marks.iter().any(|mark| line.contains(&format!("{mark}("))),
    );
}

#[test]
fn production_code_does_not_unwrap() {
    forbid(
        "a panic needs a reason: use expect(\"invariant: ...\") where the code nearby shows it holds",
        Source::is_production,
        |line| {
            let expects = line.contains(".expect(\"") && !line.contains(".expect(\"invariant: ");
            line.contains(".unwrap()") || line.contains(".unwrap_err()") || expects
        },
    );
}

#[test]
fn only_the_clock_reads_the_time_of_day() {
    let readings = ["Timestamp::now(", "SystemTime::now(", "Zoned::now("];
    forbid(
        "the CA takes its time from clock.rs, so that a test can move it (Instant, which only \
         measures waits, is free)",
        |source| source.is_in(&["ca/src/"]) && source.is_production() && source.path != "ca/src/clock.rs",
        |line| readings.iter().any(|reading| line.contains(reading)),
    );
}

#[test]
fn the_protocol_touches_nothing_outside() {
    let outside = [
        "std::net::Tcp",
        "std::net::Udp",
        "std::fs",
        "std::env",
        "std::thread",
        "std::process",
        "Timestamp::now(",
        "SystemTime",
        "Instant::now(",
        "tokio",
        "hyper",
        "getrandom",
        "async fn",
    ];
    forbid(
        "protocol is sans-IO: no clock, socket, file, randomness or async",
        |source| source.is_in(&["protocol/src/"]) && source.is_production(),
        |line| outside.iter().any(|name| line.contains(name)),
    );
    for dependency in ["tokio", "hyper", "axum", "getrandom", "rusqlite"] {
        let found = manifest("protocol").lines().any(|line| line.starts_with(dependency));
        assert!(!found, "protocol depends on {dependency}");
    }
}

#[test]
fn portal_and_admin_never_reach_the_signer() {
    forbid(
        "what a person or an operator asks for goes through the registrar and the issuer",
        |source| source.is_in(&["ca/src/portal/", "ca/src/admin/", "ca/src/front/"]),
        |line| line.contains("signer::"),
    );
}

#[test]
fn inner_floors_know_nothing_of_http_servers() {
    let inner = [
        "ca/src/registrar/",
        "ca/src/issuer/",
        "ca/src/store/",
        "ca/src/signer/",
        "ca/src/model/",
        "ca/src/policy/",
        "ca/src/audit/",
        "ca/src/notary/",
    ];
    forbid(
        "front alone turns problems into HTTP answers",
        |source| source.is_in(&inner) && source.is_production(),
        |line| line.contains("axum::") || line.contains("hyper::") || line.contains("StatusCode"),
    );
}

#[test]
fn only_the_tour_uses_the_client() {
    forbid(
        "the daemon is no client of its own, but for the quickstart's tour",
        |source| source.is_in(&["ca/src/"]) && source.path != "ca/src/cli/quickstart.rs",
        |line| line.contains("sigillo_client::"),
    );
}

#[test]
fn the_responders_for_tests_are_no_part_of_the_ca() {
    let allowed = ["crate::challtestsrv::", "crate::digest::", "crate::front::{"];
    forbid(
        "what answers as a test says may know how to listen, and nothing of the CA",
        |source| source.is_in(&["ca/src/challtestsrv/"]),
        |line| line.contains("crate::") && !allowed.iter().any(|room| line.contains(room)),
    );
    forbid(
        "nothing but the command line starts what obeys anybody",
        |source| source.is_in(&["ca/src/"]) && !source.is_in(&["ca/src/challtestsrv/", "ca/src/cli/"]),
        |line| line.contains("challtestsrv::"),
    );
}

#[test]
fn chaos_stands_before_no_daemon() {
    forbid(
        "only the command line starts the test server, and only the test server has faults on purpose",
        |source| source.is_in(&["ca/src/"]) && !source.is_in(&["ca/src/pebble/", "ca/src/cli/"]),
        |line| line.contains("pebble::") || line.contains("chaos"),
    );
    forbid(
        "of the commands only pebble starts it",
        |source| source.is_in(&["ca/src/cli/"]) && source.path != "ca/src/cli/pebble.rs",
        |line| line.contains("crate::pebble") || line.contains("chaos"),
    );
    forbid(
        "its layer is for its own room",
        |source| source.is_in(&["ca/src/pebble/chaos/"]),
        |line| line.trim_start().starts_with("pub fn router"),
    );
}

#[test]
fn engines_stay_in_their_rooms() {
    forbid(
        "only the embedded store knows SQLite",
        |source| source.is_in(&["ca/src/"]) && !source.is_in(&["ca/src/store/embedded/"]),
        |line| line.contains("rusqlite::"),
    );
    forbid(
        "only the status index knows sled: it can be lost, so nothing else may rely on it",
        |source| source.is_in(&["ca/src/"]) && !source.is_in(&["ca/src/status/"]),
        |line| line.contains("sled::"),
    );
    forbid(
        "the ocsp crate panics on hostile requests: it may encode, and judge in tests",
        |source| source.is_in(&["ca/src/"]) && !source.is_in(&["ca/src/status/"]),
        |line| line.contains(" ocsp::") || line.contains("(ocsp::"),
    );
}

#[test]
fn judges_do_not_know_whom_they_judge() {
    for (member, strangers) in [
        ("conformance", &["sigillo-ca", "sigillo-client"][..]),
        ("tests", &["sigillo-client", "sigillo-protocol", "sigillo-conformance"]),
        ("client", &["sigillo-ca"]),
        ("protocol", &["sigillo-ca", "sigillo-client", "sigillo-conformance"]),
    ] {
        let text = manifest(member);
        for stranger in strangers {
            let found = text.lines().any(|line| line.trim_start().starts_with(stranger));
            assert!(!found, "{member} must not depend on {stranger}");
        }
    }
    let trials = ["committing", "power_cut", "store_kill", "disk_full", "bin/", "tidy"];
    forbid(
        "the journeys judge what leaves the programs; only the trials of the store look inside",
        |source| source.is_in(&["tests/"]) && !trials.iter().any(|trial| source.path.contains(trial)),
        |line| line.contains("sigillo_ca::"),
    );
    forbid(
        "conformance judges any server, so it must not share the CA's or the client's mistakes",
        |source| source.is_in(&["conformance/"]),
        |line| line.contains("sigillo_ca::") || line.contains("sigillo_client::"),
    );
}

#[test]
fn nothing_of_one_machine_is_in_the_tree() {
    let output = Command::new("git").args(["ls-files"]).current_dir(workspace()).output();
    // A source archive has no list of files; there the rule has been checked before.
    let Ok(output) = output else { return };
    let mut found = Vec::new();
    for name in String::from_utf8_lossy(&output.stdout).lines() {
        let text = std::fs::read_to_string(workspace().join(name)).unwrap_or_default();
        for home in ["/home/", "/root/", "C:\\Users"] {
            if name != "tests/tests/tidy.rs" && text.contains(home) {
                found.push(format!("{name}: {home}"));
            }
        }
    }
    assert!(found.is_empty(), "paths of somebody's machine: {found:?}");
}
