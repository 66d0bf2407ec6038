//! `operations`: the implemented AWS operations, for people and for the check against the public
//! service models.

use serde_json::{Value, json};

use crate::api::routes::AWS_SERVICES;
use crate::cli::output::say;

/// How to print the table.
#[derive(clap::Args)]
pub(super) struct Operations {
    /// As a JSON list of service, operation, members and required members
    #[arg(long)]
    json: bool,
}

pub(super) fn run(how: &Operations) -> anyhow::Result<()> {
    let mut listed: Vec<Value> = Vec::new();
    let mut text = String::new();
    for service in AWS_SERVICES.iter().map(|service| service.model) {
        for (operation, members) in service.limits.operations() {
            let members: Vec<(&str, bool)> = members.collect();
            let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
            let required: Vec<&str> = members
                .iter()
                .filter(|(_, required)| *required)
                .map(|(name, _)| *name)
                .collect();
            text.extend([service.name, " ", operation, "\n"]);
            listed.push(json!({
                "service": service.name,
                "operation": operation,
                "members": names,
                "required": required,
            }));
        }
    }
    if how.json {
        text = Value::from(listed).to_string();
        text.push('\n');
    }
    Ok(say(&text)?)
}
