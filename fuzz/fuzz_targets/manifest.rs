//! Parses manifests from any bytes, with and without a content type. Digests of an accepted
//! manifest survive formatting and parsing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wharfinger_oci::{Digest, Manifest};

fuzz_target!(|data: &[u8]| {
    let types = [
        None,
        Some("application/vnd.oci.image.manifest.v1+json"),
        Some("application/vnd.oci.image.index.v1+json"),
    ];
    for content_type in types {
        let Ok(manifest) = Manifest::parse(data, content_type) else {
            continue;
        };
        for child in &manifest.children {
            assert_eq!(
                child.digest.to_string().parse::<Digest>().as_ref(),
                Ok(&child.digest)
            );
        }
        let _ = (manifest.referrer_artifact_type(), manifest.content_size());
        if let Some(subject) = &manifest.subject {
            let _ = Manifest::fallback_tag(&subject.digest);
        }
    }
});
