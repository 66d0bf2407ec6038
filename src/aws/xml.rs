//! Responses and faults of the AWS Query protocol, as XML.
//!
//! Source: the Smithy specification, "AWS Query protocol", response serialization.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::fault::{Fault, Side};

/// The `Content-Type` of responses.
pub const CONTENT_TYPE: &str = "text/xml";

/// An entry of a map in a response. A map is a structure whose only member, `entry`, lists them.
#[derive(Clone, Debug, Serialize)]
pub struct MapEntry<K, V> {
    pub key: K,
    pub value: V,
}

/// The member of a map that lists its entries. No structure of a service model has a member of this
/// name.
const MAP_ENTRIES: &str = "entry";

/// The response of `action`: its result inside `<ActionResponse>`, with the request's id.
pub fn encode<T: Serialize>(
    action: &str,
    namespace: &str,
    output: &T,
    request_id: &str,
) -> Result<Vec<u8>, Fault> {
    let failed = |_| Fault::receiver("InternalFailure", "The response could not be written");
    let value = serde_json::to_value(output).map_err(failed)?;
    let mut text = format!("<{action}Response xmlns=\"{namespace}\">");
    element(&mut text, &format!("{action}Result"), &value);
    text.push_str("<ResponseMetadata>");
    element(&mut text, "RequestId", &Value::from(request_id));
    text.push_str("</ResponseMetadata>");
    let _ = write!(text, "</{action}Response>");
    Ok(text.into_bytes())
}

/// A fault as `<ErrorResponse>`.
#[must_use]
pub fn fault(fault: &Fault, namespace: &str, request_id: &str) -> Vec<u8> {
    let side = match fault.side {
        Side::Sender => "Sender",
        Side::Receiver => "Receiver",
    };
    let mut text = format!("<ErrorResponse xmlns=\"{namespace}\"><Error>");
    for (name, value) in [
        ("Type", side),
        ("Code", &fault.code),
        ("Message", &fault.message),
    ] {
        element(&mut text, name, &Value::from(value));
    }
    text.push_str("</Error>");
    element(&mut text, "RequestId", &Value::from(request_id));
    text.push_str("</ErrorResponse>");
    text.into_bytes()
}

/// One element. Names come from our own types; values are escaped. An absent value leaves no
/// element.
fn element(text: &mut String, name: &str, value: &Value) {
    if value.is_null() {
        return;
    }
    if let (MAP_ENTRIES, Value::Array(entries)) = (name, value) {
        for entry in entries {
            element(text, name, entry);
        }
        return;
    }
    text.push('<');
    text.push_str(name);
    text.push('>');
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(name, value)| element(text, name, value)),
        Value::Array(items) => items.iter().for_each(|item| element(text, "member", item)),
        Value::String(value) => escape(text, value),
        value => text.push_str(&value.to_string()),
    }
    text.push_str("</");
    text.push_str(name);
    text.push('>');
}

/// Escapes markup; a character that XML 1.0 cannot hold at all becomes U+FFFD.
fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\r' => text.push_str("&#13;"),
            '\t' | '\n' => text.push(character),
            '\u{FFFE}' | '\u{FFFF}' | '\0'..='\u{1F}' => text.push(char::REPLACEMENT_CHARACTER),
            character => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_response_is_wrapped_as_query_services_do() {
        let bytes = encode(
            "GetX",
            "https://x/",
            &json!({"A": "<&\u{1}>", "L": [1, true], "N": null}),
            "id",
        )
        .expect("text");
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert_eq!(
            text,
            "<GetXResponse xmlns=\"https://x/\"><GetXResult><A>&lt;&amp;\u{FFFD}&gt;</A>\
             <L><member>1</member><member>true</member></L></GetXResult>\
             <ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></GetXResponse>"
        );
    }

    #[test]
    fn the_entries_of_a_map_are_not_members_of_a_list() {
        let entry = [MapEntry {
            key: "Users",
            value: 2,
        }];
        let output = json!({"Map": {"entry": entry}});
        let bytes = encode("GetX", "https://x/", &output, "id").expect("text");
        let text = String::from_utf8(bytes).expect("UTF-8");
        let map = "<Map><entry><key>Users</key><value>2</value></entry></Map>";
        assert!(text.contains(map), "{text}");
    }

    #[test]
    fn a_fault_says_whose_it_is() {
        let text = String::from_utf8(fault(
            &Fault::sender("InvalidAction", "no"),
            "https://x/",
            "id",
        ))
        .expect("UTF-8");
        assert_eq!(
            text,
            "<ErrorResponse xmlns=\"https://x/\"><Error><Type>Sender</Type>\
             <Code>InvalidAction</Code><Message>no</Message></Error>\
             <RequestId>id</RequestId></ErrorResponse>"
        );
    }
}
