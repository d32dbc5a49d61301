//! The plain-HTTP service: paths, methods, caching, bounds, and OpenSSL as a client over a real connection.

use std::{sync::Arc, time::Duration};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use der::Encode;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Bytes};
use jiff::SignedDuration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use x509_ocsp::{OcspRequest, TbsRequest, Version};

use super::{CONNECTIONS_MAX_DEFAULT, IssuerFiles, ResponseBody, StatusFiles, StatusFront, serve};
use crate::{
    clock::Clock,
    status::{HashAlgorithm, testing::*},
};

struct House {
    node: Node,
    front: Arc<StatusFront>,
}

impl House {
    async fn new() -> Self {
        let node = Node::new().await;
        let root_crl = node
            .service
            .publisher()
            .publish(&node.ca.id)
            .await
            .unwrap()
            .der
            .to_vec();
        let issuer = |id: &str, crl| IssuerFiles {
            id: id.parse().unwrap(),
            certificate_der: node.ca.certificate.clone(),
            chain: vec![node.ca.responder_certificate.clone()],
            crl,
        };
        let issuers = vec![issuer("issuing", None), issuer("root", Some(root_crl))];
        let files = StatusFiles::new(issuers, std::slice::from_ref(&node.ca.certificate)).unwrap();
        let front = Arc::new(StatusFront::new(node.service.clone(), files, node.clock.clone()));
        Self { node, front }
    }

