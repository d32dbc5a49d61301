//! The report in JUnit's XML, for continuous integration.

use std::fmt::Write;

use super::{Outcome, Report, Verdict};

pub(super) fn write(report: &Report) -> String {
    let skipped = report.count(Verdict::NotOffered) + report.count(Verdict::Blocked);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"sigillo-conformance\" tests=\"{}\" failures=\"{}\" \
         skipped=\"{skipped}\">\n",
        report.outcomes.len(),
        report.count(Verdict::Fail),
    );
    for outcome in &report.outcomes {
        case(outcome, &mut text);
    }
    text.push_str("</testsuite>\n");
    text
}

fn case(outcome: &Outcome, text: &mut String) {
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
        Verdict::Fail => {
            let count = outcome.deviations.len();
            write!(text, "<failure message=\"{count} deviations\">{notes}</failure>")
        }
        Verdict::NotOffered | Verdict::Blocked => {
            write!(text, "<skipped message=\"{}: {notes}\"/>", outcome.verdict.as_str())
        }
    };
    text.push_str("</testcase>\n");
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
