//! Secrets: created, described, changed, deleted and restored.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_secrets::{SecretDetails, SecretRef, SecretVersion, StoredSecret};

use crate::secrets_manager::tags::{Tag, map, views};
use crate::secrets_manager::values::new_version;
use crate::secrets_manager::{Result, SecretId, SecretsManager, error};
use crate::views::{Seconds, home};

const DAY: Duration = Duration::from_hours(24);
/// Days until a deleted secret goes, where a request says nothing. Source: `DeleteSecret`.
const RECOVERY_DAYS: i64 = 30;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateSecret {
    name: String,
    client_request_token: Option<String>,
    description: Option<String>,
    kms_key_id: Option<String>,
    secret_binary: Option<String>,
    secret_string: Option<String>,
    tags: Option<Vec<Tag>>,
    add_replica_regions: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(rename = "Type")]
    kind: Option<String>,
    #[serde(rename = "CrossAccountPrimaryARN")]
    cross_account_primary_arn: Option<String>,
}

/// What operations that add a version return.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SecretOutput {
    #[serde(rename = "ARN")]
    arn: String,
    name: String,
    version_id: Option<String>,
}

impl SecretOutput {
    fn of(secret: &StoredSecret, version: Option<SecretVersion>) -> Self {
        Self {
            arn: secret.arn().to_string(),
            name: secret.name.clone(),
            version_id: version.map(|version| version.id),
        }
    }
}

impl Operation for CreateSecret {
    type Service = SecretsManager;
    type Output = SecretOutput;

    const NAME: &'static str = "CreateSecret";

    fn resource(&self, scope: &RequestScope) -> Result<SecretId> {
        Ok(SecretId::New(home(scope), self.name.clone()))
    }

    /// Tags at creation need the permission to set tags.
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<SecretsManager>>> {
        let id = self.resource(scope)?;
        let tags: Vec<_> = map(self.tags.as_deref())?.into_iter().collect();
        let own = Demand::new(Self::ACTION, id.clone()).with_tags(tags.clone());
        if tags.is_empty() {
            return Ok(vec![own]);
        }
        Ok(vec![own, Demand::new("TagResource", id).with_tags(tags)])
    }

