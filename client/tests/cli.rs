//! The program's manners: statuses, words, and how it ends.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn sigillo(home: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sigillo"));
    command
        .env_remove("SIGILLO_DIRECTORY")
        .env_remove("SIGILLO_CA_ROOT")
        .env("SIGILLO_HOME", home);
    command
}

/// Runs it; returns the status and the first line of its complaint.
fn complaint(home: &std::path::Path, args: &[&str]) -> (i32, String) {
    let output = sigillo(home).args(args).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    (
        output.status.code().unwrap(),
        errors.lines().next().unwrap_or_default().to_owned(),
    )
}

#[test]
fn wrong_usage_is_2_and_failure_is_1() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("not-a-certificate");
    std::fs::write(&file, "hello").unwrap();
    let file = file.to_str().unwrap();
    let cases: [(&[&str], i32, &str); 12] = [
        (&["order"], 2, "error:"),
        (&["order", "a_b.example"], 2, "error:"),
        (&["order", "a.example", "--key-type", "dsa"], 2, "error:"),
        (&["register"], 2, "sigillo: which server?"),
        (
            &["--directory", "http://127.0.0.1:1/dir", "register"],
            1,
            "sigillo: cannot",
        ),
        (
            &["--directory", "https://127.0.0.1:1/dir", "--ca-root", file, "register"],
            1,
            "sigillo: cannot use",
        ),
        (
            &["renew", "a.example"],
            2,
            "sigillo: there is no certificate named a.example",
        ),
        (&["revoke", "a.example"], 2, "sigillo: a.example is neither"),
        (&["revoke", "a.example", "--reason", "boredom"], 2, "error:"),
        (&["check", file], 1, "sigillo: cannot use"),
        (
            &["account", "deactivate"],
            2,
            "sigillo: closing an account cannot be undone",
        ),
        (&["trust", "install"], 2, "sigillo: which root?"),
    ];
    for (args, status, begin) in cases {
        let (code, line) = complaint(home.path(), args);
        assert_eq!(code, status, "{args:?}: {line}");
        assert!(line.starts_with(begin), "{args:?}: {line}");
    }
    let (code, line) = complaint(home.path(), &["list"]);
    assert_eq!((code, line.as_str()), (0, ""));
}

#[test]
fn a_misspelt_setting_is_refused() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.toml"), "directroy = 'https://a.example/dir'\n").unwrap();
    let output = sigillo(home.path()).arg("list").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("directroy"));
}

#[test]
fn the_daemon_ends_with_0_when_told_to() {
    let home = tempfile::tempdir().unwrap();
    let mut daemon = sigillo(home.path())
        .arg("daemon")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut errors = std::io::BufReader::new(daemon.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut errors, &mut first).unwrap();
    assert!(first.starts_with("watching "), "{first}");
    let told = Command::new("kill")
        .args(["-TERM", &daemon.id().to_string()])
        .status()
        .unwrap();
    assert!(told.success());
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(status) = daemon.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0));
            return;
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}
