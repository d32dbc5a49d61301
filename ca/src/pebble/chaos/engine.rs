//! Which rules strike a request: drawn by seeded chance, counted, and remembered where a fault has to last.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::Method;
use serde_json::{Value, json};

use super::{
    dice::Dice,
    rule::{Fault, Form, RetryAfter, Rule, RuleError, Target},
};
use crate::clock::SharedClock;

/// How many rules there may be: each is looked at for each request.
const RULES_MAX: usize = 64;

/// How many refused nonces and shown resources are remembered; the oldest are forgotten first.
const REMEMBERED_MAX: usize = 4096;

/// Rules that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// One cannot be meant.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// There are more than can be.
    #[error("{RULES_MAX} rules are the most")]
    TooMany,
}

/// The rules to begin with.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    seed: u64,
    built_in: Vec<Rule>,
    own: Vec<Rule>,
}

impl Rules {
    /// Starts without rules.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Adds what the personality does by itself.
    ///
    /// # Errors
    /// When it is no rule.
    pub fn build_in(&mut self, text: &str) -> Result<(), RulesError> {
        self.built_in.push(text.parse()?);
        self.bounded()
    }

    /// Adds what the user wants: rules with line breaks between them, `#` before a comment.
    ///
    /// # Errors
    /// The first line that is no rule, or too many.
    pub fn add(&mut self, text: &str) -> Result<(), RulesError> {
        self.own.extend(parse(text)?);
        self.bounded()
    }

    fn bounded(&self) -> Result<(), RulesError> {
        match self.built_in.len() + self.own.len() <= RULES_MAX {
            true => Ok(()),
            false => Err(RulesError::TooMany),
        }
    }
}

fn parse(text: &str) -> Result<Vec<Rule>, RulesError> {
    let lines = text.lines().map(str::trim);
    let mut rules = Vec::new();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        rules.push(line.parse()?);
        if rules.len() > RULES_MAX {
            return Err(RulesError::TooMany);
        }
    }
    Ok(rules)
}

/// The rules at work.
pub struct Chaos {
    seed: u64,
    clock: SharedClock,
    state: Mutex<State>,
}

struct State {
    rules: Vec<Armed>,
    /// Tells rules apart that were set one after another.
    next: u64,
    refused_nonces: Recent<String, ()>,
    shown: Recent<(u64, String), Option<Instant>>,
    dice: Dice,
}

/// A rule with what has come of it.
struct Armed {
    id: u64,
    rule: Rule,
    built_in: bool,
    dice: Dice,
    met: u64,
    struck: u64,
}

/// A rule that strikes.
#[derive(Debug, Clone)]
pub(super) struct Strike {
    id: u64,
    pub(super) text: String,
    pub(super) fault: Fault,
    pub(super) built_in: bool,
    /// Drawn between the bounds of a delay.
    pub(super) delay: Duration,
}

impl Chaos {
    /// Arms the rules.
    pub fn new(rules: Rules, clock: SharedClock) -> Self {
        let Rules { seed, built_in, own } = rules;
        let mut state = State {
            rules: Vec::new(),
            next: 1,
            refused_nonces: Recent::default(),
            shown: Recent::default(),
            dice: Dice::new(seed, 0),
        };
        state.arm(seed, built_in, true);
        state.arm(seed, own, false);
        Self {
            seed,
            clock,
            state: Mutex::new(state),
        }
    }

    /// Puts other rules in the place of the user's.
    ///
    /// # Errors
    /// As for [`Rules::add`]; the old ones stay then.
    pub fn replace(&self, text: &str) -> Result<(), RulesError> {
        let rules = parse(text)?;
        let mut state = self.lock();
        let built_in = state.rules.iter().filter(|armed| armed.built_in).count();
        if built_in + rules.len() > RULES_MAX {
            return Err(RulesError::TooMany);
        }
        state.rules.retain(|armed| armed.built_in);
        state.arm(self.seed, rules, false);
        Ok(())
    }

    /// Takes the user's rules away.
    pub fn clear(&self) {
        self.lock().rules.retain(|armed| armed.built_in);
    }

