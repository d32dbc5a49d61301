//! The resources of ACME as they travel: RFC 8555 section 7, RFC 8739, RFC 9773, and the profiles draft.

pub mod account;
pub mod authorization;
pub mod auto_renewal;
pub mod caa;
pub mod challenge;
pub mod directory;
pub mod dns_account;
pub mod dns_persist;
pub mod identifier;
pub mod order;
pub mod problem;
pub mod renewal_info;
pub mod revocation;
