//! In what a case found the target to do otherwise than asked, with the exchanges that show it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::case::{Finding, Judgement, Level};
use crate::evidence::{Exchange, Sighting};
use crate::read::certificate::Certificate;
use crate::report::Verdict;
use crate::shown::Shown;
use crate::suite::Run;

/// A case tells this many deviations; what comes after them is only counted.
const DEVIATIONS_MAX: usize = 40;

/// So many exchanges show a deviation: the last one decides, the ones before led to it.
const EVIDENCE_MAX: usize = 4;

/// One point in which the target does otherwise.
#[derive(Debug, Clone)]
pub struct Deviation {
    /// What was done, what was expected and what came.
    pub what: String,
    /// How strongly the text asks for it.
    pub level: Level,
    /// How often the case saw it.
    pub times: usize,
    /// The exchanges that show it, the last one decisive.
    pub evidence: Vec<Shown>,
}

impl Deviation {
    /// The deviation as the text report has it.
    pub(crate) fn line(&self) -> String {
        match self.times {
            1 => self.what.clone(),
            times => format!("{} ({times} times)", self.what),
        }
    }
}

/// What the present case has found so far.
#[derive(Debug)]
struct Found {
    level: Level,
    deviations: Vec<Deviation>,
    /// What could not be judged, with the verdict it would come to alone.
    unjudged: Vec<(Verdict, String)>,
    /// Exchanges before this one belong to earlier cases.
    start: usize,
    /// Exchanges before this one belong to what was judged already.
    mark: usize,
}

/// Collects what the present case finds.
#[derive(Debug)]
pub(crate) struct Collector(Mutex<Found>);

/// What became of a case.
pub(crate) struct Ending {
    pub(crate) verdict: Verdict,
    pub(crate) deviations: Vec<Deviation>,
    /// Why something could not be judged.
    pub(crate) unjudged: Vec<String>,
}

impl Default for Collector {
    fn default() -> Self {
        Self(Mutex::new(Found {
            level: Level::Must,
            deviations: Vec::new(),
            unjudged: Vec::new(),
            start: 0,
            mark: 0,
        }))
    }
}

