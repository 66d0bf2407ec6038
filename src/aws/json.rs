//! The AWS JSON 1.1 protocol: reading a request's document, writing an answer or a fault.
//!
//! Source: the Smithy specification, "AWS JSON 1.1 protocol".

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::fault::Fault;

/// The `Content-Type` of requests and answers.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// Reads a request's body. An empty one is an empty document: an operation without members may send
/// nothing.
pub fn document(body: &[u8]) -> Result<Value, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Fault::serialization(format!("The body is not valid JSON: {error}")))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Fault::serialization("The body is not a JSON object"))
    }
}

/// Turns a document that the constraints let pass into its request type. Members it does not know
/// are skipped, as AWS does.
pub fn decode<T: DeserializeOwned>(document: Value) -> Result<T, Fault> {
    serde_json::from_value(document).map_err(|error| Fault::serialization(error.to_string()))
}

/// An answer's body.
pub fn encode<T: Serialize>(answer: &T) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(answer)
        .map_err(|_| Fault::receiver("ServerException", "The answer could not be written"))
}

/// A fault's body: `__type`, `message`, and its own members.
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
    fn a_fault_carries_its_members() {
        let bytes = fault(
            &Fault::sender("InvalidLayerPartException", "no")
                .with_field("lastValidByteReceived", 7),
        );
        let value: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(
            value,
            json!({"__type": "InvalidLayerPartException", "message": "no", "lastValidByteReceived": 7})
        );
    }
}
