//! A JSON parser with a bounded number of values: each takes some 32 bytes of memory however short
//! its text is, so that the size of a body does not bound the memory of its document.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Most values in one document. The largest request of any service has a few hundred.
pub const MAX_NODES: usize = 10_000;

/// Deepest nesting of a document. The service models nest five levels.
pub const MAX_DEPTH: usize = 32;

/// Parses a whole text as one value.
pub(super) fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    let nodes_left = Cell::new(MAX_NODES);
    let mut parser = serde_json::Deserializer::from_slice(text);
    let root = Node {
        nodes_left: &nodes_left,
        depth: 0,
    };
    let value = root.deserialize(&mut parser)?;
    parser.end()?;
    Ok(value)
}

/// One value to be parsed.
#[derive(Clone, Copy)]
struct Node<'a> {
    nodes_left: &'a Cell<usize>,
    depth: usize,
}

impl Node<'_> {
    fn child<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!(
                "it nests more than {MAX_DEPTH} levels deep"
            )));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.nodes_left.get().checked_sub(1) else {
            return Err(D::Error::custom(format_args!(
                "it has more than {MAX_NODES} values"
            )));
        };
        self.nodes_left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let child = self.child()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(child)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let child = self.child()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            object.insert(name, members.next_value_seed(child)?);
        }
        Ok(Value::Object(object))
    }
}
