//! What ACME needs of X.509: certification requests, revocation reasons and certificate identifiers.
//!
//! Thin over `x509-parser`: what it leaves to its caller (that the whole is DER, that nothing
//! follows, which keys and signatures are good enough) is decided here.

pub mod cert_id;
pub mod csr;
pub mod der;
pub mod key;
pub mod reason;
