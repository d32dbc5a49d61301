//! What the user sees while something happens: a moving line on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sigillo_client::error::printable;
use sigillo_client::progress::{Event, Progress, Silent};

/// How often the moving line moves.
const TICK: Duration = Duration::from_millis(120);

/// Makes the right kind for where the output goes.
pub fn progress(quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Terminal::new())
    } else {
        Box::new(Lines)
    }
}

/// One line for each step that a reader of a log wants to know.
struct Lines;

impl Progress for Lines {
    fn event(&self, event: &Event) {
        // Waiting is no news: a line for each poll would bury the rest.
        if !matches!(event, Event::Waiting { .. }) {
            eprintln!("{}", printable(&event.to_string()));
        }
    }
}

/// A spinner that says what is going on now, above it what is done.
struct Terminal(ProgressBar);

impl Terminal {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }
}

impl Progress for Terminal {
    fn event(&self, event: &Event) {
        let text = printable(&event.to_string());
        match event {
            Event::Waiting { .. } | Event::Proving { .. } | Event::Finalizing => {
                self.0.enable_steady_tick(TICK);
                self.0.set_message(text);
            }
            Event::Stored { .. } | Event::Revoked { .. } => {
                self.0.finish_and_clear();
                eprintln!("{text}");
            }
            _ => self.0.suspend(|| eprintln!("{text}")),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Prints a value as JSON.
///
/// # Errors
/// Never in practice: our values are plain data.
pub fn json(value: &impl serde::Serialize) -> sigillo_client::Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| sigillo_client::Error::local("cannot write JSON", e))?;
    println!("{text}");
    Ok(())
}
