//! PURE: parses the path of a request to `/v2/`.
//!
//! A repository may have components named `blobs`, `manifests`, `tags`, `uploads` or `referrers`,
//! so the path is parsed from the right: the last components determine its form, and the rest is
//! the name (Distribution specification, "Endpoints").

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use uuid::Uuid;
use wharfinger_oci::{Digest, DigestError, NameError, Reference, RepositoryName};

/// The form of a path of `/v2/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathForm {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/blobs/DIGEST`
    Blob,
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest,
    /// `/v2/NAME/blobs/uploads/`
    Uploads,
    /// `/v2/NAME/blobs/uploads/ID`
    Upload,
    /// `/v2/NAME/tags/list`
    Tags,
    /// `/v2/NAME/referrers/DIGEST`
    Referrers,
}

/// A path with its parts parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) form: PathForm,
    /// The repository; none for the base and the catalog.
    pub(crate) repository: Option<RepositoryName>,
    pub(crate) target: Target,
}

/// What a path names within its repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Whole,
    Digest(Digest),
    Reference(Reference),
    Upload(Uuid),
}

/// Why a path, or a method with a path, is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    #[error("there is no such endpoint")]
    NoSuchEndpoint,
    #[error("the methods of this endpoint are {allowed}")]
    Method { allowed: String },
    #[error("the path is not percent-encoded UTF-8, or contains a '/' as %2F")]
    Encoding,
    #[error("invalid repository name: {0}")]
    Name(NameError),
    #[error("invalid reference: {0}")]
    Tag(NameError),
    #[error("invalid digest: {0}")]
    Digest(DigestError),
    #[error("the id of an upload is a UUID")]
    UploadId,
}

impl Route {
    /// A path that names no repository.
    const fn outside(form: PathForm) -> Self {
        Self {
            form,
            repository: None,
            target: Target::Whole,
        }
    }

    /// A path within a repository. The name is checked before the target.
    fn within(
        form: PathForm,
        name: &str,
        target: impl FnOnce() -> Result<Target, RouteError>,
    ) -> Result<Self, RouteError> {
        let name = name.parse().map_err(RouteError::Name)?;
        Ok(Self {
            form,
            repository: Some(name),
            target: target()?,
        })
    }

    /// Parses a path, percent-encoded as it was sent.
    ///
    /// # Errors
    /// [`RouteError`] names the part that is wrong, the name before the rest.
    pub(crate) fn parse(path: &str) -> Result<Self, RouteError> {
        let rest = path.strip_prefix("/v2").ok_or(RouteError::NoSuchEndpoint)?;
        if matches!(rest, "" | "/") {
            return Ok(Self::outside(PathForm::Base));
        }
        let rest = decode(rest.strip_prefix('/').ok_or(RouteError::NoSuchEndpoint)?)?;
        if rest == "_catalog" {
            return Ok(Self::outside(PathForm::Catalog));
        }
        if let Some(name) = before(rest.strip_suffix('/').unwrap_or(&rest), "blobs/uploads") {
            return Self::within(PathForm::Uploads, name, || Ok(Target::Whole));
        }
        let (head, last) = rest.rsplit_once('/').ok_or(RouteError::NoSuchEndpoint)?;
        // An upload before a blob, whose path it ends like.
        if let Some(name) = before(head, "blobs/uploads") {
            Self::within(PathForm::Upload, name, || upload(last))
        } else if let Some(name) = before(head, "blobs") {
            Self::within(PathForm::Blob, name, || digest(last))
        } else if let Some(name) = before(head, "manifests") {
            Self::within(PathForm::Manifest, name, || reference(last))
        } else if let Some(name) = before(head, "referrers") {
            Self::within(PathForm::Referrers, name, || digest(last))
        } else if let (Some(name), "list") = (before(head, "tags"), last) {
            Self::within(PathForm::Tags, name, || Ok(Target::Whole))
        } else {
            Err(RouteError::NoSuchEndpoint)
        }
    }
}

/// Percent-decodes a path once. An encoded slash is refused: it would change the components.
fn decode(path: &str) -> Result<Cow<'_, str>, RouteError> {
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| RouteError::Encoding)?;
    let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
    if slashes(&decoded) == slashes(path) {
        Ok(decoded)
    } else {
        Err(RouteError::Encoding)
    }
}

/// The part of `path` before its ending `/kind`; empty if `kind` is the whole path.
fn before<'a>(path: &'a str, kind: &str) -> Option<&'a str> {
    let rest = path.strip_suffix(kind)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_suffix('/')
    }
}

fn digest(text: &str) -> Result<Target, RouteError> {
    text.parse().map(Target::Digest).map_err(RouteError::Digest)
}

fn reference(text: &str) -> Result<Target, RouteError> {
    match text.parse() {
        Ok(reference) => Ok(Target::Reference(reference)),
        Err(NameError::Digest(error)) => Err(RouteError::Digest(error)),
        Err(error) => Err(RouteError::Tag(error)),
    }
}

