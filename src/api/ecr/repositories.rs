//! `CreateRepository`, `DescribeRepositories`, `DeleteRepository`.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_aws::{AccountId, Arn};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{Encryption, MutabilityMode, RegistryId, RepositorySettings};

use crate::resource::{EcrResource, RepositoryRef, ResourceId, registry_id};
use crate::tags::{self, TagView};
use crate::views::{self, EncryptionView, ExclusionFilter, RepositoryView, ScanningConfiguration};
use crate::{Ecr, Result, error, paging, settings};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateRepository {
    #[serde(flatten)]
    repository: RepositoryRef,
    #[serde(default)]
    tags: Option<Vec<TagView>>,
    image_tag_mutability: Option<MutabilityMode>,
    image_tag_mutability_exclusion_filters: Option<Vec<ExclusionFilter>>,
    image_scanning_configuration: Option<ScanningConfiguration>,
    encryption_configuration: Option<EncryptionView>,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateRepositoryOutput {
    repository: RepositoryView,
}

impl Operation for CreateRepository {
    type Service = Ecr;
    type Output = CreateRepositoryOutput;

    const NAME: &'static str = "CreateRepository";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    /// Tags need the permission to set them, too.
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecr>>> {
        let resource = self.resource(scope)?;
        let tags: Vec<(String, String)> = self.tags.iter().flatten().map(TagView::pair).collect();
        let mut demands = vec![Demand::new(Self::ACTION, resource.clone()).with_tags(tags.clone())];
        if !tags.is_empty() {
            demands.push(Demand::new("TagResource", resource).with_tags(tags));
        }
        Ok(demands)
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<CreateRepositoryOutput> {
        let registry = cx.resource().registry();
        let settings = RepositorySettings {
            mutability: settings::mutability(
                self.image_tag_mutability.unwrap_or_default(),
                self.image_tag_mutability_exclusion_filters,
            )?,
            scan_on_push: self
                .image_scanning_configuration
                .unwrap_or_default()
                .scan_on_push,
            encryption: encryption(self.encryption_configuration, registry)?,
            tags: tags::checked(self.tags.unwrap_or_default())?,
        };
        let name = &self.repository.repository_name;
        let repositories = &cx.state().registry.repositories;
        let repository = repositories.create(registry, name, settings).await?;
        Ok(CreateRepositoryOutput {
            repository: views::repository(&cx.state().names, &repository),
        })
    }
}

/// The encryption to declare. KMS without a key means the account's managed key of the region,
/// whose ARN is returned.
pub(super) fn encryption(
    given: Option<EncryptionView>,
    registry: &RegistryId,
) -> Result<Encryption> {
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
pub(super) struct DescribeRepositoriesOutput {
    repositories: Vec<RepositoryView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Operation for DescribeRepositories {
    type Service = Ecr;
    type Output = DescribeRepositoriesOutput;

    const NAME: &'static str = "DescribeRepositories";

    /// The first repository that is named, or all repositories of the registry.
    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        let registry = registry_id(scope, self.registry_id);
        let first = self.repository_names.iter().flatten().next();
        Ok(match first {
            Some(name) => ResourceId::Repository(registry, name.clone()),
            None => ResourceId::Repositories(registry),
        })
    }

    /// Each repository that is named must be allowed.
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecr>>> {
        let registry = registry_id(scope, self.registry_id);
        let demand = |name: &RepositoryName| {
            let id = ResourceId::Repository(registry.clone(), name.clone());
            Demand::new(Self::ACTION, id)
        };
        let names = self.repository_names.iter().flatten();
        let mut demands: Vec<_> = names.map(demand).collect();
        if demands.is_empty() {
            demands.push(Demand::new(Self::ACTION, self.resource(scope)?));
        }
        Ok(demands)
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<DescribeRepositoriesOutput> {
        if self.repository_names.is_some() {
            if self.next_token.is_some() || self.max_results.is_some() {
                return Err(error::invalid_request(
                    "nextToken and maxResults cannot be used with repositoryNames",
                ));
            }
            return describe_named(cx);
        }
        let registry = cx.resource().registry();
        let token = self.next_token.as_deref();
        let after = paging::registry_position(Self::NAME, registry, token)?;
        let limit = paging::limit(self.max_results);
        let repositories = &cx.state().registry.repositories;
        let page = repositories.page(registry, &after, limit).await?;
        let next_token = page.next;
        let next_token = next_token.map(|last| paging::registry_token(Self::NAME, registry, &last));
        let items = page.items.iter();
        Ok(DescribeRepositoriesOutput {
            repositories: items
                .map(|repository| views::repository(&cx.state().names, repository))
                .collect(),
            next_token,
        })
    }
}

/// The repositories that the request names, as they were loaded for the decision.
fn describe_named(cx: &Context<Ecr>) -> Result<DescribeRepositoriesOutput> {
    let view = |resource: &EcrResource| {
        let repository = resource.repository()?;
        Ok(views::repository(&cx.state().names, repository))
    };
    Ok(DescribeRepositoriesOutput {
        repositories: cx.resources().map(view).collect::<Result<_>>()?,
        next_token: None,
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteRepository {
    #[serde(flatten)]
    repository: RepositoryRef,
    force: Option<bool>,
}

#[derive(Debug, Serialize)]
pub(super) struct DeleteRepositoryOutput {
    repository: RepositoryView,
}

impl Operation for DeleteRepository {
    type Service = Ecr;
    type Output = DeleteRepositoryOutput;

    const NAME: &'static str = "DeleteRepository";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<DeleteRepositoryOutput> {
        let repository = cx.resource().repository()?;
        let force = self.force.unwrap_or_default();
        let repositories = &cx.state().registry.repositories;
        let deleted = repositories.delete(repository, force).await?;
        Ok(DeleteRepositoryOutput {
            repository: views::repository(&cx.state().names, &deleted),
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