impl Collector {
    fn open(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Begins a case of this level: nothing is found yet.
    pub(crate) fn begin(&self, level: Level) {
        let count = self.evidence.count();
        *self.found.open() = Found {
            level,
            deviations: Vec::new(),
            unjudged: Vec::new(),
            start: count,
            mark: count,
        };
    }

    /// Ends the case, given how its function returned.
    pub(crate) fn end(&self, judgement: Judgement) -> Ending {
        self.check(judgement);
        let mut found = self.found.open();
        let deviations = std::mem::take(&mut found.deviations);
        let unjudged = std::mem::take(&mut found.unjudged);
        let is_unjudged = |verdict| unjudged.iter().any(|(known, _)| *known == verdict);
        let verdict = if deviations.iter().any(|one| one.level == Level::Must) {
            Verdict::Fail
        } else if is_unjudged(Verdict::Blocked) {
            Verdict::Blocked
        } else if is_unjudged(Verdict::NotOffered) {
            Verdict::NotOffered
        } else if deviations.is_empty() {
            Verdict::Pass
        } else {
            Verdict::Warn
        };
        let mut unjudged: Vec<String> = unjudged.into_iter().map(|(_, why)| why).collect();
        unjudged.dedup();
        Ending {
            verdict,
            deviations,
            unjudged,
        }
    }

    /// Notes what one check found, and lets the case go on with the next.
    pub(crate) fn check(&self, judgement: Judgement) {
        match judgement {
            Ok(()) => {}
            Err(Finding::Fail(what)) => self.deviation(what),
            Err(Finding::NotOffered(why)) => self.found.open().unjudged.push((Verdict::NotOffered, why)),
            Err(Finding::Blocked(why)) => self.found.open().unjudged.push((Verdict::Blocked, why)),
        }
        self.judged();
    }

    /// The same of an object, with the exchange that showed it.
    pub(crate) fn check_seen(&self, object: &Value, judgement: Judgement) {
        match judgement {
            Err(Finding::Fail(what)) => self.deviation_in(what, self.evidence.showing(object)),
            other => self.check(other),
        }
    }

    /// Judges each of several inputs, whatever became of the others.
    pub(crate) fn each<T>(&self, inputs: impl IntoIterator<Item = T>, mut judge: impl FnMut(T) -> Judgement) {
        self.judged();
        for input in inputs {
            let judgement = judge(input);
            self.check(judgement);
        }
    }

    /// Judges each of these exchanges; those that fail alike count as one deviation, shown by the first of them.
    pub(crate) fn sweep(
        &self,
        exchanges: impl IntoIterator<Item = Arc<Exchange>>,
        mut judge: impl FnMut(&Exchange) -> Judgement,
    ) {
        let mut alike: BTreeMap<String, (usize, Arc<Exchange>)> = BTreeMap::new();
        for exchange in exchanges {
            match judge(&exchange) {
                Err(Finding::Fail(what)) => {
                    let what = format!("{}: {what}", exchange.kind());
                    alike.entry(what).or_insert_with(|| (0, exchange.clone())).0 += 1;
                }
                other => self.check(other),
            }
        }
        let level = self.found.open().level;
        for (what, (times, exchange)) in alike {
            self.note(what, level, times, || vec![Shown::of(&exchange)]);
        }
    }

    /// Judges each sighting of an object; those that fail alike count as one deviation, shown by the first of them.
    pub(crate) fn sweep_seen(
        &self,
        sightings: impl IntoIterator<Item = Arc<Sighting>>,
        mut judge: impl FnMut(&Value) -> Judgement,
    ) {
        let mut alike: BTreeMap<String, (usize, Arc<Sighting>)> = BTreeMap::new();
        for sighting in sightings {
            match judge(&sighting.object) {
                Err(Finding::Fail(what)) => alike.entry(what).or_insert_with(|| (0, sighting.clone())).0 += 1,
                other => self.check(other),
            }
        }
        let level = self.found.open().level;
        for (what, (times, sighting)) in alike {
            let shown = || sighting.exchange.iter().map(|exchange| Shown::of(exchange)).collect();
            self.note(format!("{}: {what}", sighting.url), level, times, shown);
        }
    }

    /// Judges certificates; those that fail alike count as one deviation, with the name of the first and how it came.
    pub(crate) fn alike<'a>(
        &self,
        certificates: impl IntoIterator<Item = &'a Certificate>,
        judge: impl Fn(&Certificate) -> Result<(), String>,
    ) {
        let mut alike: BTreeMap<String, (usize, &Certificate)> = BTreeMap::new();
        for certificate in certificates {
            if let Err(what) = judge(certificate) {
                alike.entry(what).or_insert((0, certificate)).0 += 1;
            }
        }
        let level = self.found.open().level;
        for (what, (times, certificate)) in alike {
            let shown = || {
                self.evidence
                    .bringing(&certificate.der)
                    .iter()
                    .map(|one| Shown::of(one))
                    .collect()
            };
            self.note(format!("{}: {what}", certificate.label()), level, times, shown);
        }
    }

    /// Notes that the target does otherwise than the case's requirement asks; the case goes on.
    pub(crate) fn deviation(&self, what: impl Into<String>) {
        let level = self.found.open().level;
        self.note(what.into(), level, 1, || self.shown());
    }

    /// The same, with the exchanges that show it.
    pub(crate) fn deviation_in(&self, what: impl Into<String>, shown: impl IntoIterator<Item = Arc<Exchange>>) {
        let level = self.found.open().level;
        let shown = || shown.into_iter().map(|exchange| Shown::of(&exchange)).collect();
        self.note(what.into(), level, 1, shown);
    }

    /// Notes a deviation unless the condition holds; the case goes on.
    pub(crate) fn demand(&self, condition: bool, what: impl FnOnce() -> String) {
        if !condition {
            self.deviation(what());
        }
    }

