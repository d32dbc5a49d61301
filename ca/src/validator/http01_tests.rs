//! http-01 against web servers on loopback.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use sigillo_protocol::acme::challenge::ChallengeType;
use sigillo_protocol::acme::identifier::Name;
use sigillo_protocol::acme::problem::ErrorType;
use tokio::io::AsyncWriteExt;

use super::super::testing::{self, Act, NameServer, WebServer, mute, server_config, validator};
use super::super::{Failure, Target, ValidationSettings};

const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";
const KEY_AUTHORIZATION: &str =
    "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ";
const PATH: &str = "/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";

fn target(name: Name) -> Target {
    Target {
        token: TOKEN.into(),
        ..testing::target(name, ChallengeType::Http01, KEY_AUTHORIZATION)
    }
}

fn dns(name: &str) -> Name {
    Name::Dns(name.parse().unwrap())
}

/// Validates `host.test` at 127.0.0.1 and the server's port.
async fn attempt_with(server: &WebServer, change: impl FnOnce(&mut ValidationSettings)) -> Result<(), Failure> {
    let names = NameServer::start().await;
    names.here("host.test").here("other.test");
    let port = server.address.port();
    let validator = validator(&names, |settings| {
        settings.http01_port = port;
        change(settings);
    });
    validator.attempt(&target(dns("host.test"))).await.map(drop)
}

async fn attempt(server: &WebServer) -> Result<(), Failure> {
    attempt_with(server, |_| ()).await
}

/// RFC 8555 section 8.3.
#[tokio::test]
async fn sends_a_plain_get_and_takes_the_key_authorization() {
    let server = WebServer::start(|_| Act::ok(KEY_AUTHORIZATION)).await;
    attempt(&server).await.unwrap();
    let requests = server.requests();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert!(request.starts_with(&format!("GET {PATH} HTTP/1.1\r\n")), "{request}");
    let request = request.to_ascii_lowercase();
    for field in [
        format!("host: host.test:{}\r\n", server.address.port()),
        "connection: close\r\n".into(),
        "user-agent: sigillo-ca/".into(),
        "accept-encoding: identity\r\n".into(),
    ] {
        assert!(request.contains(&field), "{field} in {request}");
    }
}

#[test]
fn the_host_field_has_no_port_where_it_is_80() {
    for (host, port, authority) in [
        (super::Host::Name("host.test".into()), 80, "host.test"),
        (super::Host::Name("host.test".into()), 8080, "host.test:8080"),
        (super::Host::Ip(Ipv4Addr::new(10, 0, 0, 1).into()), 80, "10.0.0.1"),
        (super::Host::Ip(Ipv6Addr::LOCALHOST.into()), 80, "[::1]"),
        (super::Host::Ip(Ipv6Addr::LOCALHOST.into()), 81, "[::1]:81"),
    ] {
        let url = format!(
            "http://{}:{port}/x",
            match &host {
                super::Host::Ip(std::net::IpAddr::V6(ip)) => format!("[{ip}]"),
                other => other.to_string(),
            }
        );
        let hop = super::Hop {
            url: url.parse().unwrap(),
            host,
            port,
            via: super::Via::Target,
        };
        let request = super::request(&hop).unwrap();
        assert_eq!(request.headers()["host"], authority);
    }
}

#[tokio::test]
async fn judges_answers() {
    let spaced = format!("{KEY_AUTHORIZATION}\r\n \t\n");
    let led = format!(" {KEY_AUTHORIZATION}");
    let short = &KEY_AUTHORIZATION[..KEY_AUTHORIZATION.len() - 1];
    let undotted = KEY_AUTHORIZATION.replace('.', "");
    let padded = format!("{KEY_AUTHORIZATION}{}", " ".repeat(4096));
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{KEY_AUTHORIZATION}\r\n0\r\n\r\n",
        KEY_AUTHORIZATION.len()
    );
    let until_close = format!("HTTP/1.0 200 OK\r\n\r\n{KEY_AUTHORIZATION}");
    let zipped = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\u{8}xy";
    for (name, act, wanted) in [
        ("exact", Act::ok(KEY_AUTHORIZATION), None),
        ("whitespace behind", Act::ok(&spaced), None),
        ("chunked", Act::Send(chunked.into()), None),
        ("until close", Act::Send(until_close.into()), None),
        ("whitespace before", Act::ok(&led), Some(ErrorType::IncorrectResponse)),
        (
            "too much whitespace",
            Act::ok(&padded),
            Some(ErrorType::IncorrectResponse),
        ),
        ("empty", Act::ok(""), Some(ErrorType::IncorrectResponse)),
        ("cut", Act::ok(short), Some(ErrorType::IncorrectResponse)),
        ("no dot", Act::ok(&undotted), Some(ErrorType::IncorrectResponse)),
        ("token only", Act::ok(TOKEN), Some(ErrorType::IncorrectResponse)),
        (
            "compressed",
            Act::Send(zipped.into()),
            Some(ErrorType::IncorrectResponse),
        ),
        (
            "404",
            Act::status(404, KEY_AUTHORIZATION),
            Some(ErrorType::IncorrectResponse),
        ),
        (
            "500",
            Act::status(500, KEY_AUTHORIZATION),
            Some(ErrorType::IncorrectResponse),
        ),
        ("304", Act::status(304, ""), Some(ErrorType::IncorrectResponse)),
        (
            "no HTTP",
            Act::Send(b"SSH-2.0-x\r\n".to_vec()),
            Some(ErrorType::Connection),
        ),
        ("nothing", Act::Send(vec![]), Some(ErrorType::Connection)),
    ] {
        let server = WebServer::start(move |_| act.clone()).await;
        let verdict = attempt(&server).await;
        assert_eq!(
            verdict.as_ref().err().map(|f| f.problem.kind.clone()),
            wanted,
            "{name}: {verdict:?}"
        );
        if let Err(failure) = verdict {
            assert!(failure.transient, "{name}");
            assert!(failure.problem.detail.contains("http://host.test"), "{name}: {failure}");
        }
    }
}

