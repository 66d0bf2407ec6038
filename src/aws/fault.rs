//! An error in AWS's terms: a code, a message, who has to change something, and the extra members
//! that some errors have.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use serde_json::{Map, Value};

/// Who has to change something: the sender of the request or its receiver.
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
    /// The status if it is neither the 400 of a sender's nor the 500 of the receiver's fault.
    status: Option<u16>,
    /// Extra modelled members, such as `lastValidByteReceived`.
    pub fields: Map<String, Value>,
    /// The internal cause with its own causes: for the log, never for the client.
    cause: Option<String>,
}

impl Fault {
    /// An error of the request: status 400.
    pub fn sender(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            side: Side::Sender,
            status: None,
            fields: Map::new(),
            cause: None,
        }
    }

    /// An error of the server: status 500. The message does not contain internal details.
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

    /// Attaches the internal cause, which the gateway logs.
    #[must_use]
    pub fn with_cause(mut self, cause: &dyn Error) -> Self {
        let mut text = cause.to_string();
        let mut next = cause.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        self.cause = Some(text);
        self
    }

    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The HTTP status of the response.
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

impl Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_determines_the_status_unless_one_is_given() {
        assert_eq!(Fault::sender("A", "b").status(), 400);
        assert_eq!(Fault::receiver("A", "b").status(), 500);
        assert_eq!(Fault::sender("A", "b").with_status(403).status(), 403);
        assert_eq!(Fault::sender("A", "b").to_string(), "A: b");
    }

    #[test]
    fn causes_are_joined_and_not_displayed() {
        let inner = std::io::Error::other("no space left");
        let outer = std::io::Error::other(inner);
        let fault = Fault::receiver("A", "b").with_cause(&outer);
        assert!(
            fault
                .cause()
                .is_some_and(|cause| cause.contains("no space left"))
        );
        assert_eq!(fault.to_string(), "A: b");
    }
}
