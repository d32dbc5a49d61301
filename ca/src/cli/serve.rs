//! `serve`: the daemon, until SIGTERM; SIGHUP takes up a changed configuration.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use super::{CliError, CliResult, Common};
use crate::{
    config::Settings,
    server::{self, House, Ready, Sockets},
    telemetry,
};

pub async fn run(common: &Common) -> CliResult {
    let mut settings = common.settings()?;
    telemetry::start_logging(&settings.server.log, settings.server.log_json);
    let mut signals = Signals::new()?;
    let sockets = Sockets::default();
    let mut announced = false;
    loop {
        let house = House::open(&common.dir, settings, common.passphrase()?).await?;
        let (stop, stopped) = watch::channel(false);
        let serving = server::run(house, &sockets, stopped, |ready: &Ready| {
            if !std::mem::replace(&mut announced, true) {
                announce(ready);
            }
        });
        tokio::pin!(serving);
        let next = tokio::select! {
            ended = &mut serving => return Ok(ended?),
            next = signals.next(common, &sockets) => next,
        };
        let _ = stop.send(true);
        tokio::select! {
            ended = &mut serving => ended?,
            // A second signal does not wait for connections to end.
            () = signals.stop() => std::process::exit(1),
        }
        match next {
            Next::Stop => return Ok(()),
            Next::Reload(changed) => settings = *changed,
        }
    }
}

/// Prints the line that scripts wait for, and tells systemd.
fn announce(ready: &Ready) {
    println!("ready directory={} http={}", ready.directory, ready.http);
    let _ = std::io::Write::flush(&mut std::io::stdout());
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

enum Next {
    Stop,
    Reload(Box<Settings>),
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for the end, or for a new configuration that can be used: one that cannot changes nothing.
    async fn next(&mut self, common: &Common, sockets: &Sockets) -> Next {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return stopping(),
                _ = self.interrupt.recv() => return stopping(),
                _ = self.hangup.recv() => match usable(common, sockets).await {
                    Ok(settings) => {
                        tracing::info!("taking up the configuration anew");
                        return Next::Reload(Box::new(settings));
                    }
                    Err(error) => tracing::error!(
                        error = error.message,
                        "the changed configuration cannot be used; the old one stays in force"
                    ),
                },
            }
        }
    }
}

/// Reads the configuration anew and makes sure that what it takes is there, while the old one still serves.
async fn usable(common: &Common, sockets: &Sockets) -> CliResult<Settings> {
    let settings = common.settings()?;
    common.passphrase()?;
    sockets
        .reserve(&settings.server.addresses())
        .await
        .map_err(|(address, error)| CliError::new(format!("{address} cannot be listened on: {error}")))?;
    Ok(settings)
}

fn stopping() -> Next {
    tracing::info!("stopping: connections are drained");
    Next::Stop
}
