//! Where the responders listen: addresses as Go programs write them, kept on loopback unless told otherwise.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::{TcpListener, UdpSocket};

/// How often a port is looked for that is free for both UDP and TCP, where any will do.
const PAIR_TRIES: u32 = 16;

/// From where the responders can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only from this machine: an address of all interfaces is narrowed to loopback, others are refused.
    Loopback,
    /// As the addresses say.
    Public,
}

/// One place to listen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// This address.
    At(SocketAddr),
    /// Both loopback addresses, where the machine has both.
    Loopback(u16),
    /// All interfaces.
    Everywhere(u16),
}

/// An address that cannot be listened at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// It is not written as an address.
    #[error("{0:?} is no address to listen at; write HOST:PORT or :PORT, and several with commas between")]
    Unreadable(String),
    /// It could be reached by others.
    #[error(
        "{0} is not on loopback; these responders obey anybody who reaches them. --public listens there all the same"
    )]
    NotLoopback(String),
}

/// Reads a list of addresses with commas between; an empty one is none.
///
/// # Errors
/// The first address that cannot be read or may not be used.
pub fn places(list: &str, reach: Reach) -> Result<Vec<Place>, PlaceError> {
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| place(part, reach)).collect()
}

fn place(text: &str, reach: Reach) -> Result<Place, PlaceError> {
    let unreadable = || PlaceError::Unreadable(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(unreadable)?;
    let port: u16 = port.parse().map_err(|_| unreadable())?;
    let place = match host {
        "" | "[::]" => Place::Everywhere(port),
        "localhost" => Place::Loopback(port),
        bracketed if bracketed.starts_with('[') => {
            let inner = bracketed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let address: Ipv6Addr = inner.and_then(|text| text.parse().ok()).ok_or_else(unreadable)?;
            Place::At((address, port).into())
        }
        plain => {
            let address: Ipv4Addr = plain.parse().map_err(|_| unreadable())?;
            Place::At((address, port).into())
        }
    };
    narrow(place, text, reach)
}

fn narrow(place: Place, text: &str, reach: Reach) -> Result<Place, PlaceError> {
    match (place, reach) {
        (Place::Everywhere(port), Reach::Loopback) => Ok(Place::Loopback(port)),
        (Place::At(address), Reach::Loopback) if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
            Ok(Place::At((Ipv4Addr::LOCALHOST, address.port()).into()))
        }
        (Place::At(address), Reach::Loopback) if !address.ip().is_loopback() => {
            Err(PlaceError::NotLoopback(text.to_owned()))
        }
        (place, _) => Ok(place),
    }
}

impl Place {
    /// Listens for TCP.
    pub(super) async fn tcp(self) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
        let (first, second) = self.candidates();
        let mut listeners = Vec::new();
        match TcpListener::bind(first).await {
            Ok(listener) => listeners.push(listener),
            Err(error) if second.is_some() && is_absent(&error) => {}
            Err(error) => return Err((first, error)),
        }
        if let Some(mut second) = second.filter(|_| listeners.is_empty() || matches!(self, Self::Loopback(_))) {
            if let (0, Some(Ok(taken))) = (second.port(), listeners.first().map(TcpListener::local_addr)) {
                second.set_port(taken.port());
            }
            match TcpListener::bind(second).await {
                Ok(listener) => listeners.push(listener),
                Err(error) if !listeners.is_empty() && is_absent(&error) => {}
                Err(error) => return Err((second, error)),
            }
        }
        Ok(listeners)
    }

    /// Listens for both UDP and TCP, at the same addresses.
    pub(super) async fn both(self) -> Result<Vec<(UdpSocket, TcpListener)>, (SocketAddr, io::Error)> {
        let any_port = self.candidates().0.port() == 0;
        let mut tries = if any_port { PAIR_TRIES } else { 1 };
        loop {
            tries -= 1;
            match self.pairs().await {
                Err((_, error)) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
                settled => return settled,
            }
        }
    }

    async fn pairs(self) -> Result<Vec<(UdpSocket, TcpListener)>, (SocketAddr, io::Error)> {
        let mut pairs = Vec::new();
        for listener in self.tcp().await? {
            let address = listener.local_addr().map_err(|error| (self.candidates().0, error))?;
            let socket = UdpSocket::bind(address).await.map_err(|error| (address, error))?;
            pairs.push((socket, listener));
        }
        Ok(pairs)
    }

    /// Returns the address to begin with, and the one that goes with it or stands in for it.
    fn candidates(self) -> (SocketAddr, Option<SocketAddr>) {
        match self {
            Self::At(address) => (address, None),
            Self::Loopback(port) => (
                (Ipv4Addr::LOCALHOST, port).into(),
                Some((Ipv6Addr::LOCALHOST, port).into()),
            ),
            // The IPv6 one takes IPv4 too, where there is IPv6.
            Self::Everywhere(port) => (
                (Ipv6Addr::UNSPECIFIED, port).into(),
                Some((Ipv4Addr::UNSPECIFIED, port).into()),
            ),
        }
    }
}

/// Says whether an address family is not there at all, as against a port that somebody else has.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    ) || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// What Linux says when a kernel has no IPv6.
const EAFNOSUPPORT: i32 = 97;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_on_loopback_unless_told_otherwise() {
        let loopback = |list| places(list, Reach::Loopback);
        let at = |address: &str| Place::At(address.parse().unwrap());
        assert_eq!(loopback(""), Ok(Vec::new()));
        assert_eq!(
            loopback(":5002, localhost:5003,"),
            Ok(vec![Place::Loopback(5002), Place::Loopback(5003)])
        );
        assert_eq!(loopback("[::]:1"), Ok(vec![Place::Loopback(1)]));
        assert_eq!(loopback("0.0.0.0:1"), Ok(vec![at("127.0.0.1:1")]));
        assert_eq!(
            loopback("[::1]:1,127.9.9.9:2"),
            Ok(vec![at("[::1]:1"), at("127.9.9.9:2")])
        );
        assert_eq!(
            loopback("10.0.0.1:1"),
            Err(PlaceError::NotLoopback("10.0.0.1:1".into()))
        );
        let public = |list| places(list, Reach::Public);
        assert_eq!(public(":1"), Ok(vec![Place::Everywhere(1)]));
        assert_eq!(public("10.0.0.1:1"), Ok(vec![at("10.0.0.1:1")]));
        for wrong in ["5002", "host:1", ":70000", "::1:5", "[::1:5", "[nonsense]:5", ":"] {
            assert_eq!(loopback(wrong), Err(PlaceError::Unreadable(wrong.into())), "{wrong}");
        }
    }

    #[tokio::test]
    async fn listens_at_both_loopback_addresses_on_one_port() {
        let pairs = Place::Loopback(0).both().await.unwrap();
        let ports: Vec<u16> = pairs.iter().map(|(_, tcp)| tcp.local_addr().unwrap().port()).collect();
        assert!(ports.windows(2).all(|two| two[0] == two[1]), "{ports:?}");
        for (udp, tcp) in &pairs {
            assert_eq!(udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        }
        let taken = Place::At(pairs[0].1.local_addr().unwrap());
        assert_eq!(taken.tcp().await.unwrap_err().1.kind(), io::ErrorKind::AddrInUse);
    }
}
