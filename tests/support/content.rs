//! Small manifests and digests to push.

use wharfinger_oci::{Algorithm, Digest};

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

pub(crate) fn digest_of(content: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, content).to_string()
}

pub(crate) fn sha512_of(content: &[u8]) -> String {
    Digest::of(Algorithm::Sha512, content).to_string()
}

/// An OCI image of one layer; `extra` are further members, beginning with a comma.
pub(crate) fn image(config: &str, layer: &str, layer_size: usize, extra: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":{layer_size}}}]{extra}}}"#
    )
}

/// An OCI index of images, each `(digest, size)`.
pub(crate) fn index(members: &[(&str, usize)]) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(digest, size)| {
            format!(r#"{{"mediaType":"{IMAGE}","digest":"{digest}","size":{size}}}"#)
        })
        .collect();
    let members = members.join(",");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{members}]}}"#
    )
}