    /// Shows the rules and how often they were met and struck.
    pub fn show(&self) -> Value {
        let state = self.lock();
        let rules = state.rules.iter().map(|armed| {
            json!({ "rule": armed.rule.text, "builtIn": armed.built_in, "met": armed.met, "struck": armed.struck })
        });
        json!({ "seed": self.seed, "rules": rules.collect::<Vec<_>>() })
    }

    /// Draws the rules that strike a request.
    ///
    /// A rule that shows resources in another state is always among them: [`Chaos::shows`] decides it when the resource is known.
    pub(super) fn draw(&self, asked: Option<Target>, method: &Method) -> Vec<Strike> {
        let mut state = self.lock();
        let meets = |rule: &Rule| {
            // An answer to finalize is the order.
            let order = matches!(rule.fault, Fault::Show(..))
                && rule.target == Target::Order
                && asked == Some(Target::Finalize);
            order || rule.target.meets(asked, method)
        };
        let met = state.rules.iter_mut().filter(|armed| meets(&armed.rule));
        met.filter_map(|armed| match armed.rule.fault {
            Fault::Show(..) => Some(armed.strike()),
            _ => armed.hits().then(|| armed.strike()),
        })
        .collect()
    }

    /// Decides whether a resource is shown in another state: once, and then for as long as the rule says.
    pub(super) fn shows(&self, strike: &Strike, resource: &str) -> bool {
        let Fault::Show(_, time) = strike.fault else {
            return false;
        };
        let mut state = self.lock();
        let key = (strike.id, resource.to_owned());
        if let Some(until) = state.shown.get(&key) {
            return until.is_some_and(|until| Instant::now() < until);
        }
        let armed = state.rules.iter_mut().find(|armed| armed.id == strike.id);
        let until = armed.is_some_and(Armed::hits).then(|| Instant::now() + time);
        state.shown.put(key, until);
        until.is_some()
    }

    /// Whether a nonce is refused: by a rule that strikes now, or since it was refused before.
    pub(super) fn refuses(&self, nonce: &str, strikes: bool) -> bool {
        let mut state = self.lock();
        if strikes {
            state.refused_nonces.put(nonce.to_owned(), ());
        }
        strikes || state.refused_nonces.get(&nonce.to_owned()).is_some()
    }

    /// Whether there are nonces that were refused.
    pub(super) fn has_refused(&self) -> bool {
        !self.lock().refused_nonces.order.is_empty()
    }

    /// Does something with the dice.
    pub(super) fn with_dice<T>(&self, work: impl FnOnce(&mut Dice) -> T) -> T {
        work(&mut self.lock().dice)
    }

