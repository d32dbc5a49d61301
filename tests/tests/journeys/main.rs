//! Journeys against the real daemon: what its users do in the order in which they do it.
//!
//! One module for each topic: our own client program, ACME as the harness's client speaks it, and
//! the operator who changes the configuration or puts a backup back.

mod accounts;
mod audit;
mod authorizations;
mod backup;
mod caa;
mod dns_challenges;
mod drill;
mod expect;
mod lists;
mod parallel;
mod profiles;
mod program;
mod program_options;
mod reload;
mod renewal;
mod revocation;
mod star;
mod star_refusals;
mod subdomains;
mod terms;
