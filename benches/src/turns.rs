//! Timing what is async: one task after the other, or many at once.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;

/// How many commit at the same time: one alone, a busy moment, a fleet that renews at once.
pub const COMMITTERS: [usize; 3] = [1, 16, 128];

/// Makes a runtime like the daemon's.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
}

/// Does the work so many times, one after the other, without the cost of entering the runtime each time.
pub fn one_by_one(runtime: &Runtime, times: u64, work: impl AsyncFn()) -> Duration {
    runtime.block_on(async {
        let start = Instant::now();
        for _ in 0..times {
            work().await;
        }
        start.elapsed()
    })
}

/// Lets so many tasks do the work so many times each, and returns how long each share of the work
/// took: the time of all, divided by the number of tasks.
pub fn side_by_side<W, F>(runtime: &Runtime, tasks: usize, times: u64, work: W) -> Duration
where
    W: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    runtime.block_on(async {
        let start = Instant::now();
        let running: Vec<_> = (0..tasks)
            .map(|_| {
                let work = work.clone();
                tokio::spawn(async move {
                    for _ in 0..times {
                        work().await;
                    }
                })
            })
            .collect();
        for task in running {
            task.await.expect("the work does not fail");
        }
        start.elapsed().div_f64(tasks as f64)
    })
}
