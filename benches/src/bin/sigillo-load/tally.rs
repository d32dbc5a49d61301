//! What a run came to.

use std::time::Duration;

use serde_json::json;

use crate::{primitives::Primitives, server::Used};

/// The figures of a run.
#[derive(Debug)]
pub struct Tally {
    /// What was counted: `certificate` or `answer`.
    pub unit: &'static str,
    /// How many were had.
    pub count: usize,
    /// How many tries failed, and how the first one did.
    pub failed: (usize, Option<String>),
    /// From the first request to the last answer.
    pub wall: Duration,
    /// How long each took, sorted.
    pub each: Vec<Duration>,
    /// What the server used meanwhile, where its process is known.
    pub used: Option<Used>,
    /// What the cryptography alone takes, where it was measured.
    pub primitives: Option<Primitives>,
}

impl Tally {
    fn quantile(&self, share: f64) -> Duration {
        let last = self.each.len().saturating_sub(1);
        // Some thousand figures: the cast loses nothing.
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let at = (last as f64 * share).round() as usize;
        self.each.get(at).copied().unwrap_or_default()
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of a run are small")]
    fn per_unit(&self, total: f64) -> f64 {
        total / self.count.max(1) as f64
    }

    fn rate(&self) -> f64 {
        let seconds = self.wall.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "counts of a run are small")]
        let count = self.count as f64;
        if seconds > 0.0 { count / seconds } else { 0.0 }
    }

    /// How many times its raw primitives the server took.
    fn times_raw(&self) -> Option<f64> {
        let each = self.per_unit(self.used?.processor.as_secs_f64() * 1e6);
        Some(each / self.primitives?.sum())
    }

    /// The figures as lines for people.
    pub fn lines(&self) -> String {
        let unit = self.unit;
        let mut text = format!(
            "{} {unit}s in {:.2} s: {:.1} a second; each {:.2} ms at the median, {:.2} ms at 99 %\n",
            self.count,
            self.wall.as_secs_f64(),
            self.rate(),
            millis(self.quantile(0.5)),
            millis(self.quantile(0.99)),
        );
        if let (count @ 1.., first) = &self.failed {
            text += &format!("{count} FAILED, the first: {}\n", first.as_deref().unwrap_or_default());
        }
        if let Some(used) = self.used {
            text += &format!(
                "server: {:.1} us of processor time and {:.0} octets written for each {unit}; {} MiB at the most\n",
                self.per_unit(used.processor.as_secs_f64() * 1e6),
                self.per_unit(octets(used.written)),
                used.memory_peak >> 20,
            );
        }
        if let Some(raw) = self.primitives {
            text += &format!(
                "raw primitives of each: {:.1} us = {:.1} requests verified at {:.1} us, possession proven, signed at {:.1} us, \
                 records of TLS at {:.1} us a request\n",
                raw.sum(),
                raw.requests,
                raw.verification,
                raw.signature,
                raw.records,
            );
        }
        if let Some(times) = self.times_raw() {
            text += &format!("the server took {times:.2} times its raw primitives\n");
        }
        text
    }

    /// The figures as one JSON object.
    pub fn json(&self) -> String {
        let used = self.used.map(|used| {
            json!({
                "processorMicroseconds": self.per_unit(used.processor.as_secs_f64() * 1e6),
                "octetsWritten": self.per_unit(octets(used.written)),
                "memoryPeak": used.memory_peak,
            })
        });
        let figures = json!({
            "unit": self.unit,
            "count": self.count,
            "failed": self.failed.0,
            "firstFailure": self.failed.1,
            "seconds": self.wall.as_secs_f64(),
            "perSecond": self.rate(),
            "medianMilliseconds": millis(self.quantile(0.5)),
            "p99Milliseconds": millis(self.quantile(0.99)),
            "server": used,
            "requestsEach": self.primitives.map(|raw| raw.requests),
            "rawMicroseconds": self.primitives.map(|raw| raw.sum()),
            "timesRaw": self.times_raw(),
        });
        format!("{figures}\n")
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn octets(count: u64) -> f64 {
    count as f64
}
