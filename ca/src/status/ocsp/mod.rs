//! OCSP (RFC 6960, RFC 9654, RFC 9919): requests in, signed answers out.
//!
//! Requests are read by `x509-ocsp` and must re-encode to themselves; the `ocsp` crate encodes the
//! error replies and never sees what a stranger sent.

mod cache;
mod issuer;
mod request;
mod responder;
mod response;
#[cfg(test)]
mod tests;
mod walk;

pub use cache::{Answer, CACHE_OCTETS_DEFAULT};
pub use issuer::{HashAlgorithm, OcspIssuer, Responder, ResponderError};
pub use request::{Malformed, NONCE_LENGTH_MAX, OcspRequest, REQUEST_OCTETS_MAX, REQUESTS_MAX, RequestedStatus};
pub use responder::{OcspResponder, OcspSettings, Reply};
pub use response::{ErrorStatus, error_reply};
