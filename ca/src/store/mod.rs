//! What the CA remembers: a port with coarse, domain-level transactions, and the backends behind it.

mod batch;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod embedded;
mod port;

pub use batch::{Batch, Change, Premise};
pub use port::{CertificateFilter, CommitError, OrderView, Page, PruneLimits, Pruned, ReadError, Store, Unique};
