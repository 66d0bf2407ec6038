//! The tags of secrets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_secrets::{SecretDetails, SecretRef};

use crate::secrets_manager::{Result, SecretId, SecretsManager, error};

/// `Tag` of the service model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    key: Option<String>,
    value: Option<String>,
}

/// Tags by their keys.
///
/// # Errors
/// A tag without a key, a reserved key, or a key that is given twice.
pub(super) fn map(tags: Option<&[Tag]>) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for Tag { key, value } in tags.unwrap_or_default() {
        let key = key.clone().unwrap_or_default();
        if key.is_empty() {
            return Err(error::invalid_parameter("A tag must have a key."));
        }
        if key
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("aws:"))
        {
            return Err(error::invalid_parameter(
                "Tag keys that start with aws: are reserved for AWS.",
            ));
        }
        if found
            .insert(key, value.clone().unwrap_or_default())
            .is_some()
        {
            return Err(error::invalid_parameter(
                "A tag key is given more than once.",
            ));
        }
    }
    Ok(found)
}

pub(super) fn views(tags: BTreeMap<String, String>) -> Vec<Tag> {
    let tags = tags.into_iter().map(|(key, value)| Tag {
        key: Some(key),
        value: Some(value),
    });
    tags.collect()
}

/// The output of operations that return nothing.
#[derive(Debug, Serialize)]
pub(super) struct Nothing {}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagResource {
    secret_id: String,
    tags: Vec<Tag>,
}

impl Operation for TagResource {
    type Service = SecretsManager;
    type Output = Nothing;

    const NAME: &'static str = "TagResource";

    fn resource(&self, scope: &RequestScope) -> Result<SecretId> {
        SecretId::secret(scope, &self.secret_id)
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<SecretsManager>>> {
        let tags = map(Some(&self.tags))?.into_iter().collect();
        Ok(vec![
            Demand::new(Self::ACTION, self.resource(scope)?).with_tags(tags),
        ])
    }

    async fn run(self, cx: &Context<SecretsManager>) -> Result<Nothing> {
        let tags = map(Some(&self.tags))?;
        let change = move |details: &mut SecretDetails| details.tags.extend(tags.clone());
        let secret = SecretRef::of(cx.resource().secret()?);
        cx.state().secrets.update(&secret, change, None).await?;
        Ok(Nothing {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UntagResource {
    secret_id: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagResource {
    type Service = SecretsManager;
    type Output = Nothing;

    const NAME: &'static str = "UntagResource";

    fn resource(&self, scope: &RequestScope) -> Result<SecretId> {
        SecretId::secret(scope, &self.secret_id)
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<SecretsManager>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.removing_tags(self.tag_keys.clone())])
    }

    async fn run(self, cx: &Context<SecretsManager>) -> Result<Nothing> {
        let keys = self.tag_keys;
        let change = move |details: &mut SecretDetails| {
            details.tags.retain(|key, _| !keys.contains(key));
        };
        let secret = SecretRef::of(cx.resource().secret()?);
        cx.state().secrets.update(&secret, change, None).await?;
        Ok(Nothing {})
    }
}
