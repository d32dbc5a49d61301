//! The report as one page for people: it needs no scripts, no other files and no network.

use std::fmt::Write;

use super::{Outcome, Report, Verdict};
use crate::case::Level;
use crate::deviation::Deviation;
use crate::shown::Shown;
use crate::texts::{heading, text_of};

const STYLE: &str = include_str!("page.css");

/// In the order in which they matter to a reader.
const VERDICTS: [Verdict; 5] = [
    Verdict::Fail,
    Verdict::Warn,
    Verdict::Blocked,
    Verdict::NotOffered,
    Verdict::Pass,
];

pub(super) fn write(report: &Report) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Conformance of {0}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#cases\">Skip to the cases</a>\n",
        escape(&report.directory)
    );
    top(report, &mut page);
    page.push_str("<main>\n");
    texts(report, &mut page);
    cases(report, &mut page);
    not_written(report, &mut page);
    let _ = write!(
        page,
        "</main>\n<footer><p>Written by sigillo-conformance {}. A requirement marked * is stated by its text without a \
         BCP 14 keyword, or follows from other text.</p></footer>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    page
}

/// The word of a verdict as a class of the style sheet.
fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Warn => "warn",
        Verdict::Fail => "fail",
        Verdict::NotOffered => "absent",
        Verdict::Blocked => "blocked",
    }
}

/// What was judged and what came of it, with the filters.
fn top(report: &Report, page: &mut String) {
    let failed = report.count(Verdict::Fail);
    let (class_of_all, said) = match failed {
        0 => ("pass", "No MUST failed".to_owned()),
        1 => ("fail", "1 MUST failed".to_owned()),
        _ => ("fail", format!("{failed} MUSTs failed")),
    };
    let weaker = report.deviations(Level::Should) + report.deviations(Level::May);
    let _ = write!(
        page,
        "<header>\n<p class=\"kicker\">Conformance report</p>\n<h1>{}</h1>\n\
         <p class=\"said {class_of_all}\">{said}</p>\n\
         <p class=\"told\"><b>{}</b> deviations from a MUST and <b>{weaker}</b> weaker ones in {} cases, judged on {}.</p>\n\
         <fieldset class=\"filter\">\n<legend>Show</legend>\n",
        escape(&report.directory),
        report.deviations(Level::Must),
        report.outcomes.len(),
        report.began.strftime("%-d %B %Y, %H:%M UTC"),
    );
    let _ = writeln!(
        page,
        "<label class=\"tile all\"><input type=\"radio\" name=\"show\" id=\"show-all\" checked><b>{}</b> all</label>",
        report.outcomes.len()
    );
    for verdict in VERDICTS {
        let _ = writeln!(
            page,
            "<label class=\"tile {0}\"><input type=\"radio\" name=\"show\" id=\"show-{0}\"><b>{1}</b> {2}</label>",
            class(verdict),
            report.count(verdict),
            verdict.as_str(),
        );
    }
    page.push_str("</fieldset>\n</header>\n");
}

/// The texts, each with its outcomes; those with the most failures first.
fn by_text(report: &Report) -> Vec<(&str, Vec<&Outcome>)> {
    let mut texts: Vec<(&str, Vec<&Outcome>)> = Vec::new();
    for outcome in &report.outcomes {
        let text = text_of(&outcome.id);
        match texts.iter_mut().find(|(known, _)| *known == text) {
            Some((_, outcomes)) => outcomes.push(outcome),
            None => texts.push((text, vec![outcome])),
        }
    }
    let most = |outcomes: &[&Outcome], verdict| std::cmp::Reverse(count(outcomes, verdict));
    texts.sort_by_key(|(text, outcomes)| {
        let (failed, warned) = (most(outcomes, Verdict::Fail), most(outcomes, Verdict::Warn));
        (failed, warned, most(outcomes, Verdict::Pass), heading(text))
    });
    texts
}

fn count(outcomes: &[&Outcome], verdict: Verdict) -> usize {
    outcomes.iter().filter(|outcome| outcome.verdict == verdict).count()
}

