//! Pebble's environment: what it reads, with its defaults and its bounds.

use std::time::Duration;

/// How often a good nonce is refused unless the environment says otherwise.
const NONCE_REJECT_PERCENT: u8 = 5;

/// How often a valid authorization is used again.
const REUSE_PERCENT: u8 = 50;

/// How many orders a page shows: few, so that clients meet a second page.
const ORDERS_PER_PAGE: usize = 3;

/// The longest pause before a validation, in seconds.
const SLEEP_SECONDS: u64 = 15;

/// The longest such pause that can be asked for.
const SLEEP_SECONDS_MAX: u64 = 600;

/// How many orders a page may show.
const ORDERS_PER_PAGE_MAX: usize = 1000;

/// How many alternate roots there may be, and how many CAs in a chain: each is a key and a certificate at every start.
const CHAINS_MAX: u8 = 16;

/// What `PEBBLE_*` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The longest pause before a validation (`PEBBLE_VA_NOSLEEP`, `PEBBLE_VA_SLEEPTIME`).
    pub sleep_max: Duration,
    /// Whether challenges pass unseen (`PEBBLE_VA_ALWAYS_VALID`).
    pub always_valid: bool,
    /// In how many cases of a hundred a good nonce is refused (`PEBBLE_WFE_NONCEREJECT`).
    pub nonce_reject_percent: u8,
    /// In how many cases of a hundred a valid authorization is used again (`PEBBLE_AUTHZREUSE`).
    pub reuse_percent: u8,
    /// How many orders a page shows (`PEBBLE_WFE_ORDERS_PER_PAGE`).
    pub orders_per_page: usize,
    /// How many other roots have signed the issuing CA (`PEBBLE_ALTERNATE_ROOTS`).
    pub alternate_roots: u8,
    /// How many CAs stand between a leaf and a root (`PEBBLE_CHAIN_LENGTH`).
    pub chain_length: u8,
}

impl Environment {
    /// Reads the process's environment.
    pub fn read() -> Self {
        Self::from(|name| std::env::var(name).ok())
    }

    /// Reads an environment; what cannot be read has its default, as with Pebble, and what is out of bounds the bound.
    pub fn from(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| {
            let value = variable(name);
            value.is_some_and(|value| matches!(value.as_str(), "1" | "true" | "True" | "TRUE"))
        };
        let number = |name| variable(name).and_then(|value| value.trim().parse::<i64>().ok());
        let percent =
            |name, default| number(name).map_or(default, |n| u8::try_from(n.clamp(0, 100)).unwrap_or(default));
        let few = |name, least: u8, default: u8| {
            number(name).map_or(default, |n| {
                u8::try_from(n.clamp(i64::from(least), i64::from(CHAINS_MAX))).unwrap_or(default)
            })
        };
        let positive = |name| number(name).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        let sleep_seconds = positive("PEBBLE_VA_SLEEPTIME").unwrap_or(SLEEP_SECONDS);
        Self {
            sleep_max: match set("PEBBLE_VA_NOSLEEP") {
                true => Duration::ZERO,
                false => Duration::from_secs(sleep_seconds.min(SLEEP_SECONDS_MAX)),
            },
            always_valid: set("PEBBLE_VA_ALWAYS_VALID"),
            nonce_reject_percent: percent("PEBBLE_WFE_NONCEREJECT", NONCE_REJECT_PERCENT),
            reuse_percent: percent("PEBBLE_AUTHZREUSE", REUSE_PERCENT),
            orders_per_page: positive("PEBBLE_WFE_ORDERS_PER_PAGE")
                .and_then(|n| usize::try_from(n).ok())
                .map_or(ORDERS_PER_PAGE, |n| n.min(ORDERS_PER_PAGE_MAX)),
            alternate_roots: few("PEBBLE_ALTERNATE_ROOTS", 0, 0),
            chain_length: few("PEBBLE_CHAIN_LENGTH", 1, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(set: &[(&str, &str)]) -> Environment {
        Environment::from(|name| {
            set.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn has_pebbles_defaults() {
        let found = from(&[("PEBBLE_WFE_NONCEREJECT", "many"), ("PEBBLE_VA_NOSLEEP", "0")]);
        assert_eq!(found, from(&[]));
        assert_eq!((found.nonce_reject_percent, found.reuse_percent), (5, 50));
        assert_eq!(
            (found.orders_per_page, found.chain_length, found.alternate_roots),
            (3, 1, 0)
        );
        assert_eq!(found.sleep_max, Duration::from_secs(15));
    }

    #[test]
    fn takes_what_is_set_within_bounds() {
        let found = from(&[
            ("PEBBLE_VA_NOSLEEP", "1"),
            ("PEBBLE_VA_ALWAYS_VALID", "true"),
            ("PEBBLE_WFE_NONCEREJECT", "400"),
            ("PEBBLE_AUTHZREUSE", "-1"),
            ("PEBBLE_WFE_ORDERS_PER_PAGE", "15"),
            ("PEBBLE_ALTERNATE_ROOTS", "2"),
            ("PEBBLE_CHAIN_LENGTH", "0"),
        ]);
        assert_eq!(found.sleep_max, Duration::ZERO);
        assert!(found.always_valid);
        assert_eq!((found.nonce_reject_percent, found.reuse_percent), (100, 0));
        assert_eq!(
            (found.orders_per_page, found.alternate_roots, found.chain_length),
            (15, 2, 1)
        );
        assert_eq!(from(&[("PEBBLE_VA_SLEEPTIME", "5")]).sleep_max, Duration::from_secs(5));
    }
}
