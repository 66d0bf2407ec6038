//! Manifests: parsed once for the content that they name. The bytes are stored unchanged.
//!
//! Source: OCI image-spec (manifest.md, image-index.md, descriptor.md), Docker image manifest v2
//! schema 2; CVE-2021-41190 for the rejection of ambiguous documents.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::Digest;
use crate::media_type::{ManifestKind, MediaType};

/// The parts of a manifest that the registry uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub kind: ManifestKind,
    pub media_type: MediaType,
    /// The manifest's `artifactType`, as written.
    pub artifact_type: Option<String>,
    /// The config descriptor's media type: the artifact type of an image manifest
    /// without `artifactType`.
    pub config_media_type: Option<String>,
    pub children: Vec<Child>,
    pub subject: Option<Subject>,
    pub annotations: BTreeMap<String, String>,
}

/// Content that a manifest is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    pub digest: Digest,
    pub size: u64,
    pub media_type: String,
    pub kind: ChildKind,
    /// Whether the content is stored elsewhere: a restricted layer, or one with `urls`.
    pub external: bool,
    pub platform: Option<Platform>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChildKind {
    Config,
    Layer,
    /// A member of an index: a manifest, or (old build caches) a blob.
    Member,
}

/// The platform of an index's member.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    pub variant: Option<String>,
}

/// The manifest that this one refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub digest: Digest,
    pub size: u64,
    pub media_type: String,
}

/// Why bytes are not a manifest that can be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest is not valid JSON of its kind: {0}")]
    Syntax(String),
    #[error("media type '{0}' is not one of a manifest this registry stores")]
    UnknownMediaType(String),
    #[error("no media type: the manifest has no mediaType and the request no Content-Type")]
    NoMediaType,
    #[error("the manifest's mediaType '{inside}' is not the '{outside}' it was sent as")]
    MediaTypeMismatch { inside: String, outside: String },
    #[error("a manifest has either manifests, or config and layers, not both")]
    Ambiguous,
    #[error("schemaVersion is {0}; only 2 is supported")]
    SchemaVersion(u64),
    #[error("the manifest has no {0}")]
    Missing(&'static str),
    #[error("the manifest nests more than {max} levels deep", max = Manifest::MAX_DEPTH)]
    TooDeep,
    #[error("the manifest names {0} descriptors; at most {max} are taken",
        max = Manifest::MAX_CHILDREN)]
    TooManyChildren(usize),
    #[error("a {0} of the manifest is longer than {max} bytes",
        max = Manifest::MAX_MEDIA_TYPE_BYTES)]
    LongMediaType(&'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    // Names of other manifest formats: only their presence matters.
    fs_layers: Option<serde::de::IgnoredAny>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    urls: Option<Vec<String>>,
    platform: Option<Platform>,
}

impl Manifest {
    /// Largest accepted manifest, in bytes: what every client accepts (containers/image and
    /// distribution stop at 4 MiB).
    pub const MAX_BYTES: usize = 4 * 1024 * 1024;

    /// Most descriptors one manifest may name. Each costs a look-up in the transaction that stores
    /// the manifest.
    pub const MAX_CHILDREN: usize = 10_000;

    /// Deepest accepted nesting of arrays and objects, also in members that the registry does not
    /// use: clients parse them, and some fail on deeper nesting.
    pub const MAX_DEPTH: usize = 128;

    /// Longest accepted media type, also of an artifact: RFC 6838, section 4.2, has 127 characters
    /// on each side of the slash. Listings of images and events repeat it for each image.
    pub const MAX_MEDIA_TYPE_BYTES: usize = 255;

    /// Parses a manifest that is to be stored, as [`Manifest::parse`] does, which also reads those
    /// that were stored before a limit was made.
    ///
    /// # Errors
    /// Those of [`Manifest::parse`], and [`ManifestError::LongMediaType`].
    pub fn parse_new(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        // JSON is UTF-8 (RFC 8259); the parser does not look at members that it passes over.
        if std::str::from_utf8(bytes).is_err() {
            return Err(ManifestError::Syntax("it is not UTF-8".to_owned()));
        }
        let manifest = Self::parse(bytes, content_type)?;
        let is_long = |text: &str| text.len() > Self::MAX_MEDIA_TYPE_BYTES;
        if manifest.artifact_type.as_deref().is_some_and(is_long) {
            return Err(ManifestError::LongMediaType("artifactType"));
        }
        let subject = manifest.subject.iter().map(|subject| &subject.media_type);
        let children = manifest.children.iter().map(|child| &child.media_type);
        if children.chain(subject).any(|text| is_long(text)) {
            return Err(ManifestError::LongMediaType("mediaType"));
        }
        Ok(manifest)
    }

