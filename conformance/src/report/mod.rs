//! What a run found, and how it is told.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use crate::case::Level;
use crate::deviation::Deviation;

mod html;
mod json;
mod junit;

/// What became of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The target does what is asked.
    Pass,
    /// A SHOULD is not met, or something else is worth a look.
    Warn,
    /// A MUST is not met.
    Fail,
    /// The feature is optional and not advertised.
    NotOffered,
    /// The run was not given what the case needs.
    Blocked,
}

impl Verdict {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::NotOffered => "not offered",
            Self::Blocked => "blocked",
        }
    }
}

/// One judged case.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The requirement's id.
    pub id: String,
    /// How strongly the text asks.
    pub level: Level,
    /// The level is our reading.
    pub starred: bool,
    /// The requirement in short.
    pub requirement: &'static str,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, for everything but a pass: each deviation in a line, then what could not be judged.
    pub notes: Vec<String>,
    /// In what the target does otherwise, with the exchanges that show it.
    pub deviations: Vec<Deviation>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// The outcome as the text report has it: a line, and a line for each note.
    pub fn line(&self) -> String {
        let star = if self.starred { "*" } else { "" };
        let level = format!("{}{star}", self.level);
        let mut text = format!(
            "{:<11} {:<18} {level:<7} {}\n",
            self.verdict.as_str(),
            self.id,
            self.requirement
        );
        for note in &self.notes {
            let _ = writeln!(text, "{:<30} {note}", "");
        }
        text
    }
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One line a case.
    Text,
    /// One object.
    Json,
    /// JUnit's XML.
    Junit,
    /// One page for people, with the evidence of each deviation.
    Html,
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The directory that was judged.
    pub directory: String,
    /// When the run began.
    pub began: Timestamp,
    /// Every case in the order of the run.
    pub outcomes: Vec<Outcome>,
    /// Requirements without a case, and why.
    pub not_written: Vec<(&'static str, &'static str)>,
}

impl Report {
    pub(crate) fn new(directory: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            began: Timestamp::now(),
            outcomes: Vec::new(),
            not_written: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    pub(crate) fn not_written(&mut self, id: &'static str, reason: &'static str) {
        self.not_written.push((id, reason));
    }

    /// How many cases came to this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.outcomes
            .iter()
            .filter(|outcome| outcome.verdict == verdict)
            .count()
    }

    /// Whether no MUST failed, of the cases that could be judged.
    pub fn is_conforming(&self) -> bool {
        self.count(Verdict::Fail) == 0
    }

    /// The report as text of this kind.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Json => json::write(self),
            Format::Junit => junit::write(self),
            Format::Html => html::write(self),
        }
    }

    /// How many deviations from what a text asks so strongly were seen; those that are alike count once.
    pub fn deviations(&self, level: Level) -> usize {
        let all = self.outcomes.iter().flat_map(|outcome| &outcome.deviations);
        all.filter(|deviation| deviation.level == level).count()
    }

    /// Counts in one line.
    pub fn summary(&self) -> String {
        let weaker = self.deviations(Level::Should) + self.deviations(Level::May);
        format!(
            "{} passed, {} warned, {} failed, {} not offered, {} blocked; {} deviations from a MUST, {weaker} weaker ones; \
             {} requirements have no case yet",
            self.count(Verdict::Pass),
            self.count(Verdict::Warn),
            self.count(Verdict::Fail),
            self.count(Verdict::NotOffered),
            self.count(Verdict::Blocked),
            self.deviations(Level::Must),
            self.not_written.len(),
        )
    }

    fn text(&self) -> String {
        let mut text: String = self.outcomes.iter().map(Outcome::line).collect();
        let _ = writeln!(text, "{}", self.summary());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(level: Level, verdict: Verdict) -> Report {
        let mut report = Report::new("https://ca.example/directory");
        report.push(Outcome {
            id: "1-1-01".into(),
            level,
            starred: true,
            requirement: "A & B <c>.",
            verdict,
            notes: vec!["said \"no\"".into()],
            deviations: Vec::new(),
            took: Duration::from_millis(5),
        });
        report
    }

    #[test]
    fn conforms_exactly_when_no_must_failed() {
        assert!(report(Level::Should, Verdict::Warn).is_conforming());
        assert!(report(Level::Must, Verdict::Blocked).is_conforming());
        assert!(!report(Level::Must, Verdict::Fail).is_conforming());
    }

    #[test]
    fn writes_all_three_forms() {
        let report = report(Level::Must, Verdict::Fail);
        assert!(
            report
                .render(Format::Text)
                .starts_with("fail        1-1-01             MUST*   A & B <c>.")
        );
        let json: serde_json::Value = serde_json::from_str(&report.render(Format::Json)).expect("JSON");
        assert_eq!(json["cases"][0]["verdict"], "fail");
        let junit = report.render(Format::Junit);
        assert!(
            junit.contains("failures=\"1\"")
                && junit.contains("A &amp; B &lt;c&gt;.")
                && junit.contains("&quot;no&quot;")
        );
    }
}
