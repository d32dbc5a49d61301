//! tls-alpn-01 against TLS servers on loopback, and the certificates that must not pass.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, SanType};
use rustls::version::{TLS12, TLS13};
use sigillo_protocol::acme::challenge::{ChallengeType, key_authorization_digest};
use sigillo_protocol::acme::identifier::Name;
use sigillo_protocol::acme::problem::ErrorType;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::super::Failure;
use super::super::testing::{NameServer, mute, server_config, target, validator};
use super::{Defect, PROTOCOL, check, sni};

const KEY_AUTHORIZATION: &str = "token.thumbprint";
const IDENTIFIER: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 31];
const DRAFT_IDENTIFIER: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 30, 1];

fn digest() -> [u8; 32] {
    key_authorization_digest(KEY_AUTHORIZATION)
}

fn extension(oid: &[u64], critical: bool, value: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, value.to_vec());
    extension.set_criticality(critical);
    extension
}

fn right() -> CustomExtension {
    extension(IDENTIFIER, true, &[&[4, 32][..], &digest()].concat())
}

fn params(names: &[&str], extensions: Vec<CustomExtension>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        })
        .collect();
    params.custom_extensions = extensions;
    params
}

fn dns(name: &str) -> Name {
    Name::Dns(name.parse().unwrap())
}

/// RFC 8737 section 3; threat A7 is the row with the draft's identifier.
#[test]
fn certificates_are_checked() {
    let digest = digest();
    let value = |octets: &[u8]| [&[4, u8::try_from(octets.len()).unwrap()][..], octets].concat();
    let with = |critical, value: &[u8]| vec![extension(IDENTIFIER, critical, value)];
    let good = || vec![right()];
    let no_digest = |octets: &[u8]| Some(Defect::NoDigest(super::excerpt(octets)));
    let mut trailing = value(&digest);
    trailing.push(0);
    let long_form = [&[4, 0x81, 32][..], &digest].concat();
    let mut other = digest;
    other[31] ^= 1;
    let other_name = Some(Defect::OtherName("host.test".into()));
    let cases: Vec<(&str, CertificateParams, Option<Defect>)> = vec![
        ("right", params(&["host.test"], good()), None),
        ("another case", params(&["HOST.Test"], good()), None),
        ("other name", params(&["other.test"], good()), other_name.clone()),
        ("wildcard", params(&["*.test"], good()), other_name.clone()),
        ("trailing dot", params(&["host.test."], good()), other_name.clone()),
        ("address", params(&["127.0.0.1"], good()), other_name.clone()),
        (
            "two names",
            params(&["host.test", "other.test"], good()),
            Some(Defect::SeveralNames(2)),
        ),
        (
            "twice the name",
            params(&["host.test", "host.test"], good()),
            Some(Defect::SeveralNames(2)),
        ),
        (
            "name and address",
            params(&["host.test", "127.0.0.1"], good()),
            Some(Defect::SeveralNames(2)),
        ),
        ("common name only", params(&[], good()), Some(Defect::NoSubjectAltName)),
        (
            "no identifier",
            params(&["host.test"], vec![]),
            Some(Defect::NoIdentifier),
        ),
        (
            "the draft's identifier",
            params(&["host.test"], vec![extension(DRAFT_IDENTIFIER, true, &value(&digest))]),
            Some(Defect::NoIdentifier),
        ),
        (
            "two identifiers",
            params(&["host.test"], vec![right(), right()]),
            Some(Defect::SeveralIdentifiers),
        ),
        (
            "not critical",
            params(&["host.test"], with(false, &value(&digest))),
            Some(Defect::NotCritical),
        ),
        (
            "other digest",
            params(&["host.test"], with(true, &value(&other))),
            Some(Defect::OtherDigest),
        ),
        (
            "raw octets",
            params(&["host.test"], with(true, &digest)),
            no_digest(&digest),
        ),
        (
            "31 octets",
            params(&["host.test"], with(true, &value(&digest[..31]))),
            no_digest(&value(&digest[..31])),
        ),
        (
            "33 octets",
            params(&["host.test"], with(true, &value(&[&digest[..], &[0]].concat()))),
            no_digest(&value(&[&digest[..], &[0]].concat())),
        ),
        (
            "octets behind",
            params(&["host.test"], with(true, &trailing)),
            no_digest(&trailing),
        ),
        (
            "long length",
            params(&["host.test"], with(true, &long_form)),
            no_digest(&long_form),
        ),
        ("empty", params(&["host.test"], with(true, &[])), no_digest(&[])),
    ];
    for (case, params, wanted) in cases {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let verdict = check(certificate.der(), &dns("host.test"), &digest);
        assert_eq!(verdict.err(), wanted, "{case}");
    }
    assert_eq!(
        check(b"\x30\x03\x02\x01\x00", &dns("host.test"), &digest),
        Err(Defect::Unreadable)
    );
}

#[test]
fn an_address_certificate_holds_exactly_the_address() {
    let (four, six) = (
        Name::Ip(Ipv4Addr::LOCALHOST.into()),
        Name::Ip(Ipv6Addr::LOCALHOST.into()),
    );
    for (name, names, good) in [
        (&four, vec!["127.0.0.1"], true),
        (&six, vec!["::1"], true),
        (&four, vec!["127.0.0.2"], false),
        (&four, vec!["::1"], false),
        (&four, vec!["127.0.0.1", "127.0.0.2"], false),
        (&four, vec!["1.0.0.127.in-addr.arpa"], false),
    ] {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params(&names, vec![right()]).self_signed(&key).unwrap();
        let verdict = check(certificate.der(), name, &digest());
        assert_eq!(verdict.is_ok(), good, "{name} {names:?}: {verdict:?}");
    }
}

