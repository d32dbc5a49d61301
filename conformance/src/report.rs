//! What a run found, and how it is told.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

use crate::case::Level;

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
    /// Why, for everything but a pass.
    pub notes: Vec<String>,
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
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The directory that was judged.
    pub directory: String,
    /// Every case in the order of the run.
    pub outcomes: Vec<Outcome>,
    /// Requirements without a case, and why.
    pub not_written: Vec<(&'static str, &'static str)>,
}

impl Report {
    pub(crate) fn new(directory: &str) -> Self {
        Self {
            directory: directory.to_owned(),
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
            Format::Json => self.json(),
            Format::Junit => self.junit(),
        }
    }

    /// Counts in one line.
    pub fn summary(&self) -> String {
        format!(
            "{} passed, {} warned, {} failed, {} not offered, {} blocked; {} requirements have no case yet",
            self.count(Verdict::Pass),
            self.count(Verdict::Warn),
            self.count(Verdict::Fail),
            self.count(Verdict::NotOffered),
            self.count(Verdict::Blocked),
            self.not_written.len(),
        )
    }

    fn text(&self) -> String {
        let mut text: String = self.outcomes.iter().map(Outcome::line).collect();
        let _ = writeln!(text, "{}", self.summary());
        text
    }

    fn json(&self) -> String {
        let cases = self.outcomes.iter().map(|outcome| {
            json!({
                "id": outcome.id,
                "level": outcome.level.to_string(),
                "ourReading": outcome.starred,
                "requirement": outcome.requirement,
                "verdict": outcome.verdict.as_str(),
                "notes": outcome.notes,
                "milliseconds": outcome.took.as_millis() as u64,
            })
        });
        let not_written = self
            .not_written
            .iter()
            .map(|(id, reason)| json!({"id": id, "reason": reason}));
        let report = json!({
            "directory": self.directory,
            "conforming": self.is_conforming(),
            "cases": cases.collect::<Vec<_>>(),
            "notWritten": not_written.collect::<Vec<_>>(),
        });
        format!("{report:#}\n")
    }

    fn junit(&self) -> String {
        let skipped = self.count(Verdict::NotOffered) + self.count(Verdict::Blocked);
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"sigillo-conformance\" tests=\"{}\" failures=\"{}\" skipped=\"{skipped}\">\n",
            self.outcomes.len(),
            self.count(Verdict::Fail),
        );
        for outcome in &self.outcomes {
            let notes = escape(&outcome.notes.join("\n"));
            let _ = write!(
                text,
                "  <testcase classname=\"{}\" name=\"{}: {}\" time=\"{:.3}\">",
                outcome.level,
                escape(&outcome.id),
                escape(outcome.requirement),
                outcome.took.as_secs_f64()
            );
            let _ = match outcome.verdict {
                Verdict::Pass => Ok(()),
                Verdict::Warn => write!(text, "<system-out>{notes}</system-out>"),
                Verdict::Fail => write!(text, "<failure message=\"not met\">{notes}</failure>"),
                Verdict::NotOffered | Verdict::Blocked => {
                    write!(text, "<skipped message=\"{}: {notes}\"/>", outcome.verdict.as_str())
                }
            };
            text.push_str("</testcase>\n");
        }
        text.push_str("</testsuite>\n");
        text
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            character if character.is_control() => out.push(' '),
            character => out.push(character),
        }
    }
    out
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
