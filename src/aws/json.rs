//! The AWS JSON 1.1 protocol: reads a request's document, writes a response or a fault.
//!
//! Source: the Smithy specification, "AWS JSON 1.1 protocol".

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::fault::Fault;

mod bounded;

pub use bounded::{MAX_DEPTH, MAX_NODES};

/// The `Content-Type` of requests and responses.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// Reads a request's body. An empty body is an empty document, since an operation without members
/// may send nothing.
///
/// # Errors
/// `SerializationException` for a body that is no JSON object, has more than [`MAX_NODES`] values
/// or nests deeper than [`MAX_DEPTH`].
pub fn document(body: &[u8]) -> Result<Value, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    let value = bounded::parse(body)
        .map_err(|error| Fault::serialization(format!("The body is not valid JSON: {error}")))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Fault::serialization("The body is not a JSON object"))
    }
}

/// Decodes a document that satisfies the published limits as its request type. Unknown members are
/// ignored, as by AWS.
pub fn decode<T: DeserializeOwned>(document: Value) -> Result<T, Fault> {
    serde_json::from_value(document).map_err(|error| Fault::serialization(error.to_string()))
}

/// Encodes the body of a response.
pub fn encode<T: Serialize>(output: &T) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(output)
        .map_err(|_| Fault::receiver("ServerException", "The response could not be encoded"))
}

/// Encodes a fault: `__type`, `message`, and its own members.
#[must_use]
pub fn fault(fault: &Fault) -> Vec<u8> {
    let mut members = fault.fields.clone();
    members.insert("__type".to_owned(), fault.code.as_ref().into());
    members.insert("message".to_owned(), fault.message.as_str().into());
    Value::Object(members).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_object_or_nothing() {
        assert_eq!(document(b" \n").expect("nothing"), json!({}));
        assert_eq!(document(br#"{"a":1}"#).expect("an object"), json!({"a": 1}));
        for bad in [&b"[]"[..], b"{", b"\"a\"", b"1", b"{}{}", b"\xff"] {
            assert_eq!(
                document(bad).expect_err("no object").code,
                "SerializationException"
            );
        }
        assert!(document("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn a_document_has_a_bounded_number_of_values() {
        let zeros = |count| format!("{{\"a\":[{}]}}", vec!["0"; count].join(","));
        assert!(document(zeros(MAX_NODES - 2).as_bytes()).is_ok());
        let fault = document(zeros(MAX_NODES - 1).as_bytes()).expect_err("too many values");
        assert!(fault.message.contains("values"), "{fault}");
    }

    #[test]
    fn a_document_has_a_bounded_depth() {
        let nested = |depth| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(document(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        let fault = document(nested(MAX_DEPTH).as_bytes()).expect_err("too deep");
        assert!(fault.message.contains("deep"), "{fault}");
    }

    #[test]
    fn a_fault_carries_its_members() {
        let bytes = fault(
            &Fault::sender("InvalidLayerPartException", "no")
                .with_field("lastValidByteReceived", 7),
        );
        let value: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(
            value,
            json!({
                "__type": "InvalidLayerPartException",
                "message": "no",
                "lastValidByteReceived": 7,
            })
        );
    }
}
