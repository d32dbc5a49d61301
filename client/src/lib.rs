//! An ACME client as a library: accounts, orders, renewal, revocation, and checking what came out.
//!
//! [`Client`] is the whole in one hand: it keeps keys and certificates in a folder and speaks to
//! one server. The modules below it can be used alone.

pub mod account;
pub mod chain;
pub mod check;
pub mod client;
pub mod error;
pub mod hook;
pub mod key;
pub mod keystore;
pub mod obtain;
pub mod progress;
pub mod renew;
pub mod request;
pub mod revoke;
pub mod session;
pub mod solver;
pub mod transport;
pub mod trust;

pub use client::{Client, OrderSettings};
pub use error::{Error, Result};
