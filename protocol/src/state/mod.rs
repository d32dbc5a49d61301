//! The lives of account, authorization and order (RFC 8555 section 7.1.6) as consuming types.
//!
//! A transition takes `self`, so that an impossible order of calls does not compile.

pub mod account;
pub mod authorization;
pub mod order;
