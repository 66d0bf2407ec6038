//! Log configurations.

use crate::model::{LogConfiguration, LogDriver};
use crate::task_definition::error::Checked;
use crate::task_definition::error::refuse;

/// The options of `awslogs`. Source: ECS API reference, `LogConfiguration`.
const AWSLOGS_OPTIONS: &[&str] = &[
    "awslogs-create-group",
    "awslogs-datetime-format",
    "awslogs-group",
    "awslogs-multiline-pattern",
    "awslogs-region",
    "awslogs-stream-prefix",
    "max-buffer-size",
    "mode",
];

pub(super) fn check(logs: &LogConfiguration) -> Checked {
    let option = |name: &str| logs.options.as_ref().and_then(|options| options.get(name));
    if let Some(mode) = option("mode")
        && !["blocking", "non-blocking"].contains(&mode.as_str())
    {
        return Err(refuse(format!("Log mode '{mode}' is not valid.")));
    }
    if logs.log_driver == LogDriver::Awslogs {
        check_awslogs(logs)
    } else {
        Ok(())
    }
}

fn check_awslogs(logs: &LogConfiguration) -> Checked {
    let options = logs.options.iter().flatten();
    let unknown: Vec<_> = options
        .map(|(name, _)| name.as_str())
        .filter(|name| !AWSLOGS_OPTIONS.contains(name))
        .collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        return Err(refuse(format!(
            "Log driver awslogs disallows options: {unknown}"
        )));
    }
    let option = |name: &str| logs.options.as_ref().and_then(|options| options.get(name));
    let missing: Vec<_> = ["awslogs-region", "awslogs-group"]
        .into_iter()
        .filter(|name| option(name).is_none_or(String::is_empty))
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(refuse(format!(
            "Log driver awslogs requires options: {missing}"
        )));
    }
    let create = option("awslogs-create-group");
    if create.is_some_and(|value| !value.eq_ignore_ascii_case("true")) {
        return Err(refuse(
            "Log driver awslogs option 'awslogs-create-group' should only be set to 'true', else \
             omit option.",
        ));
    }
    if option("awslogs-datetime-format").is_some() && option("awslogs-multiline-pattern").is_some()
    {
        return Err(refuse(
            "Log driver awslogs options 'awslogs-datetime-format' and 'awslogs-multiline-pattern' \
             exclude each other.",
        ));
    }
    Ok(())
}

/// The name of a driver in the capabilities of agents.
pub(super) fn capability(driver: LogDriver) -> String {
    format!("com.amazonaws.ecs.capability.logging-driver.{driver}")
}
