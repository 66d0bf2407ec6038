//! Attaches bills of materials to a scanned image, as artifacts that refer to it.
//!
//! Source: OCI image-spec, `manifest.md`, "Guidelines for Artifact Usage".

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use wharfinger_oci::{Algorithm, ChildKind, Digest, Manifest};
use wharfinger_scanning::{Inventory, SbomSubject, cyclonedx, spdx};

use crate::error::Error;
use crate::images::{Images, Push};
use crate::model::{Repository, StoredManifest};
use crate::uploads::{Part, Uploads};

/// Who uploads the documents, for the limit of open uploads.
const OWNER: &str = "image-scanner";
/// The empty configuration of an artifact.
const EMPTY: &[u8] = b"{}";

/// Makes the text of a document.
type Make = fn(&Inventory, &SbomSubject<'_>) -> String;

/// Stores a `CycloneDX` and an SPDX document about an image. Their bytes depend on the image alone,
/// so that a second scan changes nothing.
pub(super) async fn attach(
    images: &Images,
    uploads: &Uploads,
    repository: &Repository,
    image: &StoredManifest,
    manifest: &Manifest,
    inventory: &Inventory,
) -> Result<(), Error> {
    let children = manifest.children.iter();
    let layers = children.filter(|child| child.kind == ChildKind::Layer);
    let layers: Vec<String> = layers.map(|layer| layer.digest.to_string()).collect();
    let digest = image.image.digest.to_string();
    let name = format!("{}/{}", repository.registry.account, repository.name);
    let subject = SbomSubject {
        name: &name,
        digest: &digest,
        layers: &layers,
        created: image.image.pushed_at,
    };
    let documents: [(&str, Make); 2] = [
        ("application/vnd.cyclonedx+json", cyclonedx),
        ("application/spdx+json", spdx),
    ];
    upload(uploads, repository, Bytes::from_static(EMPTY)).await?;
    for (kind, make) in documents {
        let document = Bytes::from(make(inventory, &subject));
        let size = document.len();
        let blob = upload(uploads, repository, document).await?;
        let mut annotations = BTreeMap::new();
        annotations.insert(
            "org.opencontainers.image.created",
            subject.created.to_rfc3339(),
        );
        let text = json!({
            "annotations": annotations,
            "artifactType": kind,
            "config": {
                "digest": Digest::of(Algorithm::Sha256, EMPTY),
                "mediaType": "application/vnd.oci.empty.v1+json",
                "size": EMPTY.len(),
            },
            "layers": [{"digest": blob, "mediaType": kind, "size": size}],
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "schemaVersion": 2,
            "subject": {
                "digest": image.image.digest,
                "mediaType": image.image.media_type.as_str(),
                "size": image.bytes.len(),
            },
        });
        let bytes = Bytes::from(text.to_string());
        let push = Push {
            manifest: Manifest::parse(&bytes, None)?,
            digest: Digest::of(Algorithm::Sha256, &bytes),
            bytes,
            tags: Vec::new(),
            refuse_existing: false,
        };
        images.put(repository, push).await?;
    }
    Ok(())
}

/// Stores a blob in the repository.
async fn upload(uploads: &Uploads, repository: &Repository, bytes: Bytes) -> Result<Digest, Error> {
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let upload = uploads
        .start(repository.id, Algorithm::Sha256, OWNER)
        .await?;
    let part = Part {
        length: Some(bytes.len() as u64),
        body: futures_util::stream::iter([Ok(bytes)]),
        offset: None,
    };
    uploads
        .finish(repository.id, upload.id, &digest, part)
        .await?;
    Ok(digest)
}
