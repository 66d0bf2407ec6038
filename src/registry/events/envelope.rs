//! PURE: the document that Amazon `EventBridge` delivers for an event.
//!
//! Source: ECR user guide, "Sample events from Amazon ECR".

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;
use wharfinger_base::Timestamp;
use wharfinger_oci::{RepositoryName, Tag};

use crate::events::action::{ImageAction, RegistryEvent};
use crate::model::RegistryId;
use crate::scanning_rules::{ScanFrequency, ScanType};

/// The outer document. Its members and their order are those of `EventBridge`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Envelope<'a> {
    version: &'static str,
    id: String,
    detail_type: &'static str,
    source: &'static str,
    account: &'a str,
    /// RFC 3339 in seconds.
    time: String,
    region: &'a str,
    resources: Vec<String>,
    detail: Detail<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Detail<'a> {
    Image(ImageDetail<'a>),
    Scan(ScanDetail<'a>),
    Change(ChangeDetail<'a>),
    PullThroughCache(PullThroughCacheDetail<'a>),
    Replication(ReplicationDetail<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ImageDetail<'a> {
    result: &'static str,
    repository_name: &'a str,
    image_digest: String,
    action_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_storage_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest_media_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_media_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activated_at: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ScanDetail<'a> {
    scan_status: &'static str,
    repository_name: &'a str,
    finding_severity_counts: &'a BTreeMap<String, u64>,
    image_digest: String,
    image_tags: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ChangeDetail<'a> {
    action_type: &'static str,
    repositories: Vec<ChangedRepository<'a>>,
    resource_type: &'static str,
    scan_type: ScanType,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ChangedRepository<'a> {
    repository_name: &'a str,
    repository_arn: String,
    scan_frequency: ScanFrequency,
    previous_scan_frequency: ScanFrequency,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PullThroughCacheDetail<'a> {
    rule_version: &'static str,
    sync_status: &'static str,
    ecr_repository_prefix: &'a str,
    repository_name: &'a str,
    upstream_registry_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_digest: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ReplicationDetail<'a> {
    result: &'static str,
    repository_name: &'a str,
    image_digest: String,
    source_account: &'a str,
    action_type: &'static str,
    source_region: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_tag: Option<&'a str>,
}

/// The event of this registry as JSON.
pub(super) fn envelope(
    registry: &RegistryId,
    event: &RegistryEvent,
    id: Uuid,
    at: Timestamp,
) -> String {
    let envelope = Envelope {
        version: "0",
        id: id.to_string(),
        detail_type: event.detail_type(),
        source: "aws.ecr",
        account: registry.account.as_str(),
        time: seconds(at),
        region: registry.region.as_str(),
        resources: resources(registry, event),
        detail: detail(registry, event),
    };
    // Strings, numbers and maps with text keys always serialise.
    serde_json::to_string(&envelope).unwrap_or_default()
}

/// `ECR Image Action` and `ECR Scan Resource Change` name no resource.
fn resources(registry: &RegistryId, event: &RegistryEvent) -> Vec<String> {
    match event {
        RegistryEvent::Image { .. } | RegistryEvent::ScanResourceChange { .. } => Vec::new(),
        RegistryEvent::ImageScan { repository, .. }
        | RegistryEvent::PullThroughCache { repository, .. }
        | RegistryEvent::Replication { repository, .. } => vec![arn(registry, repository)],
    }
}

fn detail<'a>(registry: &RegistryId, event: &'a RegistryEvent) -> Detail<'a> {
    match event {
        RegistryEvent::Image {
            repository,
            digest,
            tag,
            action,
            ..
        } => Detail::Image(image_detail(
            repository,
            digest.to_string(),
            tag.as_ref(),
            action,
        )),
        RegistryEvent::ImageScan {
            repository,
            digest,
            tags,
            status,
            severity_counts,
        } => Detail::Scan(ScanDetail {
            scan_status: status,
            repository_name: repository.as_str(),
            finding_severity_counts: severity_counts,
            image_digest: digest.to_string(),
            image_tags: tags.iter().map(Tag::as_str).collect(),
        }),
        RegistryEvent::ScanResourceChange {
            scan_type,
            repositories,
        } => Detail::Change(ChangeDetail {
            action_type: "SCAN_FREQUENCY_CHANGE",
            repositories: repositories
                .iter()
                .map(|change| ChangedRepository {
                    repository_name: change.repository.as_str(),
                    repository_arn: arn(registry, &change.repository),
                    scan_frequency: change.frequency,
                    previous_scan_frequency: change.previous,
                })
                .collect(),
            resource_type: "REPOSITORY",
            scan_type: *scan_type,
        }),
        RegistryEvent::PullThroughCache {
            repository,
            prefix,
            upstream_url,
            digest,
            tag,
            succeeded,
        } => Detail::PullThroughCache(PullThroughCacheDetail {
            rule_version: "1",
            sync_status: result(*succeeded),
            ecr_repository_prefix: prefix,
            repository_name: repository.as_str(),
            upstream_registry_url: upstream_url,
            image_tag: tag.as_ref().map(Tag::as_str),
            image_digest: digest.as_ref().map(ToString::to_string),
        }),
        RegistryEvent::Replication {
            repository,
            digest,
            tag,
            source,
            succeeded,
        } => Detail::Replication(ReplicationDetail {
            result: result(*succeeded),
            repository_name: repository.as_str(),
            image_digest: digest.to_string(),
            source_account: source.account.as_str(),
            action_type: "REPLICATE",
            source_region: source.region.as_str(),
            image_tag: tag.as_ref().map(Tag::as_str),
        }),
    }
}

fn image_detail<'a>(
    repository: &'a RepositoryName,
    image_digest: String,
    tag: Option<&'a Tag>,
    action: &'a ImageAction,
) -> ImageDetail<'a> {
    let mut detail = ImageDetail {
        result: result(true),
        repository_name: repository.as_str(),
        image_digest,
        action_type: "PUSH",
        image_tag: tag.map(Tag::as_str),
        target_storage_class: None,
        manifest_media_type: None,
        artifact_media_type: None,
        last_activated_at: None,
    };
    match action {
        ImageAction::Push => {}
        ImageAction::Delete => detail.action_type = "DELETE",
        ImageAction::UpdateStorageClass {
            target,
            media_type,
            artifact_type,
            last_activated_at,
        } => {
            detail.action_type = "UPDATE_STORAGE_CLASS";
            detail.target_storage_class = Some(target);
            detail.manifest_media_type = Some(media_type);
            detail.artifact_media_type = artifact_type.as_deref();
            detail.last_activated_at = last_activated_at.map(seconds);
        }
    }
    detail
}

