//! The manual page and shell completions, made from the command line's own description.

use clap::CommandFactory;

use super::{Cli, CliResult};

pub fn completions(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "sigillo-ca", &mut std::io::stdout());
}

pub fn page() -> CliResult {
    clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?;
    Ok(())
}
