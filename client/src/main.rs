//! The program `sigillo`: reads the command line, does what it says, and ends with the right status.

mod cli;
mod config;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // Logs are for those who ask for them: RUST_LOG=sigillo_client=debug.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("sigillo: cannot start: {e}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(cli::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut lines = error.lines().into_iter();
            eprintln!("sigillo: {}", lines.next().unwrap_or_default());
            lines.for_each(|line| eprintln!("  {line}"));
            ExitCode::from(error.exit_code())
        }
    }
}
