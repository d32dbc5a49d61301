//! The readers: connections of their own, so that a read never waits for a write.
//!
//! A record that is found by its key takes some microseconds, and the way to another thread and back several times as
//! many: such a read is made where it is asked for. What may be long goes to a thread that may wait.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{OpenError, connection, rows::Sql, writer::Request};
use crate::store::ReadError;

/// How many long reads run at a time, and how many connections are kept; more would only add connections, each with a
/// cache of its own. Short reads have their caller's thread, so there are as many at a time as the runtime has threads.
const READERS_MAX: usize = 8;

/// Where reads run.
#[derive(Clone)]
pub(super) enum Readers {
    /// On connections of their own.
    Pool(Arc<Pool>),
    /// On the writer's connection, between its groups: a store in memory has only that one.
    Writer(mpsc::Sender<Request>),
}

/// Connections that wait for a read.
pub(super) struct Pool {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Makes readers of a file; connections are opened as they are needed.
    pub fn of_file(path: PathBuf) -> Self {
        let permits = Arc::new(Semaphore::new(READERS_MAX));
        Self::Pool(Arc::new(Pool {
            path,
            permits,
            idle: Mutex::default(),
        }))
    }

    /// Runs a short read, of one record or a few: in place, on the caller's thread.
    ///
    /// A single statement sees one moment; several need [`snapshot`].
    pub async fn short<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Sql<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        match self {
            Self::Pool(pool) => pool.run_here(|connection| read(connection).map_err(failed)),
            Self::Writer(_) => self.run(|connection| read(connection).map_err(failed)).await,
        }
    }

    /// Runs a read that may be long, in one snapshot, on a thread that may wait.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Sql<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        self.run(|connection| snapshot(connection, read).map_err(failed)).await
    }

    /// Runs a copy, which takes care of its own snapshot.
    pub async fn copy(
        &self,
        copy: impl FnOnce(&Connection) -> Result<(), OpenError> + Send + 'static,
    ) -> Result<(), ReadError> {
        self.run(|connection| copy(connection).map_err(|error| ReadError(error.to_string())))
            .await
    }

    async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        match self {
            Self::Pool(pool) => pool.run(act).await,
            Self::Writer(queue) => {
                let (answer, answered) = oneshot::channel();
                let request = Request::Read(Box::new(move |connection| {
                    // Whoever asked may have gone away.
                    let _ = answer.send(act(connection));
                }));
                queue.send(request).await.map_err(|_| gone())?;
                answered.await.map_err(|_| gone())?
            }
        }
    }
}

impl Pool {
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| gone())?;
        let pool = Arc::clone(self);
        let running = tokio::task::spawn_blocking(move || {
            let connection = match pool.take() {
                Some(connection) => connection,
                None => connection::reader(&pool.path).map_err(failed)?,
            };
            let result = act(&connection);
            // A connection that failed is not used again: what ails it may be its own.
            if result.is_ok() {
                pool.put_back(connection);
            }
            drop(permit);
            result
        });
        running.await.map_err(|error| ReadError(error.to_string()))?
    }

    /// Runs a short read at once.
    fn run_here<T>(&self, act: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, ReadError> {
        if self.permits.is_closed() {
            return Err(gone());
        }
        let connection = match self.take() {
            Some(connection) => connection,
            None => connection::reader(&self.path).map_err(failed)?,
        };
        let result = act(&connection);
        // A connection that failed is not used again: what ails it may be its own.
        if result.is_ok() {
            self.put_back(connection);
        }
        result
    }

    fn take(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS_MAX {
            idle.push(connection);
        }
    }

    /// Closes the connections that wait, so that the last one to close can tidy the log away.
    pub fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Runs a read with everything it sees from one moment.
pub(super) fn snapshot<T>(connection: &Connection, read: impl FnOnce(&Connection) -> Sql<T>) -> Sql<T> {
    let run = |sql| connection.prepare_cached(sql)?.execute([]);
    run("BEGIN")?;
    let result = read(connection);
    // It has changed nothing.
    run("ROLLBACK")?;
    result
}

fn failed(error: rusqlite::Error) -> ReadError {
    ReadError(error.to_string())
}

fn gone() -> ReadError {
    ReadError("the store is closed".into())
}