    /// Parses `bytes` that were sent with `content_type` (its parameters are ignored), or without
    /// one, as `PutImage` allows.
    ///
    /// # Errors
    /// [`ManifestError`] tells what is wrong. The caller checks the size first.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        if nests_deeper(bytes, Self::MAX_DEPTH) {
            return Err(ManifestError::TooDeep);
        }
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| ManifestError::Syntax(error.to_string()))?;
        if document.schema_version != 2 || document.fs_layers.is_some() {
            return Err(ManifestError::SchemaVersion(document.schema_version));
        }
        let media_type = document.agreed_media_type(content_type)?;
        let kind = media_type
            .manifest_kind()
            .ok_or_else(|| ManifestError::UnknownMediaType(media_type.to_string()))?;
        if document.manifests.is_some() && (document.layers.is_some() || document.config.is_some())
        {
            return Err(ManifestError::Ambiguous);
        }
        let config_media_type = document
            .config
            .as_ref()
            .map(|config| config.media_type.clone());
        let (subject, artifact_type) = (
            document.subject.as_ref().map(Descriptor::as_subject),
            document.artifact_type.clone(),
        );
        let annotations = document.annotations.clone().unwrap_or_default();
        let children = document.into_children(kind)?;
        if children.len() > Self::MAX_CHILDREN {
            return Err(ManifestError::TooManyChildren(children.len()));
        }
        Ok(Self {
            kind,
            media_type,
            artifact_type,
            config_media_type,
            children,
            subject,
            annotations,
        })
    }

    /// Returns the artifact type in a listing of referrers: the manifest's own, else the media type
    /// of an image's config (Distribution specification, "Listing Referrers").
    #[must_use]
    pub fn referrer_artifact_type(&self) -> Option<&str> {
        let own = self
            .artifact_type
            .as_deref()
            .filter(|text| !text.is_empty());
        own.or_else(|| {
            self.config_media_type
                .as_deref()
                .filter(|_| self.kind == ManifestKind::Image)
        })
    }

    /// Returns the sum of the sizes of config and layers, which ECR calls the image's size; zero
    /// for
    /// an index, whose size is that of its largest member.
    #[must_use]
    pub fn content_size(&self) -> u64 {
        self.children
            .iter()
            .filter(|child| child.kind != ChildKind::Member)
            .fold(0, |sum, child| sum.saturating_add(child.size))
    }

    /// Returns the fallback tag under which clients without the referrers API list the referrers of
    /// `subject` (Distribution specification, "Referrers Tag Schema").
    #[must_use]
    pub fn fallback_tag(subject: &Digest) -> String {
        let mut hex = subject.hex();
        hex.truncate(64);
        format!("{}-{hex}", subject.algorithm().name())
    }
}

/// Whether brackets outside of strings nest deeper than `most`. The parser checks that they match.
fn nests_deeper(json: &[u8], most: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            return true;
        }
    }
    false
}

impl Document {
    fn agreed_media_type(&self, content_type: Option<&str>) -> Result<MediaType, ManifestError> {
        let parse = |text: &str| {
            MediaType::parse(text).ok_or_else(|| ManifestError::UnknownMediaType(text.to_owned()))
        };
        let inside = self
            .media_type
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(parse)
            .transpose()?;
        let outside = content_type.map(parse).transpose()?;
        match (inside, outside) {
            (Some(inside), Some(outside)) if inside != outside => {
                Err(ManifestError::MediaTypeMismatch {
                    inside: inside.to_string(),
                    outside: outside.to_string(),
                })
            }
            (Some(media_type), _) | (None, Some(media_type)) => Ok(media_type),
            (None, None) => Err(ManifestError::NoMediaType),
        }
    }

    fn into_children(self, kind: ManifestKind) -> Result<Vec<Child>, ManifestError> {
        match kind {
            ManifestKind::Image => {
                let config = self.config.ok_or(ManifestError::Missing("config"))?;
                let layers = self.layers.ok_or(ManifestError::Missing("layers"))?;
                let layers = layers
                    .into_iter()
                    .map(|layer| layer.into_child(ChildKind::Layer));
                Ok(std::iter::once(config.into_child(ChildKind::Config))
                    .chain(layers)
                    .collect())
            }
            ManifestKind::Index => {
                let members = self.manifests.ok_or(ManifestError::Missing("manifests"))?;
                Ok(members
                    .into_iter()
                    .map(|member| member.into_child(ChildKind::Member))
                    .collect())
            }
        }
    }
}

impl Descriptor {
    fn as_subject(&self) -> Subject {
        Subject {
            digest: self.digest,
            size: self.size,
            media_type: self.media_type.clone(),
        }
    }

    fn into_child(self, kind: ChildKind) -> Child {
        let restricted = MediaType::parse(&self.media_type)
            .is_some_and(|media_type| media_type.is_nondistributable());
        let elsewhere = self.urls.is_some_and(|urls| !urls.is_empty());
        Child {
            digest: self.digest,
            size: self.size,
            media_type: self.media_type,
            kind,
            external: restricted || elsewhere,
            platform: self.platform,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: &str = r#"{"mediaType":"application/vnd.oci.image.config.v1+json",
        "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "size":7}"#;

    fn image(extra: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[{CONFIG}]{extra}}}"#)
    }

