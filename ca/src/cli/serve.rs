//! `serve`: the daemon.

use tokio::sync::watch;

use super::{CliResult, Common};
use crate::{
    server::{self, House, Ready},
    telemetry,
};

pub async fn run(common: &Common) -> CliResult {
    let settings = common.settings()?;
    telemetry::start_logging(&settings.server.log, settings.server.log_json);
    let house = House::open(&common.dir, settings, common.passphrase()?).await?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(stop_on_signal(stop));
    server::run(house, stopped, |ready: &Ready| {
        // Scripts wait for this line.
        println!("ready directory={} http={}", ready.directory, ready.http);
        let _ = std::io::Write::flush(&mut std::io::stdout());
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    })
    .await?;
    Ok(())
}

/// Waits for SIGTERM or SIGINT and says stop; a second one ends the process where it stands.
async fn stop_on_signal(stop: watch::Sender<bool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be received: stop the process with SIGKILL, which loses nothing");
        return;
    };
    for round in 0..2 {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if round == 0 {
            tracing::info!("stopping: connections are drained");
            let _ = stop.send(true);
        } else {
            std::process::exit(1);
        }
    }
}
