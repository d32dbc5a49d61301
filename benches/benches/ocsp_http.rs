//! OCSP over real sockets: our status listener beside a bare hyper service that gives out a fixed body of the same
//! size, in short turns of one run. Prints answers per second, and the CPU time that the servers' threads spent on each.

use std::{
    convert::Infallible,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::Full;
use hyper::{
    Response,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use sigillo_benches::{place, primitive::Scheme, responder::Node};
use sigillo_ca::{
    clock::SystemClock,
    front::status::{CONNECTIONS_MAX_DEFAULT, StatusFiles, StatusFront, serve},
    status::Reply,
    store::embedded::SqliteStore,
};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};

/// How many turns each server gets.
const TURNS: usize = 24;
/// How long a turn lasts.
const TURN: Duration = Duration::from_millis(250);
/// How many connections ask, each from a thread of its own that waits for its answer.
const CONNECTIONS: usize = 8;
/// As many as the machine has that this is measured on, so that both servers get the same.
const WORKERS: usize = 2;

/// A server with threads of its own, so that their CPU time can be told apart.
struct Server {
    name: &'static str,
    address: SocketAddr,
    runtime: Runtime,
}

impl Server {
    fn start<F>(name: &'static str, serve: impl FnOnce(TcpListener) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name(name)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        runtime.spawn(serve(listener));
        Self { name, address, runtime }
    }

    /// Returns the CPU time of its threads: the kernel counts nanoseconds.
    fn cpu(&self) -> Duration {
        let tasks = fs::read_dir("/proc/self/task").expect("Linux lists the threads");
        let nanoseconds = tasks.flatten().filter_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            let spent = fs::read_to_string(task.path().join("schedstat")).ok()?;
            (name.trim() == self.name).then(|| spent.split(' ').next()?.parse::<u64>().ok())?
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Lets clients ask for a while; returns answers per second, and CPU seconds of the server for each.
    fn turn(&self, request: &[u8]) -> (f64, f64) {
        let (answers, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let (cpu, start) = (self.cpu(), Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let mut client = Client::connect(self.address);
                    while !stop.load(Ordering::Relaxed) {
                        client.ask(request);
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            std::thread::sleep(TURN);
            stop.store(true, Ordering::Relaxed);
        });
        let answers = answers.load(Ordering::Relaxed) as f64;
        let cpu = self.cpu() - cpu;
        (answers / start.elapsed().as_secs_f64(), cpu.as_secs_f64() / answers)
    }
}

/// A connection that is kept; one request at a time.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Self {
            stream,
            buffer: vec![0; 16 * 1024],
        }
    }

    fn ask(&mut self, request: &[u8]) {
        self.stream.write_all(request).expect("the server reads");
        let mut read = 0;
        loop {
            let more = self.stream.read(&mut self.buffer[read..]).expect("the server answers");
            assert!(more > 0, "the server goes on");
            read += more;
            if whole(&self.buffer[..read]).is_some_and(|length| read >= length) {
                assert!(self.buffer.starts_with(b"HTTP/1.1 200 "), "an answer");
                return;
            }
        }
    }
}

/// Returns the length of an answer, once its headers are there.
fn whole(octets: &[u8]) -> Option<usize> {
    let head = octets.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&octets[..head]).ok()?.to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    Some(head + length.trim().parse::<usize>().ok()?)
}

/// A hyper service that does nothing but answer.
async fn bare(listener: TcpListener, headers: Vec<(HeaderName, HeaderValue)>, body: Bytes) {
    let headers = Arc::new(headers);
    while let Ok((stream, _)) = listener.accept().await {
        _ = stream.set_nodelay(true);
        let (headers, body) = (headers.clone(), body.clone());
        let service = service_fn(move |_| {
            let mut response = Response::new(Full::new(body.clone()));
            for (name, value) in headers.iter() {
                response.headers_mut().insert(name, value.clone());
            }
            async { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(async move {
            _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Turns of all servers, one after the other; for each the best rate and the least CPU time for an answer.
fn measure(servers: &[(&Server, &[u8])]) -> Vec<(f64, f64)> {
    let mut best = vec![(0.0_f64, f64::INFINITY); servers.len()];
    for _ in 0..TURNS {
        for (best, (server, request)) in best.iter_mut().zip(servers) {
            let (rate, cpu) = server.turn(request);
            *best = (best.0.max(rate), best.1.min(cpu));
        }
    }
    best
}

fn main() {
    let folder = place::folder(env!("CARGO_TARGET_TMPDIR"));
    let store = Arc::new(SqliteStore::open(folder.path().join("status.db")).expect("a store in a file"));
    let index = folder.path().join("index");
    let (stop, stopped) = watch::channel(false);
    let node = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let ocsp = node.block_on(Node::new(Scheme::EcdsaP256.key_kind(), store, Some(index)));
    let Reply::Answer(answer) = node.block_on(ocsp.answer(&ocsp.plain)) else {
        unreachable!("`answer` checks it");
    };
    let files = StatusFiles::new(Vec::new(), &[]).expect("no files");
    let front = Arc::new(StatusFront::new(ocsp.service.clone(), files, Arc::new(SystemClock)));
    let ours = Server::start("ours", |listener| {
        serve(listener, front, CONNECTIONS_MAX_DEFAULT, stopped)
    });
    let content_type = (CONTENT_TYPE, HeaderValue::from_static("application/ocsp-response"));
    let body = answer.der.clone();
    let lean = Server::start("bare", |listener| bare(listener, vec![content_type], body));

    let host = "Host: 127.0.0.1\r\n";
    let encoded = STANDARD
        .encode(&ocsp.plain)
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let get = format!("GET /ocsp/{encoded} HTTP/1.1\r\n{host}\r\n").into_bytes();
    let post = |body: &[u8]| {
        let length = body.len();
        let head = format!(
            "POST /ocsp HTTP/1.1\r\n{host}Content-Type: application/ocsp-request\r\nContent-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    let (plain, nonce) = (post(&ocsp.plain), post(&ocsp.with_nonce));
    let turns: [(&str, &Server, &[u8]); 5] = [
        ("bare hyper, GET", &lean, &get),
        ("ours, GET", &ours, &get),
        ("bare hyper, POST", &lean, &plain),
        ("ours, POST", &ours, &plain),
        ("ours, POST with nonce", &ours, &nonce),
    ];
    let servers: Vec<_> = turns.iter().map(|(_, server, request)| (*server, *request)).collect();
    let measured = measure(&servers);
    println!(
        "{} octets of answer, {TURNS} turns of {TURN:?}, {CONNECTIONS} connections",
        answer.der.len()
    );
    for ((what, ..), (rate, cpu)) in turns.iter().zip(&measured) {
        println!("{what:24} {rate:9.0}/s {:8.2} us of CPU", cpu * 1e6);
    }
    for (what, bare, ours) in [("GET", 0, 1), ("POST", 2, 3)] {
        println!(
            "{what}: answers per second {:.2} x bare hyper, CPU per answer {:.2} x",
            measured[ours].0 / measured[bare].0,
            measured[ours].1 / measured[bare].1
        );
    }
    _ = stop.send(true);
    for server in [ours, lean] {
        server.runtime.shutdown_background();
    }
}
