//! A process that commits under load, and what it acknowledged before it was ended.

#![allow(dead_code, reason = "each trial uses a part of it")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use sigillo_ca::{
    audit::{self, Chain},
    store::{Store, embedded::SqliteStore},
};

/// How long a committer may take to its first acknowledgement on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

/// The program that commits.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_store-committer");

/// A running committer.
pub struct Committer {
    child: Child,
    lines: Receiver<String>,
    acknowledged: Vec<String>,
}

impl Committer {
    /// Starts one that writes keys which begin with `prefix`.
    pub fn start(backend: &str, path: &Path, prefix: &str) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["commit", backend])
            .arg(path)
            .arg(prefix)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // A thread of its own, so that the committer never waits for a full pipe.
        thread::spawn(move || {
            for line in out.split(b'\n').map_while(Result::ok) {
                let Ok(line) = String::from_utf8(line) else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            lines,
            acknowledged: Vec::new(),
        }
    }

    /// Waits until something was acknowledged, and then some more.
    pub fn run_for(&mut self, time: Duration) {
        let first = self
            .lines
            .recv_timeout(START_MAX)
            .expect("the committer acknowledges something");
        self.take(first);
        let end = Instant::now() + time;
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.take(line);
        }
    }

    /// Returns every key that it has acknowledged up to now.
    pub fn acknowledged(&mut self) -> Vec<String> {
        while let Ok(line) = self.lines.try_recv() {
            self.take(line);
        }
        self.acknowledged.clone()
    }

    /// Kills it, and returns every key that it acknowledged.
    pub fn kill(mut self) -> Vec<String> {
        // It may have ended by itself, on a file system that is gone.
        let _ = self.child.kill();
        self.child.wait().unwrap();
        while let Ok(line) = self.lines.recv_timeout(START_MAX) {
            self.take(line);
        }
        self.acknowledged
    }

    fn take(&mut self, line: String) {
        if let Some(key) = line.strip_prefix("ack ") {
            self.acknowledged.push(key.to_owned());
        }
    }
}

/// Opens a store as a restart would, and checks that it holds what was acknowledged and that its
/// audit log is unbroken; returns how many events that log holds.
pub fn check_sqlite(path: &Path, acknowledged: &[String]) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(path).unwrap();
        for key in acknowledged {
            assert!(
                store.external_key(key).await.unwrap().is_some(),
                "{key} was acknowledged and is lost"
            );
        }
        let mut chain = Chain::START;
        loop {
            let portion = store.audit(chain.sequence, 1_000).await.unwrap();
            if portion.is_empty() {
                break chain.sequence;
            }
            chain = audit::verify(chain, &portion).unwrap();
        }
    })
}

/// Random numbers that a printed seed repeats (splitmix64).
pub struct Random(u64);

impl Random {
    /// Takes the seed from `SIGILLO_SEED`, or from the time, and prints it.
    pub fn seeded() -> Self {
        let given = std::env::var("SIGILLO_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(1, |since| since.as_micros() as u64)
        });
        println!("SIGILLO_SEED={seed}");
        Self(seed)
    }

    /// Returns a number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Returns a time below `bound` milliseconds, to the microsecond.
    pub fn time_below(&mut self, bound_millis: u64) -> Duration {
        Duration::from_micros(self.below(bound_millis * 1_000))
    }
}
