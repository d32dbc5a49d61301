//! The command line of the conformance suite.

use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use sigillo_conformance::{Event, Format, Options, Report, judge_watching, requirements};

/// The zone of the suite's names, unless another is given.
const ZONE: &str = "conformance.test";

/// Judges an ACME server, its OCSP responder and its CRL publisher. Exits 0 exactly when no MUST failed.
#[derive(Debug, Parser)]
#[command(
    version,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    after_help = verbs()
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// URL of the ACME directory
    #[arg(long, required = true)]
    directory: Option<String>,
    /// Trust anchors of the server's HTTPS, in PEM
    #[arg(long, value_name = "PEM")]
    ca_root: Option<PathBuf>,
    /// Anchor of the issued certificates, in PEM; without it chains are checked against --ca-root or among themselves
    #[arg(long, value_name = "PEM")]
    issuer_root: Option<PathBuf>,
    /// Port at which the server asks http-01
    #[arg(long, value_name = "N")]
    http01_port: Option<u16>,
    /// Port at which the server asks tls-alpn-01
    #[arg(long, value_name = "N")]
    tls_alpn01_port: Option<u16>,
    /// Port at which this program serves DNS for the zone
    #[arg(long, value_name = "N")]
    dns_port: Option<u16>,
    /// Key that signs the DNS, in PKCS#8; made where there is no such file
    #[arg(long, value_name = "FILE")]
    dnssec_key: Option<PathBuf>,
    /// Address of this program's answerers, to which names of the zone resolve
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// Zone under which names are made
    #[arg(long, default_value = ZONE)]
    zone: String,
    /// OCSP responder, if not the one that certificates name
    #[arg(long, value_name = "URL")]
    ocsp: Option<String>,
    /// Key identifier for external account binding
    #[arg(long, requires = "eab_hmac")]
    eab_kid: Option<String>,
    /// Its MAC key in base64url
    #[arg(long, requires = "eab_kid")]
    eab_hmac: Option<String>,
    /// File of such keys, for servers that take a key once: on each line a key identifier, a space and the MAC key
    #[arg(long, value_name = "FILE")]
    eab_keys: Option<PathBuf>,
    /// Judge only requirements whose id begins so; may be repeated
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Leave out requirements whose id begins so; may be repeated
    #[arg(long, value_name = "ID")]
    skip: Vec<String>,
    /// How long a validation or an issue may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
    /// How long a case may wait for real time to pass
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait_max: u64,
    /// The server's rate limits are off for this run: that there are any is not judged
    #[arg(long)]
    limits_off: bool,
    /// Program that does to the server what only its operator can; it is run with a verb and its arguments (see below)
    #[arg(long, value_name = "PROGRAM")]
    hook: Option<PathBuf>,
    /// The server claims public trust: judge it by the Baseline Requirements too
    #[arg(long)]
    public_trust: bool,
    /// How to write the report, and to which file: text, json, junit or html; may be repeated, with a file each
    #[arg(long, value_name = "FORM[=FILE]", default_value = "text")]
    report: Vec<Wanted>,
    /// File for the report, where --report names none
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints id, level and requirement of every case, and judges nothing
    List,
    /// Writes the page that shows, requirement by requirement, how two servers did, from the JSON reports of their runs
    Coverage {
        /// JSON report of the run against Sigillo
        #[arg(long, value_name = "FILE")]
        ours: PathBuf,
        /// JSON report of the run against Pebble
        #[arg(long, value_name = "FILE")]
        pebble: PathBuf,
    },
    /// Writes the trust anchors of the key that signs the DNS, for a server that validates to be told before the run
    TrustAnchor {
        /// Key that signs the DNS, in PKCS#8; made where there is no such file
        #[arg(long, value_name = "FILE")]
        dnssec_key: PathBuf,
        /// Zone under which names are made
        #[arg(long, default_value = ZONE)]
        zone: String,
    },
}

/// A report that was asked for.
#[derive(Debug, Clone)]
struct Wanted {
    format: Format,
    /// Standard output otherwise.
    file: Option<PathBuf>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (form, file) = match text.split_once('=') {
            Some((form, file)) => (form, Some(PathBuf::from(file))),
            None => (text, None),
        };
        let format = match form {
            "text" => Format::Text,
            "json" => Format::Json,
            "junit" => Format::Junit,
            "html" => Format::Html,
            _ => return Err("text, json, junit and html are known".into()),
        };
        Ok(Self { format, file })
    }
}

/// The reports, with the file that --out names.
fn wanted(reports: &[Wanted], out: Option<&PathBuf>) -> Result<Vec<Wanted>, String> {
    let mut reports = reports.to_vec();
    let mut bare = reports.iter_mut().filter(|report| report.file.is_none());
    let first = bare.next();
    if bare.next().is_some() {
        return Err("two reports for standard output: give all but one a file, as --report html=FILE".into());
    }
    match (first, out) {
        (Some(report), Some(out)) => report.file = Some(out.clone()),
        (None, Some(_)) => return Err("--out has no report to write: each --report names its file".into()),
        _ => {}
    }
    Ok(reports)
}

