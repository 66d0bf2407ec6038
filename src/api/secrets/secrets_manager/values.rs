//! The values of secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_base::Secret;
use wharfinger_secrets::{NewVersion, SecretRef, SecretValue, VersionQuery};

use crate::secrets_manager::{Result, SecretId, SecretsManager, error};
use crate::views::Seconds;

/// The version that a request brings: one value at most.
pub(super) fn new_version(
    text: Option<String>,
    binary: Option<String>,
    token: Option<String>,
    stages: Option<Vec<String>>,
) -> Result<Option<NewVersion>> {
    let value = match (text, binary) {
        (None, None) => return Ok(None),
        (Some(text), None) => SecretValue::Text(Secret::new(text)),
        (None, Some(binary)) => {
            let bytes = STANDARD.decode(binary);
            let bytes =
                bytes.map_err(|_| error::invalid_parameter("SecretBinary is no Base64."))?;
            SecretValue::Binary(Secret::new(bytes))
        }
        (Some(_), Some(_)) => {
            return Err(error::invalid_parameter(
                "You can't specify both a binary secret value and a string secret value in the \
                 same secret.",
            ));
        }
    };
    Ok(Some(NewVersion {
        value,
        token,
        stages,
    }))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetSecretValue {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetSecretValueOutput {
    #[serde(rename = "ARN")]
    arn: String,
    name: String,
    version_id: String,
    secret_binary: Option<String>,
    secret_string: Option<String>,
    version_stages: Vec<String>,
    created_date: Seconds,
}

impl Operation for GetSecretValue {
    type Service = SecretsManager;
    type Output = GetSecretValueOutput;

    const NAME: &'static str = "GetSecretValue";
    /// Who reads a secret is worth a record.
    const IS_AUDITED: bool = true;

    fn resource(&self, scope: &RequestScope) -> Result<SecretId> {
        SecretId::secret(scope, &self.secret_id)
    }

    async fn run(self, cx: &Context<SecretsManager>) -> Result<GetSecretValueOutput> {
        let secret = SecretRef::of(cx.resource().secret()?);
        let query = VersionQuery {
            id: self.version_id,
            stage: self.version_stage,
        };
        let (secret, version, value) = cx.state().secrets.value(&secret, query).await?;
        let (text, binary) = match value {
            SecretValue::Text(text) => (Some(text.into_inner()), None),
            SecretValue::Binary(bytes) => (None, Some(STANDARD.encode(bytes.reveal()))),
        };
        Ok(GetSecretValueOutput {
            arn: secret.arn().to_string(),
            name: secret.name,
            version_id: version.id,
            secret_binary: binary,
            secret_string: text,
            version_stages: version.stages,
            created_date: version.created_at.into(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutSecretValue {
    secret_id: String,
    client_request_token: Option<String>,
    secret_binary: Option<String>,
    secret_string: Option<String>,
    version_stages: Option<Vec<String>>,
    rotation_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutSecretValueOutput {
    #[serde(rename = "ARN")]
    arn: String,
    name: String,
    version_id: String,
    version_stages: Vec<String>,
}

impl Operation for PutSecretValue {
    type Service = SecretsManager;
    type Output = PutSecretValueOutput;

    const NAME: &'static str = "PutSecretValue";

    fn resource(&self, scope: &RequestScope) -> Result<SecretId> {
        SecretId::secret(scope, &self.secret_id)
    }

    async fn run(self, cx: &Context<SecretsManager>) -> Result<PutSecretValueOutput> {
        if self.rotation_token.is_some() {
            return Err(error::invalid_parameter(
                "This server does not rotate secrets.",
            ));
        }
        let (text, binary) = (self.secret_string, self.secret_binary);
        let version = new_version(text, binary, self.client_request_token, self.version_stages)?;
        let version = version.ok_or_else(|| {
            error::invalid_parameter("You must provide either SecretString or SecretBinary.")
        })?;
        let secret = SecretRef::of(cx.resource().secret()?);
        let (secret, version) = cx.state().secrets.put(&secret, version).await?;
        Ok(PutSecretValueOutput {
            arn: secret.arn().to_string(),
            name: secret.name,
            version_id: version.id,
            version_stages: version.stages,
        })
    }
}
