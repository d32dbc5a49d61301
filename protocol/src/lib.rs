//! ACME (RFC 8555) and its relatives as plain data and consuming states.
//!
//! The crate takes bytes and times and gives bytes and decisions. It holds no clock, socket, file,
//! source of randomness or async code, so that server, client and conformance suite can share it
//! and a test can repeat anything it does.

pub mod acme;
pub mod base64url;
pub mod jose;
pub mod json;
pub mod ordering;
pub mod state;
pub mod transparency;
pub mod x509;
