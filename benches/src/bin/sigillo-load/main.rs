//! Puts load on a running CA over real sockets and tells what each certificate and each status answer cost it.
//!
//! It works against any ACME server and OCSP responder; `benches/README.md` tells how it is used, `benches/peers` runs
//! it against other CAs in turn.

mod acme;
mod answers;
mod connection;
mod ocsp;
mod primitives;
mod server;
mod tally;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why a run cannot go on; for a person.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(name = "sigillo-load", about = "Puts load on a CA and tells what it cost")]
struct Arguments {
    /// The server's process, whose processor time, memory and writes are counted
    #[arg(long, global = true)]
    pid: Option<u32>,
    /// Prints one JSON object instead of lines
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    load: Load,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// Orders certificates: order, http-01, finalize, download
    Acme(acme::Load),
    /// Asks for the status of a certificate
    Ocsp(ocsp::Load),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(Failure::from).and_then(|runtime| {
        runtime.block_on(async {
            match &arguments.load {
                Load::Acme(load) => acme::run(load, arguments.pid).await,
                Load::Ocsp(load) => ocsp::run(load, arguments.pid).await,
            }
        })
    });
    match outcome {
        Ok(tally) => {
            print!("{}", if arguments.json { tally.json() } else { tally.lines() });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sigillo-load: {error}");
            ExitCode::FAILURE
        }
    }
}
