//! The answerers that validation asks: HTTP, TLS with ALPN, and DNS.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) mod dns;
pub(crate) mod dnssec;
pub(crate) mod http01;
pub(crate) mod message;
pub(crate) mod tls_alpn01;

/// How many connections an answerer serves at once; a validator opens a few.
const CONNECTIONS_MAX: usize = 256;

/// How long an answerer waits for a peer that says nothing.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accepts connections on a thread of its own and hands each to `serve` on another.
fn accept(
    listener: std::net::TcpListener,
    serve: impl Fn(std::net::TcpStream) + Send + Sync + 'static,
) -> std::io::Result<()> {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let serve = Arc::new(serve);
    let busy = Arc::new(AtomicUsize::new(0));
    std::thread::Builder::new().name("answerer".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            if busy.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
                busy.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let (serve, busy) = (serve.clone(), busy.clone());
            std::thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let _ = stream.set_write_timeout(Some(PATIENCE));
                serve(stream);
                busy.fetch_sub(1, Ordering::SeqCst);
            });
        }
    })?;
    Ok(())
}
