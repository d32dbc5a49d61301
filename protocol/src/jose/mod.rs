//! Signed requests: the part of JOSE that ACME uses (RFC 8555 section 6.2), and no more of it.
//!
//! There is one serialization (flattened JSON), one signature, no encryption, and the algorithm is
//! bound to the type of the key.

pub mod alg;
pub mod eab;
pub mod jwk;
pub mod jws;
pub mod signing_key;

pub use alg::{Algorithm, MacAlgorithm};
pub use jwk::{Jwk, Thumbprint};
pub use jws::{JwsError, JwsSigner, KeyRef, SignError, SignWith, UnverifiedJws, VerifiedJws};
pub use signing_key::SigningKey;
