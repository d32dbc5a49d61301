//! Private keys: the port, the software keys behind it, and the ring that loads them from the state folder.

mod keyring;
mod port;
mod software;
mod verify;

pub use keyring::{Keyring, KeyringError, Passphrase};
pub use port::{SharedSigner, SignError, SignatureAlgorithm, Signer};
pub use software::{KeyMaterialError, PrivateKey, SoftwareSigner};
pub use verify::verify;
