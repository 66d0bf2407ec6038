//! `CreateRepository`, `DescribeRepositories`, `DeleteRepository`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wharfinger_aws::{AccountId, Arn, Fault};
use wharfinger_base::PageToken;
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{Encryption, MutabilityMode, RegistryId, RepositorySettings};

use wharfinger_api_core::RequestScope as Scope;

use crate::api::context::{Context, Demand};
use crate::api::ecr::place::{Place, registry};
use crate::api::ecr::tags::{self, TagView};
use crate::api::ecr::views::{
    self, EncryptionView, ExclusionFilter, RepositoryView, ScanningConfiguration,
};
use crate::api::ecr::{error, paging, settings};
use crate::api::operation::Operation;

#[derive(Debug, Serialize)]
pub(super) struct OneRepository {
    repository: RepositoryView,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateRepository {
    #[serde(flatten)]
    place: Place,
    #[serde(default)]
    tags: Option<Vec<TagView>>,
    image_tag_mutability: Option<MutabilityMode>,
    image_tag_mutability_exclusion_filters: Option<Vec<ExclusionFilter>>,
    image_scanning_configuration: Option<ScanningConfiguration>,
    encryption_configuration: Option<EncryptionView>,
}

impl Operation for CreateRepository {
    const NAME: &'static str = "CreateRepository";
    type Output = OneRepository;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        let given: Vec<(String, String)> = self.tags.iter().flatten().map(TagView::pair).collect();
        let mut demands = vec![
            self.place
                .demand("ecr:CreateRepository", scope)
                .with_tags(given.clone()),
        ];
        if !given.is_empty() {
            demands.push(self.place.demand("ecr:TagResource", scope).with_tags(given));
        }
        Ok(demands)
    }

    async fn run(self, cx: &Context) -> Result<OneRepository, Fault> {
        let registry = self.place.registry(cx.scope());
        let settings = RepositorySettings {
            mutability: settings::mutability(
                self.image_tag_mutability.unwrap_or_default(),
                self.image_tag_mutability_exclusion_filters,
            )?,
            scan_on_push: self
                .image_scanning_configuration
                .unwrap_or_default()
                .scan_on_push,
            encryption: encryption(self.encryption_configuration, &registry)?,
            tags: self
                .tags
                .map_or_else(|| Ok(BTreeMap::new()), tags::checked)?,
        };
        let made = cx
            .app()
            .registry
            .repositories
            .create(&registry, &self.place.repository_name, settings)
            .await;
        let made = made.map_err(|error| error::fault(cx, &error))?;
        Ok(OneRepository {
            repository: views::repository(cx, made),
        })
    }
}

/// What is declared about encryption. KMS without a key means the account's managed key of the
/// region, whose ARN is then shown.
fn encryption(given: Option<EncryptionView>, registry: &RegistryId) -> Result<Encryption, Fault> {
    let Some(EncryptionView {
        encryption_type: kind,
        kms_key,
    }) = given
    else {
        return Ok(Encryption::default());
    };
    match (kind.as_str(), kms_key) {
        ("AES256", Some(_)) => Err(error::invalid(
            "encryptionConfiguration",
            "kmsKey can only be set when encryptionType is KMS or KMS_DSSE",
        )),
        ("AES256", None) => Ok(Encryption {
            kind,
            kms_key: None,
        }),
        (_, Some(key)) => Ok(Encryption {
            kind,
            kms_key: Some(key),
        }),
        (_, None) => Ok(Encryption {
            kind,
            kms_key: Some(managed_key(registry).to_string()),
        }),
    }
}