#[test]
fn server_names_of_addresses_lie_in_the_reverse_tree() {
    for (address, wanted) in [
        ("192.0.2.1", "1.2.0.192.in-addr.arpa"),
        (
            "2001:db8::567:89ab",
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
        ),
    ] {
        assert_eq!(sni(&Name::Ip(address.parse().unwrap())), wanted);
    }
    assert_eq!(sni(&dns("host.test")), "host.test");
}

/// What a TLS server saw of one connection: server name, protocols, application data.
type Seen = Arc<Mutex<Vec<(Option<String>, Vec<Vec<u8>>, std::io::Result<Vec<u8>>)>>>;

/// Serves one certificate and writes down what clients say.
async fn serve(address: &str, config: Arc<rustls::ServerConfig>) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Seen = Arc::default();
    let log = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = tokio_rustls::LazyConfigAcceptor::new(Default::default(), stream);
            let Ok(start) = acceptor.await else { continue };
            let hello = start.client_hello();
            let name = hello.server_name().map(str::to_owned);
            let protocols = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
            let data = match start.into_stream(config.clone()).await {
                Ok(mut stream) => {
                    let mut data = Vec::new();
                    stream.read_to_end(&mut data).await.map(|_| data)
                }
                Err(error) => Err(error),
            };
            log.lock().unwrap().push((name, protocols, data));
        }
    });
    (address, seen)
}

async fn attempt(port: u16, name: Name) -> Result<(), Failure> {
    let names = NameServer::start().await;
    names.here("host.test");
    let validator = validator(&names, |settings| {
        settings.tls_alpn01_port = port;
        settings.attempt_timeout = Duration::from_secs(2);
    });
    let target = target(name, ChallengeType::TlsAlpn01, KEY_AUTHORIZATION);
    validator.attempt(&target).await.map(drop)
}

/// RFC 8737 sections 3 and 4.
#[tokio::test]
async fn shakes_hands_and_says_nothing_more() {
    for version in [&TLS12, &TLS13] {
        for (bind, name, san, server_name) in [
            ("127.0.0.1:0", dns("host.test"), "host.test", "host.test"),
            (
                "127.0.0.1:0",
                Name::Ip(Ipv4Addr::LOCALHOST.into()),
                "127.0.0.1",
                "1.0.0.127.in-addr.arpa",
            ),
            (
                "[::1]:0",
                Name::Ip(Ipv6Addr::LOCALHOST.into()),
                "::1",
                "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
            ),
        ] {
            let config = server_config(params(&[san], vec![right()]), &[PROTOCOL], &[version]);
            let (address, seen) = serve(bind, config).await;
            assert_eq!(attempt(address.port(), name).await, Ok(()), "{san}");
            for _ in 0..100 {
                if !seen.lock().unwrap().is_empty() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let seen = seen.lock().unwrap();
            let [(shown, protocols, data)] = seen.as_slice() else {
                panic!("{seen:?}")
            };
            assert_eq!(shown.as_deref(), Some(server_name));
            assert_eq!(protocols, &[PROTOCOL.to_vec()]);
            assert!(
                matches!(data, Ok(data) if data.is_empty()),
                "closed without data: {data:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_protocol_has_to_be_agreed_on() {
    for protocols in [&[][..], &[&b"http/1.1"[..]], &[&b"acme-tls/2"[..]]] {
        for version in [&TLS12, &TLS13] {
            let config = server_config(params(&["host.test"], vec![right()]), protocols, &[version]);
            let (address, _seen) = serve("127.0.0.1:0", config).await;
            let failure = attempt(address.port(), dns("host.test")).await.unwrap_err();
            assert_eq!(failure.problem.kind, ErrorType::Tls, "{protocols:?}: {failure}");
        }
    }
}

#[tokio::test]
async fn a_wrong_certificate_is_an_incorrect_response() {
    let config = server_config(params(&["host.test"], vec![]), &[PROTOCOL], rustls::ALL_VERSIONS);
    let (address, _seen) = serve("127.0.0.1:0", config).await;
    let failure = attempt(address.port(), dns("host.test")).await.unwrap_err();
    assert_eq!(failure.problem.kind, ErrorType::IncorrectResponse);
    assert!(failure.problem.detail.contains("no acmeIdentifier"), "{failure}");
    assert!(failure.transient);
}

/// A server hello of TLS 1.1, as a server that knows nothing newer would send it.
const SERVER_HELLO_11: &[u8] = &[
    22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
    23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 0, 0, 47, 0,
];

/// Threats A7 and V7.
#[tokio::test]
async fn old_tls_other_protocols_and_silence_fail() {
    for (answer, kind) in [
        (SERVER_HELLO_11, ErrorType::Tls),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorType::Tls),
        (b"", ErrorType::Tls),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
        });
        let failure = attempt(port, dns("host.test")).await.unwrap_err();
        assert_eq!(failure.problem.kind, kind, "{failure}");
    }
    let (address, _kept) = mute().await;
    let failure = attempt(address.port(), dns("host.test")).await.unwrap_err();
    assert_eq!(failure.problem.kind, ErrorType::Connection, "{failure}");
}

#[tokio::test]
async fn only_the_configured_port_counts() {
    let config = server_config(params(&["host.test"], vec![right()]), &[PROTOCOL], &[&TLS13]);
    let (address, seen) = serve("127.0.0.1:0", config).await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    assert_ne!(address.port(), closed);
    let failure = attempt(closed, dns("host.test")).await.unwrap_err();
    assert_eq!(failure.problem.kind, ErrorType::Connection);
    assert!(seen.lock().unwrap().is_empty());
}
