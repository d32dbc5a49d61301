//! The URLs of the ACME resources. They are built from the configured base, never from a Host header.

use crate::model::{AccountId, AuthorizationId, OrderId, Serial};

/// The paths below the base, shared by the router and the link builder.
pub mod path {
    #![allow(missing_docs, reason = "each name says it")]
    pub const DIRECTORY: &str = "/acme/directory";
    pub const NEW_NONCE: &str = "/acme/new-nonce";
    pub const NEW_ACCOUNT: &str = "/acme/new-account";
    pub const NEW_ORDER: &str = "/acme/new-order";
    pub const NEW_AUTHZ: &str = "/acme/new-authz";
    pub const REVOKE_CERT: &str = "/acme/revoke-cert";
    pub const KEY_CHANGE: &str = "/acme/key-change";
    pub const RENEWAL_INFO: &str = "/acme/renewal-info";
    pub const ACCOUNT: &str = "/acme/account";
    pub const ACCOUNT_HASH: &str = "/acme/account-hash";
    pub const ORDERS: &str = "/acme/orders";
    pub const ORDER: &str = "/acme/order";
    pub const AUTHZ: &str = "/acme/authz";
    pub const CHALLENGE: &str = "/acme/challenge";
    pub const CERTIFICATE: &str = "/acme/cert";
    pub const STAR_CERTIFICATE: &str = "/acme/star-cert";
}

/// The paths of the resources: another server's may stand in their place, since clients learn them from the directory.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "each name says it")]
pub struct Paths {
    pub directory: &'static str,
    pub new_nonce: &'static str,
    pub new_account: &'static str,
    pub new_order: &'static str,
    pub new_authz: &'static str,
    pub revoke_cert: &'static str,
    pub key_change: &'static str,
    pub renewal_info: &'static str,
    pub account: &'static str,
    pub orders: &'static str,
    pub order: &'static str,
    pub authz: &'static str,
    pub challenge: &'static str,
    pub certificate: &'static str,
    pub star_certificate: &'static str,
}

impl Paths {
    /// The daemon's.
    pub const USUAL: Self = Self {
        directory: path::DIRECTORY,
        new_nonce: path::NEW_NONCE,
        new_account: path::NEW_ACCOUNT,
        new_order: path::NEW_ORDER,
        new_authz: path::NEW_AUTHZ,
        revoke_cert: path::REVOKE_CERT,
        key_change: path::KEY_CHANGE,
        renewal_info: path::RENEWAL_INFO,
        account: path::ACCOUNT,
        orders: path::ORDERS,
        order: path::ORDER,
        authz: path::AUTHZ,
        challenge: path::CHALLENGE,
        certificate: path::CERTIFICATE,
        star_certificate: path::STAR_CERTIFICATE,
    };
}

/// Builds links.
#[derive(Debug, Clone)]
pub struct Links {
    base: String,
    paths: Paths,
}

impl Links {
    /// Takes the base, for example `https://ca.example:9443`, without a final slash.
    pub fn new(base: impl Into<String>) -> Self {
        Self {
            base: base.into().trim_end_matches('/').to_owned(),
            paths: Paths::USUAL,
        }
    }

    /// Puts the resources at other paths.
    #[must_use]
    pub fn with_paths(self, paths: Paths) -> Self {
        Self { paths, ..self }
    }

    /// Returns where the resources are.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Returns the directory's URL.
    pub fn directory(&self) -> String {
        self.to(self.paths.directory)
    }

    /// Returns the link to a path that begins with a slash.
    pub fn to(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Returns an account's URL: its `kid`.
    pub fn account(&self, id: AccountId) -> String {
        format!("{}{}/{id}", self.base, self.paths.account)
    }

    /// Reads an account's URL back.
    pub fn account_id(&self, url: &str) -> Option<AccountId> {
        url.strip_prefix(&self.base)?
            .strip_prefix(self.paths.account)?
            .strip_prefix('/')?
            .parse()
            .ok()
    }

    /// Returns what the URIs begin with by which records of dns-persist-01 name accounts. Nothing is served there.
    pub fn account_hash_prefix(&self) -> String {
        format!("{}{}/", self.base, path::ACCOUNT_HASH)
    }

    /// Returns the URL of an account's list of orders.
    pub fn orders(&self, id: AccountId) -> String {
        format!("{}{}/{id}", self.base, self.paths.orders)
    }

    /// Returns the URL of the page of orders after one of them.
    pub fn orders_after(&self, id: AccountId, after: OrderId) -> String {
        format!("{}{}/{id}/after/{after}", self.base, self.paths.orders)
    }

    /// Returns an order's URL.
    pub fn order(&self, id: OrderId) -> String {
        format!("{}{}/{id}", self.base, self.paths.order)
    }

    /// Returns where an order's CSR goes.
    pub fn finalize(&self, id: OrderId) -> String {
        format!("{}{}/{id}/finalize", self.base, self.paths.order)
    }

    /// Returns an authorization's URL.
    pub fn authorization(&self, id: AuthorizationId) -> String {
        format!("{}{}/{id}", self.base, self.paths.authz)
    }

    /// Returns the URL of an authorization's challenge by its position.
    pub fn challenge(&self, id: AuthorizationId, position: usize) -> String {
        format!("{}{}/{id}/{position}", self.base, self.paths.challenge)
    }

    /// Returns a certificate's URL.
    pub fn certificate(&self, serial: Serial) -> String {
        format!("{}{}/{serial}", self.base, self.paths.certificate)
    }

    /// Returns the URL of a certificate with another chain.
    pub fn alternate(&self, serial: Serial, position: usize) -> String {
        format!("{}{}/{serial}/alternate/{position}", self.base, self.paths.certificate)
    }

    /// Returns the URL of the present certificate of an order that is renewed: nobody can guess it (RFC 8739 section 7.4).
    pub fn star_certificate(&self, order: OrderId) -> String {
        format!("{}{}/{order}", self.base, self.paths.star_certificate)
    }

    /// Returns the URL of that certificate with another chain.
    pub fn star_alternate(&self, order: OrderId, position: usize) -> String {
        format!(
            "{}{}/{order}/alternate/{position}",
            self.base, self.paths.star_certificate
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_url_reads_back_only_in_its_own_form() {
        let links = Links::new("https://ca.test:9443/");
        let id = AccountId::random();
        let url = links.account(id);
        assert_eq!(links.account_id(&url), Some(id));
        for other in [
            format!("{url}/"),
            url.replace("ca.test", "CA.test"),
            url.replace("/account/", "/order/"),
            format!("{url}?x"),
            "https://elsewhere.test/acme/account/x".to_owned(),
        ] {
            assert_eq!(links.account_id(&other), None, "{other}");
        }
    }
}