/// The same for every repository of an account in a region, as the managed key is.
fn managed_key(RegistryId { account, region }: &RegistryId) -> Arn {
    let hash = Sha256::digest(format!("{account}/{region}/alias/aws/ecr"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
    Arn::new(
        region.partition(),
        "kms",
        region.as_str(),
        account.as_str(),
        &format!("key/{id}"),
    )
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeRepositories {
    registry_id: Option<AccountId>,
    repository_names: Option<Vec<RepositoryName>>,
    next_token: Option<String>,
    max_results: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Repositories {
    repositories: Vec<RepositoryView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Operation for DescribeRepositories {
    const NAME: &'static str = "DescribeRepositories";
    type Output = Repositories;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        const ACTION: &str = "ecr:DescribeRepositories";
        let registry = registry(scope, self.registry_id);
        let demand = |arn| Demand::new(ACTION, Some(arn), registry.account);
        Ok(match &self.repository_names {
            Some(names) => names
                .iter()
                .map(|name| demand(registry.repository_arn(name)))
                .collect(),
            None => vec![demand(Arn::ecr_repository(
                &registry.region,
                &registry.account,
                "*",
            ))],
        })
    }

    async fn run(self, cx: &Context) -> Result<Repositories, Fault> {
        let registry = registry(cx.scope(), self.registry_id);
        let verbs = &cx.app().registry.repositories;
        if let Some(names) = self.repository_names {
            if self.next_token.is_some() || self.max_results.is_some() {
                return Err(error::invalid_request(
                    "nextToken and maxResults cannot be used with repositoryNames",
                ));
            }
            let mut repositories = Vec::with_capacity(names.len());
            for name in &names {
                let found = verbs
                    .get(&registry, name)
                    .await
                    .map_err(|error| error::fault(cx, &error))?;
                repositories.push(views::repository(cx, found));
            }
            return Ok(Repositories {
                repositories,
                next_token: None,
            });
        }
        let home = [registry.account.to_string(), registry.region.to_string()];
        let after = match paging::position(Self::NAME, self.next_token.as_deref())? {
            None => String::new(),
            Some([account, region, after])
                if [account.as_str(), region.as_str()] == [home[0].as_str(), home[1].as_str()] =>
            {
                after
            }
            Some(_) => return Err(paging::bad_token()),
        };
        let page = verbs
            .page(&registry, &after, paging::limit(self.max_results))
            .await
            .map_err(|error| error::fault(cx, &error))?;
        let next_token = page
            .next
            .map(|last| PageToken::encode(Self::NAME, &[&home[0], &home[1], &last]));
        let repositories = page
            .items
            .into_iter()
            .map(|repository| views::repository(cx, repository))
            .collect();
        Ok(Repositories {
            repositories,
            next_token,
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteRepository {
    #[serde(flatten)]
    place: Place,
    force: Option<bool>,
}

impl Operation for DeleteRepository {
    const NAME: &'static str = "DeleteRepository";
    type Output = OneRepository;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(vec![self.place.demand("ecr:DeleteRepository", scope)])
    }

    async fn run(self, cx: &Context) -> Result<OneRepository, Fault> {
        let registry = self.place.registry(cx.scope());
        let force = self.force.unwrap_or_default();
        let gone = cx
            .app()
            .registry
            .repositories
            .delete(&registry, &self.place.repository_name, force)
            .await;
        let gone = gone.map_err(|error| error::fault(cx, &error))?;
        Ok(OneRepository {
            repository: views::repository(cx, gone),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> RegistryId {
        RegistryId {
            account: AccountId::DEV,
            region: "eu-west-1".parse().expect("a region"),
        }
    }

    #[test]
    fn encryption_is_told_as_ecr_tells_it() {
        let view = |kind: &str, key: Option<&str>| EncryptionView {
            encryption_type: kind.into(),
            kms_key: key.map(Into::into),
        };
        assert_eq!(
            encryption(None, &home()).expect("the default").kind,
            "AES256"
        );
        let managed = encryption(Some(view("KMS", None)), &home())
            .expect("a managed key")
            .kms_key
            .expect("an ARN");
        assert!(
            managed.starts_with("arn:aws:kms:eu-west-1:123456789012:key/"),
            "{managed}"
        );
        assert_eq!(
            Some(&managed),
            encryption(Some(view("KMS_DSSE", None)), &home())
                .expect("the same")
                .kms_key
                .as_ref()
        );
        assert_eq!(
            encryption(Some(view("KMS", Some("k"))), &home())
                .expect("a key")
                .kms_key
                .as_deref(),
            Some("k")
        );
        assert!(encryption(Some(view("AES256", Some("k"))), &home()).is_err());
    }
}