    /// The request whose base64 holds what paths make trouble of, found by trying serials.
    fn request(&self, number: u128) -> Vec<u8> {
        let req_cert = self.node.ca.cert_id(HashAlgorithm::Sha1, serial(number));
        let request = x509_ocsp::Request {
            req_cert,
            single_request_extensions: None,
        };
        let tbs_request = TbsRequest {
            version: Version::V1,
            requestor_name: None,
            request_list: vec![request],
            request_extensions: None,
        };
        OcspRequest {
            tbs_request,
            optional_signature: None,
        }
        .to_der()
        .unwrap()
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response<ResponseBody> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        self.front.handle(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response<ResponseBody> {
        self.send(Method::GET, path, &[], b"").await
    }

    async fn post(&self, body: &[u8]) -> Response<ResponseBody> {
        self.send(
            Method::POST,
            "/ocsp",
            &[("content-type", "application/ocsp-request")],
            body,
        )
        .await
    }
}

fn header<'a>(response: &'a Response<ResponseBody>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn body(response: Response<ResponseBody>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn get_is_answered_as_post_is_however_it_is_written() {
    let house = House::new().await;
    // A serial whose request's base64 holds two slashes in a row, a plus and padding.
    let wanted = |number: &u128| {
        let text = STANDARD.encode(house.request(*number));
        text.contains("//") && text.contains('+') && text.ends_with('=')
    };
    let number = (0..2_000_000u128)
        .map(|number| 0x7fff_ffff_0000_0000_0000_0000_0000_0000 | number << 64 | 0xffff_ffff_ffff_fbef)
        .find(wanted)
        .expect("one of them has all three");
    house.node.issue(number).await;
    let request = house.request(number);
    let posted = body(house.post(&request).await).await;
    let raw = STANDARD.encode(&request);
    let encoded = raw.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let lower = raw.replace('+', "%2b").replace('/', "%2f").replace('=', "%3d");
    let unpadded = STANDARD_NO_PAD.encode(&request);
    for text in [raw, encoded, lower, unpadded] {
        for base in ["/ocsp/", "/ocsp//"] {
            let response = house.get(&format!("{base}{text}")).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(body(response).await, posted, "{base}{text}");
        }
    }
}

#[tokio::test]
async fn what_is_no_request_is_malformed_and_not_kept() {
    let house = House::new().await;
    let good = STANDARD.encode(house.request(1));
    let paths = [
        "/ocsp".to_owned(),
        "/ocsp/".to_owned(),
        "/ocsp/%".to_owned(),
        "/ocsp/%zz".to_owned(),
        "/ocsp/MEk?x=1".to_owned(),
        format!("/ocsp/{}", &good[..good.len() - 8]),
        format!("/ocsp/{good}AAAA"),
        format!("/ocsp/{}", good.replacen('M', "-", 1)),
    ];
    for path in paths {
        let response = house.get(&path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(
            header(&response, "content-type"),
            Some("application/ocsp-response"),
            "{path}"
        );
        assert_eq!(header(&response, "cache-control"), Some("no-store"), "{path}");
        assert_eq!(body(response).await.as_ref(), [0x30, 0x03, 0x0a, 0x01, 0x01], "{path}");
    }
    assert_eq!(
        body(house.post(b"").await).await.as_ref(),
        [0x30, 0x03, 0x0a, 0x01, 0x01]
    );
}

#[tokio::test]
async fn an_answer_carries_the_headers_of_rfc_9919() {
    let house = House::new().await;
    house.node.issue(1).await;
    let path = format!("/ocsp/{}", STANDARD.encode(house.request(1)));
    let first = house.get(&path).await;
    house.node.clock.advance_seconds(600);
    let response = house.get(&path).await;
    assert_eq!(header(&response, "content-type"), Some("application/ocsp-response"));
    assert_eq!(
        header(&response, "cache-control"),
        Some("max-age=3000, public, no-transform, must-revalidate")
    );
    assert_eq!(header(&response, "etag"), header(&first, "etag"));
    let date = |seconds: i64| {
        let time = house.node.clock.now() + SignedDuration::from_secs(seconds);
        jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&time)
            .unwrap()
    };
    assert_eq!(header(&response, "date"), Some(date(0).as_str()));
    assert_eq!(header(&response, "last-modified"), Some(date(-600).as_str()));
    assert_eq!(header(&response, "expires"), Some(date(12 * 3600 - 600).as_str()));
    let etag = header(&response, "etag").unwrap().to_owned();
    let length = header(&response, "content-length").unwrap().to_owned();
    let octets = body(response).await;
    assert_eq!(length, octets.len().to_string());
    assert_eq!(etag, format!("\"{}\"", crate::status::entity_tag(&octets)));
    house.node.clock.advance_seconds(3000);
    let fresher = house.get(&path).await;
    assert_ne!(
        header(&fresher, "etag"),
        Some(etag.as_str()),
        "a fresher answer is there when max-age runs out"
    );
}

#[tokio::test]
async fn files_have_their_types_and_caches_are_served() {
    let house = House::new().await;
    let ca = &house.node.ca.certificate;
    let crl = house.node.service.publisher().current(&house.node.ca.id).unwrap();
    let cases = [
        ("/ca/issuing.cer", "application/pkix-cert", Some(ca.clone())),
        (
            "/ca/roots.pem",
            "application/x-pem-file",
            Some(crate::pem::certificate(ca).into_bytes()),
        ),
        ("/ca/issuing.p7c", "application/pkcs7-mime; smime-type=certs-only", None),
        ("/crl/issuing.crl", "application/pkix-crl", Some(crl.der.to_vec())),
        ("/crl/root.crl", "application/pkix-crl", Some(crl.der.to_vec())),
    ];
    for (path, content_type, content) in cases {
        let response = house.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&response, "content-type"), Some(content_type), "{path}");
        let (etag, modified) = (
            header(&response, "etag").unwrap().to_owned(),
            header(&response, "last-modified").unwrap().to_owned(),
        );
        let head = house.send(Method::HEAD, path, &[], b"").await;
        assert_eq!(head.headers(), response.headers(), "{path}");
        assert!(body(head).await.is_empty(), "{path}");
        if let Some(content) = content {
            assert_eq!(body(response).await, content, "{path}");
        }
        let weak = format!("\"other\", W/{etag}");
        let unchanged: [&[(&str, &str)]; 4] = [
            &[("if-none-match", &etag)],
            &[("if-none-match", &weak)],
            &[("if-none-match", "*")],
            &[("if-modified-since", &modified)],
        ];
        for headers in unchanged {
            let response = house.send(Method::GET, path, headers, b"").await;
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{path} {headers:?}");
            assert_eq!(header(&response, "etag"), Some(etag.as_str()));
            assert!(body(response).await.is_empty());
        }
        let changed: [&[(&str, &str)]; 3] = [
            &[("if-none-match", "\"other\""), ("if-modified-since", &modified)],
            &[("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT")],
            &[("if-modified-since", "yesterday")],
        ];
        for headers in changed {
            assert_eq!(
                house.send(Method::GET, path, headers, b"").await.status(),
                StatusCode::OK,
                "{path} {headers:?}"
            );
        }
    }
}

#[tokio::test]
async fn openssl_reads_the_bundle() {
    let house = House::new().await;
    let dir = tempfile::tempdir().unwrap();
    let bundle = body(house.get("/ca/issuing.p7c").await).await;
    let bundle = file(dir.path(), "bundle.p7c", &bundle);
    let (said, good) = openssl(&["pkcs7", "-inform", "DER", "-in", &bundle, "-print_certs"]);
    assert!(good, "{said}");
    assert_eq!(said.matches("BEGIN CERTIFICATE").count(), 2, "{said}");
    assert!(
        said.contains(crate::pem::certificate(&house.node.ca.certificate).trim()),
        "{said}"
    );
}

#[tokio::test]
async fn a_crl_is_not_kept_beyond_its_end_and_not_given_out_then() {
    let house = House::new().await;
    assert_eq!(
        header(&house.get("/crl/issuing.crl").await, "cache-control"),
        Some("max-age=300, public, no-transform, must-revalidate")
    );
    house.node.clock.advance_seconds(7 * 24 * 3600 - 100);
    let response = house.get("/crl/issuing.crl").await;
    assert_eq!(
        header(&response, "cache-control"),
        Some("max-age=100, public, no-transform, must-revalidate")
    );
    house.node.clock.advance_seconds(100);
    for path in ["/crl/issuing.crl", "/crl/root.crl"] {
        let response = house.get(path).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn nothing_else_is_served() {
    let house = House::new().await;
    let absent = [
        "/",
        "/ocspx",
        "/ocs",
        "/crl/",
        "/crl/other.crl",
        "/ca/issuing.pem",
        "/ca/../ca/issuing.cer",
        "/ca//issuing.cer",
        "/acme/directory",
        "/ca/issuing.cer?x",
    ];
    for path in absent {
        assert_eq!(house.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let cases = [
        (Method::PUT, "/ocsp", "GET, HEAD, POST"),
        (Method::DELETE, "/ocsp/", "GET, HEAD, POST"),
        (Method::POST, "/ocsp/MEk=", "GET, HEAD"),
        (Method::POST, "/crl/issuing.crl", "GET, HEAD"),
        (Method::OPTIONS, "/ca/roots.pem", "GET, HEAD"),
    ];
    for (method, path, allow) in cases {
        let response = house.send(method.clone(), path, &[], b"").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert_eq!(header(&response, "allow"), Some(allow), "{method} {path}");
    }
}

#[tokio::test]
async fn posts_are_bounded_and_typed() {
    let house = House::new().await;
    let request = house.request(1);
    for (content_type, status) in [
        ("application/ocsp-request", StatusCode::OK),
        ("Application/OCSP-Request; charset=binary", StatusCode::OK),
        ("text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let response = house
            .send(Method::POST, "/ocsp", &[("content-type", content_type)], &request)
            .await;
        assert_eq!(response.status(), status, "{content_type:?}");
    }
    let response = house.post(&vec![0x30; 64 * 1024 + 1]).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(house.post(&vec![0x30; 64 * 1024]).await.status(), StatusCode::OK);
}

struct Server {
    address: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

async fn start(house: &House, connections_max: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(serve(listener, house.front.clone(), connections_max, stopped));
    Server { address, stop, task }
}

async fn exchange(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A server that closes while the request is still being sent may reset the connection.
    _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_asks_over_http() {
    let house = House::new().await;
    for number in [1, 2] {
        house.node.issue(number).await;
    }
    house.node.revoke(2, None).await;
    let server = start(&house, CONNECTIONS_MAX_DEFAULT).await;
    let dir = tempfile::tempdir().unwrap();
    let ca = file(
        dir.path(),
        "ca.pem",
        crate::pem::certificate(&house.node.ca.certificate).as_bytes(),
    );
    let url = format!("http://{}/ocsp", server.address);
    for (number, said) in [(1, ": good"), (2, ": revoked"), (3, ": unknown")] {
        let leaf = crate::pem::certificate(&house.node.ca.leaf(serial(number), house.node.clock.now()));
        let leaf = file(dir.path(), "leaf.pem", leaf.as_bytes());
        for hash in ["-sha1", "-sha256"] {
            let asked = [
                "ocsp", "-url", &url, "-issuer", &ca, hash, "-cert", &leaf, "-CAfile", &ca,
            ]
            .map(str::to_owned);
            let (text, good) =
                tokio::task::spawn_blocking(move || openssl(&asked.iter().map(String::as_str).collect::<Vec<_>>()))
                    .await
                    .unwrap();
            assert!(
                good && text.contains("Response verify OK") && text.contains(said),
                "{hash}: {text}"
            );
            assert!(!text.contains("WARNING"), "the nonce comes back: {text}");
        }
    }
    server.stop.send(true).unwrap();
    server.task.await.unwrap();
}

#[tokio::test]
async fn connections_are_kept_bounded_and_drained() {
    let house = House::new().await;
    let server = start(&house, 2).await;
    let get = b"GET /ca/issuing.cer HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut kept = TcpStream::connect(server.address).await.unwrap();
    let mut buffer = vec![0; 4096];
    for _ in 0..3 {
        kept.write_all(get).await.unwrap();
        let read = kept.read(&mut buffer).await.unwrap();
        assert!(
            buffer[..read].starts_with(b"HTTP/1.1 200"),
            "one connection serves several requests"
        );
    }
    let second = TcpStream::connect(server.address).await.unwrap();
    let mut third = TcpStream::connect(server.address).await.unwrap();
    third.write_all(get).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(200), third.read(&mut buffer)).await;
    assert!(waiting.is_err(), "a third connection waits for room");
    drop(second);
    let read = tokio::time::timeout(Duration::from_secs(5), third.read(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    assert!(buffer[..read].starts_with(b"HTTP/1.1 200"));
    server.stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(5), server.task)
        .await
        .expect("idle connections do not hold up the end")
        .unwrap();
}

#[tokio::test]
async fn hostile_http_is_refused() {
    let house = House::new().await;
    let server = start(&house, CONNECTIONS_MAX_DEFAULT).await;
    let long_path = format!("GET /ocsp/{} HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(64 * 1024));
    let announced =
        "POST /ocsp HTTP/1.1\r\nHost: a\r\nContent-Type: application/ocsp-request\r\nContent-Length: 1048576\r\n\r\n";
    let chunk = format!("{:x}\r\n{}\r\n", 70_000, "A".repeat(70_000));
    let chunked = format!(
        "POST /ocsp HTTP/1.1\r\nHost: a\r\nContent-Type: application/ocsp-request\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
    );
    let smuggled = "POST /ocsp HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd";
    let many_headers = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200));
    let cases = [
        ("a long path", long_path.as_str(), &["HTTP/1.1 414", "HTTP/1.1 431"][..]),
        ("an announced megabyte", announced, &["HTTP/1.1 413"]),
        ("a chunk that is too long", &chunked, &["HTTP/1.1 413"]),
        ("two lengths", smuggled, &["HTTP/1.1 400"]),
        ("too many headers", &many_headers, &["HTTP/1.1 431"]),
    ];
    for (what, request, expected) in cases {
        let answer = exchange(server.address, request.as_bytes()).await;
        assert!(
            expected.iter().any(|status| answer.starts_with(status)),
            "{what}: {answer:.80}"
        );
    }
    server.stop.send(true).unwrap();
    server.task.await.unwrap();
}
