//! All cases, one topic a file, in the order in which they are judged.

use crate::case::Case;

mod accounts;
mod baseline;
mod caa;
mod certificates;
mod chains;
mod challenges;
mod clients;
mod crl;
mod deltas;
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
mod late;
mod nonces;
mod ocsp;
mod ocsp_profile;
mod old_tls;
mod operator;
mod orders;
mod pending;
mod preauthorization;
mod relying_parties;
mod renewal;
mod revocation;
mod star;
mod star_renewal;
mod subdomains;
mod sweeps;
mod tls_alpn;
mod transport;
mod weak_keys;

pub(crate) use late::Expired;
pub(crate) use pending::{EXCLUDED, NOT_YET};

/// Every case; sweeps over the evidence come last but for what waits and changes the target's clock.
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
        old_tls::CASES,
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
        deltas::CASES,
        files::CASES,
        certificates::CASES,
        extensions::CASES,
        baseline::CASES,
        weak_keys::CASES,
        operator::CASES,
        clients::CASES,
        relying_parties::CASES,
        sweeps::CASES,
        late::CASES,
    ]
    .into_iter()
    .flatten()
}
