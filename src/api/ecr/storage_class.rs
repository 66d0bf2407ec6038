//! `UpdateImageStorageClass`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{self as registry, StorageClass};

use crate::images::{ImageId, Named};
use crate::resource::{RepositoryRef, ResourceId};
use crate::views::{self, ImageIdView};
use crate::{Ecr, Result, error};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateImageStorageClass {
    #[serde(flatten)]
    repository: RepositoryRef,
    image_id: ImageId,
    target_storage_class: TargetStorageClass,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum TargetStorageClass {
    Standard,
    Archive,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateImageStorageClassOutput {
    registry_id: AccountId,
    repository_name: RepositoryName,
    image_id: ImageIdView,
    image_status: &'static str,
}

impl Operation for UpdateImageStorageClass {
    type Service = Ecr;
    type Output = UpdateImageStorageClassOutput;

    const NAME: &'static str = "UpdateImageStorageClass";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<UpdateImageStorageClassOutput> {
        let repository = cx.resource().repository()?;
        let id = &self.image_id;
        let named = id
            .named()
            .map_err(|(_, reason)| error::invalid_request(reason))?;
        let missing = || {
            let (digest, tag) = (id.image_digest.as_deref(), id.image_tag.as_deref());
            error::image_not_found(repository, digest, tag)
        };
        let images = &cx.state().registry.images;
        if let Named::Both(digest, tag) = &named
            && !images.tag_is_on(repository.id, tag, digest).await?
        {
            return Err(missing());
        }
        let class = match self.target_storage_class {
            TargetStorageClass::Standard => StorageClass::Standard,
            TargetStorageClass::Archive => StorageClass::Archive,
        };
        let reference = named.reference();
        let changed = images.set_storage_class(repository.id, &reference, class);
        let (image_digest, status) = match changed.await {
            Ok(changed) => changed,
            Err(registry::Error::NoSuchImage(_)) => return Err(missing()),
            Err(error) => return Err(error.into()),
        };
        Ok(UpdateImageStorageClassOutput {
            registry_id: repository.registry.account,
            repository_name: repository.name.clone(),
            image_id: ImageIdView {
                image_digest,
                image_tag: named.tag().cloned(),
            },
            image_status: views::image_status(status),
        })
    }
}