    async fn run(self, cx: &Context<SecretsManager>) -> Result<SecretOutput> {
        let replicas = self
            .add_replica_regions
            .is_some_and(|list| !list.is_empty());
        if replicas || self.cross_account_primary_arn.is_some() {
            return Err(error::invalid_parameter(
                "This server does not replicate secrets.",
            ));
        }
        if self.kind.is_some() {
            return Err(error::invalid_parameter(
                "This server does not manage external secrets.",
            ));
        }
        let details = SecretDetails {
            description: self.description.filter(|text| !text.is_empty()),
            kms_key_id: self.kms_key_id,
            tags: map(self.tags.as_deref())?,
            ..SecretDetails::default()
        };
        let token = self.client_request_token;
        let version = new_version(self.secret_string, self.secret_binary, token, None)?;
        let home = home(cx.scope());
        let secrets = &cx.state().secrets;
        let (secret, version) = secrets.create(&home, &self.name, details, version).await?;
        Ok(SecretOutput::of(&secret, version))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateSecret {
    secret_id: String,
    client_request_token: Option<String>,
    description: Option<String>,
    kms_key_id: Option<String>,
    secret_binary: Option<String>,
    secret_string: Option<String>,
    #[serde(rename = "Type")]
    kind: Option<String>,
}

impl Operation for UpdateSecret {
    type Service = SecretsManager;
    type Output = SecretOutput;

    const NAME: &'static str = "UpdateSecret";

    fn resource(&self, scope: &RequestScope) -> Result<SecretId> {
        SecretId::secret(scope, &self.secret_id)
    }

    async fn run(self, cx: &Context<SecretsManager>) -> Result<SecretOutput> {
        if self.kind.is_some() {
            return Err(error::invalid_parameter(
                "This server does not manage external secrets.",
            ));
        }
        let token = self.client_request_token;
        let version = new_version(self.secret_string, self.secret_binary, token, None)?;
        let (description, key) = (self.description, self.kms_key_id);
        let change = move |details: &mut SecretDetails| {
            if let Some(description) = &description {
                details.description = Some(description.clone()).filter(|text| !text.is_empty());
            }
            if let Some(key) = &key {
                details.kms_key_id = Some(key.clone()).filter(|key| !key.is_empty());
            }
        };
        let secret = SecretRef::of(cx.resource().secret()?);
        let (secret, version) = cx.state().secrets.update(&secret, change, version).await?;
        Ok(SecretOutput::of(&secret, version))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeSecret {
    secret_id: String,
}

/// `DescribeSecretResponse` and `SecretListEntry` of the service model.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SecretView {
    #[serde(rename = "ARN")]
    arn: String,
    name: String,
    description: Option<String>,
    kms_key_id: Option<String>,
    last_changed_date: Option<Seconds>,
    last_accessed_date: Option<Seconds>,
    deleted_date: Option<Seconds>,
    created_date: Seconds,
    tags: Option<Vec<Tag>>,
    version_ids_to_stages: Option<BTreeMap<String, Vec<String>>>,
    secret_versions_to_stages: Option<BTreeMap<String, Vec<String>>>,
}

impl SecretView {
    pub(super) fn of(secret: StoredSecret) -> Self {
        let arn = secret.arn().to_string();
        let details = secret.details;
        Self {
            arn,
            name: secret.name,
            description: details.description,
            kms_key_id: details.kms_key_id,
            last_changed_date: details.changed_at.map(Seconds::from),
            last_accessed_date: details.accessed_at.map(Seconds::from),
            deleted_date: secret.deleted_at.map(Seconds::from),
            created_date: secret.created_at.into(),
            tags: Some(views(details.tags)).filter(|tags| !tags.is_empty()),
            version_ids_to_stages: None,
            secret_versions_to_stages: None,
        }
    }

    pub(super) fn stages(versions: Vec<SecretVersion>) -> BTreeMap<String, Vec<String>> {
        let labelled = versions
            .into_iter()
            .filter(|version| !version.stages.is_empty());
        labelled
            .map(|version| (version.id, version.stages))
            .collect()
    }

    pub(super) fn listed(mut self, versions: Vec<SecretVersion>) -> Self {
        self.secret_versions_to_stages = Some(Self::stages(versions));
        self
    }
}

impl Operation for DescribeSecret {
    type Service = SecretsManager;
    type Output = SecretView;

    const NAME: &'static str = "DescribeSecret";

    fn resource(&self, scope: &RequestScope) -> Result<SecretId> {
        SecretId::secret(scope, &self.secret_id)
    }

    async fn run(self, cx: &Context<SecretsManager>) -> Result<SecretView> {
        let secrets = &cx.state().secrets;
        let secret = cx.resource().secret()?;
        let versions = secrets.versions(secret).await?;
        let mut view = SecretView::of(secret.clone());
        view.version_ids_to_stages = Some(SecretView::stages(versions));
        Ok(view)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetResourcePolicy {
    secret_id: String,
    policy_name: Option<String>,
}

/// The name of the policy that a request without a name is about.
const DEFAULT_POLICY: &str = "default";

/// A secret without a policy: none can be put, and Terraform reads it with each secret.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PolicyView {
    #[serde(rename = "ARN")]
    arn: String,
    name: String,
}

impl Operation for GetResourcePolicy {
    type Service = SecretsManager;
    type Output = PolicyView;

    const NAME: &'static str = "GetResourcePolicy";

    fn resource(&self, scope: &RequestScope) -> Result<SecretId> {
        SecretId::secret(scope, &self.secret_id)
    }

    async fn run(self, cx: &Context<SecretsManager>) -> Result<PolicyView> {
        let secret = cx.resource().secret()?;
        if let Some(name) = self.policy_name.filter(|name| name != DEFAULT_POLICY) {
            return Err(error::no_policy(&name));
        }
        Ok(PolicyView {
            arn: secret.arn().to_string(),
            name: secret.name.clone(),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteSecret {
    secret_id: String,
    recovery_window_in_days: Option<i64>,
    force_delete_without_recovery: Option<bool>,
}

impl DeleteSecret {
    /// The time until the secret goes; `None` for now.
    fn window(&self) -> Result<Option<Duration>> {
        let forced = self.force_delete_without_recovery == Some(true);
        if forced && self.recovery_window_in_days.is_some() {
            return Err(error::invalid_parameter(
                "You can't use ForceDeleteWithoutRecovery in conjunction with \
                 RecoveryWindowInDays.",
            ));
        }
        if forced {
            return Ok(None);
        }
        let days = self.recovery_window_in_days.unwrap_or(RECOVERY_DAYS);
        let days = u32::try_from(days)
            .ok()
            .filter(|days| (7..=30).contains(days));
        let days = days.ok_or_else(|| {
            error::invalid_parameter(
                "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).",
            )
        })?;
        Ok(Some(DAY * days))
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteSecretOutput {
    #[serde(rename = "ARN")]
    arn: String,
    name: String,
    deletion_date: Option<Seconds>,
}

impl Operation for DeleteSecret {
    type Service = SecretsManager;
    type Output = DeleteSecretOutput;

    const NAME: &'static str = "DeleteSecret";

    fn resource(&self, scope: &RequestScope) -> Result<SecretId> {
        SecretId::secret(scope, &self.secret_id)
    }

    async fn run(self, cx: &Context<SecretsManager>) -> Result<DeleteSecretOutput> {
        let window = self.window()?;
        let secret = SecretRef::of(cx.resource().secret()?);
        let deleted = cx.state().secrets.delete(&secret, window).await?;
        Ok(DeleteSecretOutput {
            arn: deleted.arn().to_string(),
            deletion_date: deleted.deleted_at.map(Seconds::from),
            name: deleted.name,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RestoreSecret {
    secret_id: String,
}

impl Operation for RestoreSecret {
    type Service = SecretsManager;
    type Output = SecretOutput;

    const NAME: &'static str = "RestoreSecret";

    fn resource(&self, scope: &RequestScope) -> Result<SecretId> {
        SecretId::secret(scope, &self.secret_id)
    }

    async fn run(self, cx: &Context<SecretsManager>) -> Result<SecretOutput> {
        let secret = SecretRef::of(cx.resource().secret()?);
        let restored = cx.state().secrets.restore(&secret).await?;
        Ok(SecretOutput::of(&restored, None))
    }
}
