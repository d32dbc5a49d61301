//! The `sigillo-ca` program.

fn main() -> std::process::ExitCode {
    sigillo_ca::cli::run()
}
