//! What the benchmarks stand on: a CA to measure, and the raw primitives to measure beside it.
//!
//! `benches/README.md` tells how the numbers are made and how to read them.

pub mod authority;
pub mod place;
pub mod primitive;
pub mod request;
pub mod responder;
pub mod turns;