/// Only the hyphenated form is ever given out; the crate would also accept braces and URNs.
fn upload(id: &str) -> Result<Target, RouteError> {
    match Uuid::try_parse(id) {
        Ok(uuid) if id.len() == uuid::fmt::Hyphenated::LENGTH => Ok(Target::Upload(uuid)),
        _ => Err(RouteError::UploadId),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wharfinger_oci::Algorithm;

    use super::*;

    const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    /// The route as `form repository target`.
    fn parse(path: &str) -> Result<String, RouteError> {
        let route = Route::parse(path)?;
        let name = route.repository.map(|name| name.to_string());
        let target = match route.target {
            Target::Whole => None,
            Target::Digest(digest) => Some(digest.to_string()),
            Target::Reference(reference) => Some(reference.to_string()),
            Target::Upload(id) => Some(id.to_string()),
        };
        let parts = [Some(format!("{:?}", route.form)), name, target];
        Ok(parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn names_are_found_from_the_right() {
        for (path, route) in [
            ("/v2", "Base"),
            ("/v2/", "Base"),
            ("/v2/_catalog", "Catalog"),
            ("/v2/a/manifests/tags/list", "Tags a/manifests"),
            ("/v2/a/tags/manifests/list", "Manifest a/tags list"),
            (
                "/v2/a/blobs/uploads/blobs/uploads/",
                "Uploads a/blobs/uploads",
            ),
            ("/v2/aa/blobs/uploads", "Uploads aa"),
            ("/v2/aa/manifests/uploads", "Manifest aa uploads"),
        ] {
            assert_eq!(parse(path).as_deref(), Ok(route), "{path}");
        }
        let digest = Digest::of(Algorithm::Sha512, b"x");
        assert_eq!(
            parse(&format!("/v2/a/blobs/uploads/blobs/{digest}")),
            Ok(format!("Blob a/blobs/uploads {digest}"))
        );
    }

    #[test]
    fn digests_may_be_percent_encoded_but_slashes_may_not() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let path = format!("/v2/a%62/blobs/{}", digest.to_string().replace(':', "%3A"));
        assert_eq!(parse(&path), Ok(format!("Blob ab {digest}")));
        assert_eq!(parse("/v2/a%2Fb/tags/list"), Err(RouteError::Encoding));
        assert_eq!(parse("/v2/a%ff/tags/list"), Err(RouteError::Encoding));
        assert!(matches!(
            parse("/v2/a%252Fb/tags/list"),
            Err(RouteError::Name(_))
        ));
    }

    #[test]
    fn each_part_has_its_own_error() {
        for bad in [
            "/v2/tags/list",
            "/v2/A/tags/list",
            "/v2/../etc/tags/list",
            "/v2//tags/list",
            "/v2/a//b/manifests/x",
            "/v2/blobs/x",
        ] {
            assert!(matches!(parse(bad), Err(RouteError::Name(_))), "{bad}");
        }
        for (bad, error) in [
            ("/v2/aa/manifests/sha256:abc", DigestError::Malformed),
            ("/v2/aa/blobs/md5:abc", DigestError::UnsupportedAlgorithm),
            ("/v2/aa/referrers/latest", DigestError::Malformed),
        ] {
            assert_eq!(parse(bad), Err(RouteError::Digest(error)), "{bad}");
        }
        assert_eq!(
            parse("/v2/aa/manifests/.x"),
            Err(RouteError::Tag(NameError::Tag))
        );
        let unhyphenated = format!("/v2/aa/blobs/uploads/{}", ID.replace('-', ""));
        for bad in ["/v2/aa/blobs/uploads/1", unhyphenated.as_str()] {
            assert_eq!(parse(bad), Err(RouteError::UploadId), "{bad}");
        }
    }

    #[test]
    fn other_paths_have_no_form() {
        for none in [
            "/",
            "/v1/",
            "/v2x",
            "/v2/aa",
            "/v2/aa/",
            "/v2/aa/tags/",
            "/v2/aa/tags/lists",
            "/v2/aa/tags/list/",
            "/v2/aa/blobs/uploads/../../x",
        ] {
            assert_eq!(parse(none), Err(RouteError::NoSuchEndpoint), "{none}");
        }
    }

    fn component() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("blobs".to_owned()),
            Just("uploads".to_owned()),
            Just("manifests".to_owned()),
            Just("tags".to_owned()),
            Just("list".to_owned()),
            Just("referrers".to_owned()),
            "[a-z0-9]{1,4}",
        ]
    }

    proptest! {
        #[test]
        fn every_name_is_parsed_in_every_path(
            parts in proptest::collection::vec(component(), 1..6),
            tag in "[a-zA-Z0-9_][a-z.-]{0,8}",
        ) {
            let name = parts.join("/");
            prop_assume!(name.len() >= 2);
            let digest = Digest::of(Algorithm::Sha256, tag.as_bytes());
            for (path, form, target) in [
                (format!("blobs/{digest}"), "Blob", format!(" {digest}")),
                (format!("manifests/{tag}"), "Manifest", format!(" {tag}")),
                ("blobs/uploads/".to_owned(), "Uploads", String::new()),
                (format!("blobs/uploads/{ID}"), "Upload", format!(" {ID}")),
                ("tags/list".to_owned(), "Tags", String::new()),
                (format!("referrers/{digest}"), "Referrers", format!(" {digest}")),
            ] {
                prop_assert_eq!(
                    parse(&format!("/v2/{name}/{path}")),
                    Ok(format!("{form} {name}{target}"))
                );
            }
        }

        #[test]
        fn no_path_makes_it_panic(
            path in "(/v2)?/\\PC{0,80}",
            tail in "(/blobs/uploads/|/manifests/|/tags/list|%2F|%)?",
        ) {
            let _ = Route::parse(&format!("{path}{tail}"));
        }
    }
}
