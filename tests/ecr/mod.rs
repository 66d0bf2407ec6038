//! The AWS APIs: authentication, policies, errors in their protocols, and one store under both
//! APIs.

mod access;
mod advisories;
mod archive;
mod creation_templates;
mod events;
mod gateway;
mod images;
mod layers;
mod lifecycle;
mod policies;
mod pull_through;
mod pull_through_limits;
mod pull_through_rules;
mod registry_policy;
mod registry_settings;
mod replication;
mod repositories;
mod scans;
mod signing;

use serde_json::json;

use crate::support::{Aws, digest_of, image, on};

/// A layer sent in one part; its digest.
async fn push_layer(aws: &Aws, repository: &str, content: &[u8]) -> String {
    use base64::Engine as _;
    let upload = aws
        .ok("InitiateLayerUpload", on(repository, json!({})))
        .await["uploadId"]
        .clone();
    let blob = base64::engine::general_purpose::STANDARD.encode(content);
    let part = json!({"uploadId": upload, "partFirstByte": 0, "partLastByte": content.len() - 1,
        "layerPartBlob": blob});
    aws.ok("UploadLayerPart", on(repository, part)).await;
    let digest = digest_of(content);
    aws.ok(
        "CompleteLayerUpload",
        on(
            repository,
            json!({"uploadId": upload, "layerDigests": [digest]}),
        ),
    )
    .await;
    digest
}

/// A manifest of a small image whose layers are in the repository.
async fn pushable(aws: &Aws, repository: &str, layer: &str) -> String {
    let held = aws
        .ok(
            "BatchCheckLayerAvailability",
            on(repository, json!({"layerDigests": [digest_of(b"{}")]})),
        )
        .await;
    if held["layers"][0]["layerAvailability"] != "AVAILABLE" {
        push_layer(aws, repository, b"{}").await;
    }
    let digest = push_layer(aws, repository, layer.as_bytes()).await;
    image(&digest_of(b"{}"), &digest, layer.len(), "")
}
