//! Where the programs are: our own beside the test, other people's on the machine.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Set to 1 where every third-party program must be there (the CI sets it).
pub const INTEROP_VARIABLE: &str = "SIGILLO_INTEROP";
/// Folders, separated by colons, that are searched before `PATH`.
pub const TOOLS_VARIABLE: &str = "SIGILLO_TOOLS";
/// A folder with our own programs, to test those instead of building them.
pub const BINARIES_VARIABLE: &str = "SIGILLO_BIN_DIR";

/// Returns the root of the source tree.
pub fn workspace() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir
        .parent()
        .expect("invariant: the crate lies in the workspace")
        .to_owned()
}

/// Returns the path of one of our own programs, built from the tree as it is.
///
/// Cargo builds the programs of other packages for no test, so this asks it to, once per process.
///
/// # Panics
///
/// If they cannot be built.
pub fn own(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let path = FOLDER.get_or_init(build).join(name);
    assert!(path.is_file(), "{} is missing", path.display());
    path
}

fn build() -> PathBuf {
    if let Some(folder) = std::env::var_os(BINARIES_VARIABLE) {
        return PathBuf::from(folder);
    }
    // The test runs as TARGET/PROFILE/deps/NAME.
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.parent().and_then(Path::parent).expect("invariant: cargo's layout");
    let target = folder.parent().expect("invariant: cargo's layout");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(workspace())
        .args(["build", "--quiet", "--workspace", "--bins", "--profile", profile])
        .arg("--target-dir")
        .arg(target)
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.to_owned()
}

/// Finds a third-party program: in `SIGILLO_TOOLS`, in `PATH`, in the system's folders.
pub fn find(name: &str) -> Option<PathBuf> {
    let listed = |variable| std::env::var_os(variable).unwrap_or_default();
    let (tools, path) = (listed(TOOLS_VARIABLE), listed("PATH"));
    std::env::split_paths(&tools)
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .filter(|folder| !folder.as_os_str().is_empty())
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// Says whether the third-party programs of a test are all there.
///
/// # Panics
///
/// If one is missing and `SIGILLO_INTEROP` is set.
#[track_caller]
pub fn available(names: &[&str]) -> bool {
    let absent: Vec<&str> = names.iter().copied().filter(|name| find(name).is_none()).collect();
    if !absent.is_empty() {
        missing(&absent);
    }
    absent.is_empty()
}

/// Finds a Python that knows a module: the system's own first, since packages of the system are
/// there and not in whatever `python3` the `PATH` leads to.
pub fn python(module: &str) -> Option<PathBuf> {
    [Some("/usr/bin/python3".into()), find("python3")]
        .into_iter()
        .flatten()
        .find(|python: &PathBuf| {
            let output = Command::new(python).args(["-c", &format!("import {module}")]).output();
            output.is_ok_and(|output| output.status.success())
        })
}

/// Finds a Python that knows a module, or says loudly that there is none.
///
/// # Panics
///
/// If there is none and `SIGILLO_INTEROP` is set.
#[track_caller]
pub fn python_with(module: &str) -> Option<Command> {
    let Some(python) = python(module) else {
        missing(&[&format!("python3 with {module}")]);
        return None;
    };
    Some(Command::new(python))
}

#[track_caller]
fn missing(names: &[&str]) {
    let required = std::env::var_os(INTEROP_VARIABLE).is_some_and(|value| value != "0");
    assert!(!required, "{INTEROP_VARIABLE} is set and these are missing: {names:?}");
    // Past the test harness, which keeps the words of passing tests to itself.
    let text = format!("SKIPPED: these are missing: {names:?}. This test has NOT been judged by them.");
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Starts the command line of a third-party program.
///
/// # Panics
///
/// If it is not there; ask [`available`] before.
#[track_caller]
pub fn third_party(name: &str) -> Command {
    Command::new(find(name).unwrap_or_else(|| panic!("{name} is missing")))
}