/// Threat V5.
#[tokio::test]
async fn details_hold_no_foreign_page() {
    let page = format!("{}MARKER{}", "x".repeat(1024), "<script>".repeat(100));
    let server = WebServer::start(move |_| Act::ok(&page)).await;
    let failure = attempt(&server).await.unwrap_err();
    assert!(!failure.problem.detail.contains("MARKER"), "{failure}");
    assert!(failure.problem.detail.len() < 500, "{failure}");

    let refused = WebServer::start(|_| Act::status(403, "SECRET")).await;
    let failure = attempt(&refused).await.unwrap_err();
    assert!(!failure.problem.detail.contains("SECRET"), "{failure}");

    let behind = WebServer::start(|target| match target {
        PATH => Act::redirect(302, "/inside"),
        _ => Act::ok("SECRET"),
    })
    .await;
    let failure = attempt(&behind).await.unwrap_err();
    assert!(failure.problem.detail.contains("6 octets"), "{failure}");
    assert!(!failure.problem.detail.contains("SECRET"), "{failure}");
}

#[tokio::test]
async fn follows_redirects_that_are_allowed() {
    for status in [301, 302, 307, 308] {
        for to in [
            "/there?a=b",
            "there",
            "http://other.test/there",
            "//other.test/there#part",
        ] {
            let server = WebServer::start(move |target| match target {
                PATH => Act::redirect(status, to),
                _ => Act::ok(KEY_AUTHORIZATION),
            })
            .await;
            let verdict = attempt(&server).await;
            assert_eq!(verdict, Ok(()), "{status} {to}");
            let requests = server.requests();
            assert!(!requests[1].contains('#'), "{requests:?}");
            if to.contains("other") {
                assert!(
                    requests[1].to_ascii_lowercase().contains("host: other.test\r\n"),
                    "{requests:?}"
                );
            }
        }
    }
}

/// Threat V2.
#[tokio::test]
async fn refuses_other_redirects() {
    for (status, to, why) in [
        (303, "/there", "303"),
        (300, "/there", "300"),
        (305, "/there", "305"),
        (302, "ftp://other.test/", "only http and https"),
        (302, "gopher://other.test/", "only http and https"),
        (302, "file:///etc/passwd", "only http and https"),
        (302, "http://other.test:22/", "only the ports"),
        (302, "https://other.test:8443/", "only the ports"),
        (302, "http://user:secret@other.test/", "credentials"),
        (302, "http://127.0.0.1/", "its host is an address"),
        (302, "http://[::1]/", "its host is an address"),
        (302, "http://0x7f000001/", "its host is an address"),
        (302, "http://2130706433/", "its host is an address"),
        (302, "http://exa_mple.test/", "no DNS name"),
        (302, "http://", "no URL"),
    ] {
        let server = WebServer::start(move |target| match target {
            PATH => Act::redirect(status, to),
            _ => Act::ok(KEY_AUTHORIZATION),
        })
        .await;
        let failure = attempt(&server).await.expect_err(to);
        assert!(failure.problem.detail.contains(why), "{to}: {failure}");
        assert_eq!(failure.problem.kind, ErrorType::IncorrectResponse, "{to}");
        assert_eq!(server.requests().len(), 1, "{to}");
    }
}

