//! Filters of listings of parameters.
//!
//! Source: Systems Manager API reference, `ParameterStringFilter`.

use std::collections::BTreeMap;

use serde::Deserialize;
use wharfinger_secrets::{Parameter, is_below};

use crate::parameter_store::{Result, error};

/// `ParameterStringFilter` of the service model.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ParameterStringFilter {
    key: String,
    option: Option<String>,
    values: Option<Vec<String>>,
}

/// `ParametersFilter` of the service model, which clients used before.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ParametersFilter {
    key: String,
    values: Vec<String>,
}

impl From<ParametersFilter> for ParameterStringFilter {
    fn from(filter: ParametersFilter) -> Self {
        let option = if filter.key == "Name" {
            "BeginsWith"
        } else {
            "Equals"
        };
        Self {
            key: filter.key,
            option: Some(option.to_owned()),
            values: Some(filter.values),
        }
    }
}

/// How the values of a filter are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equals,
    BeginsWith,
    Contains,
    OneLevel,
    Recursive,
}

/// A filter that has been checked.
#[derive(Clone, Debug)]
pub(super) struct CheckedFilter {
    key: String,
    comparison: Comparison,
    values: Vec<String>,
}

/// Checks filters. Those of a path take no names, paths and tags.
pub(super) fn check(
    filters: Vec<ParameterStringFilter>,
    of_path: bool,
) -> Result<Vec<CheckedFilter>> {
    let check = |filter: ParameterStringFilter| {
        let key = filter.key.as_str();
        let outside =
            key.starts_with("tag:") || ["Name", "Path", "Tier", "DataType"].contains(&key);
        if key == "Label" || (of_path && outside) {
            return Err(error::filter_key(format!(
                "The filter key {key} is not supported here."
            )));
        }
        let option = filter.option.as_deref();
        let comparison = match (key, option) {
            ("Path", None | Some("OneLevel")) => Comparison::OneLevel,
            ("Path", Some("Recursive")) => Comparison::Recursive,
            (key, None | Some("Equals")) if key != "Path" => Comparison::Equals,
            ("Name" | "KeyId" | "Type" | "Tier" | "DataType", Some("BeginsWith")) => {
                Comparison::BeginsWith
            }
            ("Name", Some("Contains")) => Comparison::Contains,
            (key, option) => {
                let option = option.unwrap_or_default();
                let message = format!("The filter option {option} is not valid for {key}.");
                return Err(error::filter_option(message));
            }
        };
        Ok(CheckedFilter {
            comparison,
            values: filter.values.unwrap_or_default(),
            key: filter.key,
        })
    };
    filters.into_iter().map(check).collect()
}

impl CheckedFilter {
    /// Whether one of the values fits the parameter. A tag without values need only be there.
    pub(super) fn admits(&self, parameter: &Parameter, tags: &BTreeMap<String, String>) -> bool {
        let details = &parameter.details;
        let text = match self.key.as_str() {
            "Name" => Some(parameter.name.as_str()),
            "Path" => {
                let recursive = self.comparison == Comparison::Recursive;
                let mut paths = self.values.iter();
                return paths.any(|path| is_below(path, &parameter.name, recursive));
            }
            "Type" => Some(parameter.kind.as_str()),
            "KeyId" => details.key_id.as_deref(),
            "Tier" => Some(details.tier.as_str()),
            "DataType" => Some(details.data_type.as_str()),
            key => {
                let tag = key.strip_prefix("tag:").and_then(|key| tags.get(key));
                if self.values.is_empty() {
                    return tag.is_some();
                }
                tag.map(String::as_str)
            }
        };
        let fits = |text: &str, value: &str| match self.comparison {
            Comparison::BeginsWith => text.starts_with(value),
            Comparison::Contains => text.contains(value),
            _ => text == value,
        };
        text.is_some_and(|text| self.values.iter().any(|value| fits(text, value)))
    }
}
