//! Types for the values of a Query request, which are all text. PURE.

use serde_json::{Map, Number, Value};

use crate::constraints::{Limits, Members, Type};

impl Limits {
    /// Gives the values of a Query document the types of the operation's members. A text that is
    /// not of the type stays text, which [`Limits::check`] refuses; an empty one is an empty list.
    pub fn type_values(&self, operation: &str, document: &mut Value) {
        if let (Some(members), Value::Object(object)) = (self.operations.get(operation), document) {
            self.type_members(members, object);
        }
    }

    fn type_members(&self, members: &Members, object: &mut Map<String, Value>) {
        for (name, shape) in members {
            if let Some(value) = object.get_mut(name) {
                self.type_value(shape.trim_end_matches('*'), value);
            }
        }
    }

    fn type_value(&self, shape: &str, value: &mut Value) {
        let Some(shape) = self.shapes.get(shape) else {
            return;
        };
        match (shape.r#type, &mut *value) {
            (Type::Integer | Type::Long, Value::String(text)) => {
                if let Ok(number) = text.parse::<i64>() {
                    *value = number.into();
                }
            }
            (Type::Float | Type::Double, Value::String(text)) => {
                if let Some(number) = text.parse().ok().and_then(Number::from_f64) {
                    *value = number.into();
                }
            }
            (Type::Boolean, Value::String(text)) => match text.as_str() {
                "true" => *value = true.into(),
                "false" => *value = false.into(),
                _ => {}
            },
            (Type::List, Value::String(text)) if text.is_empty() => *value = Value::Array(vec![]),
            (Type::List, Value::Array(items)) => {
                for item in items {
                    self.type_value(shape.item.as_deref().unwrap_or_default(), item);
                }
            }
            (Type::Structure, Value::Object(object)) => {
                self.type_members(&shape.members, object);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_become_what_the_model_says() {
        let limits = Limits::read(
            r#"
            fault = { code = "ValidationError", message = "{member} {constraint}" }
            [shapes]
            number = { type = "integer", max = 9 }
            share = { type = "double" }
            switch = { type = "boolean" }
            text = { type = "string" }
            tag = { type = "structure", members = { Key = "text*", Size = "number" } }
            tags = { type = "list", item = "tag" }
            [operations.Do]
            Number = "number*"
            Share = "share"
            Switch = "switch"
            Text = "text"
            Tags = "tags"
            None = "tags"
            "#,
        );
        let mut document = json!({
            "Number": "7", "Share": "0.5", "Switch": "false", "Text": "7", "None": "", "Other": "7",
            "Tags": [{"Key": "1", "Size": "2"}],
        });
        limits.type_values("Do", &mut document);
        assert_eq!(
            document,
            json!({
                "Number": 7, "Share": 0.5, "Switch": false, "Text": "7", "None": [], "Other": "7",
                "Tags": [{"Key": "1", "Size": 2}],
            })
        );
        assert_eq!(limits.check("Do", &document), Ok(()));
        let mut document = json!({"Number": "many"});
        limits.type_values("Do", &mut document);
        assert!(limits.check("Do", &document).is_err());
    }
}
