//! Where durable things are measured: a real disk, since what is measured is waiting for it.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
};

use tempfile::TempDir;

/// Names another folder to write in, to measure another disk.
pub const FOLDER_VARIABLE: &str = "SIGILLO_BENCH_DIR";

/// Makes a folder that is removed when it is dropped. The default should be on a disk: Cargo's
/// target folder, since `/tmp` is often memory.
pub fn folder(default: &str) -> TempDir {
    let place = std::env::var_os(FOLDER_VARIABLE).unwrap_or_else(|| default.into());
    std::fs::create_dir_all(&place).expect("the folder is there or can be made");
    tempfile::tempdir_in(place).expect("a temporary folder")
}

/// What one page of a database takes: the least that any durable change writes.
const PAGE: usize = 4096;

/// The raw primitive of being durable: a page appended to a file, and a wait until the disk has it.
pub struct Journal(File);

impl Journal {
    /// Starts a file in a folder.
    pub fn new(folder: &Path) -> Self {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("journal"))
            .expect("a file can be made");
        Self(file)
    }

    /// Appends a page and waits.
    pub fn append(&mut self) {
        self.0.write_all(&[0x5a; PAGE]).expect("the disk takes a page");
        self.0.sync_data().expect("the disk has the page");
    }
}