const fn result(succeeded: bool) -> &'static str {
    if succeeded { "SUCCESS" } else { "FAILURE" }
}

fn arn(registry: &RegistryId, repository: &RepositoryName) -> String {
    registry.repository_arn(repository).as_str().to_owned()
}

fn seconds(at: Timestamp) -> String {
    let ms = at.as_ms();
    Timestamp::from_ms(ms - ms.rem_euclid(1_000)).to_rfc3339()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wharfinger_oci::{Algorithm, Digest};

    use super::*;
    use crate::events::action::FrequencyChange;

    const DIGEST: &str = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd12349876";

    fn registry(region: &str) -> RegistryId {
        RegistryId {
            account: "123456789012".parse().expect("an account"),
            region: region.parse().expect("a region"),
        }
    }

    fn document(event: &RegistryEvent) -> Value {
        let id = Uuid::from_u128(0x13cd_e686_328b_6117_af20_0e55_6616_7482);
        let at = Timestamp::from_ms(1_573_869_274_999);
        let text = envelope(&registry("us-west-2"), event, id, at);
        serde_json::from_str(&text).expect("JSON")
    }

    fn name(text: &str) -> RepositoryName {
        text.parse().expect("a name")
    }

    fn around(kind: &str, resources: &Value, detail: &Value) -> Value {
        json!({
            "version": "0", "id": "13cde686-328b-6117-af20-0e5566167482", "detail-type": kind,
            "source": "aws.ecr", "account": "123456789012", "time": "2019-11-16T01:54:34Z",
            "region": "us-west-2", "resources": resources, "detail": detail,
        })
    }

    #[test]
    fn an_image_action_is_the_sample_of_the_guide() {
        let event = RegistryEvent::Image {
            repository: name("my-repository-name"),
            digest: DIGEST.parse().expect("a digest"),
            tag: Some("latest".parse().expect("a tag")),
            action: ImageAction::Push,
            is_referrer: false,
        };
        let detail = json!({
            "result": "SUCCESS", "repository-name": "my-repository-name", "image-digest": DIGEST,
            "action-type": "PUSH", "image-tag": "latest",
        });
        assert_eq!(
            document(&event),
            around("ECR Image Action", &json!([]), &detail)
        );
    }

    #[test]
    fn a_change_of_the_storage_class_has_its_members() {
        let event = RegistryEvent::Image {
            repository: name("web"),
            digest: DIGEST.parse().expect("a digest"),
            tag: None,
            action: ImageAction::UpdateStorageClass {
                target: "ARCHIVE",
                media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
                artifact_type: Some("application/vnd.oci.image.config.v1+json".to_owned()),
                last_activated_at: Some(Timestamp::from_ms(0)),
            },
            is_referrer: true,
        };
        let detail = json!({
            "result": "SUCCESS", "repository-name": "web", "image-digest": DIGEST,
            "action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "ARCHIVE",
            "manifest-media-type": "application/vnd.oci.image.manifest.v1+json",
            "artifact-media-type": "application/vnd.oci.image.config.v1+json",
            "last-activated-at": "1970-01-01T00:00:00Z",
        });
        let expected = around("ECR Referrer Action", &json!([]), &detail);
        assert_eq!(document(&event), expected);
    }

    #[test]
    fn scans_name_their_repository() {
        let event = RegistryEvent::ImageScan {
            repository: name("my-repository-name"),
            digest: DIGEST.parse().expect("a digest"),
            tags: vec!["a".parse().expect("a tag")],
            status: "COMPLETE",
            severity_counts: [("CRITICAL".to_owned(), 10), ("MEDIUM".to_owned(), 9)].into(),
        };
        let detail = json!({
            "scan-status": "COMPLETE", "repository-name": "my-repository-name",
            "finding-severity-counts": {"CRITICAL": 10, "MEDIUM": 9}, "image-digest": DIGEST,
            "image-tags": ["a"],
        });
        let arn = json!(["arn:aws:ecr:us-west-2:123456789012:repository/my-repository-name"]);
        assert_eq!(document(&event), around("ECR Image Scan", &arn, &detail));
        let event = RegistryEvent::ScanResourceChange {
            scan_type: ScanType::Enhanced,
            repositories: vec![FrequencyChange {
                repository: name("repository-1"),
                frequency: ScanFrequency::ScanOnPush,
                previous: ScanFrequency::Manual,
            }],
        };
        let detail = json!({
            "action-type": "SCAN_FREQUENCY_CHANGE",
            "repositories": [{
                "repository-name": "repository-1",
                "repository-arn": "arn:aws:ecr:us-west-2:123456789012:repository/repository-1",
                "scan-frequency": "SCAN_ON_PUSH", "previous-scan-frequency": "MANUAL",
            }],
            "resource-type": "REPOSITORY", "scan-type": "ENHANCED",
        });
        let expected = around("ECR Scan Resource Change", &json!([]), &detail);
        assert_eq!(document(&event), expected);
    }

    #[test]
    fn copies_tell_where_they_come_from() {
        let arn = json!(["arn:aws:ecr:us-west-2:123456789012:repository/docker-hub/alpine"]);
        let digest = Digest::of(Algorithm::Sha256, b"a");
        let event = RegistryEvent::PullThroughCache {
            repository: name("docker-hub/alpine"),
            prefix: "docker-hub".to_owned(),
            upstream_url: "registry-1.docker.io".to_owned(),
            digest: Some(digest),
            tag: Some("3.17.2".parse().expect("a tag")),
            succeeded: true,
        };
        let detail = json!({
            "rule-version": "1", "sync-status": "SUCCESS", "ecr-repository-prefix": "docker-hub",
            "repository-name": "docker-hub/alpine",
            "upstream-registry-url": "registry-1.docker.io", "image-tag": "3.17.2",
            "image-digest": digest.to_string(),
        });
        let expected = around("ECR Pull Through Cache Action", &arn, &detail);
        assert_eq!(document(&event), expected);
        let event = RegistryEvent::Replication {
            repository: name("docker-hub/alpine"),
            digest,
            tag: None,
            source: registry("eu-central-1"),
            succeeded: true,
        };
        let detail = json!({
            "result": "SUCCESS", "repository-name": "docker-hub/alpine",
            "image-digest": digest.to_string(), "source-account": "123456789012",
            "action-type": "REPLICATE", "source-region": "eu-central-1",
        });
        let expected = around("ECR Replication Action", &arn, &detail);
        assert_eq!(document(&event), expected);
    }
}
