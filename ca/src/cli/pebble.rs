//! `pebble`: a test server in the place of Let's Encrypt's Pebble.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::watch;

use super::{CliError, CliResult, Common, serve::Signals};
use crate::{
    clock::{Clock, SystemClock},
    config::raw,
    issuer::{self, CeremonyOptions, folder},
    pebble::{self, Built, Choices, Config, Environment, chaos::Rules},
    policy::profile::CalendarSpan,
    server::{self, Ready, Sockets},
    store::embedded::SqliteStore,
    telemetry,
};

/// What marks a folder as one of ours: only such a one is emptied.
const MARK: &str = "test-only-pebble";

/// How folders in the system's temporary one are called.
const PASSING_PREFIX: &str = "sigillo-pebble-";

/// The file whose lock says that such a folder is in use.
const ALIVE: &str = "alive";

/// How many such folders are looked at in one start.
const SWEPT_MAX: usize = 1000;

/// What is removed of an earlier run.
const LEFTOVERS: [&str; 9] = [
    "keys",
    "store",
    "tls",
    ".init",
    folder::CHAIN_FILE,
    folder::ROOT_FILE,
    folder::ROOT_CRL_FILE,
    "sigillo.toml",
    server::ADMIN_SOCKET,
];

/// The largest file of rules that is read.
const RULES_OCTETS_MAX: u64 = 64 * 1024;

/// A test-only server in the place of Let's Encrypt's Pebble, with its configuration, flags and environment
///
/// Flags may be written as Pebble's, with one hyphen: -config FILE, -dnsserver ADDR, -strict. PEBBLE_VA_NOSLEEP,
/// PEBBLE_VA_SLEEPTIME, PEBBLE_VA_ALWAYS_VALID, PEBBLE_WFE_NONCEREJECT, PEBBLE_AUTHZREUSE, PEBBLE_WFE_ORDERS_PER_PAGE,
/// PEBBLE_ALTERNATE_ROOTS and PEBBLE_CHAIN_LENGTH mean what they mean to Pebble. Called as "pebble" (by a symbolic link)
/// the program is this command. docs/pebble.md tells the differences, and the rules of chaos.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pebble's configuration file, JSON; without it test/config/pebble-config.json if it is there, or Pebble's defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Shows clients what is coming: members that they have to ignore; nothing is tolerated that Pebble's -strict refuses
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value = "false", value_name = "BOOL")]
    strict: bool,
    /// The DNS server that validation asks, as host:port or :port
    #[arg(long, value_name = "ADDR")]
    dnsserver: Option<String>,
    /// A fault by rule, for example new-order:status=503,retry-after=2,times=3; may be given several times
    #[arg(long, value_name = "RULE")]
    chaos: Vec<String>,
    /// A file with such rules, one a line
    #[arg(long, value_name = "FILE")]
    chaos_file: Option<PathBuf>,
    /// What chance starts from: the same number draws the same faults
    #[arg(long, value_name = "NUMBER")]
    chaos_seed: Option<u64>,
    /// Lets others than this machine come; "every address" means the loopback otherwise
    #[arg(long, env = "SIGILLO_PEBBLE_PUBLIC")]
    public: bool,
}

pub async fn run(common: &Common, args: Args) -> CliResult {
    let config = Config::load(args.config.as_deref())?;
    let environment = Environment::read();
    let rules = rules(&args, &config, &environment)?;
    let place = Place::prepare(common)?;
    let mut signals = Signals::new()?;

    let sockets = Sockets::default();
    let (https, more) = listen(&config.listen, &args, &sockets).await?;
    let management = match &config.management {
        Some(text) => Some(listen(text, &args, &sockets).await?),
        None => None,
    };
    let http = sockets.reserve_any(https.ip()).await?;
    let choices = Choices {
        dns_server: args.dnsserver.clone(),
        set: common.set.clone(),
    };
    let settings = pebble::choose(&config, &environment, &choices, (https, http), place.dir())?;
    telemetry::start_logging(&settings.server.log, settings.server.log_json);
    for member in &config.unknown {
        tracing::warn!(member, "this member of the configuration means nothing here");
    }
    warn_loudly();

    let now = SystemClock.now();
    let options = ceremony(&config, &settings.server.public_http)?;
    make_ca(place.dir(), &options).await?;
    let management_first = management.as_ref().map(|(first, _)| *first);
    let listeners = pebble::Listeners {
        acme_besides: more,
        management: management
            .into_iter()
            .flat_map(|(first, more)| std::iter::once(first).chain(more))
            .collect(),
    };
    let Built {
        house,
        doors,
        configured_identity,
        roots,
    } = pebble::build(pebble::Plan {
        dir: place.dir(),
        options: &options,
        config: &config,
        environment: &environment,
        settings,
        listeners,
        rules,
        now,
    })
    .await?;

    let (stop, stopped) = watch::channel(false);
    let serving = server::run_behind(house, doors, &sockets, stopped, |ready: &Ready| {
        tell(ready, (https, management_first), roots);
        if !configured_identity {
            let root = place.dir().join(folder::ROOT_FILE);
            println!(
                "HTTPS shows a certificate of this CA's own; its root is {}",
                root.display()
            );
        }
        println!("ready directory={} http={}", ready.directory, ready.http);
        let _ = io::Write::flush(&mut io::stdout());
    });
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = signals.stop() => {}
    }
    let _ = stop.send(true);
    tokio::select! {
        ended = &mut serving => Ok(ended?),
        // Who asks twice does not want to wait for connections.
        () = signals.stop() => Ok(()),
    }
}

