//! What can be scanned, and what a scan has come to. PURE.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_oci::{ChildKind, Manifest, ManifestKind};
use wharfinger_scanning::{Inventory, LayerError};

use crate::scans::model::{Scan, ScanStatus};

/// All layers of an image together, as they are stored, in bytes.
pub(super) const MAX_IMAGE_BYTES: u64 = 20 * 1024 * 1024 * 1024;

/// What ECR says of a scan that has ended.
const COMPLETE: &str = "The scan was completed successfully.";
/// What ECR says of an image without packages that it knows.
const UNSUPPORTED: &str = "UnsupportedImageError: The operating system and/or package manager are \
                           not supported.";

/// How often work is tried before it has failed.
const MAX_ATTEMPTS: i64 = 4;
/// Pause before work that failed for a reason of ours is tried again; it doubles each time.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// The same once it has failed: whatever stopped it may have ended, and nobody else tries again.
const FIRST_RETRY_OF_FAILED: Duration = Duration::from_hours(1);
const LAST_RETRY: Duration = Duration::from_hours(24);

/// What becomes of work that was stopped by an error of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopped {
    /// The scan has failed with this attempt; it had not before.
    pub(super) fails: bool,
    /// When the next attempt begins.
    pub(super) pause: Duration,
}

/// What becomes of work that was stopped in its attempt of this number, from 1.
pub(super) fn stopped(attempt: i64) -> Stopped {
    let after = attempt.saturating_sub(MAX_ATTEMPTS);
    let (first, doublings) = match after {
        ..0 => (FIRST_RETRY, attempt),
        _ => (FIRST_RETRY_OF_FAILED, after),
    };
    let doublings = u32::try_from(doublings).unwrap_or(u32::MAX);
    let pause = first.saturating_mul(2_u32.saturating_pow(doublings));
    Stopped {
        fails: after == 0,
        pause: pause.min(LAST_RETRY),
    }
}

/// A scan that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) status: ScanStatus,
    pub(super) description: String,
    /// When the packages are to be compared again, whether or not advisories change.
    pub(super) again_after: Option<Duration>,
}

impl Outcome {
    fn new(status: ScanStatus, description: impl Into<String>) -> Self {
        Self {
            status,
            description: description.into(),
            again_after: None,
        }
    }

    /// A scan that finds more than is recorded. It would again, until the advisories change.
    pub(super) fn too_many_findings() -> Self {
        let why = "The scan failed: the image has more findings than a scan records.";
        Self::new(ScanStatus::Failed, why)
    }

    /// A scan that was stopped by errors of ours.
    pub(super) fn stopped(again_after: Duration) -> Self {
        Self {
            again_after: Some(again_after),
            ..Self::new(ScanStatus::Failed, "The scan failed: an internal error.")
        }
    }
}

/// Whether a manifest is an image of layers with files, which can be scanned. Indexes and other
/// artifacts are none.
pub(crate) fn is_scannable(manifest: &Manifest) -> bool {
    let config = manifest.config_media_type.as_deref();
    let is_image = matches!(
        config,
        Some(
            "application/vnd.oci.image.config.v1+json"
                | "application/vnd.docker.container.image.v1+json"
        )
    );
    manifest.kind == ManifestKind::Image
        && is_image
        && manifest.artifact_type.is_none()
        && manifest.subject.is_none()
}

/// Why an image whose manifest can be scanned is not scanned.
pub(super) fn refusal(manifest: &Manifest) -> Option<Outcome> {
    let layers = || {
        let children = manifest.children.iter();
        children.filter(|child| child.kind == ChildKind::Layer)
    };
    let readable = |media_type: &str| {
        let kind = media_type.split('+').next().unwrap_or_default();
        media_type == "application/vnd.docker.image.rootfs.diff.tar.gzip"
            || kind == "application/vnd.docker.image.rootfs.diff.tar"
            || kind == "application/vnd.oci.image.layer.v1.tar"
    };
    if let Some(layer) = layers().find(|layer| layer.external || !readable(&layer.media_type)) {
        let why = format!(
            "UnsupportedImageError: The layer {} of type {} cannot be read.",
            layer.digest, layer.media_type
        );
        return Some(Outcome::new(ScanStatus::UnsupportedImage, why));
    }
    let bytes = layers().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
    if bytes > MAX_IMAGE_BYTES {
        let why = format!("The image has more than {MAX_IMAGE_BYTES} bytes.");
        return Some(Outcome::new(ScanStatus::ImageSizeExceeded, why));
    }
    None
}

