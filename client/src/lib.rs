//! An ACME client as a library: accounts, orders, renewal, revocation, and checking what came out.
//!
//! [`Client`] is the whole in one hand: it keeps keys and certificates in a folder and speaks to
//! one server. The modules below it can be used alone.
//!
//! ```no_run
//! use std::{net::SocketAddr, sync::Arc};
//!
//! use sigillo_client::account::Registration;
//! use sigillo_client::check::{CheckRequest, certificates_from_file, check};
//! use sigillo_client::keystore::Keystore;
//! use sigillo_client::progress::Event;
//! use sigillo_client::solver::{Http01, Solvers};
//! use sigillo_client::transport::{Transport, Trust};
//! use sigillo_client::{Client, OrderSettings};
//!
//! # async fn tour(root: Vec<u8>, address: SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
//! let progress = |event: &Event| eprintln!("{event}");
//! let trust = Trust::Roots(vec![root.into()]);
//! let transport = Transport::new(trust.clone())?;
//! let store = Keystore::new("/var/lib/example");
//! let client = Client::connect(transport.clone(), "https://localhost:9443/acme/directory", store).await?;
//! client.register(&Registration { agree_tos: true, ..Registration::default() }, &progress).await?;
//!
//! let solvers: Solvers = vec![Arc::new(Http01::on_address(address))];
//! let settings = OrderSettings { names: vec!["localhost".parse()?], ..OrderSettings::default() };
//! let kept = client.order(&settings, &solvers, &progress).await?;
//! let kept = client.renew(&kept.name, &solvers, &progress).await?;
//! client.revoke(&kept.name, Some(4), &progress).await?;
//!
//! let certificates = certificates_from_file(&kept.dir.join("fullchain.pem"))?;
//! let report = check(&transport, &CheckRequest::new(certificates, trust), jiff::Timestamp::now()).await?;
//! println!("{}", report.lines().join("\n"));
//! # Ok(())
//! # }
//! ```

pub mod account;
pub mod chain;
pub mod check;
pub mod client;
pub mod error;
pub mod hook;
pub mod key;
pub mod keystore;
pub mod obtain;
pub mod progress;
pub mod renew;
pub mod request;
pub mod revoke;
pub mod session;
pub mod solver;
pub mod transport;
pub mod trust;

pub use client::{Client, OrderSettings};
pub use error::{Error, Result};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
