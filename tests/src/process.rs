//! Running programs: with a deadline, with their output kept, and never left behind.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(15);
/// How long a program may take to go after SIGTERM.
pub const TERMINATE_WITHIN: Duration = Duration::from_secs(20);

/// What a program left when it ended.
#[derive(Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it said.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Output {
    /// Returns the exit code; -1 if a signal ended the program.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Returns both streams, for a search.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// Returns itself if the program ended with 0.
    ///
    /// # Panics
    ///
    /// Otherwise, with everything the program said.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert!(self.status.success(), "{self}");
        self
    }

    /// Returns itself if the program ended with this code.
    ///
    /// # Panics
    ///
    /// Otherwise, with everything the program said.
    #[track_caller]
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}

/// Runs a program to its end.
///
/// # Panics
///
/// If it cannot be started, or is not done in time (it and its children are killed then).
#[track_caller]
pub fn run(command: &mut Command, within: Duration) -> Output {
    let scratch = tempfile::tempdir().expect("a directory for the output");
    let (out, err) = (scratch.path().join("out"), scratch.path().join("err"));
    let shown = format!("{command:?}");
    command
        .stdin(Stdio::null())
        .stdout(File::create(&out).expect("a file for stdout"))
        .stderr(File::create(&err).expect("a file for stderr"))
        .process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let status = wait(&mut child, within);
    if status.is_none() {
        signal_group(&child, "KILL");
        let _ = child.wait();
    }
    let (stdout, stderr) = (read(&out), read(&err));
    let Some(status) = status else {
        panic!("{shown} was not done within {within:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    };
    Output {
        command: shown,
        status,
        stdout,
        stderr,
    }
}

/// A program that runs beside the test; it and its children are killed when this is dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Background {
    /// Starts a program whose two streams go to the end of one file.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let name = format!("{command:?}");
        let open = || File::options().create(true).append(true).open(log).expect("a log file");
        command
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        Self {
            child,
            name,
            log: log.to_owned(),
        }
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it has said so far.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Returns how it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until `look` finds something.
    ///
    /// # Panics
    ///
    /// If the program ends before, or nothing is found in time.
    #[track_caller]
    pub fn wait_for<T>(&mut self, within: Duration, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + within;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if let Some(status) = self.ended() {
                panic!("{} ended early with {status}\n{}", self.name, self.log());
            }
            assert!(Instant::now() < deadline, "{} not ready\n{}", self.name, self.log());
            std::thread::sleep(POLL);
        }
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    ///
    /// If the program does not go.
    #[track_caller]
    pub fn terminate(mut self) -> ExitStatus {
        signal(self.child.id(), "TERM");
        wait(&mut self.child, TERMINATE_WITHIN)
            .unwrap_or_else(|| panic!("{} ignores SIGTERM\n{}", self.name, self.log()))
    }

    /// Sends a signal by its name, as `kill` knows it.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Kills it as a power cut would, and waits until it is gone.
    pub fn kill9(mut self) {
        signal_group(&self.child, "KILL");
        let _ = self.child.wait();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.ended().is_none() {
            signal_group(&self.child, "KILL");
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}", self.name, tail(&self.log()));
        }
    }
}

/// How much of a log goes into a failure's report.
const TAIL_BYTES: usize = 8_000;

fn tail(log: &str) -> &str {
    let mut from = log.len().saturating_sub(TAIL_BYTES);
    while !log.is_char_boundary(from) {
        from += 1;
    }
    &log[from..]
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn wait(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait().expect("waiting for a child") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

fn signal(id: u32, name: &str) {
    send(name, &id.to_string());
}

fn signal_group(child: &Child, name: &str) {
    send(name, &format!("-{}", child.id()));
}

/// Sends a signal through the shell's own `kill`, which is there where the program is not.
fn send(name: &str, to: &str) {
    let script = "kill -s \"$1\" -- \"$2\"";
    let _ = Command::new("sh")
        .args(["-c", script, "sh", name, to])
        .stderr(Stdio::null())
        .status();
}

/// Asks until the answer is there, and returns it.
///
/// # Panics
///
/// If it does not come in time; `what` says what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    /// How long to rest between two looks.
    const REST: Duration = Duration::from_millis(100);
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        std::thread::sleep(REST);
    }
}
