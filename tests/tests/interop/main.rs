//! Other people's ACME clients issue, renew and revoke; other people's tools judge the result.
//!
//! One test per client and way of proving. `SIGILLO_INTEROP=1` makes a missing client a failure.

use std::time::Duration;

mod acme_tiny;
mod acmetool;
mod apache;
mod caddy;
mod certbot;
mod dehydrated;
mod lego;
mod node;
mod peers;
mod python;
mod ruby;
mod uacme;

/// How long a web server that fetches certificates by itself may take.
const SERVER_WITHIN: Duration = Duration::from_secs(120);
