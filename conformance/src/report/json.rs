//! The report as one JSON object, for programs.

use serde_json::{Value, json};

use super::{Outcome, Report};
use crate::case::Level;
use crate::deviation::Deviation;
use crate::shown::Shown;

pub(super) fn write(report: &Report) -> String {
    let not_written = report
        .not_written
        .iter()
        .map(|(id, reason)| json!({"id": id, "reason": reason}));
    let report = json!({
        "directory": report.directory,
        "began": report.began.to_string(),
        "suite": env!("CARGO_PKG_VERSION"),
        "conforming": report.is_conforming(),
        "deviations": {
            "must": report.deviations(Level::Must),
            "should": report.deviations(Level::Should),
            "may": report.deviations(Level::May),
        },
        "cases": report.outcomes.iter().map(case).collect::<Vec<_>>(),
        "notWritten": not_written.collect::<Vec<_>>(),
    });
    format!("{report:#}\n")
}

fn case(outcome: &Outcome) -> Value {
    json!({
        "id": outcome.id,
        "level": outcome.level.to_string(),
        "ourReading": outcome.starred,
        "requirement": outcome.requirement,
        "verdict": outcome.verdict.as_str(),
        "notes": outcome.notes,
        "deviations": outcome.deviations.iter().map(deviation).collect::<Vec<_>>(),
        "milliseconds": outcome.took.as_millis() as u64,
    })
}

fn deviation(deviation: &Deviation) -> Value {
    json!({
        "what": deviation.what,
        "level": deviation.level.to_string(),
        "times": deviation.times,
        "evidence": deviation.evidence.iter().map(Shown::json).collect::<Vec<_>>(),
    })
}
