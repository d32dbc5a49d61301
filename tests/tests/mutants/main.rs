//! The suite itself is tested: what a server does wrongly, some case has to see, and each MUST has such a wrong.

mod certificates;
mod crls;
mod deltas;
mod envelope;
mod objects;
mod ocsp;
mod options;
mod orders;
mod policy;
mod times;
mod zone;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use sigillo_tests::mutant::bench::Bench;
use sigillo_tests::mutant::{Mutation, Stage};
use sigillo_tests::process::run;
use sigillo_tests::programs::{own, workspace};

/// Set to a part of a mutation's name or of an id it catches, it leaves out the others.
const ONLY_VARIABLE: &str = "SIGILLO_MUTATION";
/// Set, it writes `docs/mutations.md` anew instead of comparing it.
const WRITE_VARIABLE: &str = "SIGILLO_WRITE_DOCS";
/// The longest excerpt of a case's words.
const EXCERPT_CHARS_MAX: usize = 300;
/// MUST cases that no mutation makes fail, and why.
const WITHOUT: &[(&str, &str)] = &[
    ("8555-6.5-08", OWN_CLIENT),
    ("8555-11.4-01", OWN_CLIENT),
    ("9773-4.3.3-01", OWN_CLIENT),
    ("6960-4.2.2.2-02", OWN_CLIENT),
    ("9654-2.1-06", OWN_CLIENT),
    ("9919-3.1.1-01", OWN_CLIENT),
    ("9919-5-01", OWN_CLIENT),
];
const OWN_CLIENT: &str = "it judges the suite's own client against a mock server, whatever the target does";
/// Every daemon that the table uses.
const STAGES: [Stage; 5] = [
    Stage::Sound,
    Stage::Careless,
    Stage::Heedless,
    Stage::Bound,
    Stage::Constrained,
];
/// How long the suite may take to list its cases.
const LISTED_WITHIN: Duration = Duration::from_secs(30);

