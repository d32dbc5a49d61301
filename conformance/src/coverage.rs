//! The page that shows, requirement by requirement, how two servers did: `docs/coverage.md`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use serde_json::Value;

use crate::case::Case;
use crate::cases::{self, EXCLUDED, NOT_YET};
use crate::hook::VERBS;
use crate::texts::{heading, text_of};

/// What is written by hand, with marks where tables go.
const TEMPLATE: &str = include_str!("../coverage.md.in");
const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// A cell says so much of why a case did not pass; the reports say the rest.
const WHY_LENGTH_MAX: usize = 140;
/// Longer words in it name one object, and differ from run to run.
const WORD_LENGTH_MAX: usize = 48;

/// A committed requirement.
struct Requirement {
    id: &'static str,
    who: &'static str,
    level: &'static str,
}

fn requirements() -> Vec<Requirement> {
    let lines = REQUIREMENTS.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.filter_map(|line| {
        let mut fields = line.split('\t');
        Some(Requirement {
            id: fields.next()?,
            who: fields.next()?,
            level: fields.next()?,
        })
    });
    fields.collect()
}

/// For each text, how many requirements, cases, waiting and excluded ones.
pub(crate) fn counts() -> String {
    let mut counts: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    let mut count = |id: &str, column: usize| counts.entry(text_of(id).to_owned()).or_default()[column] += 1;
    requirements().iter().for_each(|requirement| count(requirement.id, 0));
    cases::all().for_each(|case| count(&case.id(), 1));
    NOT_YET.iter().for_each(|(id, _)| count(id, 2));
    EXCLUDED.iter().for_each(|(id, _)| count(id, 3));
    let mut table =
        String::from("| text | requirements | cases | waiting | excluded |\n| --- | --- | --- | --- | --- |\n");
    for (text, [all, cases, waiting, excluded]) in counts {
        let _ = writeln!(table, "| {text} | {all} | {cases} | {waiting} | {excluded} |");
    }
    table
}

/// What a hook is asked for.
fn verbs() -> String {
    let row = |(verb, meaning): &(&str, &str)| format!("| `{verb}` | {meaning} |\n");
    VERBS.iter().map(row).collect()
}

/// One JSON report, by requirement.
struct Run {
    outcomes: HashMap<String, Value>,
    /// What differs from run to run and says nothing: the server's origin.
    origin: String,
    summary: String,
}

impl Run {
    fn read(text: &str, whose: &str) -> Result<Self, String> {
        let report: Value = serde_json::from_str(text).map_err(|error| format!("the report of {whose}: {error}"))?;
        let cases = report["cases"]
            .as_array()
            .ok_or(format!("the report of {whose} has no cases"))?;
        let id = |case: &Value| case["id"].as_str().unwrap_or_default().to_owned();
        let directory = report["directory"].as_str().unwrap_or_default();
        let count = |verdict: &str| cases.iter().filter(|case| case["verdict"] == verdict).count();
        let summary = format!(
            "| {whose} | {} | {} | {} | {} | {} | {} | {} |",
            count("pass"),
            count("warn"),
            count("fail"),
            count("not offered"),
            count("blocked"),
            report["deviations"]["must"],
            report["deviations"]["should"].as_u64().unwrap_or_default()
                + report["deviations"]["may"].as_u64().unwrap_or_default(),
        );
        Ok(Self {
            origin: crate::http::Url::parse(directory)
                .map(|url| url.origin())
                .unwrap_or_default(),
            outcomes: cases.iter().map(|case| (id(case), case.clone())).collect(),
            summary,
        })
    }

    /// Pass, or why not.
    fn cell(&self, id: &str) -> String {
        let Some(outcome) = self.outcomes.get(id) else {
            return "-".into();
        };
        let verdict = outcome["verdict"].as_str().unwrap_or_default();
        let notes: Vec<&str> = outcome["notes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let verdict = if verdict == "fail" { "**fail**" } else { verdict };
        match notes.as_slice() {
            [] => verdict.to_owned(),
            [only] => format!("{verdict}: {}", self.why(only)),
            [first, rest @ ..] => format!("{verdict}: {} (and {} more)", self.why(first), rest.len()),
        }
    }

    /// A note on one line of a table, without what differs from run to run.
    fn why(&self, note: &str) -> String {
        let note = if self.origin.is_empty() {
            note.to_owned()
        } else {
            note.replace(&self.origin, "")
        };
        let words = note.split_whitespace().map(|word| match word.chars().count() {
            0..=WORD_LENGTH_MAX => steady(word),
            _ => word.chars().take(WORD_LENGTH_MAX).chain("...".chars()).collect(),
        });
        let text = words.collect::<Vec<_>>().join(" ");
        let cut = match text.char_indices().nth(WHY_LENGTH_MAX) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text,
        };
        // Nothing a server says may break the table or be markup in it.
        let plain = |c: char| match c {
            '|' | '<' | '>' | '`' | '*' | '[' | ']' | '\\' => format!("\\{c}"),
            _ => c.to_string(),
        };
        cut.chars().map(plain).collect()
    }
}

