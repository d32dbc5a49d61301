//! The harness: starts the real programs on loopback and lets outsiders judge what they do.
//!
//! It shares no code with the programs under test. Its ACME client, DNS server and HTTP client are
//! its own, so a mistake made twice in the product is still seen here once.

pub mod acme;
pub mod daemon;
pub mod dns;
pub mod http;
pub mod judge;
pub mod mutant;
pub mod operator;
pub mod place;
pub mod ports;
pub mod process;
pub mod programs;
pub mod random;
pub mod test_server;
pub mod webroot;
