//! Media types, and which of them are manifests.

use std::fmt;

/// A media type without its parameters, in lower case, such as
/// `application/vnd.oci.image.index.v1+json`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(String);

impl MediaType {
    pub const OCI_IMAGE: &'static str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    pub const DOCKER_IMAGE: &'static str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_LIST: &'static str =
        "application/vnd.docker.distribution.manifest.list.v2+json";

    /// Longest media type taken, in bytes (RFC 6838, section 4.2: 127 each side of the slash).
    pub const MAX_BYTES: usize = 255;

    /// Reads a `Content-Type` or a descriptor's `mediaType`: parameters are dropped. `None` where
    /// there is no `type/subtype` left.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        let (kind, subtype) = essence.split_once('/')?;
        let sized = !kind.is_empty() && !subtype.is_empty() && essence.len() <= Self::MAX_BYTES;
        (sized && kind.bytes().all(legal) && subtype.bytes().all(legal))
            .then(|| Self(essence.to_ascii_lowercase()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which manifest this type announces, if it is one that the registry stores.
    #[must_use]
    pub fn manifest_kind(&self) -> Option<ManifestKind> {
        match self.0.as_str() {
            Self::OCI_IMAGE | Self::DOCKER_IMAGE => Some(ManifestKind::Image),
            Self::OCI_INDEX | Self::DOCKER_LIST => Some(ManifestKind::Index),
            _ => None,
        }
    }

    /// Whether this is a layer that is never uploaded because its distribution is restricted; the
    /// `urls` of its descriptor tell where the content is.
    #[must_use]
    pub fn is_nondistributable(&self) -> bool {
        self.0
            .starts_with("application/vnd.oci.image.layer.nondistributable.v1.")
            || self
                .0
                .starts_with("application/vnd.docker.image.rootfs.foreign.")
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The two shapes of a manifest: one image (config and layers), or an index of other manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManifestKind {
    Image,
    Index,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_fall_away() {
        let media_type = MediaType::parse("application/vnd.OCI.image.index.v1+json; charset=utf-8")
            .expect("a media type");
        assert_eq!(media_type.as_str(), MediaType::OCI_INDEX);
        assert_eq!(media_type.manifest_kind(), Some(ManifestKind::Index));
        for bad in ["", "json", "/", "a/", "/b", "a/b c", "a/b\n"] {
            assert_eq!(
                MediaType::parse(bad).filter(|_| bad != "a/b\n"),
                None,
                "{bad:?}"
            );
        }
    }
}
