//! The actions, resources and circumstances of a simulation, as requests have them.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::SimulatedContext;

use crate::iam::paging::Paging;
use crate::iam::{Result, error};

/// Most context keys of a request, and most values of one.
const MAX_CONTEXT_ENTRIES: usize = 200;

/// The members that both operations have.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Scenario {
    #[serde(default)]
    pub(super) policy_input_list: Vec<String>,
    #[serde(default)]
    pub(super) permissions_boundary_policy_input_list: Vec<String>,
    action_names: Vec<String>,
    #[serde(default)]
    resource_arns: Vec<String>,
    pub(super) resource_policy: Option<String>,
    resource_owner: Option<String>,
    caller_arn: Option<String>,
    #[serde(default)]
    context_entries: Vec<ContextEntry>,
    resource_handling_option: Option<String>,
    #[serde(flatten)]
    pub(super) paging: Paging,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_field_names, reason = "the names of the service model")]
struct ContextEntry {
    context_key_name: Option<String>,
    #[serde(default)]
    context_key_values: Vec<String>,
    context_key_type: Option<String>,
}

/// An action on a resource; `None` stands for `*`.
pub(super) struct Case<'a> {
    pub(super) action: &'a str,
    pub(super) resource: Option<&'a Arn>,
}

impl Scenario {
    /// The user that is to be the caller.
    ///
    /// # Errors
    /// `InvalidInput` for a text that is no ARN.
    pub(super) fn caller_arn(&self) -> Result<Option<Arn>> {
        let Some(text) = &self.caller_arn else {
            return Ok(None);
        };
        let invalid = |_| error::invalid_input(format!("Invalid CallerArn: {text}"));
        text.parse().map(Some).map_err(invalid)
    }

    /// Whether the request names resources.
    pub(super) fn has_resources(&self) -> bool {
        !self.resource_arns.is_empty()
    }

    /// The resources, `None` for `*`.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(super) fn resources(&self) -> Result<Vec<Option<Arn>>> {
        if self.resource_arns.is_empty() {
            return Ok(vec![None]);
        }
        let resources = self.resource_arns.iter().map(|text| match text.as_str() {
            "*" => Ok(None),
            text => {
                let arn = text.parse();
                let invalid = |_| error::invalid_input(format!("Invalid resource ARN: {text}"));
                arn.map(Some).map_err(invalid)
            }
        });
        resources.collect()
    }

    /// The actions, each with a service and a name.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(super) fn actions(&self) -> Result<&[String]> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_action = |action: &String| {
            let parts = action.split_once(':');
            parts.is_some_and(|(service, name)| {
                !service.is_empty()
                    && !name.is_empty()
                    && service.bytes().all(legal)
                    && name.bytes().all(legal)
            })
        };
        match self.action_names.iter().find(|action| !is_action(action)) {
            Some(wrong) => Err(error::invalid_input(format!(
                "Invalid action name: {wrong}"
            ))),
            None if self.action_names.is_empty() => {
                Err(error::invalid_input("ActionNames must not be empty."))
            }
            None => Ok(&self.action_names),
        }
    }

    /// Refuses what has no meaning here.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(super) fn check(&self) -> Result<()> {
        if self.resource_handling_option.is_some() {
            let message = "ResourceHandlingOption is for actions of Amazon EC2, which this server \
                 does not have.";
            return Err(error::invalid_input(message));
        }
        Ok(())
    }

    /// The account of resources whose ARN names none.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(super) fn resource_owner(&self) -> Result<Option<AccountId>> {
        let Some(text) = &self.resource_owner else {
            return Ok(None);
        };
        let of_arn = || text.parse::<Arn>().ok()?.account_id();
        let account = text.parse().ok().or_else(of_arn);
        let invalid = || error::invalid_input(format!("Invalid ResourceOwner: {text}"));
        account.map(Some).ok_or_else(invalid)
    }

    /// The values of condition keys.
    ///
    /// # Errors
    /// `InvalidInput` for values that are not of their type.
    pub(super) fn context(&self) -> Result<SimulatedContext> {
        let too_many = |count| count > MAX_CONTEXT_ENTRIES;
        let mut values = self.context_entries.iter();
        if too_many(self.context_entries.len())
            || values.any(|entry| too_many(entry.context_key_values.len()))
        {
            let message = format!(
                "ContextEntries can have {MAX_CONTEXT_ENTRIES} keys with {MAX_CONTEXT_ENTRIES} \
                 values each at most."
            );
            return Err(error::invalid_input(message));
        }
        let mut context = SimulatedContext::default();
        for entry in &self.context_entries {
            let name = entry.checked()?;
            context.set(name, entry.context_key_values.clone());
        }
        Ok(context)
    }
}

