//! The one place that reads the time of day.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;

/// Tells the time. Everything else in the crate takes a [`Timestamp`] or one of these.
pub trait Clock: Send + Sync + 'static {
    /// Returns the present moment, to the microsecond: the store keeps no finer time.
    fn now(&self) -> Timestamp;
}

/// A clock that can be handed around.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }
}

/// A clock that stands still until it is moved: for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    microseconds: AtomicI64,
}

impl ManualClock {
    /// Makes a clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self {
            microseconds: AtomicI64::new(start.as_microsecond()),
        }
    }

    /// Sets the clock, back or forth.
    pub fn set(&self, now: Timestamp) {
        self.microseconds.store(now.as_microsecond(), Ordering::SeqCst);
    }

    /// Moves the clock on by whole seconds.
    pub fn advance_seconds(&self, seconds: i64) {
        self.microseconds
            .fetch_add(seconds.saturating_mul(1_000_000), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.microseconds.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }
}
