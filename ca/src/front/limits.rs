//! Rates: how often an address may make accounts and an account may place orders.
//!
//! Sizes and times are bounded elsewhere and always; rates can be switched off (`limits.enabled`).

use std::{hash::Hash, net::IpAddr, num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::DashMapStateStore,
};

use super::problem::Trouble;
use crate::{config::LimitSettings, model::AccountId};

/// An IPv6 customer has a whole /64, so that is what counts as one address.
const V6_PREFIX: u128 = !0 << 64;

/// How many keys a limiter remembers before it forgets those that are at rest.
const KEYS_MAX: usize = 100_000;

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock>;

/// The rates of the ACME front.
pub struct RateLimits {
    rates: Option<Rates>,
    clock: DefaultClock,
}

struct Rates {
    new_accounts: Limiter<IpAddr>,
    new_orders: Limiter<AccountId>,
}

impl RateLimits {
    /// Takes the settings.
    pub fn new(settings: &LimitSettings) -> Self {
        let rates = settings.enabled.then(|| Rates {
            new_accounts: RateLimiter::dashmap(per_hour(settings.new_accounts_per_hour)),
            new_orders: RateLimiter::dashmap(
                per_hour(settings.new_orders_per_hour).allow_burst(positive(settings.new_orders_at_once)),
            ),
        });
        Self {
            rates,
            clock: DefaultClock::default(),
        }
    }

    /// Counts a new account from an address.
    ///
    /// # Errors
    /// `rateLimited` with the time after which the same request passes.
    pub fn new_account(&self, address: IpAddr) -> Result<(), Trouble> {
        let key = match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & V6_PREFIX).into()),
            v4 => v4,
        };
        match &self.rates {
            Some(rates) => self.count(&rates.new_accounts, &key, "new accounts from this address"),
            None => Ok(()),
        }
    }

    /// Counts a new order of an account.
    ///
    /// # Errors
    /// As for a new account.
    pub fn new_order(&self, account: AccountId) -> Result<(), Trouble> {
        match &self.rates {
            Some(rates) => self.count(&rates.new_orders, &account, "new orders of this account"),
            None => Ok(()),
        }
    }

    fn count<K: Hash + Eq + Clone>(&self, limiter: &Limiter<K>, key: &K, what: &str) -> Result<(), Trouble> {
        if limiter.len() > KEYS_MAX {
            limiter.retain_recent();
        }
        limiter.check_key(key).map_err(|until| {
            let wait: Duration = until.wait_time_from(self.clock.now());
            let seconds = wait.as_secs() + 1;
            Trouble::rate_limited(format!("Too many {what}: try again in {seconds} seconds."), seconds)
        })
    }
}

/// So many an hour, all of which may come at once.
fn per_hour(count: u32) -> Quota {
    Quota::per_hour(positive(count))
}

fn positive(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    fn limits(enabled: bool) -> RateLimits {
        RateLimits::new(&LimitSettings {
            enabled,
            new_accounts_per_hour: 2,
            new_orders_per_hour: 1,
            new_orders_at_once: 1,
            failed_persist_per_hour: 1,
            connections: 1,
        })
    }

    #[test]
    fn says_when_to_come_back() {
        let limits = limits(true);
        let account = AccountId::random();
        assert!(limits.new_order(account).is_ok());
        let answer = limits.new_order(account).unwrap_err().into_response();
        assert_eq!(answer.status(), 429);
        let seconds: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=3601).contains(&seconds), "{seconds}");
        assert!(limits.new_order(AccountId::random()).is_ok());
    }

    #[test]
    fn lets_few_come_at_once_and_more_come_later() {
        let limits = RateLimits::new(&LimitSettings {
            enabled: true,
            new_accounts_per_hour: 1,
            new_orders_per_hour: 1800,
            new_orders_at_once: 2,
            failed_persist_per_hour: 1,
            connections: 1,
        });
        let account = AccountId::random();
        assert!((0..2).all(|_| limits.new_order(account).is_ok()));
        let answer = limits.new_order(account).unwrap_err().into_response();
        let seconds: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=3).contains(&seconds), "{seconds}");
    }

    #[test]
    fn neighbours_in_one_v6_network_count_as_one() {
        let limits = limits(true);
        for address in ["2001:db8::1", "2001:db8::2"] {
            assert!(limits.new_account(address.parse().unwrap()).is_ok());
        }
        assert!(limits.new_account("2001:db8::3".parse().unwrap()).is_err());
        assert!(limits.new_account("2001:db8:0:1::3".parse().unwrap()).is_ok());
    }

    #[test]
    fn can_be_switched_off() {
        let limits = limits(false);
        let account = AccountId::random();
        assert!((0..10).all(|_| limits.new_order(account).is_ok()));
    }
}
