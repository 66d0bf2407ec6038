//! An error as AWS words it: a code, a sentence, whose fault it is, and the extra members that some
//! errors carry.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

/// Who has to change something: the sender of the request, or we.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Sender,
    Receiver,
}

/// An error on its way to an AWS client. The protocol in use decides how it is written (JSON or
/// XML).
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The shape's name in the service model, such as `RepositoryNotFoundException`.
    pub code: Cow<'static, str>,
    pub message: String,
    pub side: Side,
    /// Status where it is not the 400 of a sender's or the 500 of the receiver's fault.
    status: Option<u16>,
    /// Extra modelled members, such as `lastValidByteReceived`.
    pub fields: Map<String, Value>,
}

impl Fault {
    /// The sender's fault: status 400.
    pub fn sender(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            side: Side::Sender,
            status: None,
            fields: Map::new(),
        }
    }

    /// Our own fault: status 500. The message tells the client nothing about the inside.
    pub fn receiver(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            side: Side::Receiver,
            ..Self::sender(code, message)
        }
    }

    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    #[must_use]
    pub fn with_field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// The HTTP status to answer with.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.unwrap_or(match self.side {
            Side::Sender => 400,
            Side::Receiver => 500,
        })
    }

    /// A body that is no JSON, or a member of another type than its shape says.
    pub fn serialization(message: impl Into<String>) -> Self {
        Self::sender("SerializationException", message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_gives_the_status_unless_it_is_told() {
        assert_eq!(Fault::sender("A", "b").status(), 400);
        assert_eq!(Fault::receiver("A", "b").status(), 500);
        assert_eq!(Fault::sender("A", "b").with_status(403).status(), 403);
        assert_eq!(Fault::sender("A", "b").to_string(), "A: b");
    }
}
