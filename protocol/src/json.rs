//! The one door through which JSON comes in.
//!
//! Duplicate member names are refused at any depth (RFC 7515 section 4), compared after unescaping,
//! since two readers of one text must not see two values. Depth is bounded. The length is the
//! caller's to bound before anything gets here. Structs are read from objects, never from arrays.

mod objects;

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use self::objects::Objects;

/// How deep arrays and objects may lie in each other. No message of ACME goes beyond 5 (a JWK in a
/// protected header, subproblems); the rest is room for members that are ignored.
pub const MAX_DEPTH: usize = 16;

/// How much of a message is shown: it may quote what was sent.
const MAX_MESSAGE: usize = 200;

/// What is wrong with a text; fit to be shown to its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON, or there is something behind it.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// It names a member twice or is too deep.
    #[error("JSON refused: {0}")]
    Refused(String),
    /// It is JSON, but not what is expected here.
    #[error("unexpected JSON: {0}")]
    Shape(String),
}

/// Reads a value.
///
/// # Errors
///
/// [`JsonError`] when the octets are not exactly one JSON text, name a member twice, are deeper
/// than [`MAX_DEPTH`], or do not fit `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    check(bytes)?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    T::deserialize(Objects(&mut reader)).map_err(|error| JsonError::Shape(shown(&error)))
}

fn check(bytes: &[u8]) -> Result<(), JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Checked { depth: 0 }
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(|error| {
            if error.is_data() {
                JsonError::Refused(shown(&error))
            } else {
                JsonError::Syntax(shown(&error))
            }
        })
}

fn shown(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Walks through a value and keeps nothing of it.
#[derive(Clone, Copy)]
struct Checked {
    depth: usize,
}

impl Checked {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if let Some(twice) = names.replace(name) {
                return Err(A::Error::custom(format_args!("the member {twice:?} appears twice")));
            }
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(text: &str) -> Result<Value, JsonError> {
        from_slice(text.as_bytes())
    }

    #[test]
    fn reads_what_is_json() {
        for text in [
            "{}",
            " [1, -2, 3.5e7, \"x\", true, null] ",
            r#"{"a":{"b":[{"a":1},{"a":2}]}}"#,
            "\"\"",
        ] {
            assert!(read(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn reads_a_struct_from_an_object_only() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Outer {
            inner: Option<Vec<Inner>>,
        }
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Inner {
            value: String,
        }
        let read = |text: &str| from_slice::<Outer>(text.as_bytes());
        let value = "x".to_owned();
        let inner = Some(vec![Inner { value }]);
        assert_eq!(read(r#"{"inner":[{"value":"x"}]}"#), Ok(Outer { inner }));
        for text in ["[]", "[null]", r#"[[{"value":"x"}]]"#, r#"{"inner":[["x"]]}"#] {
            assert!(matches!(read(text), Err(JsonError::Shape(_))), "{text}");
        }
    }

    #[test]
    fn j13_refuses_a_name_that_appears_twice() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"alg":"ES256","\u0061lg":"none"}"#,
            r#"{"x":[{"y":{"b":1,"c":2,"b":3}}]}"#,
            r#"{"":1,"":2}"#,
        ] {
            assert!(matches!(read(text), Err(JsonError::Refused(_))), "{text}");
        }
        assert!(read(r#"{"alg":1,"ALG":2}"#).is_ok(), "names are case-sensitive");
    }

    #[test]
    fn refuses_what_is_not_one_json_text() {
        for text in [
            "",
            "{",
            "{}x",
            "{}{}",
            "{'a':1}",
            "{\"a\":NaN}",
            "{\"a\":1,}",
            "{/**/}",
            "[01]",
            "\"\\ud800\"",
            "\"\u{1}\"",
            "nul",
            "+1",
            "\u{feff}{}",
        ] {
            assert!(
                matches!(read(text), Err(JsonError::Syntax(_))),
                "{text:?}: {:?}",
                read(text)
            );
        }
        assert!(from_slice::<Value>(b"\"\xff\"").is_err(), "not UTF-8");
    }

    #[test]
    fn h4_bounds_the_depth() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        assert!(matches!(read(&nested(MAX_DEPTH + 1)), Err(JsonError::Refused(_))));
        assert!(read(&nested(100_000)).is_err());
        let objects = format!("{}1{}", "{\"a\":".repeat(MAX_DEPTH + 1), "}".repeat(MAX_DEPTH + 1));
        assert!(matches!(read(&objects), Err(JsonError::Refused(_))));
    }

    #[test]
    fn tells_a_wrong_shape_apart_and_bounds_what_it_quotes() {
        let text = format!("\"{}\"", "x".repeat(10_000));
        let Err(JsonError::Shape(message)) = from_slice::<u64>(text.as_bytes()) else {
            panic!("a string is no number");
        };
        assert!(message.len() < 2 * MAX_MESSAGE, "{message}");
    }
}
