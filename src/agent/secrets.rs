//! Values of a container's environment that are fetched when it is made: secrets, parameters, and
//! environment files.
//!
//! Source: ECS developer guide, "Pass sensitive data to an Amazon ECS container" and "Pass an
//! individual environment variable to an Amazon ECS container".

mod environment_file;
mod reference;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wharfinger_ecs_protocol::{Container, Task};

use crate::aws_client::{CallError, PARAMETERS, SECRETS};
use crate::context::Context;
use crate::keys::Keys;
use crate::secrets::environment_file::variables;
use crate::secrets::reference::{SecretReference, reference, secret};

/// A secret for the options of a log driver, which no container sees.
const LOG_DRIVER: &str = "LOG_DRIVER";
/// How ECS begins every reason of this kind.
const PREFIX: &str = "ResourceInitializationError: unable to pull secrets or registry auth: \
                      execution resource retrieval failed";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecretOutput {
    secret_string: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ParametersOutput {
    parameters: Vec<Parameter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    value: String,
}

/// The reason of a secret that is not there.
fn not_retrieved(reference: &SecretReference, name: &str, why: &str) -> String {
    let kind = reference.kind();
    format!("{PREFIX}: unable to retrieve secret from {kind}: {name}: {why}")
}

impl Context {
    /// The variables of a container that are secrets.
    ///
    /// # Errors
    /// A reason as ECS gives it.
    pub(crate) async fn secrets(
        &self,
        task: &Task,
        container: &Container,
    ) -> Result<BTreeMap<String, String>, String> {
        self.fetched(task, container, |target| target != Some(LOG_DRIVER))
            .await
    }

    /// The options of a container's log driver that are secrets.
    ///
    /// # Errors
    /// A reason as ECS gives it.
    pub(crate) async fn log_secrets(
        &self,
        task: &Task,
        container: &Container,
    ) -> Result<BTreeMap<String, String>, String> {
        self.fetched(task, container, |target| target == Some(LOG_DRIVER))
            .await
    }

    /// The secrets of a container with certain targets, by name.
    async fn fetched(
        &self,
        task: &Task,
        container: &Container,
        is_wanted: impl Fn(Option<&str>) -> bool,
    ) -> Result<BTreeMap<String, String>, String> {
        let mut variables = BTreeMap::new();
        let wanted = container.secrets.iter();
        let wanted: Vec<_> = wanted
            .filter(|secret| is_wanted(secret.target.as_deref()))
            .collect();
        if wanted.is_empty() {
            return Ok(variables);
        }
        let keys = self.execution_keys(task).await;
        let keys = keys.map_err(|why| format!("{PREFIX}: {why}"))?;
        for secret in wanted {
            let found = reference(&secret.value_from);
            let value = self.value(&keys, &found).await;
            let value = value.map_err(|why| not_retrieved(&found, &secret.value_from, &why))?;
            variables.insert(secret.name.clone(), value);
        }
        Ok(variables)
    }

    /// What the secret with this ARN or name says, read from JSON. `members` are what it must hold.
    ///
    /// # Errors
    /// A reason as ECS gives it.
    pub(crate) async fn document<T: DeserializeOwned>(
        &self,
        keys: &Keys,
        id: &str,
        members: &str,
    ) -> Result<T, String> {
        let found = secret(id);
        let text = self.value(keys, &found).await;
        let document = text.and_then(|text| {
            // The library's message may quote the secret.
            serde_json::from_str(&text).map_err(|_| format!("it has no {members}"))
        });
        document.map_err(|why| not_retrieved(&found, id, &why))
    }

    async fn value(&self, keys: &Keys, reference: &SecretReference) -> Result<String, String> {
        let client = self.client.at(None, reference.region.as_deref());
        if reference.is_parameter {
            let body = json!({"Names": [reference.id], "WithDecryption": true});
            let output: Result<ParametersOutput, CallError> =
                client.call(keys, PARAMETERS, "GetParameters", &body).await;
            let output = output.map_err(|error| error.to_string())?;
            let first = output.parameters.into_iter().next();
            return first
                .map(|parameter| parameter.value)
                .ok_or_else(|| "invalid parameters: there is no such parameter".to_owned());
        }
        let mut body = json!({"SecretId": reference.id});
        let members = [
            ("VersionStage", &reference.version_stage),
            ("VersionId", &reference.version_id),
        ];
        for (member, value) in members {
            if let Some(value) = value {
                body[member] = json!(value);
            }
        }
        let output: Result<SecretOutput, CallError> =
            client.call(keys, SECRETS, "GetSecretValue", &body).await;
        let text = output.map_err(|error| error.to_string())?.secret_string;
        let text = text.ok_or("the secret is not a text")?;
        let Some(key) = &reference.json_key else {
            return Ok(text);
        };
        let document: Value = serde_json::from_str(&text)
            .map_err(|_| format!("the secret is not a JSON document with the key {key}"))?;
        match document.get(key) {
            Some(Value::String(value)) => Ok(value.clone()),
            Some(value) => Ok(value.to_string()),
            None => Err(format!("retrieved secret did not contain json key {key}")),
        }
    }

    /// The variables of a container's environment files. Of equal names, that of the earlier file
    /// counts.
    ///
    /// # Errors
    /// A reason as ECS gives it.
    pub(crate) async fn environment_files(
        &self,
        task: &Task,
        container: &Container,
    ) -> Result<BTreeMap<String, String>, String> {
        let mut all = BTreeMap::new();
        for file in &container.environment_files {
            let failed = |why: String| {
                format!(
                    "ResourceInitializationError: failed to download env files: {}: {why}",
                    file.value
                )
            };
            let keys = self.execution_keys(task).await.map_err(failed)?;
            let text = self.object(&keys, &file.value).await.map_err(failed)?;
            for (name, value) in variables(&text) {
                all.entry(name).or_insert(value);
            }
        }
        Ok(all)
    }
}