/// A name the suite made, without the number and the salt that make it unique; any other word as it is.
fn steady(word: &str) -> String {
    let is_salt = |part: &str| part.len() == 6 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let Some((label, rest)) = word.split_once('.') else {
        return word.to_owned();
    };
    let parts: Vec<&str> = label.split('-').collect();
    match parts.as_slice() {
        [name @ .., number, salt] if !name.is_empty() && is_number(number) && is_salt(salt) => {
            format!("{}.{rest}", name.join("-"))
        }
        _ => word.to_owned(),
    }
}

/// The page of coverage, from the JSON reports of two runs.
///
/// # Errors
/// When a report is not one of this suite.
pub fn page(ours: &str, pebble: &str) -> Result<String, String> {
    let (ours, pebble) = (Run::read(ours, "Sigillo")?, Run::read(pebble, "Pebble")?);
    let mut rows = String::new();
    let cases: HashMap<String, &Case> = cases::all().map(|case| (case.id(), case)).collect();
    let mut text = "";
    let mut requirements = requirements();
    requirements.sort_by_key(|requirement| text_of(requirement.id));
    for Requirement { id, who, level } in requirements {
        if text != text_of(id) {
            text = text_of(id);
            let heading = heading(text);
            let _ = write!(
                rows,
                "\n### {heading}\n\n| id | who | level | requirement | Sigillo | Pebble |\n| --- | --- | --- | --- | --- | --- |\n"
            );
        }
        let without = NOT_YET.iter().map(|row| ("no case yet", row));
        let without = without.chain(EXCLUDED.iter().map(|row| ("excluded", row)));
        let _ = match (cases.get(id), without.into_iter().find(|(_, (known, _))| *known == id)) {
            (Some(case), _) => writeln!(
                rows,
                "| {id} | {who} | {level} | {} | {} | {} |",
                case.requirement.replace('|', "\\|"),
                ours.cell(id),
                pebble.cell(id)
            ),
            (None, Some((what, (_, reason)))) => {
                writeln!(rows, "| {id} | {who} | {level} | {what}: {reason} | - | - |")
            }
            (None, None) => writeln!(rows, "| {id} | {who} | {level} | - | - | - |"),
        };
    }
    let totals = format!(
        "| | passed | warned | failed | not offered | blocked | deviations from a MUST | weaker ones |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n{}\n{}\n",
        ours.summary, pebble.summary
    );
    let excluded: String = EXCLUDED
        .iter()
        .map(|(id, reason)| format!("- `{id}`: {reason}.\n"))
        .collect();
    Ok(TEMPLATE
        .replace("{{counts}}\n", &counts())
        .replace("{{verbs}}\n", &verbs())
        .replace("{{totals}}\n", &totals)
        .replace("{{excluded}}\n", &excluded)
        .replace("{{rows}}\n", rows.trim_start()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PAGE: &str = include_str!("../../docs/coverage.md");

    #[test]
    fn the_committed_page_has_the_present_counts() {
        let table = counts();
        assert!(
            PAGE.contains(&table),
            "docs/coverage.md should have this table:\n{table}"
        );
    }

    #[test]
    fn the_committed_page_has_the_present_verbs() {
        let table = verbs();
        assert!(
            PAGE.contains(&table),
            "docs/coverage.md should have this table:\n{table}"
        );
    }

    #[test]
    fn the_committed_page_has_a_row_for_each_requirement() {
        for Requirement { id, .. } in requirements() {
            let rows = PAGE
                .lines()
                .filter(|line| line.starts_with(&format!("| {id} |")))
                .count();
            assert_eq!(rows, 1, "rows of {id} in docs/coverage.md");
        }
    }

    #[test]
    fn every_starred_requirement_is_reviewed() {
        let review = include_str!("../STARRED.md");
        for Requirement { id, level, .. } in requirements() {
            let rows = review
                .lines()
                .filter(|line| line.starts_with(&format!("| {id} | {level} |")))
                .count();
            assert_eq!(rows, usize::from(level.ends_with('*')), "rows of {id} in STARRED.md");
        }
    }

    #[test]
    fn every_text_has_a_heading() {
        for Requirement { id, .. } in requirements() {
            assert_ne!(heading(text_of(id)), text_of(id), "{id}");
        }
    }

    fn report(notes: &[&str], verdict: &str) -> String {
        let case = json!({"id": "8555-5-01", "verdict": verdict, "notes": notes});
        json!({"directory": "https://ca.example/dir", "cases": [case], "deviations": {"must": 1}}).to_string()
    }

    #[test]
    fn shows_two_servers_side_by_side() {
        let failed = report(&["https://ca.example/new is | <b>wrong</b>", "also this"], "fail");
        let page = page(&report(&[], "pass"), &failed).expect("two reports");
        let row = page
            .lines()
            .find(|line| line.starts_with("| 8555-5-01 |"))
            .expect("a row");
        assert!(
            row.ends_with(r"| pass | **fail**: /new is \| \<b\>wrong\</b\> (and 1 more) |"),
            "{row}"
        );
        assert!(!page.contains("{{"), "a mark of the template is left");
    }

    #[test]
    fn leaves_out_what_differs_from_run_to_run() {
        assert_eq!(steady("token-12-ab12cd.conformance.test"), "token.conformance.test");
        assert_eq!(steady("ca.conformance.test"), "ca.conformance.test");
    }
}