    /// Writes a wait for a `Retry-After` header.
    pub(super) fn wait(&self, wait: RetryAfter) -> String {
        let as_date = match wait.form {
            Form::Seconds => false,
            Form::Date => true,
            Form::Either => self.with_dice(|dice| dice.below(2) == 1),
        };
        let seconds = jiff::SignedDuration::from_secs(i64::from(wait.seconds));
        let moment = self.clock.now().checked_add(seconds);
        let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
        match moment.map(|moment| printer.timestamp_to_rfc9110_string(&moment)) {
            Ok(Ok(date)) if as_date => date,
            _ => wait.seconds.to_string(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn arm(&mut self, seed: u64, rules: Vec<Rule>, built_in: bool) {
        for rule in rules {
            let id = self.next;
            self.next += 1;
            self.rules.push(Armed {
                id,
                rule,
                built_in,
                // Each has chance of its own, so that one rule more does not change what the others do.
                dice: Dice::new(seed, id),
                met: 0,
                struck: 0,
            });
        }
    }
}

impl Armed {
    fn hits(&mut self) -> bool {
        self.met += 1;
        let due = self.met > self.rule.after && self.rule.times.is_none_or(|times| self.struck < times);
        let hits = due && self.dice.hits(self.rule.share);
        self.struck += u64::from(hits);
        hits
    }

    fn strike(&mut self) -> Strike {
        let delay = match self.rule.fault {
            Fault::Delay(least, most) => {
                let spread = u64::try_from((most - least).as_millis()).unwrap_or_default();
                least + Duration::from_millis(self.dice.below(spread + 1))
            }
            _ => Duration::ZERO,
        };
        Strike {
            id: self.id,
            text: self.rule.text.clone(),
            fault: self.rule.fault.clone(),
            built_in: self.built_in,
            delay,
        }
    }
}

/// A memory of bounded size.
struct Recent<K, V> {
    known: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Hash + Eq + Clone, V: Copy> Recent<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.known.get(key).copied()
    }

    fn put(&mut self, key: K, value: V) {
        if self.known.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > REMEMBERED_MAX {
            let oldest = self.order.pop_front();
            oldest.map(|oldest| self.known.remove(&oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;

    fn chaos(seed: u64, rules: &str) -> Chaos {
        let mut begun = Rules::new(seed);
        begun.add(rules).unwrap();
        let clock = ManualClock::new(jiff::Timestamp::from_second(784_111_777).unwrap());
        Chaos::new(begun, Arc::new(clock))
    }

    fn strikes(chaos: &Chaos, target: Target, count: usize) -> Vec<bool> {
        (0..count)
            .map(|_| !chaos.draw(Some(target), &Method::POST).is_empty())
            .collect()
    }

    #[test]
    fn strikes_after_and_so_many_times() {
        let chaos = chaos(1, "new-order:status=503,after=1,times=2\n# a comment\n\nfinalize:drop");
        assert_eq!(strikes(&chaos, Target::NewOrder, 5), [false, true, true, false, false]);
        assert_eq!(strikes(&chaos, Target::Finalize, 2), [true, true]);
        assert_eq!(strikes(&chaos, Target::Order, 1), [false]);
        assert_eq!(chaos.show()["rules"][0]["struck"], 2);
    }

    #[test]
    fn the_same_seed_strikes_the_same() {
        let first = strikes(&chaos(9, "any:drop=50%"), Target::Order, 40);
        assert_eq!(first, strikes(&chaos(9, "any:drop=50%"), Target::Order, 40));
        assert_ne!(first, strikes(&chaos(10, "any:drop=50%"), Target::Order, 40));
        assert!(first.contains(&true) && first.contains(&false));
    }

    #[test]
    fn a_refused_nonce_stays_refused() {
        let chaos = chaos(1, "");
        assert!(!chaos.refuses("a", false));
        assert!(chaos.refuses("a", true));
        assert!(chaos.refuses("a", false));
        assert!(!chaos.refuses("b", false));
    }

    #[test]
    fn a_resource_is_decided_on_once() {
        let chaos = chaos(1, "order:processing=10m,times=1");
        let strike = chaos.draw(Some(Target::Finalize), &Method::POST).remove(0);
        assert!(chaos.shows(&strike, "/acme/order/a"));
        assert!(!chaos.shows(&strike, "/acme/order/b"));
        assert!(chaos.shows(&strike, "/acme/order/a"));
    }

    #[test]
    fn rules_are_replaced_whole_or_not_at_all() {
        let chaos = chaos(1, "any:drop");
        assert!(chaos.replace("any:cut\nnonsense").is_err());
        assert_eq!(chaos.show()["rules"][0]["rule"], "any:drop");
        chaos.replace("any:cut").unwrap();
        assert_eq!(chaos.show()["rules"][0]["rule"], "any:cut");
        chaos.clear();
        assert_eq!(chaos.show()["rules"].as_array().map(Vec::len), Some(0));
        let many = "any:drop\n".repeat(RULES_MAX + 1);
        assert_eq!(chaos.replace(&many), Err(RulesError::TooMany));
    }

    #[test]
    fn waits_are_seconds_or_dates() {
        let wait = |form| chaos(1, "").wait(RetryAfter { seconds: 60, form });
        assert_eq!(wait(Form::Seconds), "60");
        assert_eq!(wait(Form::Date), "Sun, 06 Nov 1994 08:50:37 GMT");
    }

    #[test]
    fn memory_is_bounded() {
        let chaos = chaos(1, "");
        for number in 0..=REMEMBERED_MAX {
            chaos.refuses(&number.to_string(), true);
        }
        assert!(!chaos.refuses("0", false));
        assert!(chaos.refuses(&REMEMBERED_MAX.to_string(), false));
        assert_eq!(chaos.lock().refused_nonces.known.len(), REMEMBERED_MAX);
    }
}
