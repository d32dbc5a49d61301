//! Puts the house together: the one place that names concrete backends.

mod house;
mod own_certificate;
mod run;
mod sockets;

pub use house::{House, OpenError};
pub use run::{Doors, Ready, ServeError, run, run_behind};
pub use sockets::Sockets;

/// The operator's socket in the state folder.
pub const ADMIN_SOCKET: &str = "admin.sock";
