//! SPDX 2.3 in JSON. PURE.
//!
//! Source: spdx.github.io, SPDX specification 2.3.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::distribution::Distribution;
use crate::inventory::Inventory;
use crate::package::Package;
use crate::sbom::{SbomSubject, short_hash};

const IMAGE: &str = "SPDXRef-Image";
const UNKNOWN: &str = "NOASSERTION";

/// The document about an image.
pub fn spdx(inventory: &Inventory, subject: &SbomSubject<'_>) -> String {
    let algorithm = subject
        .digest
        .split(':')
        .next()
        .unwrap_or_default()
        .to_uppercase();
    let value = subject.digest.split(':').nth(1).unwrap_or_default();
    let image = json!({
        "SPDXID": IMAGE,
        "checksums": [{"algorithm": algorithm, "checksumValue": value}],
        "downloadLocation": UNKNOWN,
        "externalRefs": [purl_reference(&subject.purl())],
        "filesAnalyzed": false,
        "name": subject.name,
        "primaryPackagePurpose": "CONTAINER",
        "versionInfo": subject.digest,
    });
    // An identifier occurs once, though a package may lie at several places.
    let mut described: BTreeMap<String, Value> = BTreeMap::new();
    for package in &inventory.packages {
        let (id, value) = described_package(package, inventory.distribution.as_ref(), subject);
        described.insert(id, value);
    }
    let relation = |from: &str, to: &str, kind: &str| {
        json!({
            "relatedSpdxElement": to,
            "relationshipType": kind,
            "spdxElementId": from,
        })
    };
    let mut relations = vec![relation("SPDXRef-DOCUMENT", IMAGE, "DESCRIBES")];
    relations.extend(described.keys().map(|id| relation(IMAGE, id, "CONTAINS")));
    let packages: Vec<Value> = std::iter::once(image)
        .chain(described.into_values())
        .collect();
    json!({
        "SPDXID": "SPDXRef-DOCUMENT",
        "creationInfo": {"created": subject.created_at(), "creators": ["Tool: wharfinger"]},
        "dataLicense": "CC0-1.0",
        "documentNamespace": format!("urn:uuid:{}", subject.uuid()),
        "name": subject.name,
        "packages": packages,
        "relationships": relations,
        "spdxVersion": "SPDX-2.3",
    })
    .to_string()
}

fn described_package(
    package: &Package,
    distribution: Option<&Distribution>,
    subject: &SbomSubject<'_>,
) -> (String, Value) {
    let purl = package.purl(distribution);
    let place = format!("{purl} {} {}", package.path, package.layer);
    let id = format!("SPDXRef-Package-{}", short_hash(&place));
    let layer = subject.layer(package.layer).unwrap_or_default();
    let value = json!({
        "SPDXID": id,
        "downloadLocation": UNKNOWN,
        "externalRefs": [purl_reference(&purl)],
        "filesAnalyzed": false,
        "name": package.name,
        "sourceInfo": format!("found in /{} of layer {layer}", package.path),
        "versionInfo": package.version,
    });
    (id, value)
}

fn purl_reference(purl: &str) -> Value {
    json!({
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceLocator": purl,
        "referenceType": "purl",
    })
}
