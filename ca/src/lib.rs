//! The Sigillo certificate authority: everything behind the `sigillo-ca` program.
//!
//! `ARCHITECTURE.md` draws the floors; imports point down.

pub mod audit;
pub mod clock;
pub mod issuer;
pub mod model;
pub mod policy;
pub mod signer;
pub mod status;
pub mod store;
pub mod validator;
