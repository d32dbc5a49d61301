//! `serve`: the daemon, until SIGTERM; SIGHUP takes up a changed configuration.

use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use super::{CliError, CliResult, Common};
use crate::{
    config::Settings,
    server::{self, House, OpenError, Ready, Sockets},
    telemetry,
};

/// How often and how long apart a state folder is tried that somebody else has open for a moment: an operator's command that
/// found no daemon, a task of the old house that has not ended.
const OPEN_TRIES: u32 = 50;
const OPEN_PAUSE: Duration = Duration::from_millis(100);

pub async fn run(common: &Common) -> CliResult {
    let mut settings = common.settings()?;
    telemetry::start_logging(&settings.server.log, settings.server.log_json);
    let mut signals = Signals::new()?;
    let sockets = Sockets::default();
    let mut announced = false;
    let mut house = House::open(&common.dir, settings.clone(), common.passphrase()?).await?;
    loop {
        let (stop, stopped) = watch::channel(false);
        let serving = server::run(house, &sockets, stopped, |ready: &Ready| {
            if !std::mem::replace(&mut announced, true) {
                announce(ready);
            }
        });
        tokio::pin!(serving);
        let mut next = tokio::select! {
            ended = &mut serving => return Ok(ended?),
            next = signals.next(common, &sockets) => next,
        };
        let _ = stop.send(true);
        loop {
            tokio::select! {
                ended = &mut serving => break ended?,
                // A wish to end comes before a wish to reload; only the second one does not wait for connections.
                () = signals.stop() => match next {
                    Next::Stop => std::process::exit(1),
                    Next::Reload(_) => next = Next::Stop,
                },
            }
        }
        let Next::Reload(changed) = next else {
            return Ok(());
        };
        house = match reopen(common, &changed).await {
            Ok(house) => {
                settings = *changed;
                house
            }
            Err(error) => {
                tracing::error!(
                    error = error.message,
                    "the changed configuration cannot be used; the old one stays in force"
                );
                reopen(common, &settings).await?
            }
        };
    }
}

/// Opens the house again, after the one before has just been left.
async fn reopen(common: &Common, settings: &Settings) -> CliResult<House> {
    for _ in 1..OPEN_TRIES {
        match House::open(&common.dir, settings.clone(), common.passphrase()?).await {
            Err(OpenError::InUse(_)) => tokio::time::sleep(OPEN_PAUSE).await,
            opened => return Ok(opened?),
        }
    }
    Ok(House::open(&common.dir, settings.clone(), common.passphrase()?).await?)
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

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a wish to end.
    pub(super) async fn stop(&mut self) {
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
