//! Frames: the envelope of all messages.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A frame that is not part of the protocol.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the frame has more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the frame is not a message: {0}")]
    Malformed(#[source] serde_json::Error),
    #[error("the message {kind} cannot be decoded: {source}")]
    Message {
        kind: String,
        source: serde_json::Error,
    },
}

/// The envelope, its message not yet decoded.
#[derive(Deserialize)]
pub(crate) struct Envelope<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    pub(crate) fn parse(text: &'a str, limit: usize) -> Result<Self, FrameError> {
        if text.len() > limit {
            return Err(FrameError::TooLarge { limit });
        }
        serde_json::from_str(text).map_err(FrameError::Malformed)
    }

    /// Decodes the message; an absent one is empty.
    pub(crate) fn message<T: Deserialize<'a>>(&self) -> Result<T, FrameError> {
        let message = self.message.map_or("{}", RawValue::get);
        serde_json::from_str(message).map_err(|source| FrameError::Message {
            kind: self.kind.clone(),
            source,
        })
    }
}

/// Declares an enumeration of messages, whose frames name the type of each.
macro_rules! messages {
    (
        $(#[$meta:meta])*
        pub enum $name:ident up to $limit:expr => {
            $($(#[$variant_meta:meta])* $variant:ident($message:ty) = $text:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(tag = "type", content = "message")]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $text)] $variant($message),)*
        }

        impl $name {
            /// The `type` of the message's frame.
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $text,)* }
            }

            /// The text of the message's frame.
            ///
            /// # Errors
            /// A figure that JSON cannot hold.
            pub fn to_frame(&self) -> Result<String, $crate::FrameError> {
                serde_json::to_string(self).map_err($crate::FrameError::Malformed)
            }

            /// Reads a frame. `None` for a message of a type that is not known: newer peers send
            /// such, and the protocol ignores them.
            ///
            /// # Errors
            /// A frame that is too large, no JSON, or not the message that it says.
            pub fn from_frame(text: &str) -> Result<Option<Self>, $crate::FrameError> {
                let envelope = $crate::frame::Envelope::parse(text, $limit)?;
                Ok(match envelope.kind.as_str() {
                    $($text => Some(Self::$variant(envelope.message()?)),)*
                    _ => None,
                })
            }
        }
    };
}

pub(crate) use messages;