    /// Whether the case has found something so far: what only follows from it need not be told again.
    pub(crate) fn has_deviations(&self) -> bool {
        !self.found.open().deviations.is_empty()
    }

    /// Notes something that does not fail the case.
    pub(crate) fn warn(&self, what: impl Into<String>) {
        self.note(what.into(), Level::Should, 1, || self.shown());
    }

    /// Notes a message unless the condition holds.
    pub(crate) fn expect(&self, condition: bool, what: impl FnOnce() -> String) {
        if !condition {
            self.warn(what());
        }
    }

    fn note(&self, what: String, level: Level, times: usize, evidence: impl FnOnce() -> Vec<Shown>) {
        let full = self.found.open().deviations.len() >= DEVIATIONS_MAX;
        let what = if full {
            "more deviations of this kind".into()
        } else {
            what
        };
        if let Some(known) = self.found.open().deviations.iter_mut().find(|known| known.what == what) {
            known.times += times;
            return;
        }
        // Showing takes time and reads the mark: not under the lock.
        let evidence = evidence();
        self.found.open().deviations.push(Deviation {
            what,
            level,
            times,
            evidence,
        });
    }

    fn judged(&self) {
        self.found.open().mark = self.evidence.count();
    }

    /// The exchanges since the last judgement, without those that only led to them; where nothing was sent since, the last
    /// one of the case.
    fn shown(&self) -> Vec<Shown> {
        let (start, mark) = {
            let found = self.found.open();
            (found.start, found.mark)
        };
        let nonce = self.directory["newNonce"].as_str().unwrap_or_default();
        let exchanges = self.evidence.telling(start, mark, nonce, EVIDENCE_MAX);
        exchanges.iter().map(|exchange| Shown::of(exchange)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::target::Options;

    /// A run against a server that gives the same answer to everything, so many times.
    fn run(answers: usize) -> Run {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().take(answers).flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
            }
        });
        Run::start(Options::new(format!("http://127.0.0.1:{port}/dir"))).expect("a directory")
    }

    fn fail(what: &str) -> Judgement {
        Err(Finding::Fail(what.into()))
    }

    #[test]
    fn judges_every_input_and_shows_each_deviation_by_its_own_exchange() {
        let run = run(4);
        run.begin(Level::Must);
        run.each(["a", "b", "c"], |path| {
            run.get(&format!("{}/{path}", run.origin()))?;
            if path == "b" { Ok(()) } else { fail(path) }
        });
        let ending = run.end(Ok(()));
        assert_eq!(ending.verdict, Verdict::Fail);
        let shown: Vec<_> = ending
            .deviations
            .iter()
            .map(|one| (one.what.as_str(), one.evidence.len()))
            .collect();
        assert_eq!(shown, [("a", 1), ("c", 1)]);
        assert!(ending.deviations[1].evidence[0].url.ends_with("/c"));
    }

    #[test]
    fn counts_what_is_alike_once_and_bounds_what_is_not() {
        let run = run(1);
        run.begin(Level::Must);
        run.each(0..3, |_| fail("the same"));
        run.each(0..100, |number| fail(&number.to_string()));
        let deviations = run.end(Ok(())).deviations;
        assert_eq!((deviations[0].times, deviations.len()), (3, DEVIATIONS_MAX + 1));
        assert_eq!(deviations.iter().map(|one| one.times).sum::<usize>(), 103);
    }

    #[test]
    fn a_deviation_outweighs_what_could_not_be_judged() {
        let run = run(1);
        for (level, verdict) in [(Level::Must, Verdict::Fail), (Level::Should, Verdict::Blocked)] {
            run.begin(level);
            run.check(fail("wrong"));
            assert_eq!(run.end(Err(Finding::Blocked("no port".into()))).verdict, verdict);
        }
        run.begin(Level::Should);
        assert_eq!(run.end(fail("not recommended")).verdict, Verdict::Warn);
        run.begin(Level::Must);
        assert_eq!(run.end(Ok(())).verdict, Verdict::Pass);
    }
}
