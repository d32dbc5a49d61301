//! Peers of the suite's own: what its own client is judged against, on real sockets.

pub(crate) mod acme;
pub(crate) mod authority;
#[cfg(test)]
pub(crate) mod list;
pub(crate) mod server;
