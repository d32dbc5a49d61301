//! What the responders were told to answer: values by kind and name, within a bound.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many octets all names and values may have together: a test that tells more has a loop in it.
const BOOK_OCTETS_MAX: usize = 64 * 1024 * 1024;

/// What keeping one value costs besides its text.
const ENTRY_OVERHEAD: usize = 64;

/// What a value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    A,
    Aaaa,
    Caa,
    Cname,
    ServFail,
    Txt,
    Http01,
    Redirect,
    TlsAlpn01,
}

/// One value: a text, and for CAA its property's tag and flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) tag: String,
    pub(super) flags: u8,
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }

    fn octets(&self) -> usize {
        self.text.len() + self.tag.len() + ENTRY_OVERHEAD
    }
}

/// The book has no room left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room left: {BOOK_OCTETS_MAX} octets of names and values are kept at most")]
pub(super) struct Full;

/// Everything that was told, shared by the responders.
#[derive(Debug, Default)]
pub(super) struct Book {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    values: HashMap<(Kind, String), Vec<Value>>,
    octets: usize,
    default_ipv4: String,
    default_ipv6: String,
}

impl Book {
    /// Adds values to those that are there.
    pub(super) fn append(&self, kind: Kind, key: &str, values: Vec<Value>) -> Result<(), Full> {
        let mut pages = self.open();
        pages.reserve(key, &values)?;
        pages.values.entry((kind, key.to_owned())).or_default().extend(values);
        Ok(())
    }

    /// Puts one value in the place of those that are there.
    pub(super) fn put(&self, kind: Kind, key: &str, value: Value) -> Result<(), Full> {
        let mut pages = self.open();
        pages.forget(kind, key);
        let values = vec![value];
        pages.reserve(key, &values)?;
        pages.values.insert((kind, key.to_owned()), values);
        Ok(())
    }

    pub(super) fn clear(&self, kind: Kind, key: &str) {
        self.open().forget(kind, key);
    }

    pub(super) fn values(&self, kind: Kind, key: &str) -> Vec<Value> {
        self.open()
            .values
            .get(&(kind, key.to_owned()))
            .cloned()
            .unwrap_or_default()
    }

    /// Returns the one value of a kind that has one.
    pub(super) fn value(&self, kind: Kind, key: &str) -> Option<String> {
        self.values(kind, key).into_iter().next().map(|value| value.text)
    }

    /// Sets the address that names without one of their own have; an empty one is none.
    pub(super) fn set_default_ipv4(&self, address: &str) {
        address.clone_into(&mut self.open().default_ipv4);
    }

    /// As for IPv4.
    pub(super) fn set_default_ipv6(&self, address: &str) {
        address.clone_into(&mut self.open().default_ipv6);
    }

    pub(super) fn default_ipv4(&self) -> String {
        self.open().default_ipv4.clone()
    }

    pub(super) fn default_ipv6(&self) -> String {
        self.open().default_ipv6.clone()
    }

    fn open(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn reserve(&mut self, key: &str, values: &[Value]) -> Result<(), Full> {
        let octets = self.octets + cost(key, values);
        if octets > BOOK_OCTETS_MAX {
            return Err(Full);
        }
        self.octets = octets;
        Ok(())
    }

    fn forget(&mut self, kind: Kind, key: &str) {
        if let Some(values) = self.values.remove(&(kind, key.to_owned())) {
            self.octets = self.octets.saturating_sub(cost(key, &values));
        }
    }
}

/// Counts the name with each of its values, so that adding and removing count alike.
fn cost(key: &str, values: &[Value]) -> usize {
    values.iter().map(|value| key.len() + value.octets()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_replaces_and_forgets() {
        let book = Book::default();
        book.append(Kind::Txt, "a.test", vec![Value::text("one")]).unwrap();
        book.append(Kind::Txt, "a.test", vec![Value::text("two")]).unwrap();
        assert_eq!(book.values(Kind::Txt, "a.test").len(), 2);
        book.put(Kind::Txt, "a.test", Value::text("three")).unwrap();
        assert_eq!(book.value(Kind::Txt, "a.test").as_deref(), Some("three"));
        assert!(book.values(Kind::A, "a.test").is_empty(), "kinds are kept apart");
        book.clear(Kind::Txt, "a.test");
        assert_eq!(book.value(Kind::Txt, "a.test"), None);
    }

    #[test]
    fn is_full_at_its_bound_and_has_room_again_after_a_removal() {
        let book = Book::default();
        let large = "x".repeat(BOOK_OCTETS_MAX / 2);
        book.put(Kind::Http01, "a", Value::text(&large)).unwrap();
        assert_eq!(book.put(Kind::Http01, "b", Value::text(&large)), Err(Full));
        assert_eq!(book.append(Kind::Txt, "b", vec![Value::text(&large)]), Err(Full));
        book.put(Kind::Http01, "a", Value::text(&large)).unwrap();
        book.clear(Kind::Http01, "a");
        book.put(Kind::Http01, "b", Value::text(&large)).unwrap();
    }

    #[test]
    fn a_hundred_thousand_rounds_leave_nothing_counted() {
        let book = Book::default();
        for _ in 0..100_000 {
            book.append(Kind::Txt, "a.test", vec![Value::text("v"), Value::text("w")])
                .unwrap();
            book.clear(Kind::Txt, "a.test");
        }
        assert_eq!(book.open().octets, 0);
    }
}
