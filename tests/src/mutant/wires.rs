//! The wires between the daemon's validator and the suite's answerers: DNS, http-01 and tls-alpn-01, passed on or altered.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::server::Acceptor;

use super::fault::Prober;
use super::proxy::{Current, accept, current};

/// How long the suite's answerers may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The largest DNS message.
const DATAGRAM_BYTES_MAX: usize = 65_535;

fn here(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn dial(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(here(port))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Passes DNS on from one port to another.
///
/// # Panics
///
/// If the port is taken.
pub fn dns(from: u16, to: u16, fault: &Current) {
    let udp = UdpSocket::bind(here(from)).expect("a port for DNS");
    let tcp = TcpListener::bind(here(from)).expect("a port for DNS");
    let known = Arc::clone(fault);
    std::thread::spawn(move || {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while let Ok((count, peer)) = udp.recv_from(&mut buffer) {
            let (question, back) = (buffer[..count].to_vec(), udp.try_clone());
            let fault = Arc::clone(&known);
            std::thread::spawn(move || {
                if let (Ok(answer), Ok(back)) = (ask(to, &question), back) {
                    let _ = back.send_to(&current(&fault).resolve(answer), peer);
                }
            });
        }
    });
    let fault = Arc::clone(fault);
    accept(tcp, move |stream| {
        let _ = pass_tcp(stream, to, &fault);
    });
}

fn ask(port: u16, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind(here(0))?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    socket.send_to(question, here(port))?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let count = socket.recv(&mut buffer)?;
    buffer.truncate(count);
    Ok(buffer)
}

fn pass_tcp(mut stream: TcpStream, to: u16, fault: &Current) -> std::io::Result<()> {
    let mut behind = dial(to)?;
    let read = |stream: &mut TcpStream| -> std::io::Result<Vec<u8>> {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message)?;
        Ok(message)
    };
    let framed = |message: &[u8]| {
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        [&length.to_be_bytes(), message].concat()
    };
    loop {
        let question = read(&mut stream)?;
        behind.write_all(&framed(&question))?;
        let answer = current(fault).resolve(read(&mut behind)?);
        stream.write_all(&framed(&answer))?;
    }
}

/// Passes http-01 queries on from one port to another.
///
/// # Panics
///
/// If the port is taken.
pub fn http01(from: u16, to: u16, fault: &Current) {
    let fault = Arc::clone(fault);
    let listener = TcpListener::bind(here(from)).expect("a port for http-01");
    accept(listener, move |mut stream| {
        let mut buffer = vec![0; 16 * 1024];
        let (Ok(count), Ok(mut behind)) = (stream.read(&mut buffer), dial(to)) else {
            return;
        };
        if behind.write_all(&current(&fault).ask(buffer[..count].to_vec())).is_ok() {
            copy(&mut behind, &mut stream);
        }
    });
}

/// Copies until either side is done.
fn copy(from: &mut TcpStream, to: &mut TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// Passes tls-alpn-01 handshakes on from one port to another.
///
/// # Panics
///
/// If the port is taken.
pub fn tls_alpn01(from: u16, to: u16, fault: &Current) {
    let fault = Arc::clone(fault);
    let listener = TcpListener::bind(here(from)).expect("a port for tls-alpn-01");
    accept(listener, move |mut stream| {
        let mut hello = vec![0; 16 * 1024];
        let (Ok(count), Ok(mut behind)) = (stream.read(&mut hello), dial(to)) else {
            return;
        };
        if let (Some(prober), Some(name)) = (current(&fault).prober, server_name(&hello[..count])) {
            let _ = probe(to, prober, name);
        }
        if behind.write_all(&hello[..count]).is_err() {
            return;
        }
        let (Ok(mut back), Ok(mut front)) = (behind.try_clone(), stream.try_clone()) else {
            return;
        };
        let returning = std::thread::spawn(move || copy(&mut back, &mut front));
        copy(&mut stream, &mut behind);
        let _ = returning.join();
    });
}

/// The name in a ClientHello.
fn server_name(mut hello: &[u8]) -> Option<String> {
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut hello).ok()?;
    let accepted = acceptor.accept().ok()??;
    accepted.client_hello().server_name().map(str::to_owned)
}

/// A handshake in the validator's place, with a fault.
fn probe(port: u16, prober: Prober, name: String) -> Result<(), Box<dyn std::error::Error>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trusting::Everybody))
        .with_no_client_auth();
    config.alpn_protocols = match prober {
        Prober::OffersMore => vec![b"http/1.1".to_vec(), b"acme-tls/1".to_vec()],
        Prober::SendsData => vec![b"acme-tls/1".to_vec()],
    };
    let connection = rustls::ClientConnection::new(Arc::new(config), ServerName::try_from(name)?)?;
    let mut stream = rustls::StreamOwned::new(connection, dial(port)?);
    if prober == Prober::SendsData {
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    }
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}

mod trusting {
    //! A verifier that looks at nothing: what is shown here is the suite's own.

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    /// Trusts everybody.
    #[derive(Debug)]
    pub struct Everybody;

    impl ServerCertVerifier for Everybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }
}