/// Finds what to listen on, and takes it so that nobody else can; an address that is good to have may be missing.
async fn listen(text: &str, args: &Args, sockets: &Sockets) -> CliResult<(SocketAddr, Vec<SocketAddr>)> {
    let found = pebble::listeners(text, args.public).map_err(CliError::new)?;
    if pebble::narrowed(text, &found) {
        eprintln!("note: {text} means the loopback here: {found:?}; --public opens it to others");
    }
    let (first, more) = found
        .split_first()
        .ok_or_else(|| CliError::new("there is no address to listen on"))?;
    sockets
        .reserve(&[*first])
        .await
        .map_err(|(address, error)| CliError::new(format!("{address} cannot be listened on: {error}")))?;
    let mut besides = Vec::new();
    for address in more {
        match sockets.reserve(&[*address]).await {
            Ok(()) => besides.push(*address),
            Err((address, error)) => eprintln!("note: {address} cannot be listened on besides: {error}"),
        }
    }
    Ok((*first, besides))
}

fn warn_loudly() {
    eprintln!("********************************************************************");
    eprintln!("* FOR TESTS ONLY. Its keys are new at each start and handed out to *");
    eprintln!("* whoever asks: trust none of its certificates anywhere else.      *");
    eprintln!("********************************************************************");
}

/// Says where everything is, in the lines that scripts around Pebble look for.
fn tell(ready: &Ready, (https, management): (SocketAddr, Option<SocketAddr>), roots: usize) {
    match management {
        Some(address) => {
            println!("Management interface listening on: {address}");
            println!("Root CA certificate available at: https://{address}/roots/0");
            for number in 1..roots {
                println!("Alternate ({number}) root CA certificate available at: https://{address}/roots/{number}");
            }
        }
        None => println!("Management interface is disabled"),
    }
    println!("Listening on: {https}");
    println!("ACME directory available at: {}", ready.directory);
}

/// What Pebble does on purpose, and what the user wants besides.
fn rules(args: &Args, config: &Config, environment: &Environment) -> CliResult<Rules> {
    let seed = match args.chaos_seed {
        Some(seed) => seed,
        None => getrandom::u64().map_err(|error| CliError::new(format!("no chance to be had: {error}")))?,
    };
    let mut rules = Rules::new(seed);
    let mut built_in = vec![
        "order:shuffle".to_owned(),
        "new-order:shuffle".to_owned(),
        "authz:shuffle".to_owned(),
    ];
    if environment.nonce_reject_percent > 0 {
        built_in.push(format!("nonce:reject={}%", environment.nonce_reject_percent));
    }
    let waits = [
        ("authz", config.retry_after_authz),
        ("challenge", config.retry_after_authz),
        ("order", config.retry_after_order),
        ("finalize", config.retry_after_order),
    ];
    let waits = waits.into_iter().filter_map(|(target, wait)| Some((target, wait?)));
    built_in.extend(waits.map(|(target, seconds)| format!("{target}:retry-after={seconds},form=either")));
    if args.strict {
        built_in.push("any:unknown".to_owned());
    }
    for rule in &built_in {
        rules.build_in(rule)?;
    }
    if let Some(file) = &args.chaos_file {
        rules.add(&read_rules(file)?)?;
    }
    for rule in &args.chaos {
        rules.add(rule)?;
    }
    if args.chaos_file.is_some() || !args.chaos.is_empty() {
        println!("chaos is drawn from --chaos-seed {seed}");
    }
    Ok(rules)
}

fn read_rules(file: &Path) -> CliResult<String> {
    let failed = |error: io::Error| CliError::new(format!("{}: {error}", file.display()));
    if fs::metadata(file).map_err(failed)?.len() > RULES_OCTETS_MAX {
        return Err(CliError::new(format!("{}: too large for rules", file.display())));
    }
    fs::read_to_string(file).map_err(failed)
}

