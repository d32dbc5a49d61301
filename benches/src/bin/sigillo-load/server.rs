//! What a server's process has used so far, as Linux counts it.

use std::{fs, time::Duration};

use crate::Failure;

/// How many times a second Linux counts processor time for `/proc`: the same on every machine.
const TICKS_PER_SECOND: u64 = 100;

/// What a process has used since it began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Time on the processors, in user and kernel mode.
    pub processor: Duration,
    /// Octets that were handed to the disk.
    pub written: u64,
    /// The most memory that it held, in octets.
    pub memory_peak: u64,
}

impl Used {
    /// Reads what a process and its threads have used.
    pub fn by(pid: u32) -> Result<Self, Failure> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
        let stat = read("stat")?;
        // The program's name is in parentheses and may hold blanks; utime and stime are the 12th and 13th behind it.
        let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
        let ticks: u64 = behind
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|word| word.parse::<u64>().ok())
            .sum();
        Ok(Self {
            processor: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
            written: number(&read("io")?, "write_bytes:"),
            memory_peak: number(&read("status")?, "VmHWM:") * 1024,
        })
    }

    /// What was used since an earlier reading.
    pub fn since(self, before: Self) -> Self {
        Self {
            processor: self.processor.saturating_sub(before.processor),
            written: self.written.saturating_sub(before.written),
            memory_peak: self.memory_peak,
        }
    }
}

fn number(text: &str, label: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
