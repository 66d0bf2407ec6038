//! `UpdateImageStorageClass`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_oci::{Reference, RepositoryName};
use wharfinger_registry::StorageClass;

use crate::images::{ImageId, find};
use crate::resource::{RepositoryRef, ResourceId};
use crate::views::{self, ImageIdView};
use crate::{Ecr, Result};

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
        let (named, image) = find(cx, repository, &self.image_id).await?;
        let class = match self.target_storage_class {
            TargetStorageClass::Standard => StorageClass::Standard,
            TargetStorageClass::Archive => StorageClass::Archive,
        };
        let (images, reference) = (&cx.state().registry.images, Reference::Digest(image.digest));
        let changed = images.set_storage_class(repository.id, &reference, class);
        let (image_digest, status) = changed.await?;
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
