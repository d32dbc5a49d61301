//! Requests with one fault each: the right refusal, a server that lives on, and nothing stored.

mod accounts;
mod csr;
mod faults;
mod http;
mod jws;
mod ocsp;
mod orders;
mod revocation;
