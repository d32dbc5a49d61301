//! What the daemon tells about itself: log lines and counts.

use std::{
    fmt::Write as _,
    io::IsTerminal,
    sync::atomic::{AtomicU64, Ordering},
};

use tracing_subscriber::EnvFilter;

/// Starts logging to the standard error stream; what is printed for a person goes to standard output.
///
/// A second call changes nothing, so that a test may start two daemons.
pub fn start_logging(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let _ = if json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
}

/// Counts since the process started.
#[derive(Debug, Default)]
pub struct Metrics {
    acme_requests: [AtomicU64; 6],
}

impl Metrics {
    /// Counts an answer of the ACME front by its status class.
    pub fn count_acme(&self, status: u16) {
        let class = usize::from(status / 100).min(5);
        self.acme_requests[class].fetch_add(1, Ordering::Relaxed);
    }

    /// Writes all counts in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = String::from(
            "# HELP sigillo_acme_requests_total Answers of the ACME front by status class.\n# TYPE sigillo_acme_requests_total counter\n",
        );
        for (class, count) in self.acme_requests.iter().enumerate().skip(1) {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "sigillo_acme_requests_total{{class=\"{class}xx\"}} {}",
                count.load(Ordering::Relaxed)
            );
        }
        text
    }
}
