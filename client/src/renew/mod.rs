//! When a certificate is renewed: asked from the server (RFC 9773), or computed without it.

mod ask;
mod daemon;
mod moment;

pub use ask::{ari_identifier, ask, validity_of};
pub use daemon::{Outcome, run_due, watch};
pub use moment::{Answer, Step, Validity, first_state, note_answer, note_failure, step};

use crate::error::{Error, Result};

/// Returns a random number from 0 up to, but not including, 1.
///
/// # Errors
/// When the system gives no random numbers.
pub fn random_fraction() -> Result<f64> {
    let random = getrandom::u32().map_err(|e| Error::local("cannot get random numbers", e))?;
    Ok(f64::from(random) / (f64::from(u32::MAX) + 1.0))
}
