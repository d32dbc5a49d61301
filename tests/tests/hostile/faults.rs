//! What the tables of faults share: collecting, comparing, counting.

use sigillo_tests::acme::problem;
use sigillo_tests::daemon::Daemon;
use sigillo_tests::http::Response;

/// Adds every fault to a list, so that one run shows all of them.
#[derive(Default)]
pub struct Faults(Vec<String>);

impl Faults {
    pub fn note(&mut self, fault: String) {
        eprintln!("{fault}");
        self.0.push(fault);
    }

    /// Compares an answer with what the RFCs allow.
    pub fn compare(&mut self, name: &str, answer: &Response, statuses: &[u16], problems: &[&str]) {
        let kind = problem(answer);
        if !statuses.contains(&answer.status) || !problems.contains(&kind.as_str()) {
            self.note(format!(
                "{name}: {} {}, not {statuses:?} {problems:?}",
                answer.status,
                answer.text()
            ));
        }
        if answer.header("content-type") != Some("application/problem+json") {
            self.note(format!("{name}: content type {:?}", answer.header("content-type")));
        }
    }

    #[track_caller]
    pub fn none(self) {
        assert!(self.0.is_empty(), "{} faults:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// What the store holds, as far as a request can change it.
pub fn counts(daemon: &Daemon) -> [usize; 3] {
    ["accounts", "orders", "certs"].map(|what| {
        daemon
            .admin_json(&[what, "list"])
            .as_array()
            .map_or(usize::MAX, Vec::len)
    })
}

/// A request that is wrong in itself.
pub const REFUSED: &[u16] = &[400];
/// A request by somebody who may not; the RFCs name no number.
pub const FORBIDDEN: &[u16] = &[401, 403];
/// How many requests are mutated.
pub const MUTANTS: usize = 400;
