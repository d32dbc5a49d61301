//! `sigillo daemon`

use sigillo_client::error::{Error, Result};
use sigillo_client::progress::Progress;
use sigillo_client::renew;
use tokio::signal::unix::{SignalKind, signal};

use super::renew::line;
use crate::config::Config;

/// Options of `daemon`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Renews for as long as it runs; SIGTERM and SIGINT end it between two renewals' steps.
pub async fn run(config: &Config, _args: &Args, progress: &dyn Progress) -> Result<()> {
    let listen = |kind| signal(kind).map_err(|e| Error::local("cannot listen for signals", e));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let connect = |renewal| config.connect_for(renewal);
    eprintln!("watching {}", config.store().home().display());
    renew::watch(config.store(), connect, progress, stop, |name, outcome| {
        eprintln!("{}", line(name, outcome))
    })
    .await
}