/// What a hook is asked for, for `--help`.
fn verbs() -> String {
    let mut text = String::from("A hook exits 0 when the server is as asked, and 3 where it cannot do that:\n");
    for (verb, meaning) in sigillo_conformance::HOOK_VERBS {
        text.push_str(&format!("  {verb:<29} {meaning}\n"));
    }
    text
}

/// A file, or why it cannot be had.
fn read(path: Option<PathBuf>) -> Result<Option<Vec<u8>>, String> {
    path.map(|path| std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display())))
        .transpose()
}

fn read_text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The key that signs the DNS: the file's, or a fresh one that the file keeps.
fn dnssec_key(path: &Path) -> Result<Vec<u8>, String> {
    let fault = |error: std::io::Error| format!("{}: {error}", path.display());
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = sigillo_conformance::new_dnssec_key();
            std::fs::write(path, &key).map_err(fault)?;
            Ok(key)
        }
        read => read.map_err(fault),
    }
}

fn trust_anchor(key: &Path, zone: &str) -> Result<bool, String> {
    print(&sigillo_conformance::trust_anchor(&dnssec_key(key)?, zone)?)?;
    Ok(true)
}

fn options(arguments: Arguments) -> Result<Options, String> {
    let mut options = Options::new(arguments.directory.unwrap_or_default());
    options.dnssec_key = arguments.dnssec_key.as_deref().map(dnssec_key).transpose()?;
    options.wait_max_seconds = arguments.wait_max;
    options.ca_root = read(arguments.ca_root)?;
    options.issuer_root = read(arguments.issuer_root)?;
    options.http01_port = arguments.http01_port;
    options.tls_alpn01_port = arguments.tls_alpn01_port;
    options.dns_port = arguments.dns_port;
    options.address = arguments.address;
    options.zone = arguments.zone;
    options.ocsp = arguments.ocsp;
    options.only = arguments.only;
    options.skip = arguments.skip;
    options.patience_seconds = arguments.patience;
    options.limits_off = arguments.limits_off;
    options.hook = arguments.hook;
    options.public_trust = arguments.public_trust;
    let listed = read(arguments.eab_keys)?.unwrap_or_default();
    let listed = String::from_utf8(listed).map_err(|_| "--eab-keys is not text")?;
    let listed = listed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(kid, key)| (kid.to_owned(), key.to_owned()));
    for (kid, key) in arguments.eab_kid.zip(arguments.eab_hmac).into_iter().chain(listed) {
        let key = sigillo_conformance::mac_key(key.trim()).ok_or("a MAC key is not base64url")?;
        options.external_accounts.push((kid, key));
    }
    Ok(options)
}

/// How often the bar moves while a case waits.
const TICK: Duration = Duration::from_millis(200);

/// Tells how far the run is: a bar where a person looks, nothing otherwise.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}

/// Judges, and shows on the way how it goes; with `lines`, each outcome on standard output as soon as it is there.
fn watch(options: Options, lines: bool) -> Result<Report, String> {
    let bar = progress();
    let report = judge_watching(options, |event| match event {
        Event::Cases(count) => bar.set_length(count as u64),
        Event::Begins(id) => bar.set_message(id.to_owned()),
        Event::Ends(outcome) => {
            bar.inc(1);
            if lines {
                bar.suspend(|| print!("{}", outcome.line()));
            }
        }
    });
    bar.finish_and_clear();
    report
}

fn write(report: &Report, wanted: &Wanted) -> Result<(), String> {
    match &wanted.file {
        Some(file) => {
            let told = |error| format!("{}: {error}", file.display());
            std::fs::write(file, report.render(wanted.format)).map_err(told)
        }
        // The lines are there already.
        None if wanted.format == Format::Text => print(&format!("{}\n", report.summary())),
        None => print(&report.render(wanted.format)),
    }
}

fn print(text: &str) -> Result<(), String> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| format!("standard output: {error}"))
}

/// Judges and reports; whether no MUST failed.
fn run(arguments: Arguments, wanted: &[Wanted]) -> Result<bool, String> {
    let lines = wanted
        .iter()
        .any(|one| one.format == Format::Text && one.file.is_none());
    let report = watch(options(arguments)?, lines)?;
    for one in wanted {
        write(&report, one)?;
    }
    Ok(report.is_conforming())
}

fn list() -> Result<bool, String> {
    let lines = requirements().map(|one| format!("{}\t{}\t{}\n", one.id, one.level, one.requirement));
    print(&lines.collect::<String>())?;
    Ok(true)
}

fn coverage(ours: &Path, pebble: &Path) -> Result<bool, String> {
    let page = sigillo_conformance::coverage(&read_text(ours)?, &read_text(pebble)?)?;
    print(&page)?;
    Ok(true)
}

/// The exit status of wrong usage, as of all our programs.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Command::List) => list(),
        Some(Command::Coverage { ours, pebble }) => coverage(ours, pebble),
        Some(Command::TrustAnchor { dnssec_key, zone }) => trust_anchor(dnssec_key, zone),
        None => match wanted(&arguments.report, arguments.out.as_ref()) {
            Ok(wanted) => run(arguments, &wanted),
            Err(why) => {
                eprintln!("sigillo-conformance: {why}");
                return ExitCode::from(WRONG_USAGE);
            }
        },
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("sigillo-conformance: {why}");
            ExitCode::FAILURE
        }
    }
}
