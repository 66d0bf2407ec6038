//! `CycloneDX` 1.6 in JSON. PURE.
//!
//! Source: cyclonedx.org, JSON reference of version 1.6.

use serde::Serialize;
use serde_json::{Value, json};

use crate::inventory::Inventory;
use crate::package::Package;
use crate::sbom::{Lazy, SbomSubject, short_hash, text_of};

/// The document about an image.
pub fn cyclonedx(inventory: &Inventory, subject: &SbomSubject<'_>) -> String {
    let image = json!({
        "bom-ref": subject.purl(),
        "name": subject.name,
        "purl": subject.purl(),
        "type": "container",
        "version": subject.digest,
    });
    let system = inventory.distribution.as_ref().map(|one| {
        json!({
            "bom-ref": format!("os:{}", one.short_name()),
            "description": one.pretty_name,
            "name": one.id,
            "type": "operating-system",
            "version": one.version,
        })
    });
    let components = || {
        let packages = inventory.packages.iter();
        let packages = packages.map(|package| component(inventory, subject, package));
        system.clone().into_iter().chain(packages)
    };
    let references = || components().map(|mut one| one["bom-ref"].take());
    text_of(&Document {
        bom_format: "CycloneDX",
        components: Lazy(components),
        dependencies: [Dependencies {
            depends_on: Lazy(references),
            reference: subject.purl(),
        }],
        metadata: json!({
            "component": image,
            "timestamp": subject.created_at(),
            "tools": {"components": [{"name": "wharfinger", "type": "application"}]},
        }),
        serial_number: format!("urn:uuid:{}", subject.uuid()),
        spec_version: "1.6",
        version: 1,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<C, R> {
    bom_format: &'static str,
    components: C,
    dependencies: [Dependencies<R>; 1],
    metadata: Value,
    serial_number: String,
    spec_version: &'static str,
    version: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependencies<R> {
    depends_on: R,
    #[serde(rename = "ref")]
    reference: String,
}

fn component(inventory: &Inventory, subject: &SbomSubject<'_>, package: &Package) -> Value {
    let purl = package.purl(inventory.distribution.as_ref());
    // One package may lie at several places.
    let place = short_hash(&format!(
        "{} {} {}",
        package.path, package.layer, package.version
    ));
    let mut properties = vec![json!({"name": "wharfinger:path", "value": package.path})];
    let mut property = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            properties.push(json!({"name": format!("wharfinger:{name}"), "value": value}));
        }
    };
    property("layer", subject.layer(package.layer));
    property("source", package.source_name.as_deref());
    property("source-version", package.source_version.as_deref());
    json!({
        "bom-ref": format!("{purl}#{place}"),
        "name": package.name,
        "properties": properties,
        "purl": purl,
        "type": "library",
        "version": package.version,
    })
}
