//! Secrets and files that the execution role reads.

use std::collections::BTreeSet;

use crate::model::TaskDefinitionDocument;
use crate::task_definition::container::check_variable_name;
use crate::task_definition::error::Checked;
use crate::task_definition::error::refuse;

/// Most environment files of a task definition. Source: ECS developer guide, "Pass environment
/// variables".
const MAX_ENVIRONMENT_FILES: usize = 10;

/// Checks the secrets of all containers, and that there is a role to read them.
pub(super) fn check(document: &TaskDefinitionDocument) -> Checked {
    let has_role = document.execution_role_arn.is_some();
    let mut files = 0;
    for container in &document.container_definitions {
        let environment = container.environment.iter();
        let mut names: BTreeSet<_> = environment
            .filter_map(|variable| variable.name.as_deref())
            .collect();
        for secret in container.secrets.iter().flatten() {
            check_variable_name(&secret.name)?;
            if !names.insert(&secret.name) {
                let name = &secret.name;
                return Err(refuse(format!(
                    "The secret name must be unique and not shared with any new or existing \
                     environment variables set on the container, such as '{name}'."
                )));
            }
            if secret.value_from.is_empty() {
                return Err(refuse("Secret valueFrom should not be null or empty."));
            }
        }
        for option in container.log_secrets() {
            if option.name.is_empty() || option.value_from.is_empty() {
                return Err(refuse("Secret valueFrom should not be null or empty."));
            }
        }
        let mut secrets = container.secrets.iter().flatten();
        let any = secrets.next().or_else(|| container.log_secrets().next());
        if !has_role && any.is_some() {
            return Err(refuse(
                "When you are specifying container secrets, you must also specify a value for \
                 'executionRoleArn'.",
            ));
        }
        files += container.environment_files.as_ref().map_or(0, Vec::len);
        if !has_role && files > 0 {
            return Err(refuse(
                "When you are specifying environment files, you must also specify a value for \
                 'executionRoleArn'.",
            ));
        }
        if let Some(credentials) = &container.repository_credentials {
            if credentials.credentials_parameter.is_empty() {
                return Err(refuse("credentialsParameter should not be null or empty."));
            }
            if !has_role {
                return Err(refuse(
                    "Private repository authentication requires that the task definition specify a \
                     value for executionRoleArn.",
                ));
            }
        }
    }
    if files > MAX_ENVIRONMENT_FILES {
        return Err(refuse("Too many environment files."));
    }
    Ok(())
}

/// `asm` for a secret of Secrets Manager, else `ssm` for a parameter.
pub(crate) fn secret_provider(value_from: &str) -> &'static str {
    let service = value_from
        .strip_prefix("arn:")
        .and_then(|arn| arn.split(':').nth(1));
    if service == Some("secretsmanager") {
        "asm"
    } else {
        "ssm"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_parameters_by_their_arn() {
        assert_eq!(
            secret_provider("arn:aws:secretsmanager:us-east-1:1:secret:db-a1b2c3"),
            "asm"
        );
        assert_eq!(
            secret_provider("arn:aws:ssm:us-east-1:1:parameter/db"),
            "ssm"
        );
        assert_eq!(secret_provider("/db/password"), "ssm");
    }
}