/// Where the state is.
enum Place {
    /// Gone when the program ends, or at the next start if it was killed: the lock says that it is in use.
    Passing {
        folder: tempfile::TempDir,
        /// Held, and never read.
        _in_use: fs::File,
    },
    /// Left for who wants to look into it; emptied at the next start.
    Named(PathBuf),
}

impl Place {
    /// Only a folder on the command line counts: the environment's is the real CA's.
    fn prepare(common: &Common) -> CliResult<Self> {
        if !common.dir_given {
            sweep(&std::env::temp_dir());
            let folder = tempfile::Builder::new().prefix(PASSING_PREFIX).tempdir()?;
            let _in_use = lock(folder.path())?;
            return Ok(Self::Passing { folder, _in_use });
        }
        let dir = common.dir.clone();
        fs::create_dir_all(&dir)?;
        let mark = dir.join(MARK);
        let is_empty = fs::read_dir(&dir)?.next().is_none();
        if !is_empty && !mark.is_file() {
            let message = format!(
                "{}: holds something that no pebble has made; choose an empty folder",
                dir.display()
            );
            return Err(CliError::new(message));
        }
        fs::write(&mark, "A test server makes its CA anew here at each start.\n")?;
        for leftover in LEFTOVERS.map(|name| dir.join(name)) {
            let removed = match leftover.is_dir() {
                true => fs::remove_dir_all(&leftover),
                false => fs::remove_file(&leftover),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(Self::Named(dir))
    }

    fn dir(&self) -> &Path {
        match self {
            Self::Passing { folder, .. } => folder.path(),
            Self::Named(dir) => dir,
        }
    }
}

/// Says that a folder is in use for as long as the file is open: the lock ends with the process, however it ends.
fn lock(folder: &Path) -> io::Result<fs::File> {
    let draft = folder.join(".alive");
    let file = fs::File::create(&draft)?;
    file.try_lock()?;
    // Under its name only once it is locked, so that nobody takes a folder for a dead one's.
    fs::rename(&draft, folder.join(ALIVE))?;
    Ok(file)
}

/// Removes the folders of those that were killed, as test suites do.
fn sweep(from: &Path) {
    let entries = fs::read_dir(from).into_iter().flatten().flatten();
    let passing = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PASSING_PREFIX));
    for folder in passing.take(SWEPT_MAX).map(|entry| entry.path()) {
        let dead = fs::File::open(folder.join(ALIVE)).is_ok_and(|file| file.try_lock().is_ok());
        if dead {
            // What cannot be removed now is somebody else's, or goes the next time.
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

fn ceremony(config: &Config, public_http: &str) -> CliResult<CeremonyOptions> {
    let key = match config.key_algorithm.as_deref() {
        None | Some("ecdsa") => "ecdsa-p256",
        Some("rsa") => "rsa-3072",
        Some(other) => {
            return Err(CliError::new(format!(
                "keyAlgorithm: {other:?} is neither rsa nor ecdsa"
            )));
        }
    };
    let span = |text| CalendarSpan::parse(text).map_err(CliError::from);
    let tail = getrandom::u32().unwrap_or_default() & 0xFF_FFFF;
    Ok(CeremonyOptions {
        key: key
            .parse()
            .map_err(|_| CliError::new("this kind of key is not known"))?,
        root_validity: span("40y")?,
        issuer_validity: span("30y")?,
        configuration: raw::document(&[])?,
        // Another name at each start, so that nobody takes one CA for the other.
        ..CeremonyOptions::new(format!("Sigillo Test {tail:06x}"), public_http)
    })
}

async fn make_ca(dir: &Path, options: &CeremonyOptions) -> CliResult {
    let open = |folder: &Path| match SqliteStore::open(folder.join("sigillo.db")) {
        Ok(store) => Ok(Arc::new(store) as Arc<dyn crate::store::Store>),
        Err(error) => Err(error.to_string()),
    };
    issuer::init(dir, options, SystemClock.now(), open).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_dead_are_removed_and_no_others() {
        let all = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let folder = all.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        let (living, dead) = (make("sigillo-pebble-a"), make("sigillo-pebble-b"));
        let (young, other) = (make("sigillo-pebble-c"), make("other-d"));
        let held = lock(&living).unwrap();
        for gone in [&dead, &other] {
            drop(lock(gone).unwrap());
        }
        sweep(all.path());
        assert!(living.is_dir() && young.is_dir() && other.is_dir());
        assert!(!dead.exists());
        drop(held);
        sweep(all.path());
        assert!(!living.exists());
    }
}