/// What a layer that cannot be read means; `None` where another try may succeed.
pub(super) fn unreadable(error: &LayerError) -> Option<Outcome> {
    match error {
        LayerError::Source(_) => None,
        LayerError::Limit(limit) => {
            let why = format!("The image is beyond a limit of scans: {limit}.");
            Some(Outcome::new(ScanStatus::ImageSizeExceeded, why))
        }
        LayerError::Malformed(_) => Some(Outcome::new(
            ScanStatus::Failed,
            format!("The scan failed: {error}."),
        )),
    }
}

/// What the scan of an inventory has come to. A scan is complete only where there are advisories
/// about the packages: without any, no finding would mean nothing.
pub(super) fn outcome(inventory: &Inventory, missing: &[String], covered: usize) -> Outcome {
    let unread = inventory.unread.join("; ");
    if inventory.packages.is_empty() {
        let description = match unread.as_str() {
            "" => UNSUPPORTED.to_owned(),
            unread => format!("{UNSUPPORTED} {unread}."),
        };
        return Outcome::new(ScanStatus::UnsupportedImage, description);
    }
    if inventory.has_unknown_distribution() {
        let distribution = inventory.distribution.as_ref();
        let name = distribution.map_or("none", |one| one.id.as_str());
        let why = format!("{UNSUPPORTED} The image's system is: {name}.");
        return Outcome::new(ScanStatus::UnsupportedImage, why);
    }
    let of_system = inventory.distribution_ecosystems();
    let system_missing = !of_system.is_empty() && of_system.iter().all(|one| missing.contains(one));
    if covered == 0 || system_missing {
        let why = format!(
            "There are no advisories about: {}. Nothing is known about the image's packages until \
             some are imported.",
            missing.join(", ")
        );
        return Outcome::new(ScanStatus::Failed, why);
    }
    let mut parts = vec![COMPLETE.to_owned()];
    // Other names of a system whose advisories are there are not missing.
    let others = missing.iter().filter(|one| !of_system.contains(one));
    let others: Vec<&str> = others.map(String::as_str).collect();
    if !others.is_empty() {
        parts.push(format!(
            "There are no advisories about: {}.",
            others.join(", ")
        ));
    }
    if !unread.is_empty() {
        parts.push(format!("Not read: {unread}."));
    }
    Outcome::new(ScanStatus::Complete, parts.join(" "))
}

