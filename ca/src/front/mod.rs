//! The doors: everything that speaks HTTP or TLS, and nothing that decides.

pub mod acme;
mod envelope;
pub mod health;
pub mod limits;
pub mod links;
pub mod listen;
mod nonce;
mod problem;
pub mod status;
pub mod tls;

pub use nonce::Nonces;
