//! Findings of enhanced scans, in the shape of Amazon Inspector.

use serde_json::{Value, json};
use wharfinger_base::Timestamp;
use wharfinger_oci::{Algorithm, Digest, Tag};
use wharfinger_registry::{Image, Repository, Scan};
use wharfinger_scanning::{AffectedPackage, CvssScore, PackageKind, Vulnerability};

/// `EnhancedImageScanFinding`.
pub(super) type EnhancedFinding = Value;

/// What findings are about.
pub(super) struct About<'a> {
    pub(super) repository: &'a Repository,
    pub(super) image: &'a Image,
    pub(super) tags: &'a [Tag],
    pub(super) scan: &'a Scan,
}

impl About<'_> {
    /// A finding of the image.
    pub(super) fn finding(&self, found: &Vulnerability) -> EnhancedFinding {
        let Repository { registry, name, .. } = self.repository;
        let seconds = |text: &Option<String>| {
            let parsed = text.as_deref().and_then(Timestamp::from_rfc3339);
            parsed.map(Timestamp::as_epoch_seconds)
        };
        let observed = self.scan.completed_at.map(Timestamp::as_epoch_seconds);
        let repaired = found
            .packages
            .iter()
            .filter(|one| one.fixed_version.is_some())
            .count();
        let fix_available = match repaired {
            0 => "NO",
            count if count == found.packages.len() => "YES",
            _ => "PARTIAL",
        };
        let packages: Vec<Value> = found.packages.iter().map(package).collect();
        let scores: Vec<Value> = found
            .scores
            .iter()
            .map(|score| cvss(score, found))
            .collect();
        let mut finding = json!({
            "awsAccountId": registry.account,
            "description": found.description,
            "findingArn": self.arn(found),
            "firstObservedAt": observed,
            "fixAvailable": fix_available,
            "lastObservedAt": observed,
            "packageVulnerabilityDetails": {
                "cvss": scores,
                "referenceUrls": found.references,
                "relatedVulnerabilities": found.related,
                "source": found.ecosystem,
                "sourceUrl": found.uri,
                "vendorCreatedAt": seconds(&found.published),
                "vendorSeverity": found.severity.as_str(),
                "vendorUpdatedAt": seconds(&found.modified),
                "vulnerabilityId": found.name,
                "vulnerablePackages": packages,
            },
            "remediation": {"recommendation": {"text": "None Provided"}},
            "resources": [{
                "details": {"awsEcrContainerImage": {
                    "imageHash": self.image.digest,
                    "imageTags": self.tags,
                    "pushedAt": self.image.pushed_at.as_epoch_seconds(),
                    "registry": registry.account,
                    "repositoryName": name,
                }},
                "id": format!("{}/{}", self.repository.arn(), self.image.digest),
                "type": "AWS_ECR_CONTAINER_IMAGE",
            }],
            "severity": severity(found),
            "status": "ACTIVE",
            "title": format!("{} - {}", found.name, found.package_name),
            "type": "PACKAGE_VULNERABILITY",
            "updatedAt": observed,
        });
        if let Some(best) = found.scores.first() {
            finding["score"] = json!(best.score);
            finding["scoreDetails"] = json!({"cvss": {
                "adjustments": [],
                "score": best.score,
                "scoreSource": found.ecosystem,
                "scoringVector": best.vector,
                "version": best.version,
            }});
        }
        remove_absent(&mut finding);
        finding
    }

    /// An ARN that follows from image, vulnerability and package: the same after each scan.
    fn arn(&self, found: &Vulnerability) -> String {
        let text = format!(
            "{} {} {} {} {}",
            self.repository.arn(),
            self.image.digest,
            found.name,
            found.package_name,
            found.package_version
        );
        let hash = Digest::of(Algorithm::Sha256, text.as_bytes());
        let id = hash.hex().chars().take(32).collect::<String>();
        let registry = &self.repository.registry;
        format!(
            "arn:aws:inspector2:{}:{}:finding/{id}",
            registry.region, registry.account
        )
    }
}

/// Inspector says UNTRIAGED where ECR says UNDEFINED.
fn severity(found: &Vulnerability) -> &'static str {
    match found.severity.as_str() {
        "UNDEFINED" => "UNTRIAGED",
        severity => severity,
    }
}

fn cvss(score: &CvssScore, found: &Vulnerability) -> Value {
    json!({
        "baseScore": score.score,
        "scoringVector": score.vector,
        "source": found.ecosystem,
        "version": score.version,
    })
}

fn package(affected: &AffectedPackage) -> Value {
    let package = &affected.package;
    let mut version = package.version.as_str();
    let mut epoch = None;
    if matches!(package.kind, PackageKind::Rpm | PackageKind::Deb)
        && let Some((number, rest)) = version.split_once(':')
    {
        epoch = number.parse::<u32>().ok();
        version = rest;
    }
    let mut release = None;
    if package.kind == PackageKind::Rpm
        && let Some((before, after)) = version.rsplit_once('-')
    {
        (version, release) = (before, Some(after));
    }
    json!({
        "arch": package.architecture,
        "epoch": epoch,
        "filePath": package.path,
        "fixedInVersion": affected.fixed_version.as_deref().unwrap_or("NotAvailable"),
        "name": package.name,
        "packageManager": package.kind.manager(),
        "release": release,
        "version": version,
    })
}

/// Removes members without a value: the shapes of AWS leave them out.
fn remove_absent(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(remove_absent);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_absent),
        _ => {}
    }
}