#[tokio::test]
async fn a_redirect_needs_one_location_of_bounded_length() {
    let long = format!("HTTP/1.1 302 X\r\nLocation: /{}\r\n\r\n", "x".repeat(4000));
    for (answer, why) in [
        ("HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n", "exactly one Location"),
        (
            "HTTP/1.1 302 X\r\nLocation: /a\r\nLocation: /b\r\n\r\n",
            "exactly one Location",
        ),
        ("HTTP/1.1 302 X\r\nLocation: /\u{fc}\r\n\r\n", "not ASCII"),
        (long.as_str(), "too long"),
    ] {
        let octets = answer.as_bytes().to_vec();
        let server = WebServer::start(move |_| Act::Send(octets.clone())).await;
        let failure = attempt(&server).await.unwrap_err();
        assert!(failure.problem.detail.contains(why), "{failure}");
    }
}

/// Threat V2.
#[tokio::test]
async fn follows_ten_redirects_and_not_eleven() {
    for (hops, good) in [(10, true), (11, false)] {
        let server = WebServer::start(move |target| {
            let number: u32 = target.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            match number {
                last if last == hops => Act::ok(KEY_AUTHORIZATION),
                number => Act::redirect(302, &format!("/{}", number + 1)),
            }
        })
        .await;
        let verdict = attempt(&server).await;
        assert_eq!(verdict.is_ok(), good, "{hops}: {verdict:?}");
    }
    let circle = WebServer::start(|_| Act::redirect(302, PATH)).await;
    let failure = attempt(&circle).await.unwrap_err();
    assert!(failure.problem.detail.contains("circle"), "{failure}");
    assert_eq!(circle.requests().len(), 1);
}

#[tokio::test]
async fn follows_a_redirect_to_https_with_any_certificate() {
    let params = rcgen::CertificateParams::new(vec!["wrong.invalid".to_owned()]).unwrap();
    let config = server_config(params, &[b"http/1.1"], rustls::ALL_VERSIONS);
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let secure = WebServer::start_at("127.0.0.1:0", Some(acceptor), |_| Act::ok(KEY_AUTHORIZATION)).await;
    let plain = WebServer::start(|_| Act::redirect(301, &format!("https://other.test{PATH}"))).await;
    attempt_with(&plain, |settings| settings.https_port = secure.address.port())
        .await
        .unwrap();
    assert_eq!(secure.requests().len(), 1);

    let rude = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = rude.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = rude.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    });
    let failure = attempt_with(&plain, |settings| settings.https_port = port)
        .await
        .unwrap_err();
    assert_eq!(
        failure.problem.kind,
        ErrorType::Tls,
        "plain HTTP where TLS is due: {failure}"
    );
}

/// Threats V4 and V7.
#[tokio::test]
async fn ends_in_bounded_time_and_size() {
    let head = || b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let fields = b"X-Field: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";
    for (name, act) in [
        ("endless body", Act::Endless(head(), vec![b'x'; 65536])),
        ("endless whitespace", Act::Endless(head(), vec![b' '; 65536])),
        (
            "endless head",
            Act::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), fields.to_vec()),
        ),
        (
            "endless early responses",
            Act::Endless(vec![], b"HTTP/1.1 103 Early\r\n\r\n".to_vec()),
        ),
        ("one octet at a time", Act::Drip(head(), KEY_AUTHORIZATION.into())),
        ("head one octet at a time", Act::Drip(vec![], vec![b'H'; 1000])),
        ("silence", Act::Wait),
    ] {
        let server = WebServer::start(move |_| act.clone()).await;
        let start = Instant::now();
        let verdict = attempt_with(&server, |settings| {
            settings.attempt_timeout = Duration::from_millis(700);
        })
        .await;
        assert!(verdict.is_err(), "{name}");
        assert!(
            start.elapsed() < Duration::from_millis(1500),
            "{name}: {:?}",
            start.elapsed()
        );
    }
}

#[tokio::test]
async fn the_other_family_is_tried_and_the_failure_names_all() {
    let server = WebServer::start(|_| Act::ok(KEY_AUTHORIZATION)).await;
    let names = NameServer::start().await;
    let (six, four) = (Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into());
    names
        .address("both.test", &[six, four])
        .address("six.test", &[six])
        .address("none.test", &[]);
    let port = server.address.port();
    let validator = validator(&names, |settings| settings.http01_port = port);
    validator.attempt(&target(dns("both.test"))).await.unwrap();
    let failure = validator.attempt(&target(dns("six.test"))).await.unwrap_err();
    assert_eq!(failure.problem.kind, ErrorType::Connection);
    assert!(failure.problem.detail.contains(&format!("[::1]:{port}")), "{failure}");
    for name in ["none.test", "missing.test"] {
        let failure = validator.attempt(&target(dns(name))).await.unwrap_err();
        assert_eq!(failure.problem.kind, ErrorType::Dns, "{name}: {failure}");
    }
}

