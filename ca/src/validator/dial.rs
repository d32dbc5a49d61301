//! Reaches a target: looks its name up, judges each address, and dials the very address judged.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sigillo_protocol::acme::problem::ErrorType;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::address::{AddressRules, Via};
use super::failure::{Failure, reason};
use super::resolve::Resolver;

/// How many addresses of one name are dialled. Names behind balancers have more, but who answers at
/// none of six does not answer.
const ADDRESSES_MAX: usize = 6;

/// How long one address has to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Until when a try has to be decided. Each wait names itself, so that the verdict can say where
/// the time went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    total: Duration,
}

impl Deadline {
    /// Starts to count.
    pub(super) fn after(total: Duration) -> Self {
        Self {
            at: Instant::now() + total,
            total,
        }
    }

    /// Waits for a step, at most until the deadline.
    pub(super) async fn bound<T>(self, step: &str, future: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::time::timeout_at(self.at, future).await.map_err(|_| {
            Failure::connection(format!(
                "{step}: not done when the {} s for one try were over",
                self.total.as_secs_f32()
            ))
        })
    }

    fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// A name, to be looked up.
    Name(String),
    /// An address, which is not looked up anywhere (RFC 8738 section 4).
    Ip(IpAddr),
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

/// An open connection and whose it is.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
}

/// Dials hosts under the address rules.
pub(super) struct Dialer {
    resolver: Arc<Resolver>,
    rules: AddressRules,
}

impl Dialer {
    /// Takes the means and the rules.
    pub(super) fn new(resolver: Arc<Resolver>, rules: AddressRules) -> Self {
        Self { resolver, rules }
    }

    /// Connects to the first of a host's addresses that is allowed and accepts.
    ///
    /// The name is looked up once for each call and the judged addresses are dialled themselves, so
    /// that a second answer of a name server cannot lead elsewhere.
    pub(super) async fn dial(
        &self,
        host: &Host,
        port: u16,
        via: Via,
        deadline: Deadline,
    ) -> Result<Connected, Failure> {
        let addresses = self.addresses(host, deadline).await?;
        let (allowed, refused) = self.judge(addresses, via);
        if allowed.is_empty() {
            return Err(refusal(host, &refused, via));
        }
        let mut tried = Vec::new();
        let count = allowed.len();
        for (index, address) in allowed.into_iter().enumerate() {
            let peer = SocketAddr::new(address, port);
            let fair = deadline.remaining() / u32::try_from(count - index).unwrap_or(1);
            match tokio::time::timeout(CONNECT_TIMEOUT.min(fair), TcpStream::connect(peer)).await {
                Ok(Ok(stream)) => return Ok(Connected { stream, peer }),
                Ok(Err(error)) => tried.push(format!("{peer}: {}", reason(error))),
                Err(_) => tried.push(format!("{peer}: no answer in time")),
            }
        }
        Err(Failure::connection(format!(
            "could not connect to {host} ({})",
            tried.join("; ")
        )))
    }

    async fn addresses(&self, host: &Host, deadline: Deadline) -> Result<Vec<IpAddr>, Failure> {
        let name = match host {
            Host::Ip(ip) => return Ok(vec![*ip]),
            Host::Name(name) => name,
        };
        let lookup = self.resolver.addresses(name);
        match deadline
            .bound(&format!("looking up the addresses of {name}"), lookup)
            .await?
        {
            Ok(addresses) if addresses.is_empty() => {
                Err(Failure::dns(format!("{name} has neither an A nor an AAAA record")))
            }
            Ok(addresses) => Ok(addresses),
            Err(error) => Err(Failure::dns(format!(
                "looking up the addresses of {name} failed: {error}"
            ))),
        }
    }

    fn judge(&self, addresses: Vec<IpAddr>, via: Via) -> (Vec<IpAddr>, Vec<String>) {
        let mut allowed = Vec::new();
        let mut refused = Vec::new();
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            match self.rules.judge(address, via) {
                Ok(()) if !allowed.contains(&address) => allowed.push(address),
                Ok(()) => {}
                Err(refusal) => refused.push(refusal.to_string()),
            }
        }
        (allowed, refused)
    }
}

/// A target whose own address is refused stays refused; a name or a redirect may be corrected.
fn refusal(host: &Host, refused: &[String], via: Via) -> Failure {
    let detail = format!("{host} is not contacted: {}", refused.join("; "));
    match (host, via) {
        (Host::Ip(_), Via::Target) => Failure::lasting(ErrorType::RejectedIdentifier, detail),
        _ => Failure::connection(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validator::settings::Dnssec;

    fn dialer(deny: &[&str]) -> Dialer {
        let resolver = Resolver::new(Some("127.0.0.1:1"), Dnssec::Resolver, None).unwrap();
        let deny = deny.iter().map(|n| n.parse().unwrap()).collect();
        Dialer::new(Arc::new(resolver), AddressRules::new(vec![], deny))
    }

    #[tokio::test]
    async fn falls_back_to_the_other_family() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let host = Host::Name("localhost".into());
        let deadline = Deadline::after(Duration::from_secs(5));
        let connected = dialer(&[])
            .dial(&host, here.port(), Via::Target, deadline)
            .await
            .unwrap();
        assert_eq!(connected.peer, here, "::1 refuses, 127.0.0.1 accepts");
    }

    #[tokio::test]
    async fn an_address_that_is_refused_is_not_dialled() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let deadline = Deadline::after(Duration::from_secs(5));
        let dialer = dialer(&["127.0.0.0/8", "::1/128"]);
        for (host, transient) in [(Host::Ip(here.ip()), false), (Host::Name("localhost".into()), true)] {
            let failure = dialer
                .dial(&host, here.port(), Via::Target, deadline)
                .await
                .unwrap_err();
            assert!(failure.problem.detail.contains("deny_networks"), "{failure}");
            assert_eq!(failure.transient, transient, "{failure}");
        }
        let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(nobody.is_err(), "nobody may have connected");
    }

    #[tokio::test]
    async fn a_step_that_takes_too_long_is_named() {
        let deadline = Deadline::after(Duration::from_millis(20));
        let failure = deadline
            .bound("reading", std::future::pending::<()>())
            .await
            .unwrap_err();
        assert!(failure.problem.detail.starts_with("reading: "), "{failure}");
        assert_eq!(failure.problem.kind, ErrorType::Connection);
    }
}
