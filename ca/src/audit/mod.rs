//! The audit log: how events are chained and how the chain is verified.
