//! `CycloneDX` 1.6 in JSON. PURE.
//!
//! Source: cyclonedx.org, JSON reference of version 1.6.

use serde_json::{Value, json};

use crate::inventory::Inventory;
use crate::package::Package;
use crate::sbom::{SbomSubject, short_hash};

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
    let components: Vec<Value> = system
        .into_iter()
        .chain(
            inventory
                .packages
                .iter()
                .map(|package| component(inventory, subject, package)),
        )
        .collect();
    let references: Vec<Value> = components
        .iter()
        .map(|one| one["bom-ref"].clone())
        .collect();
    json!({
        "bomFormat": "CycloneDX",
        "components": components,
        "dependencies": [{"dependsOn": references, "ref": subject.purl()}],
        "metadata": {
            "component": image,
            "timestamp": subject.created_at(),
            "tools": {"components": [{"name": "wharfinger", "type": "application"}]},
        },
        "serialNumber": format!("urn:uuid:{}", subject.uuid()),
        "specVersion": "1.6",
        "version": 1,
    })
    .to_string()
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
