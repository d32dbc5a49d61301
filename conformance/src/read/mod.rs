//! Readers of what the target publishes, strict where the standards are.

pub(crate) mod certificate;
pub(crate) mod crl;
pub(crate) mod link;
pub(crate) mod ocsp;
pub(crate) mod pem;
pub(crate) mod time;
