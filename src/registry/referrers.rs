//! Referrers: manifests whose subject is a given one, with those that an older client listed under
//! a fallback tag.
//!
//! Source: Distribution specification, "Listing Referrers" and "Enabling the Referrers API".

use std::collections::BTreeMap;

use serde::Deserialize;
use wharfinger_base::Page;
use wharfinger_db::Tx;
use wharfinger_oci::{Digest, Manifest, ManifestKind};

use crate::error::Error;
use crate::images::Images;
use crate::model::{Image, Referrer, RepositoryId};
use crate::repositories::rows;
use crate::store::{images, tags};

/// A page's annotations stop it once they pass this: clients read at most 4 MiB of JSON.
const PAGE_ANNOTATION_BYTES: usize = 2 * 1024 * 1024;

/// A place in a listing of referrers: after this artifact type and digest (stored form).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ReferrerPosition {
    pub artifact_type: String,
    pub digest: Vec<u8>,
}

impl Images {
    /// Up to `limit` referrers of `subject`, of one artifact type where a filter is given, ordered
    /// by artifact type and digest.
    ///
    /// What the index under the subject's fallback tag lists comes with the first page, unless the
    /// repository knows it as a referrer already. An unknown subject has no referrers; that is
    /// no error.
    pub async fn referrers(
        &self,
        repository: RepositoryId,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<ReferrerPosition>,
        limit: usize,
    ) -> Result<Page<Referrer, ReferrerPosition>, Error> {
        let (subject, filter) = (*subject, artifact_type.map(ToOwned::to_owned));
        self.db
            .read(move |tx| {
                let position = after.clone().unwrap_or_default();
                let found = match &filter {
                    Some(filter) => images::referrers_of_type(
                        tx,
                        repository,
                        &subject,
                        filter,
                        &position.digest,
                        rows(limit),
                    )?,
                    None => images::referrers(
                        tx,
                        repository,
                        &subject,
                        (&position.artifact_type, &position.digest),
                        rows(limit),
                    )?,
                };
                let mut page = Page::of(found, limit, place);
                let mut items = Vec::with_capacity(page.items.len());
                let mut annotation_bytes = 0;
                for image in page.items {
                    if annotation_bytes > PAGE_ANNOTATION_BYTES {
                        page.next = items.last().map(|(image, _)| place(image));
                        break;
                    }
                    let referrer = describe(tx, &image)?;
                    annotation_bytes += referrer
                        .annotations
                        .iter()
                        .map(|(key, value)| key.len() + value.len())
                        .sum::<usize>();
                    items.push((image, referrer));
                }
                let mut items: Vec<Referrer> =
                    items.into_iter().map(|(_, referrer)| referrer).collect();
                if after.is_none() {
                    items.extend(listed_by_fallback_tag(
                        tx,
                        repository,
                        &subject,
                        filter.as_deref(),
                    )?);
                }
                Ok(Page {
                    items,
                    next: page.next,
                })
            })
            .await
    }
}

fn place(image: &Image) -> ReferrerPosition {
    ReferrerPosition {
        artifact_type: image.artifact_type.clone().unwrap_or_default(),
        digest: image.digest.to_stored(),
    }
}

fn describe(tx: &mut Tx<'_>, image: &Image) -> Result<Referrer, Error> {
    let stored = images::stored_by_id(tx, image.id)?;
    let manifest = stored
        .and_then(|stored| Manifest::parse(&stored.bytes, Some(image.media_type.as_str())).ok());
    Ok(Referrer {
        digest: image.digest,
        media_type: image.media_type.to_string(),
        artifact_type: image.artifact_type.clone(),
        size: image.manifest_size,
        annotations: manifest
            .map(|manifest| manifest.annotations)
            .unwrap_or_default(),
        status: image.status,
    })
}

/// The part of an index's descriptors that a referrers listing shows again.
#[derive(Deserialize)]
struct FallbackIndex {
    manifests: Vec<FallbackDescriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FallbackDescriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

fn listed_by_fallback_tag(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    subject: &Digest,
    filter: Option<&str>,
) -> Result<Vec<Referrer>, Error> {
    let fallback = Manifest::fallback_tag(subject);
    let stored = tags::image_of(tx, repository, &fallback)?
        .map(|id| images::stored_by_id(tx, id))
        .transpose()?;
    let Some(index) = stored.flatten() else {
        return Ok(Vec::new());
    };
    if index.image.media_type.manifest_kind() != Some(ManifestKind::Index) {
        return Ok(Vec::new());
    }
    let Ok(index) = serde_json::from_slice::<FallbackIndex>(&index.bytes) else {
        return Ok(Vec::new());
    };
    let mut listed = Vec::new();
    for descriptor in index.manifests {
        // A member that has the subject itself is among the rows already; one that is gone must not
        // be listed.
        let Some(member) = images::by_digest(tx, repository, &descriptor.digest)? else {
            continue;
        };
        if member.subject == Some(*subject) {
            continue;
        }
        let artifact_type = descriptor.artifact_type.or(member.artifact_type);
        if filter.is_some_and(|filter| artifact_type.as_deref() != Some(filter)) {
            continue;
        }
        let annotations = descriptor.annotations.unwrap_or_default();
        listed.push(Referrer {
            digest: descriptor.digest,
            media_type: descriptor.media_type,
            artifact_type,
            size: descriptor.size,
            annotations,
            status: member.status,
        });
    }
    Ok(listed)
}
