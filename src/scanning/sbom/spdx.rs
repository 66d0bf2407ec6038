//! SPDX 2.3 in JSON. PURE.
//!
//! Source: spdx.github.io, SPDX specification 2.3.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::distribution::Distribution;
use crate::inventory::Inventory;
use crate::package::Package;
use crate::sbom::{Lazy, SbomSubject, short_hash, text_of};

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
    let distribution = inventory.distribution.as_ref();
    let packages = inventory.packages.iter();
    let packages: BTreeMap<String, &Package> = packages
        .map(|package| (identifier(package, distribution), package))
        .collect();
    let described = || {
        let packages = packages.iter();
        let packages = packages.map(|(id, one)| described_package(id, one, distribution, subject));
        std::iter::once(image.clone()).chain(packages)
    };
    let relation = |from: &str, to: &str, kind: &str| {
        json!({
            "relatedSpdxElement": to,
            "relationshipType": kind,
            "spdxElementId": from,
        })
    };
    let relations = || {
        let contained = packages.keys();
        let contained = contained.map(|id| relation(IMAGE, id, "CONTAINS"));
        std::iter::once(relation("SPDXRef-DOCUMENT", IMAGE, "DESCRIBES")).chain(contained)
    };
    text_of(&Document {
        id: "SPDXRef-DOCUMENT",
        creation_info: json!({"created": subject.created_at(), "creators": ["Tool: wharfinger"]}),
        data_license: "CC0-1.0",
        namespace: format!("urn:uuid:{}", subject.uuid()),
        name: subject.name,
        packages: Lazy(described),
        relationships: Lazy(relations),
        spdx_version: "SPDX-2.3",
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a, P, R> {
    #[serde(rename = "SPDXID")]
    id: &'static str,
    creation_info: Value,
    data_license: &'static str,
    #[serde(rename = "documentNamespace")]
    namespace: String,
    name: &'a str,
    packages: P,
    relationships: R,
    spdx_version: &'static str,
}

fn identifier(package: &Package, distribution: Option<&Distribution>) -> String {
    let purl = package.purl(distribution);
    let place = format!("{purl} {} {}", package.path, package.layer);
    format!("SPDXRef-Package-{}", short_hash(&place))
}

fn described_package(
    id: &str,
    package: &Package,
    distribution: Option<&Distribution>,
    subject: &SbomSubject<'_>,
) -> Value {
    let layer = subject.layer(package.layer).unwrap_or_default();
    json!({
        "SPDXID": id,
        "downloadLocation": UNKNOWN,
        "externalRefs": [purl_reference(&package.purl(distribution))],
        "filesAnalyzed": false,
        "name": package.name,
        "sourceInfo": format!("found in /{} of layer {layer}", package.path),
        "versionInfo": package.version,
    })
}

fn purl_reference(purl: &str) -> Value {
    json!({
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceLocator": purl,
        "referenceType": "purl",
    })
}
