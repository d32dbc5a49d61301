//! Free ports on loopback, picked so that parallel test processes seldom meet.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where picking starts: above the usual services.
const FIRST: u32 = 16_000;
/// Where it ends: below the range from which the kernel takes outgoing ports, so that a
/// connection of another test cannot sit on a port between picking and binding.
const LAST: u32 = 32_000;
/// How far two processes with neighbouring ids start apart.
const STRIDE: u32 = 41;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Returns a port that is free for TCP and UDP on 127.0.0.1 right now.
///
/// # Panics
///
/// If no port of the range is free.
pub fn free() -> u16 {
    let span = LAST - FIRST;
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (std::process::id().wrapping_mul(STRIDE).wrapping_add(step)) % span;
        let port = u16::try_from(port).expect("invariant: LAST fits a port");
        let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
        let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
        if tcp.is_ok() && udp.is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {LAST}");
}
