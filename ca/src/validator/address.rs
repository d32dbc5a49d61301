//! Which addresses the validator dials: a pure decision, made for each address just before dialling.
//!
//! The validator is told where to connect by the people it checks, so it could be used to reach
//! what only the CA's host can reach. A certificate authority for internal names, on the other
//! hand, has to reach private and loopback addresses: that is where its subscribers live. So these
//! two are allowed, and everything is refused that is never a subscriber: link-local addresses
//! with the clouds' metadata services, multicast, unspecified, documentation and reserved ranges.
//! A CA that validates public names adds `deny_networks` for its own private ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// An address that is not dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    address: IpAddr,
    why: &'static str,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is not allowed ({})", self.address, self.why)
    }
}

/// How the validator came to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// It is the target's own address.
    Target,
    /// The answer of a target that is not on loopback redirected to it.
    Redirect,
}

/// The operator's networks over the built-in ones.
#[derive(Debug, Clone)]
pub(super) struct AddressRules {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    refused: Vec<(IpNet, &'static str)>,
}

/// What is refused unless the operator allows it, from the IANA special-purpose registries.
const REFUSED: &[(&str, &str)] = &[
    ("0.0.0.0/8", "this network"),
    ("169.254.0.0/16", "link-local"),
    ("192.0.0.0/24", "protocol assignments"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "6to4 relay"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("64:ff9b:1::/48", "local translation"),
    ("100::/64", "discard"),
    ("2001::/23", "protocol assignments"),
    ("2001:db8::/32", "documentation"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
    // Metadata services of clouds that lie outside link-local. They hand out the host's
    // credentials to whoever can make it send a request.
    ("100.100.100.200/32", "cloud metadata"),
    ("168.63.129.16/32", "cloud metadata"),
    ("fd00:ec2::254/128", "cloud metadata"),
    ("fd20:ce::254/128", "cloud metadata"),
];

impl AddressRules {
    /// Takes the operator's networks.
    pub(super) fn new(allow: Vec<IpNet>, deny: Vec<IpNet>) -> Self {
        let refused = REFUSED
            .iter()
            .map(|(network, why)| {
                (
                    network
                        .parse()
                        .expect("invariant: REFUSED holds networks, a test reads them"),
                    *why,
                )
            })
            .collect();
        Self { allow, deny, refused }
    }

    /// Decides whether an address may be dialled.
    ///
    /// An address that carries an IPv4 address inside (mapped, compatible, 6to4, NAT64) is judged
    /// in both forms, since that is where the connection may end.
    pub(super) fn judge(&self, address: IpAddr, via: Via) -> Result<(), Refused> {
        let forms: Vec<IpAddr> = std::iter::once(address)
            .chain(embedded(address).map(IpAddr::V4))
            .collect();
        let within = |networks: &[IpNet]| {
            networks
                .iter()
                .any(|network| forms.iter().any(|form| network.contains(form)))
        };
        if within(&self.deny) {
            return Err(Refused {
                address,
                why: "denied by validation.deny_networks",
            });
        }
        if within(&self.allow) {
            return Ok(());
        }
        // A subscriber that is not on this host has no reason to send us to this host, where
        // services listen that trust whoever comes from loopback.
        if via == Via::Redirect && forms.iter().any(IpAddr::is_loopback) {
            return Err(Refused {
                address,
                why: "loopback, behind a redirect",
            });
        }
        let refusal = self
            .refused
            .iter()
            .find(|(network, _)| forms.iter().any(|form| network.contains(form)));
        match refusal {
            Some((_, why)) => Err(Refused { address, why }),
            None => Ok(()),
        }
    }
}

/// Returns the IPv4 address that an IPv6 address carries, if it carries one.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    if address == Ipv6Addr::LOCALHOST || address == Ipv6Addr::UNSPECIFIED {
        return None;
    }
    let octets = address.octets();
    let tail = || Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15]);
    match address.segments() {
        // ::ffff:a.b.c.d, and the deprecated ::a.b.c.d
        [0, 0, 0, 0, 0, 0xffff | 0, ..] => Some(tail()),
        // 64:ff9b::a.b.c.d (RFC 6052)
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(tail()),
        // 2002:abcd:: (RFC 3056)
        [0x2002, ..] => Some(Ipv4Addr::new(octets[2], octets[3], octets[4], octets[5])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str], deny: &[&str]) -> AddressRules {
        let read = |list: &[&str]| list.iter().map(|n| n.parse().unwrap()).collect();
        AddressRules::new(read(allow), read(deny))
    }

    fn check(rules: &AddressRules, address: &str, allowed: bool) {
        let verdict = rules.judge(address.parse().unwrap(), Via::Target);
        assert_eq!(verdict.is_ok(), allowed, "{address}: {verdict:?}");
    }

    #[test]
    fn dials_where_subscribers_live() {
        let rules = rules(&[], &[]);
        for address in [
            "8.8.8.8",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "127.0.0.1",
            "::1",
            "fd00::1",
            "2606:4700::1111",
            "::ffff:10.0.0.1",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            check(&rules, address, true);
        }
    }

    #[test]
    fn refuses_what_is_never_a_subscriber() {
        let rules = rules(&[], &[]);
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "::",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fd00:ec2::254",
            "64:ff9b:1::1",
        ] {
            check(&rules, address, false);
        }
    }

    #[test]
    fn judges_the_ipv4_address_inside() {
        let rules = rules(&[], &[]);
        for address in [
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            check(&rules, address, false);
        }
    }

    #[test]
    fn allow_wins_over_the_built_in_rules_and_deny_over_all() {
        let rules = rules(
            &["169.254.0.0/16", "10.0.0.0/8"],
            &["10.1.0.0/16", "127.0.0.0/8", "::1/128"],
        );
        for (address, allowed) in [
            ("169.254.1.1", true),
            ("::ffff:169.254.1.1", true),
            ("10.2.0.1", true),
            ("10.1.0.1", false),
            ("::ffff:10.1.0.1", false),
            ("64:ff9b::10.1.0.1", false),
            ("2002:a01:1::", false),
            ("127.0.0.1", false),
            ("::ffff:127.0.0.1", false),
            ("::1", false),
        ] {
            check(&rules, address, allowed);
        }
    }

    #[test]
    fn a_redirect_from_elsewhere_does_not_reach_loopback() {
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::127.0.0.1",
        ] {
            let address = address.parse().unwrap();
            assert!(rules(&[], &[]).judge(address, Via::Redirect).is_err(), "{address}");
            assert!(rules(&[], &[]).judge(address, Via::Target).is_ok(), "{address}");
            let open = rules(&["127.0.0.0/8", "::1/128"], &[]);
            assert!(open.judge(address, Via::Redirect).is_ok(), "{address}");
        }
    }
}
