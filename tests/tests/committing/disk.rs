//! Disks to be lost: ext4 file systems in images, mounted through loop devices.
//!
//! They need root, loop devices, `mkfs.ext4` and `perl` (for the one ioctl). Where they cannot be had, a
//! trial says so on stderr and does not run; with `SIGILLO_POWER_CUT=required` it fails instead.

#![allow(dead_code, reason = "each trial uses a part of it")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// The shortest disk that is of any use.
pub const LENGTH_MIN: u64 = 16 << 20;

/// EXT4_IOC_SHUTDOWN with "do not flush the log".
const SHUT_DOWN: &str = r#"open(my $f, "<", $ARGV[0]) or die $!; my $how = pack("L", 2);
    ioctl($f, 0x8004587d, $how) or die "shutdown: $!";"#;

/// A folder in which disks can be made.
pub struct Bench(tempfile::TempDir);

impl Bench {
    /// Returns `None`, and says so, where power cuts cannot be tried.
    pub fn prepare(trial: &str) -> Option<Self> {
        let bench = Self(tempfile::tempdir().unwrap());
        match bench.try_out() {
            Ok(()) => Some(bench),
            Err(why) if std::env::var("SIGILLO_POWER_CUT").is_ok_and(|wish| wish == "required") => {
                panic!("{trial} cannot run: {why}");
            }
            Err(why) => {
                // Past the test harness, which keeps the words of passing tests to itself.
                let _ = writeln!(std::io::stderr(), "\n*** {trial} DID NOT RUN: {why}\n");
                None
            }
        }
    }

    fn try_out(&self) -> Result<(), String> {
        let disk = Disk::in_folder(self.0.path());
        disk.make(LENGTH_MIN)?;
        command("perl", &["-e".as_ref(), SHUT_DOWN.as_ref(), disk.mounted_at.as_ref()])
    }

    /// Makes a disk of a length in octets. One at a time: they share a place.
    pub fn disk(&self, length: u64) -> Disk {
        let disk = Disk::in_folder(self.0.path());
        disk.make(length).unwrap();
        disk
    }
}

/// A file system in an image; unmounted and removed when it is dropped.
pub struct Disk {
    image: PathBuf,
    /// Where its files are.
    pub mounted_at: PathBuf,
}

impl Disk {
    fn in_folder(folder: &Path) -> Self {
        Self {
            image: folder.join("image"),
            mounted_at: folder.join("disk"),
        }
    }

    fn make(&self, length: u64) -> Result<(), String> {
        let image = fs::File::create(&self.image).map_err(|error| error.to_string())?;
        image.set_len(length).map_err(|error| error.to_string())?;
        fs::create_dir_all(&self.mounted_at).map_err(|error| error.to_string())?;
        command("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), self.image.as_ref()])?;
        self.try_mount()
    }

    fn try_mount(&self) -> Result<(), String> {
        command(
            "mount",
            &[
                "-o".as_ref(),
                "loop".as_ref(),
                self.image.as_ref(),
                self.mounted_at.as_ref(),
            ],
        )
    }

    /// Mounts it again.
    pub fn mount(&self) {
        self.try_mount().unwrap();
    }

    /// Loses at this instant whatever was not written to it yet; it must be unmounted and mounted to be used.
    pub fn cut_power(&self) {
        command("perl", &["-e".as_ref(), SHUT_DOWN.as_ref(), self.mounted_at.as_ref()]).unwrap();
    }

    /// Unmounts it.
    pub fn unmount(&self) {
        command("umount", &[self.mounted_at.as_ref()]).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It is not mounted if making it failed.
        let _ = command("umount", &[self.mounted_at.as_ref()]);
        let _ = fs::remove_file(&self.image);
    }
}

fn command(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<(), String> {
    let done = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!(
        "{program} failed: {}",
        String::from_utf8_lossy(&done.stderr).trim()
    ))
}
