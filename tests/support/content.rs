//! Small manifests and digests to push.

use sha2::{Digest as _, Sha256, Sha512};

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

pub(crate) fn digest_of(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

pub(crate) fn sha512_of(content: &[u8]) -> String {
    format!("sha512:{}", hex::encode(Sha512::digest(content)))
}

/// An OCI image of one layer; `extra` are further members, beginning with a comma.
pub(crate) fn image(config: &str, layer: &str, layer_size: usize, extra: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{IMAGE}",
            "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}",
            "size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar",
            "digest":"{layer}","size":{layer_size}}}]{extra}}}"#
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
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",
            "manifests":[{members}]}}"#
    )
}
