//! Tests of both documents.

use serde_json::Value;

use super::*;
use crate::distribution::Distribution;
use crate::inventory::Inventory;
use crate::package::{Package, PackageKind};

fn inventory() -> Inventory {
    let mut bash = Package::new(PackageKind::Deb, "bash", "5.2-1");
    bash.path = "var/lib/dpkg/status".into();
    let mut lodash = Package::new(PackageKind::Npm, "lodash", "4.17.4");
    lodash.path = "a/package.json".into();
    lodash.layer = 1;
    let mut again = lodash.clone();
    again.path = "b/package.json".into();
    Inventory {
        distribution: Some(Distribution {
            id: "debian".into(),
            version: "12".into(),
            pretty_name: "Debian 12".into(),
        }),
        packages: vec![bash, lodash, again],
        unread: Vec::new(),
    }
}

fn subject(layers: &[String]) -> SbomSubject<'_> {
    SbomSubject {
        name: "host/team/app",
        digest: "sha256:abc",
        layers,
        created: Timestamp::from_ms(1_700_000_000_999),
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn cyclonedx_lists_every_place_of_a_package() {
    let layers = ["sha256:l0".to_owned(), "sha256:l1".to_owned()];
    let text = cyclonedx(&inventory(), &subject(&layers));
    assert_eq!(text, cyclonedx(&inventory(), &subject(&layers)));
    let document = parsed(&text);
    assert_eq!(
        (&document["bomFormat"], &document["specVersion"]),
        (&"CycloneDX".into(), &"1.6".into())
    );
    assert_eq!(document["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    let components = document["components"].as_array().expect("components");
    assert_eq!(components.len(), 4);
    assert_eq!(components[0]["type"], "operating-system");
    assert_eq!(
        components[1]["purl"],
        "pkg:deb/debian/bash@5.2-1?distro=debian-12"
    );
    assert_eq!(components[2]["properties"][1]["value"], "sha256:l1");
    let mut references: Vec<_> = components
        .iter()
        .map(|one| one["bom-ref"].to_string())
        .collect();
    references.sort();
    references.dedup();
    assert_eq!(references.len(), 4, "references are unique");
    let serial = document["serialNumber"].as_str().expect("a serial number");
    assert_eq!(
        serial.len(),
        "urn:uuid:00000000-0000-0000-0000-000000000000".len()
    );
}

#[test]
fn spdx_relates_the_image_to_its_packages() {
    let layers = ["sha256:l0".to_owned()];
    let text = spdx(&inventory(), &subject(&layers));
    assert_eq!(text, spdx(&inventory(), &subject(&layers)));
    let document = parsed(&text);
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    assert_eq!(document["packages"].as_array().expect("packages").len(), 4);
    assert_eq!(
        document["packages"][0]["checksums"][0]["algorithm"],
        "SHA256"
    );
    let relations = document["relationships"].as_array().expect("relations");
    assert_eq!(relations.len(), 4);
    assert_eq!(relations[0]["relationshipType"], "DESCRIBES");
    for relation in &relations[1..] {
        assert_eq!(relation["spdxElementId"], "SPDXRef-Image");
    }
}
