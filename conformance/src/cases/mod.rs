//! All cases, one topic a file, in the order in which they are judged.

use crate::case::Case;

mod accounts;
mod baseline;
mod caa;
mod certificates;
mod chains;
mod challenges;
mod crl;
mod directory;
mod dns;
mod dns_account;
mod dns_persist;
mod dns_persist_time;
mod dnssec;
mod extensions;
mod files;
mod finalize;
mod http01;
mod ip;
mod jose;
mod jwk;
mod jws;
mod keychange;
mod nonces;
mod ocsp;
mod ocsp_profile;
mod orders;
mod pending;
mod preauthorization;
mod renewal;
mod revocation;
mod star;
mod star_renewal;
mod subdomains;
mod sweeps;
mod tls_alpn;
mod transport;

pub(crate) use pending::{EXCLUDED, NOT_YET};

/// Every case; sweeps over the evidence come last.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [
        directory::CASES,
        transport::CASES,
        jws::CASES,
        jose::CASES,
        jwk::CASES,
        nonces::CASES,
        accounts::CASES,
        keychange::CASES,
        orders::CASES,
        challenges::CASES,
        http01::CASES,
        dns::CASES,
        dns_account::CASES,
        dns_persist::CASES,
        dns_persist_time::CASES,
        tls_alpn::CASES,
        ip::CASES,
        finalize::CASES,
        preauthorization::CASES,
        subdomains::CASES,
        star::CASES,
        star_renewal::CASES,
        chains::CASES,
        caa::CASES,
        dnssec::CASES,
        renewal::CASES,
        revocation::CASES,
        ocsp::CASES,
        ocsp_profile::CASES,
        crl::CASES,
        files::CASES,
        certificates::CASES,
        extensions::CASES,
        baseline::CASES,
        sweeps::CASES,
    ]
    .into_iter()
    .flatten()
}