/// RFC 8738 sections 4 and 5.
#[tokio::test]
async fn an_address_is_asked_itself_without_dns() {
    let server = WebServer::start(|_| Act::ok(KEY_AUTHORIZATION)).await;
    let server_six = WebServer::start_at(&format!("[::1]:{}", server.address.port()), None, |_| {
        Act::ok(KEY_AUTHORIZATION)
    })
    .await;
    let names = NameServer::start().await;
    let port = server.address.port();
    let validator = validator(&names, |settings| settings.http01_port = port);
    validator
        .attempt(&target(Name::Ip(Ipv4Addr::LOCALHOST.into())))
        .await
        .unwrap();
    validator
        .attempt(&target(Name::Ip(Ipv6Addr::LOCALHOST.into())))
        .await
        .unwrap();
    assert!(
        server.requests()[0]
            .to_ascii_lowercase()
            .contains(&format!("host: 127.0.0.1:{port}\r\n"))
    );
    assert!(
        server_six.requests()[0]
            .to_ascii_lowercase()
            .contains(&format!("host: [::1]:{port}\r\n"))
    );
    for kind in [hickory_proto::rr::RecordType::A, hickory_proto::rr::RecordType::AAAA] {
        assert!(names.asked(kind).is_empty());
    }
}

/// Threats V1 and V3.
#[tokio::test]
async fn addresses_are_judged_when_they_are_dialled() {
    let server = WebServer::start(|target| match target {
        PATH => Act::redirect(302, "http://other.test/x"),
        _ => Act::ok(KEY_AUTHORIZATION),
    })
    .await;
    let port = server.address.port();
    for (address, word) in [
        ("169.254.169.254", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("224.0.0.1", "multicast"),
        ("0.0.0.0", "this network"),
        ("fe80::1", "link-local"),
        ("10.7.7.7", "deny_networks"),
    ] {
        let names = NameServer::start().await;
        names.address("host.test", &[address.parse().unwrap()]);
        // What is reached first is fine, what it redirects to is not.
        names
            .here("first.test")
            .address("other.test", &[address.parse().unwrap()]);
        let validator = validator(&names, |settings| {
            settings.http01_port = port;
            settings.deny_networks = vec!["10.7.0.0/16".parse().unwrap()];
        });
        for name in ["host.test", "first.test"] {
            let failure = validator.attempt(&target(dns(name))).await.unwrap_err();
            assert!(failure.problem.detail.contains(word), "{name} {address}: {failure}");
            assert_eq!(failure.problem.kind, ErrorType::Connection, "{name} {address}");
        }
    }
    let names = NameServer::start().await;
    let validator = validator(&names, |settings| settings.http01_port = port);
    let name = Name::Ip("169.254.169.254".parse().unwrap());
    let failure = validator.attempt(&target(name)).await.unwrap_err();
    assert_eq!(failure.problem.kind, ErrorType::RejectedIdentifier);
    assert!(!failure.transient);
}

/// Threat V7.
#[tokio::test]
async fn a_silent_host_is_given_up() {
    let (address, _kept) = mute().await;
    let names = NameServer::start().await;
    names.here("host.test");
    let validator = validator(&names, |settings| {
        settings.http01_port = address.port();
        settings.attempt_timeout = Duration::from_millis(300);
    });
    let failure = validator.attempt(&target(dns("host.test"))).await.unwrap_err();
    assert_eq!(failure.problem.kind, ErrorType::Connection);
    assert!(failure.problem.detail.contains("not done when"), "{failure}");
}

/// Threat V8.
#[tokio::test]
async fn a_wildcard_is_not_proven_by_one_host() {
    let names = NameServer::start().await;
    let validator = validator(&names, |_| ());
    for challenge in [ChallengeType::Http01, ChallengeType::TlsAlpn01] {
        let name = Name::Wildcard("host.test".parse().unwrap());
        let failure = validator
            .attempt(&Target {
                challenge,
                ..target(name)
            })
            .await
            .unwrap_err();
        assert_eq!(failure.problem.kind, ErrorType::Unauthorized);
        assert!(!failure.transient);
    }
}

#[tokio::test]
async fn names_below_are_not_proven_by_one_host() {
    let server = WebServer::start(|_| Act::ok(KEY_AUTHORIZATION)).await;
    let names = NameServer::start().await;
    names.here("host.test");
    let port = server.address.port();
    let validator = validator(&names, |settings| settings.http01_port = port);
    for challenge in [ChallengeType::Http01, ChallengeType::TlsAlpn01] {
        let target = Target {
            challenge,
            subdomains: true,
            ..target(dns("host.test"))
        };
        let failure = validator.attempt(&target).await.unwrap_err();
        assert_eq!(failure.problem.kind, ErrorType::Unauthorized);
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn always_valid_asks_nobody() {
    let names = NameServer::start().await;
    let validator = validator(&names, |settings| settings.always_valid = true);
    validator.attempt(&target(dns("missing.test"))).await.unwrap();
    assert!(names.asked(hickory_proto::rr::RecordType::A).is_empty());
}
