//! The Sigillo certificate authority: everything behind the `sigillo-ca` program.
//!
//! `ARCHITECTURE.md` draws the floors; imports point down.

pub mod admin;
pub mod audit;
pub mod challtestsrv;
pub mod cli;
pub mod clock;
pub mod config;
pub mod digest;
pub mod front;
pub mod issuer;
pub mod model;
pub mod notary;
pub mod pebble;
pub mod pem;
pub mod policy;
pub mod registrar;
pub mod server;
pub mod signer;
pub mod status;
pub mod store;
pub mod telemetry;
pub mod validator;
