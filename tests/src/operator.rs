//! An operator at hand: a program that the conformance suite can ask to do to a daemon what only he can.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::daemon::{Daemon, Options};
use crate::programs::available;

/// What the program does.
const SCRIPT: &str = include_str!("operator.sh");

/// Where Debian, and who builds it, puts libfaketime.
const FAKETIME: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
    "/usr/local/lib/faketime/libfaketime.so.1",
];

/// An operator of one daemon.
#[derive(Debug)]
pub struct Operator {
    place: tempfile::TempDir,
}

impl Operator {
    /// An operator whose daemon is to have this configuration, each line a whole `section.key = value`.
    ///
    /// # Panics
    ///
    /// If his folder cannot be written.
    pub fn new(configuration: &[String]) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let operator = Self { place };
        operator.write("base", &format!("{}\n", configuration.join("\n")));
        operator.write("hook", SCRIPT);
        let permissions = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(operator.hook(), permissions).expect("a program");
        if faketime().is_some() {
            operator.write("clock", "+0\n");
        }
        operator
    }

    /// Has the daemon's clock moved by the operator, where libfaketime is there; says whether it is.
    pub fn equip(&self, options: Options) -> (Options, bool) {
        let Some(library) = faketime() else {
            return (options, false);
        };
        let clock = self.place.path().join("clock");
        let options = options
            .environment("LD_PRELOAD", library.to_string_lossy())
            .environment("FAKETIME_TIMESTAMP_FILE", clock.to_string_lossy())
            .environment("FAKETIME_CACHE_DURATION", "1")
            // Waits are measured by this clock, and are as long as they are.
            .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .environment("DONT_FAKE_MONOTONIC", "1");
        (options, true)
    }

    /// Configures a daemon that does not serve yet.
    ///
    /// # Panics
    ///
    /// If its configuration cannot be written.
    pub fn configure(&self, daemon: &Daemon) {
        let config = daemon.dir().join("sigillo.toml");
        std::fs::copy(self.place.path().join("base"), &config).expect("a configuration");
        self.write("config", &config.to_string_lossy());
        self.write("log", &daemon.log_path().to_string_lossy());
    }

    /// Takes charge of a daemon that serves now.
    ///
    /// # Panics
    ///
    /// If his folder cannot be written.
    pub fn take_charge(&self, daemon: &Daemon) {
        self.write("pid", &daemon.id().to_string());
    }

    /// The program to ask.
    pub fn hook(&self) -> PathBuf {
        self.place.path().join("hook")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.place.path().join(name), text).expect("a file in the operator's folder");
    }
}

/// The library that shows a program another time, if the machine has it.
#[track_caller]
fn faketime() -> Option<&'static Path> {
    if !available(&["faketime"]) {
        return None;
    }
    FAKETIME.iter().map(Path::new).find(|path| path.is_file())
}
