//! A folder served over plain HTTP: the web server that http-01 clients with a webroot expect.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

/// How long one request may take.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// How much of a request's head is read.
const HEAD_BYTES_MAX: u64 = 8 * 1024;
/// Where http-01 looks.
const WELL_KNOWN: &str = ".well-known/acme-challenge";

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct Webroot {
    folder: TempDir,
    port: u16,
    ended: Arc<AtomicBool>,
}

impl Webroot {
    /// Serves a new empty folder on a port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// If the port is taken.
    pub fn serve(port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a directory to serve");
        std::fs::create_dir_all(folder.path().join(WELL_KNOWN)).expect("the challenge folder");
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap_or_else(|error| panic!("port {port}: {error}"));
        let ended = Arc::new(AtomicBool::new(false));
        let (root, stop) = (folder.path().to_owned(), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let root = root.clone();
                if let Ok(stream) = stream {
                    std::thread::spawn(move || answer(stream, &root));
                }
            }
        });
        Self { folder, port, ended }
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the folder for challenge files.
    pub fn challenges(&self) -> PathBuf {
        self.folder.path().join(WELL_KNOWN)
    }

    /// Puts a key authorization where http-01 looks.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn put(&self, token: &str, key_authorization: &str) {
        std::fs::write(self.challenges().join(token), key_authorization).expect("a challenge file");
    }
}

impl Drop for Webroot {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // One last connection wakes the thread so that it sees the flag.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn answer(mut stream: TcpStream, root: &Path) {
    let _ = stream.set_read_timeout(Some(REQUEST_WITHIN));
    let _ = stream.set_write_timeout(Some(REQUEST_WITHIN));
    let mut first = String::new();
    let mut reader = BufReader::new((&stream).take(HEAD_BYTES_MAX));
    if reader.read_line(&mut first).is_err() {
        return;
    }
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
    let body = if path.contains("..") {
        None
    } else {
        std::fs::read(root.join(path)).ok()
    };
    let (status, body) = body.map_or(("404 Not Found", b"no such file".to_vec()), |b| ("200 OK", b));
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}
