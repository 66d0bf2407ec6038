//! JSON as policy documents need it: no key twice in one object, and a bounded depth. PURE.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// A JSON value whose objects keep the order of their keys and hold each key once.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Deepest nesting taken. A policy document needs seven levels: document, Statement, statement,
/// Condition, operator, key, values.
const MAX_DEPTH: u8 = 8;

impl Json {
    /// Reads one JSON value that fills `text`.
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = Nested {
            levels_left: MAX_DEPTH,
        }
        .deserialize(&mut reader)?;
        reader.end()?;
        Ok(value)
    }
}

/// Reads a value that may still nest `levels_left` times.
#[derive(Clone, Copy)]
struct Nested {
    levels_left: u8,
}

impl Nested {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        let levels_left = self
            .levels_left
            .checked_sub(1)
            .ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { levels_left })
    }
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        serde_json::Number::from_f64(value)
            .map(Json::Number)
            .ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut object = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            object.push((key, entries.next_value_seed(inner)?));
        }
        let mut keys: Vec<&str> = object.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(A::Error::custom(format_args!(
                "the key \"{}\" stands twice in one object",
                pair[0]
            ))),
            None => Ok(Json::Object(object)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_once_and_depth_is_bounded() {
        assert_eq!(
            Json::parse(r#"{"b":[1,"x"],"a":null}"#)
                .expect("fine")
                .clone(),
            {
                let list = Json::List(vec![Json::Number(1.into()), Json::Text("x".into())]);
                Json::Object(vec![("b".into(), list), ("a".into(), Json::Null)])
            }
        );
        for bad in [
            r#"{"a":1,"a":2}"#,
            r#"{"x":{"a":1,"\u0061":2}}"#,
            "",
            "{} x",
            "{",
            "[[[[[[[[[1]]]]]]]]]",
            &"[".repeat(100_000),
        ] {
            assert!(Json::parse(bad).is_err(), "{}", &bad[..bad.len().min(40)]);
        }
        assert!(Json::parse("[[[[[[[[1]]]]]]]]").is_ok());
    }
}
