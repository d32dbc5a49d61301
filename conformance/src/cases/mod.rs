//! All cases, one topic a file, in the order in which they are judged.

use crate::case::Case;

mod accounts;
mod certificates;
mod chains;
mod challenges;
mod crl;
mod directory;
mod finalize;
mod jws;
mod keychange;
mod nonces;
mod ocsp;
mod orders;
mod pending;
mod revocation;
mod sweeps;
mod transport;

pub(crate) use pending::NOT_YET;

/// Every case; sweeps over the evidence come last.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [
        directory::CASES,
        transport::CASES,
        jws::CASES,
        nonces::CASES,
        accounts::CASES,
        keychange::CASES,
        orders::CASES,
        challenges::CASES,
        finalize::CASES,
        chains::CASES,
        revocation::CASES,
        ocsp::CASES,
        crl::CASES,
        certificates::CASES,
        sweeps::CASES,
    ]
    .into_iter()
    .flatten()
}
