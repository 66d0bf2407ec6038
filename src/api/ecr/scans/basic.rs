//! Findings of basic scans.

use serde::Serialize;
use wharfinger_scanning::Vulnerability;

/// `ImageScanFinding`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct BasicFinding {
    name: String,
    description: String,
    uri: String,
    severity: &'static str,
    attributes: Vec<Attribute>,
}

#[derive(Clone, Debug, Serialize)]
struct Attribute {
    key: String,
    value: String,
}

/// A vulnerability with the attributes that ECR gives: the package, and score and vector of each
/// version of CVSS.
pub(super) fn finding(found: &Vulnerability) -> BasicFinding {
    let attribute = |key: &str, value: &str| Attribute {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let mut attributes = vec![
        attribute("package_version", &found.package_version),
        attribute("package_name", &found.package_name),
    ];
    let mut named = Vec::new();
    for score in &found.scores {
        let major = score.version.split('.').next().unwrap_or_default();
        if named.contains(&major) {
            continue;
        }
        named.push(major);
        attributes.push(attribute(&format!("CVSS{major}_VECTOR"), &score.vector));
        attributes.push(attribute(
            &format!("CVSS{major}_SCORE"),
            &score.score.to_string(),
        ));
    }
    let fixed = found
        .packages
        .iter()
        .find_map(|one| one.fixed_version.as_deref());
    attributes.extend(fixed.map(|version| attribute("patched_versions", version)));
    BasicFinding {
        name: found.name.clone(),
        description: found.description.clone(),
        uri: found.uri.clone(),
        severity: found.severity.as_str(),
        attributes,
    }
}
