//! Private keys: the port, the software keys behind it, and the ring that loads them from the state folder.

mod port;

pub use port::{SharedSigner, SignError, SignatureAlgorithm, Signer};