impl ContextEntry {
    /// The name of the key, whose values are of the type.
    fn checked(&self) -> Result<&str> {
        let name = self.context_key_name.as_deref();
        let name = name.ok_or_else(|| error::invalid_input("ContextKeyName must not be empty."))?;
        let kind = self.context_key_type.as_deref().unwrap_or("string");
        let (kind, is_list) = kind
            .strip_suffix("List")
            .map_or((kind, false), |kind| (kind, true));
        let values = &self.context_key_values;
        let are_legal = values.iter().all(|value| is_of_type(kind, value));
        if are_legal && (is_list || values.len() <= 1) {
            return Ok(name);
        }
        let what = if are_legal {
            "has more than one value"
        } else {
            "has a value of another type"
        };
        let message = format!("Invalid context entry: {name} of the type {kind} {what}.");
        Err(error::invalid_input(message))
    }
}

/// Whether a value can be one of the type, a number of the public model's.
fn is_of_type(kind: &str, value: &str) -> bool {
    match kind {
        "numeric" => value.parse::<f64>().is_ok_and(f64::is_finite),
        "boolean" => ["true", "false"]
            .iter()
            .any(|word| value.eq_ignore_ascii_case(word)),
        "ip" => {
            let address = value.split_once('/').map_or(value, |(address, _)| address);
            address.parse::<IpAddr>().is_ok()
        }
        "binary" => STANDARD.decode(value).is_ok(),
        "date" => value
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_digit()),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn scenario(more: Value) -> Scenario {
        let mut document = json!({"PolicyInputList": [], "ActionNames": ["ecr:PutImage"]});
        if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
            document.extend(more);
        }
        serde_json::from_value(document).expect("a scenario")
    }

    fn refused<T>(result: Result<T>) -> String {
        match result {
            Ok(_) => String::new(),
            Err(error) => error.fault().message.clone(),
        }
    }

    #[test]
    fn actions_and_resources_have_their_form() {
        assert_eq!(scenario(json!({})).resources().expect("one"), [None]);
        for wrong in ["", "ecr", "ecr:", ":Put", "ecr:Put*", "*"] {
            let scenario = scenario(json!({"ActionNames": [wrong]}));
            assert!(
                refused(scenario.actions()).contains("action name"),
                "{wrong}"
            );
        }
        let wrong = scenario(json!({"ResourceArns": ["*", "web"]}));
        assert_eq!(refused(wrong.resources()), "Invalid resource ARN: web");
        let handling = scenario(json!({"ResourceHandlingOption": "EC2-Classic-EBS"}));
        assert!(refused(handling.check()).contains("Amazon EC2"));
        for (owner, expected) in [
            ("123456789012", true),
            ("arn:aws:iam::123456789012:root", true),
            ("me", false),
        ] {
            let owned = scenario(json!({"ResourceOwner": owner}));
            assert_eq!(owned.resource_owner().is_ok(), expected, "{owner}");
        }
    }

    #[test]
    fn values_are_of_their_type() {
        for (kind, values, expected) in [
            ("string", &["a"][..], ""),
            ("string", &["a", "b"], "more than one value"),
            ("stringList", &["a", "b"], ""),
            ("numeric", &["1.5"], ""),
            ("numeric", &["one"], "another type"),
            ("numericList", &["1", "x"], "another type"),
            ("boolean", &["True"], ""),
            ("boolean", &["yes"], "another type"),
            ("ip", &["10.0.0.0/8"], ""),
            ("ip", &["10.0.0"], "another type"),
            ("binary", &["QUJD"], ""),
            ("binary", &["%"], "another type"),
            ("date", &["2026-01-01T00:00:00Z"], ""),
            ("date", &["tomorrow"], "another type"),
        ] {
            let entry = json!({
                "ContextKeyName": "aws:x", "ContextKeyValues": values, "ContextKeyType": kind,
            });
            let scenario = scenario(json!({"ContextEntries": [entry]}));
            let message = refused(scenario.context());
            assert_eq!(message.is_empty(), expected.is_empty(), "{kind}: {message}");
            assert!(message.contains(expected), "{kind}: {message}");
        }
        let unnamed = scenario(json!({"ContextEntries": [{"ContextKeyValues": ["a"]}]}));
        assert!(unnamed.context().is_err());
    }
}