/// Whether an image may be scanned again: no scan waits or runs, and the last one was requested
/// `interval` ago.
pub(super) fn may_scan(last: Option<&Scan>, interval: Duration, now: Timestamp) -> bool {
    last.is_none_or(|last| {
        let ended = !matches!(last.status, ScanStatus::Pending | ScanStatus::InProgress);
        ended && now.since(last.requested_at) >= interval
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wharfinger_scanning::Distribution;

    use super::*;

    fn inventory(distribution: Option<(&str, &str)>, packages: &str) -> Inventory {
        Inventory {
            distribution: distribution.map(|(id, version)| Distribution {
                id: id.into(),
                version: version.into(),
                pretty_name: String::new(),
            }),
            packages: serde_json::from_str(packages).expect("packages"),
            unread: Vec::new(),
        }
    }

    const DEB: &str = r#"[{"kind": "deb", "name": "a", "version": "1", "path": "", "layer": 0}]"#;
    const NPM: &str = r#"[{"kind": "npm", "name": "a", "version": "1", "path": "", "layer": 0}]"#;

    fn status(inventory: &Inventory, missing: &[&str], covered: usize) -> ScanStatus {
        let missing: Vec<String> = missing.iter().map(|one| (*one).to_owned()).collect();
        outcome(inventory, &missing, covered).status
    }

    #[test]
    fn a_scan_is_complete_only_with_advisories() {
        let debian = inventory(Some(("debian", "12")), DEB);
        assert_eq!(status(&debian, &[], 1), ScanStatus::Complete);
        assert_eq!(status(&debian, &["Debian:12"], 0), ScanStatus::Failed);
        assert_eq!(status(&debian, &["Debian:12"], 1), ScanStatus::Failed);
        assert_eq!(status(&debian, &["npm"], 1), ScanStatus::Complete);
        let text = outcome(&debian, &["npm".to_owned()], 1).description;
        assert!(
            text.ends_with("There are no advisories about: npm."),
            "{text}"
        );
        let ubuntu = inventory(Some(("ubuntu", "22.04")), DEB);
        assert_eq!(
            status(&ubuntu, &["Ubuntu:Pro:22.04:LTS"], 1),
            ScanStatus::Complete
        );
        assert_eq!(
            outcome(&ubuntu, &["Ubuntu:Pro:22.04:LTS".to_owned()], 1).description,
            COMPLETE
        );
        let node = inventory(None, NPM);
        assert_eq!(status(&node, &[], 1), ScanStatus::Complete);
        assert_eq!(status(&node, &["npm"], 0), ScanStatus::Failed);
        let amazon = inventory(Some(("amzn", "2023")), DEB);
        assert_eq!(status(&amazon, &[], 0), ScanStatus::UnsupportedImage);
        assert_eq!(
            status(&inventory(None, "[]"), &[], 0),
            ScanStatus::UnsupportedImage
        );
    }

    #[test]
    fn stopped_work_is_tried_again_without_end_and_fails_once() {
        let pauses: Vec<u64> = (1..10)
            .map(|attempt| stopped(attempt).pause.as_secs())
            .collect();
        let hour = 3600;
        let expected = [
            10,
            20,
            40,
            hour,
            2 * hour,
            4 * hour,
            8 * hour,
            16 * hour,
            24 * hour,
        ];
        assert_eq!(pauses, expected);
        let failing: Vec<i64> = (1..1000)
            .filter(|attempt| stopped(*attempt).fails)
            .collect();
        assert_eq!(failing, [4]);
        assert_eq!(stopped(i64::MAX).pause, LAST_RETRY);
    }

    #[test]
    fn an_image_is_scanned_once_in_an_interval() {
        let day = Duration::from_hours(24);
        let scan = |status| Scan {
            status,
            description: String::new(),
            requested_at: Timestamp::from_ms(0),
            completed_at: None,
            advisories_at: None,
            severity_counts: BTreeMap::new(),
            result: 0,
        };
        let later = Timestamp::from_ms(0).plus(day);
        assert!(may_scan(None, day, later));
        assert!(may_scan(Some(&scan(ScanStatus::Complete)), day, later));
        assert!(!may_scan(Some(&scan(ScanStatus::Pending)), day, later));
        assert!(!may_scan(
            Some(&scan(ScanStatus::Failed)),
            day,
            Timestamp::from_ms(1)
        ));
        assert!(may_scan(
            Some(&scan(ScanStatus::Failed)),
            Duration::ZERO,
            Timestamp::from_ms(1)
        ));
    }

    #[test]
    fn only_images_with_files_are_scanned() {
        let manifest = |config: &str, extra: &str, layer: &str| {
            let digest = format!("sha256:{}", "a".repeat(64));
            let text = format!(
                r#"{{"schemaVersion": 2, {extra}
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {{"mediaType": "{config}", "digest": "{digest}", "size": 2}},
                "layers": [{{"mediaType": "{layer}", "digest": "{digest}", "size": 3}}]}}"#
            );
            Manifest::parse(text.as_bytes(), None).expect("a manifest")
        };
        let config = "application/vnd.oci.image.config.v1+json";
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        assert!(is_scannable(&manifest(config, "", layer)));
        assert!(!is_scannable(&manifest(
            "application/vnd.oci.empty.v1+json",
            "",
            layer
        )));
        assert!(!is_scannable(&manifest(
            config,
            r#""artifactType": "x/y","#,
            layer
        )));
        assert_eq!(refusal(&manifest(config, "", layer)), None);
        let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar";
        for unreadable in [foreign, "application/octet-stream"] {
            let refused = refusal(&manifest(config, "", unreadable)).expect("a refusal");
            assert_eq!(refused.status, ScanStatus::UnsupportedImage);
        }
    }
}
