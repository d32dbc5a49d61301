//! The audit log: how events are chained and how the chain is verified.

mod chain;

pub use chain::{Break, Chain, canonical, verify};
