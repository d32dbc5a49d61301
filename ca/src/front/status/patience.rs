//! The timer of one connection: a timer of the runtime that is moved only when it goes off.
//!
//! hyper starts and drops a wait for each request's headers. The runtime would sort each into its timers and take it
//! out again, under a lock, to no end: nearly all are dropped. Here one timer is kept, and looks when it goes off
//! whether anybody still waits, and until when.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};

type Kept = Pin<Box<tokio::time::Sleep>>;

/// Makes the waits of one connection, one at a time.
#[derive(Default)]
pub(super) struct ConnectionTimer {
    kept: Arc<Mutex<Option<Kept>>>,
}

/// A wait.
struct Wait {
    deadline: Instant,
    /// Taken only when it is dropped.
    timer: Option<Kept>,
    home: Arc<Mutex<Option<Kept>>>,
}

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let timer = match kept {
            // Too early is early enough: it is moved when it goes off.
            Some(timer) if timer.deadline() <= deadline.into() => timer,
            _ => Box::pin(tokio::time::sleep_until(deadline.into())),
        };
        Box::pin(Wait {
            deadline,
            timer: Some(timer),
            home: self.kept.clone(),
        })
    }
}

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let Some(timer) = &mut self.timer else {
            return Poll::Ready(());
        };
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= deadline.into() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline.into());
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.timer.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_until_its_own_deadline_whatever_was_waited_for_before() {
        let timer = ConnectionTimer::default();
        let soon = Duration::from_millis(20);
        let began = Instant::now();
        // Polled once, so that the runtime knows it, and dropped before it is over.
        drop(tokio::time::timeout(Duration::ZERO, timer.sleep(soon)).await);
        timer.sleep(soon * 5).await;
        assert!(began.elapsed() >= soon * 5, "an earlier wait does not end a later one");
        drop(timer.sleep(Duration::from_secs(60)));
        let began = Instant::now();
        timer.sleep(soon).await;
        assert!(began.elapsed() >= soon && began.elapsed() < Duration::from_secs(30));
    }
}