    #[test]
    fn media_types_of_new_manifests_are_short() {
        let parse = |text: &str| Manifest::parse_new(text.as_bytes(), Some(MediaType::OCI_IMAGE));
        let of = |length: usize| format!("a/{}", "x".repeat(length - 2));
        for (length, is_taken) in [(255, true), (256, false)] {
            let artifact = format!(r#","artifactType":"{}""#, of(length));
            let inside = image("").replace("application/vnd.oci.image.config.v1+json", &of(length));
            let digest = Digest::of(crate::Algorithm::Sha256, b"x");
            let subject = format!(
                r#","subject":{{"mediaType":"{}","digest":"{digest}","size":1}}"#,
                of(length)
            );
            for (text, what) in [
                (image(&artifact), "artifactType"),
                (inside, "mediaType"),
                (image(&subject), "mediaType"),
            ] {
                let refused = Err(ManifestError::LongMediaType(what));
                let parsed = parse(&text);
                assert!(if is_taken {
                    parsed.is_ok()
                } else {
                    parsed == refused
                });
                // What is stored is read.
                assert!(Manifest::parse(text.as_bytes(), Some(MediaType::OCI_IMAGE)).is_ok());
            }
        }
    }

    #[test]
    fn new_manifests_are_utf_8() {
        let text = image(r#","other":"?""#);
        let parse = |bytes: &[u8]| Manifest::parse_new(bytes, Some(MediaType::OCI_IMAGE));
        assert!(parse(text.as_bytes()).is_ok());
        let mut bytes = text.into_bytes();
        let at = bytes.iter().position(|byte| *byte == b'?').expect("a mark");
        bytes[at] = 0xff;
        assert!(matches!(parse(&bytes), Err(ManifestError::Syntax(_))));
    }

    #[test]
    fn an_image_without_media_type_takes_the_one_it_was_sent_as() {
        let manifest = Manifest::parse(
            image("").as_bytes(),
            Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
        )
        .expect("a manifest");
        assert_eq!(manifest.media_type.as_str(), MediaType::OCI_IMAGE);
        assert_eq!(manifest.content_size(), 14);
        assert_eq!(
            manifest.referrer_artifact_type(),
            Some("application/vnd.oci.image.config.v1+json")
        );
        assert_eq!(
            Manifest::parse(image("").as_bytes(), None),
            Err(ManifestError::NoMediaType)
        );
    }

    #[test]
    fn what_is_ambiguous_or_not_a_manifest_is_refused() {
        let sent = Some(MediaType::OCI_IMAGE);
        let both = image(r#","manifests":[]"#);
        assert_eq!(
            Manifest::parse(both.as_bytes(), sent),
            Err(ManifestError::Ambiguous)
        );
        let other = image(r#","mediaType":"application/vnd.oci.image.index.v1+json""#);
        assert!(matches!(
            Manifest::parse(other.as_bytes(), sent),
            Err(ManifestError::MediaTypeMismatch { .. })
        ));
        let twice = image(r#","layers":[]"#);
        assert!(matches!(
            Manifest::parse(twice.as_bytes(), sent),
            Err(ManifestError::Syntax(_))
        ));
        assert!(matches!(
            Manifest::parse(image("").as_bytes(), Some("text/html")),
            Err(ManifestError::UnknownMediaType(_))
        ));
        assert_eq!(
            Manifest::parse(br#"{"schemaVersion":2,"layers":[]}"#, sent),
            Err(ManifestError::Missing("config"))
        );
        assert_eq!(
            Manifest::parse(br#"{"schemaVersion":1,"fsLayers":[]}"#, sent),
            Err(ManifestError::SchemaVersion(1))
        );
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Manifest::parse(deep.as_bytes(), Some(MediaType::OCI_IMAGE)).is_err());
        let inside = image(&format!(r#","x":{deep}"#));
        assert_eq!(
            Manifest::parse(inside.as_bytes(), Some(MediaType::OCI_IMAGE)),
            Err(ManifestError::TooDeep)
        );
        let text = image(&format!(r#","x":"\\\"{}""#, "[".repeat(1_000)));
        assert!(Manifest::parse(text.as_bytes(), Some(MediaType::OCI_IMAGE)).is_ok());
    }

    #[test]
    fn layers_that_live_elsewhere_are_external() {
        let foreign = CONFIG.replace(
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        );
        let document = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[{foreign}]}}"#);
        let manifest =
            Manifest::parse(document.as_bytes(), Some(MediaType::OCI_IMAGE)).expect("a manifest");
        assert_eq!(
            manifest
                .children
                .iter()
                .map(|child| child.external)
                .collect::<Vec<_>>(),
            [false, true]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::parse(&bytes, Some(MediaType::OCI_INDEX));
        }
    }
}