fn table() -> Vec<Mutation> {
    [
        envelope::mutations(),
        objects::mutations(),
        orders::mutations(),
        certificates::mutations(),
        crls::mutations(),
        ocsp::mutations(),
        policy::mutations(),
        options::mutations(),
        deltas::mutations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn chosen(mutation: &Mutation) -> bool {
    let Ok(wanted) = std::env::var(ONLY_VARIABLE) else {
        return true;
    };
    mutation.name.contains(&wanted) || mutation.catches.iter().any(|id| id.contains(&wanted))
}

/// Past the test harness, so that a long run can be followed.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Tries each mutation; every case that it names has to fail.
#[track_caller]
fn all_are_seen(mutations: Vec<Mutation>) {
    let mut escaped = Vec::new();
    for stage in STAGES {
        let mut rows = mutations
            .iter()
            .filter(|one| one.stage == stage && chosen(one))
            .peekable();
        if rows.peek().is_none() {
            continue;
        }
        let bench = Bench::open(stage);
        for mutation in rows {
            escaped.extend(escapes(&bench, mutation));
        }
    }
    assert!(escaped.is_empty(), "these were not seen:\n{}", escaped.join("\n"));
}

/// The cases of a mutation that did not fail.
fn escapes(bench: &Bench, mutation: &Mutation) -> Vec<String> {
    let began = Instant::now();
    let judged = bench.judge(mutation);
    let mut escaped = Vec::new();
    for id in mutation.catches {
        let line = match judged.iter().find(|one| one.id == *id) {
            Some(one) if one.verdict == "fail" => {
                if std::env::var_os(ONLY_VARIABLE).is_some() {
                    let words: String = one.notes.chars().take(EXCERPT_CHARS_MAX).collect();
                    say(&format!("{id} by {:?}: {words}", mutation.name));
                }
                continue;
            }
            Some(one) => format!("{id} by {:?}: {} {}", mutation.name, one.verdict, one.notes),
            None => format!("{id} by {:?}: there is no such case", mutation.name),
        };
        say(&format!("ESCAPED {line}"));
        escaped.push(line);
    }
    let (seen, took) = (mutation.catches.len() - escaped.len(), began.elapsed().as_secs_f32());
    say(&format!(
        "{seen} of {} seen in {took:.1} s: {}",
        mutation.catches.len(),
        mutation.name
    ));
    escaped
}

/// The ids of all cases of level MUST, from the suite's own list.
fn musts() -> BTreeSet<String> {
    let output = run(Command::new(own("sigillo-conformance")).arg("list"), LISTED_WITHIN).succeeded();
    let lines = output.stdout.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let musts = lines.filter_map(|fields| match fields.as_slice() {
        [id, "MUST", _] => Some((*id).to_owned()),
        _ => None,
    });
    musts.collect()
}

#[test]
fn every_must_case_has_a_mutation_that_it_sees() {
    let musts = musts();
    assert!(musts.len() > 250, "the suite lists {} MUST cases", musts.len());
    let table = table();
    let caught: BTreeSet<&str> = table.iter().flat_map(|mutation| mutation.catches).copied().collect();
    let without: BTreeSet<&str> = WITHOUT.iter().map(|(id, _)| *id).collect();
    let missing: Vec<_> = musts
        .iter()
        .filter(|id| !caught.contains(id.as_str()) && !without.contains(id.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "{} MUST cases have no mutation: {missing:?}",
        missing.len()
    );
    let needless: Vec<_> = without
        .iter()
        .filter(|id| caught.contains(*id) || !musts.contains(**id))
        .collect();
    assert!(
        needless.is_empty(),
        "listed as without mutation for nothing: {needless:?}"
    );
    say(&format!(
        "{} mutations, {} of {} MUST cases caught",
        table.len(),
        musts.len() - without.len(),
        musts.len()
    ));
}

/// The page that shows the table.
fn page() -> String {
    let table = table();
    let caught: BTreeSet<&str> = table.iter().flat_map(|mutation| mutation.catches).copied().collect();
    let mut page = format!(
        "# What the conformance suite is tested with\n\n\
         A suite is worth what it sees. `tests/tests/mutants` puts a man in the middle before a sound daemon, who puts one fault at a\n\
         time into what passes: into requests, answers, certificates, CRLs and OCSP answers (signed again with the CA's own keys, so\n\
         that the fault is the only one), and into what validation asks and hears. Each mutation names the cases that have to fail;\n\
         with nothing altered none of them fails. Every MUST that has a case is caught by at least one, but for those at the end.\n\n\
         `SIGILLO_MUTATION=TEXT cargo nextest run --workspace --test mutants` tries those whose name or cases have the text in them.\n\
         The page is written by `SIGILLO_WRITE_DOCS=1 cargo nextest run --workspace --test mutants -E 'test(page)'`.\n\n\
         {} mutations, {} cases caught.\n\n| what the server does wrongly | cases that see it |\n| --- | --- |\n",
        table.len(),
        caught.len()
    );
    for mutation in &table {
        page.push_str(&format!("| {} | {} |\n", mutation.name, mutation.catches.join(", ")));
    }
    if !WITHOUT.is_empty() {
        page.push_str("\n## Cases that no mutation makes fail\n\n| case | why |\n| --- | --- |\n");
        for (id, reason) in WITHOUT {
            page.push_str(&format!("| {id} | {reason} |\n"));
        }
    }
    page
}

#[test]
fn the_page_shows_the_present_table() {
    let file = workspace().join("docs/mutations.md");
    if std::env::var_os(WRITE_VARIABLE).is_some() {
        std::fs::write(&file, page()).expect("docs/mutations.md");
    }
    let shown = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        shown == page(),
        "docs/mutations.md is old: see its first lines for how to write it"
    );
}

#[test]
fn every_mutation_has_a_name_of_its_own() {
    let table = table();
    let names: BTreeSet<_> = table.iter().map(|mutation| mutation.name).collect();
    assert_eq!(names.len(), table.len(), "two mutations have one name");
    assert!(table.iter().all(|mutation| !mutation.catches.is_empty()));
}

/// What a daemon as `init` makes it does not keep: it has no list of the keys of CVE-2008-0166.
const WANTS_MORE: [&str; 1] = ["br-6.1.1.3-01"];

/// The ids of the table's rows on one daemon.
fn ids(stage: Stage) -> BTreeSet<&'static str> {
    let rows = table().into_iter().filter(|mutation| mutation.stage == stage);
    let ids = rows.flat_map(|mutation| mutation.catches).copied();
    ids.filter(|id| !WANTS_MORE.contains(id)).collect()
}

/// Without a mutation nothing may fail, or what fails with one says nothing.
#[track_caller]
fn nothing_fails(stage: Stage, ids: &[&str]) {
    let judged = Bench::open(stage).judge_only(ids);
    let failed: Vec<_> = judged.iter().filter(|one| one.verdict == "fail").collect();
    assert!(failed.is_empty(), "with nothing altered these fail: {failed:#?}");
    assert!(judged.iter().filter(|one| one.verdict == "pass").count() >= ids.len() * 8 / 10);
}

#[test]
fn an_honest_man_in_the_middle_changes_nothing() {
    nothing_fails(Stage::Sound, &ids(Stage::Sound).into_iter().collect::<Vec<_>>());
}

#[test]
fn the_other_daemons_are_sound_too() {
    for stage in [Stage::Bound, Stage::Constrained] {
        nothing_fails(stage, &ids(stage).into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn faults_in_requests_are_seen() {
    all_are_seen(envelope::mutations());
}

#[test]
fn faults_in_directory_and_accounts_are_seen() {
    all_are_seen(objects::mutations());
}

#[test]
fn faults_in_orders_and_validation_are_seen() {
    all_are_seen(orders::mutations());
}

#[test]
fn faults_in_certificates_are_seen() {
    all_are_seen(certificates::mutations());
}

#[test]
fn faults_in_crls_and_files_are_seen() {
    all_are_seen(crls::mutations());
}

#[test]
fn faults_in_ocsp_are_seen() {
    all_are_seen(ocsp::mutations());
}

#[test]
fn faults_in_caa_renewal_and_revocation_are_seen() {
    all_are_seen(policy::mutations());
}

#[test]
fn faults_in_optional_features_are_seen() {
    all_are_seen(options::mutations());
}

#[test]
fn faults_in_deltas_and_what_operators_ask_for_are_seen() {
    all_are_seen(deltas::mutations());
}
