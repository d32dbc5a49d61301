//! All cases, one topic a file, in the order in which they are judged.

use crate::case::Case;

mod jws;
mod nonces;
mod pending;
mod transport;

pub(crate) use pending::{EXCLUDED, NOT_YET};

/// Every case; sweeps over the evidence come last.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [transport::CASES, jws::CASES, nonces::CASES].into_iter().flatten()
}