/// A table of the texts, with a bar each.
fn texts(report: &Report, page: &mut String) {
    page.push_str(
        "<section aria-labelledby=\"texts\">\n<h2 id=\"texts\">By text</h2>\n<div class=\"wide\"><table class=\"texts\">\n\
         <thead><tr><th scope=\"col\">Text</th><th scope=\"col\">Outcome</th>",
    );
    for verdict in VERDICTS {
        let _ = write!(page, "<th scope=\"col\" class=\"number\">{}</th>", verdict.as_str());
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for (text, outcomes) in by_text(report) {
        let _ = write!(
            page,
            "<tr><th scope=\"row\"><a href=\"#text-{0}\">{1}</a></th><td><span class=\"bar\" aria-hidden=\"true\">",
            escape(text),
            escape(heading(text))
        );
        for verdict in VERDICTS.iter().rev() {
            let share = count(&outcomes, *verdict);
            if share > 0 {
                let _ = write!(
                    page,
                    "<i class=\"{}\" style=\"flex-grow:{share}\"></i>",
                    class(*verdict)
                );
            }
        }
        page.push_str("</span></td>");
        for verdict in VERDICTS {
            let _ = match count(&outcomes, verdict) {
                0 => write!(page, "<td class=\"number none\">0</td>"),
                many => write!(page, "<td class=\"number {}\">{many}</td>", class(verdict)),
            };
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n</section>\n");
}

fn cases(report: &Report, page: &mut String) {
    page.push_str("<div id=\"cases\">\n");
    for (text, outcomes) in by_text(report) {
        let _ = writeln!(
            page,
            "<section class=\"text{0}\" aria-labelledby=\"text-{1}\">\n<h2 id=\"text-{1}\">{2}</h2>",
            VERDICTS
                .iter()
                .filter(|verdict| count(&outcomes, **verdict) > 0)
                .map(|verdict| format!(" has-{}", class(*verdict)))
                .collect::<String>(),
            escape(text),
            escape(heading(text))
        );
        let mut outcomes = outcomes;
        outcomes.sort_by_key(|outcome| VERDICTS.iter().position(|verdict| *verdict == outcome.verdict));
        for outcome in outcomes {
            case(outcome, page);
        }
        page.push_str("</section>\n");
    }
    page.push_str("</div>\n");
}

fn case(outcome: &Outcome, page: &mut String) {
    let id = escape(&outcome.id);
    let _ = write!(
        page,
        "<article class=\"case {0}\" id=\"{id}\">\n<h3><span class=\"badge {0}\">{1}</span> <a href=\"#{id}\">{id}</a> \
         <span class=\"level\">{2}{3}</span></h3>\n<p class=\"requirement\">{4}</p>\n",
        class(outcome.verdict),
        outcome.verdict.as_str(),
        outcome.level,
        if outcome.starred { "*" } else { "" },
        escape(outcome.requirement)
    );
    if !outcome.deviations.is_empty() {
        page.push_str("<ol class=\"deviations\">\n");
        outcome.deviations.iter().for_each(|one| deviation(one, page));
        page.push_str("</ol>\n");
    }
    for note in outcome.notes.iter().skip(outcome.deviations.len()) {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escape(note));
    }
    page.push_str("</article>\n");
}

fn deviation(deviation: &Deviation, page: &mut String) {
    let _ = write!(
        page,
        "<li class=\"{}\"><p>{}",
        class_of(deviation.level),
        escape(&deviation.what)
    );
    if deviation.times > 1 {
        let _ = write!(page, " <span class=\"times\">seen {} times</span>", deviation.times);
    }
    page.push_str("</p>\n");
    if let Some((last, before)) = deviation.evidence.split_last() {
        let _ = writeln!(
            page,
            "<details><summary>Evidence: {} {} &rarr; {}</summary>",
            escape(&last.method),
            escape(&path(&last.url)),
            last.status
        );
        for one in before {
            exchange(one, page);
        }
        exchange(last, page);
        page.push_str("</details>\n");
    }
    page.push_str("</li>\n");
}

fn class_of(level: Level) -> &'static str {
    match level {
        Level::Must => "must",
        Level::Should | Level::May => "weaker",
    }
}

fn path(url: &str) -> String {
    crate::http::Url::parse(url).map_or_else(|| url.to_owned(), |url| url.path)
}

fn exchange(shown: &Shown, page: &mut String) {
    page.push_str("<div class=\"exchange\">\n");
    let first = format!("<b>{} {}</b>", escape(&shown.method), escape(&shown.url));
    message("Request", &first, &shown.request_headers, &shown.request_body, page);
    let first = format!("<b>{}</b>", shown.status);
    message("Answer", &first, &shown.answer_headers, &shown.answer_body, page);
    page.push_str("</div>\n");
}

/// One message; `first` is markup already. It can be scrolled, so the keyboard has to reach it.
fn message(what: &str, first: &str, headers: &[(String, String)], body: &str, page: &mut String) {
    let _ = writeln!(
        page,
        "<figure><figcaption>{what}</figcaption><pre tabindex=\"0\">{first}"
    );
    for (name, value) in headers {
        let _ = writeln!(page, "<i>{}:</i> {}", escape(name), escape(value));
    }
    if !body.is_empty() {
        let _ = write!(page, "\n{}", escape(body));
    }
    page.push_str("</pre></figure>\n");
}

fn not_written(report: &Report, page: &mut String) {
    if report.not_written.is_empty() {
        return;
    }
    page.push_str(
        "<section aria-labelledby=\"waiting\">\n<h2 id=\"waiting\">Without a case</h2>\n<ul class=\"waiting\">\n",
    );
    for (id, reason) in &report.not_written {
        let _ = writeln!(page, "<li><b>{}</b> {}</li>", escape(id), escape(reason));
    }
    page.push_str("</ul>\n</section>\n");
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            // What a server sends must not turn the page's text around or hide in it.
            character if character.is_control() || ('\u{202a}'..='\u{202e}').contains(&character) => {
                out.push('\u{fffd}')
            }
            character => out.push(character),
        }
    }
    out
}
