//! PURE: reads method and path of a `/v2/` request into a [`Route`].
//!
//! A repository may have components called `blobs`, `manifests`, `tags`, `uploads` or `referrers`,
//! so the path is read from the right: what stands last says what the request is about, and all
//! that is left over is the name (Distribution specification, "Endpoints").

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;
use uuid::Uuid;
use wharfinger_oci::{Digest, DigestError, NameError, Reference, RepositoryName};

/// One request that the Distribution specification knows, with its parts parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Ping,
    Catalog,
    ReadBlob {
        repository: RepositoryName,
        digest: Digest,
    },
    CheckBlob {
        repository: RepositoryName,
        digest: Digest,
    },
    DeleteBlob {
        repository: RepositoryName,
        digest: Digest,
    },
    ReadManifest {
        repository: RepositoryName,
        reference: Reference,
    },
    CheckManifest {
        repository: RepositoryName,
        reference: Reference,
    },
    PutManifest {
        repository: RepositoryName,
        reference: Reference,
    },
    DeleteManifest {
        repository: RepositoryName,
        reference: Reference,
    },
    StartUpload {
        repository: RepositoryName,
    },
    AskUpload {
        repository: RepositoryName,
        id: Uuid,
    },
    AppendUpload {
        repository: RepositoryName,
        id: Uuid,
    },
    FinishUpload {
        repository: RepositoryName,
        id: Uuid,
    },
    CancelUpload {
        repository: RepositoryName,
        id: Uuid,
    },
    ListTags {
        repository: RepositoryName,
    },
    ListReferrers {
        repository: RepositoryName,
        subject: Digest,
    },
}

/// A route without its parts: the key of the table of actions, and the label in metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    Ping,
    Catalog,
    ReadBlob,
    CheckBlob,
    DeleteBlob,
    ReadManifest,
    CheckManifest,
    PutManifest,
    DeleteManifest,
    StartUpload,
    AskUpload,
    AppendUpload,
    FinishUpload,
    CancelUpload,
    ListTags,
    ListReferrers,
}

impl Endpoint {
    /// The label in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ping => "Ping",
            Self::Catalog => "Catalog",
            Self::ReadBlob => "ReadBlob",
            Self::CheckBlob => "CheckBlob",
            Self::DeleteBlob => "DeleteBlob",
            Self::ReadManifest => "ReadManifest",
            Self::CheckManifest => "CheckManifest",
            Self::PutManifest => "PutManifest",
            Self::DeleteManifest => "DeleteManifest",
            Self::StartUpload => "StartUpload",
            Self::AskUpload => "AskUpload",
            Self::AppendUpload => "AppendUpload",
            Self::FinishUpload => "FinishUpload",
            Self::CancelUpload => "CancelUpload",
            Self::ListTags => "ListTags",
            Self::ListReferrers => "ListReferrers",
        }
    }
}

/// Why a method and a path are no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("there is no such endpoint")]
    NoSuchEndpoint,
    #[error("this endpoint takes {allowed}")]
    Method { allowed: &'static str },
    #[error("the path is not percent-encoded UTF-8, or hides a '/' as %2F")]
    Encoding,
    #[error("invalid repository name: {0}")]
    Name(NameError),
    #[error("invalid reference: {0}")]
    Tag(NameError),
    #[error("invalid digest: {0}")]
    Digest(DigestError),
    #[error("an upload is named by a UUID")]
    UploadId,
}

impl Route {
    /// Reads a request line. `path` is the path alone, percent-encoded as it came.
    ///
    /// # Errors
    /// [`RouteError`] names the part that is wrong. A name is judged before what follows it.
    pub fn parse(method: &Method, path: &str) -> Result<Self, RouteError> {
        let rest = path.strip_prefix("/v2").ok_or(RouteError::NoSuchEndpoint)?;
        if matches!(rest, "" | "/") {
            return reading(method).map(|_| Self::Ping);
        }
        let rest = decode(rest.strip_prefix('/').ok_or(RouteError::NoSuchEndpoint)?)?;
        if rest == "_catalog" {
            return reading(method).map(|_| Self::Catalog);
        }
        if method == Method::POST
            && let Some(name) = before(rest.strip_suffix('/').unwrap_or(&rest), "blobs/uploads")
        {
            return Ok(Self::StartUpload {
                repository: repository(name)?,
            });
        }
        let (head, last) = rest.rsplit_once('/').ok_or(RouteError::NoSuchEndpoint)?;
        if let Some(name) = before(head, "blobs/uploads") {
            return if last.is_empty() {
                Err(RouteError::Method { allowed: "POST" })
            } else {
                upload(method, name, last)
            };
        }
        if let Some(name) = before(head, "blobs") {
            return blob(method, name, last);
        }
        if let Some(name) = before(head, "manifests") {
            return manifest(method, name, last);
        }
        if let Some(name) = before(head, "referrers") {
            reading(method)?;
            let repository = repository(name)?;
            return Ok(Self::ListReferrers {
                repository,
                subject: last.parse().map_err(RouteError::Digest)?,
            });
        }
        match before(head, "tags") {
            Some(name) if last == "list" => reading(method).and_then(|_| {
                Ok(Self::ListTags {
                    repository: repository(name)?,
                })
            }),
            _ => Err(RouteError::NoSuchEndpoint),
        }
    }

    #[must_use]
    pub const fn endpoint(&self) -> Endpoint {
        match self {
            Self::Ping => Endpoint::Ping,
            Self::Catalog => Endpoint::Catalog,
            Self::ReadBlob { .. } => Endpoint::ReadBlob,
            Self::CheckBlob { .. } => Endpoint::CheckBlob,
            Self::DeleteBlob { .. } => Endpoint::DeleteBlob,
            Self::ReadManifest { .. } => Endpoint::ReadManifest,
            Self::CheckManifest { .. } => Endpoint::CheckManifest,
            Self::PutManifest { .. } => Endpoint::PutManifest,
            Self::DeleteManifest { .. } => Endpoint::DeleteManifest,
            Self::StartUpload { .. } => Endpoint::StartUpload,
            Self::AskUpload { .. } => Endpoint::AskUpload,
            Self::AppendUpload { .. } => Endpoint::AppendUpload,
            Self::FinishUpload { .. } => Endpoint::FinishUpload,
            Self::CancelUpload { .. } => Endpoint::CancelUpload,
            Self::ListTags { .. } => Endpoint::ListTags,
            Self::ListReferrers { .. } => Endpoint::ListReferrers,
        }
    }

    /// The repository that the request is about; none for the ping and the catalog.
    #[must_use]
    pub const fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Ping | Self::Catalog => None,
            Self::ReadBlob { repository, .. }
            | Self::CheckBlob { repository, .. }
            | Self::DeleteBlob { repository, .. }
            | Self::ReadManifest { repository, .. }
            | Self::CheckManifest { repository, .. }
            | Self::PutManifest { repository, .. }
            | Self::DeleteManifest { repository, .. }
            | Self::StartUpload { repository }
            | Self::AskUpload { repository, .. }
            | Self::AppendUpload { repository, .. }
            | Self::FinishUpload { repository, .. }
            | Self::CancelUpload { repository, .. }
            | Self::ListTags { repository }
            | Self::ListReferrers { repository, .. } => Some(repository),
        }
    }
}

/// Percent-decodes a path once. An encoded slash is refused: it would move the borders between the
/// parts.
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

/// What stands before `/kind` at the end of `path`; the empty text where nothing does.
fn before<'a>(path: &'a str, kind: &str) -> Option<&'a str> {
    let rest = path.strip_suffix(kind)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_suffix('/')
    }
}

fn repository(name: &str) -> Result<RepositoryName, RouteError> {
    name.parse().map_err(RouteError::Name)
}

/// Whether only the head is asked for, on endpoints that are only read.
fn reading(method: &Method) -> Result<bool, RouteError> {
    match *method {
        Method::GET => Ok(false),
        Method::HEAD => Ok(true),
        _ => Err(RouteError::Method {
            allowed: "GET, HEAD",
        }),
    }
}

fn upload(method: &Method, name: &str, id: &str) -> Result<Route, RouteError> {
    let repository = repository(name)?;
    // Only the hyphenated form is ever given out; the crate would also take braces and URNs.
    let id = Uuid::try_parse(id)
        .ok()
        .filter(|_| id.len() == 36)
        .ok_or(RouteError::UploadId)?;
    match *method {
        Method::GET | Method::HEAD => Ok(Route::AskUpload { repository, id }),
        Method::PATCH => Ok(Route::AppendUpload { repository, id }),
        Method::PUT => Ok(Route::FinishUpload { repository, id }),
        Method::DELETE => Ok(Route::CancelUpload { repository, id }),
        _ => Err(RouteError::Method {
            allowed: "GET, HEAD, PATCH, PUT, DELETE",
        }),
    }
}

fn blob(method: &Method, name: &str, digest: &str) -> Result<Route, RouteError> {
    let repository = repository(name)?;
    let digest = digest.parse().map_err(RouteError::Digest)?;
    match *method {
        Method::GET => Ok(Route::ReadBlob { repository, digest }),
        Method::HEAD => Ok(Route::CheckBlob { repository, digest }),
        Method::DELETE => Ok(Route::DeleteBlob { repository, digest }),
        _ => Err(RouteError::Method {
            allowed: "GET, HEAD, DELETE",
        }),
    }
}

fn manifest(method: &Method, name: &str, reference: &str) -> Result<Route, RouteError> {
    let repository = repository(name)?;
    let reference = reference.parse().map_err(|error| match error {
        NameError::Digest(error) => RouteError::Digest(error),
        other => RouteError::Tag(other),
    })?;
    match *method {
        Method::GET => Ok(Route::ReadManifest {
            repository,
            reference,
        }),
        Method::HEAD => Ok(Route::CheckManifest {
            repository,
            reference,
        }),
        Method::PUT => Ok(Route::PutManifest {
            repository,
            reference,
        }),
        Method::DELETE => Ok(Route::DeleteManifest {
            repository,
            reference,
        }),
        _ => Err(RouteError::Method {
            allowed: "GET, HEAD, PUT, DELETE",
        }),
    }
}

#[cfg(test)]
mod laws {
    use proptest::prelude::*;
    use wharfinger_oci::Algorithm;

    use super::*;

    const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    fn name(text: &str) -> RepositoryName {
        text.parse().expect("a name")
    }

    #[test]
    fn names_are_found_from_the_right() {
        let get = |path: &str| Route::parse(&Method::GET, path);
        assert_eq!(get("/v2"), Ok(Route::Ping));
        assert_eq!(get("/v2/"), Ok(Route::Ping));
        assert_eq!(get("/v2/_catalog"), Ok(Route::Catalog));
        assert_eq!(
            get("/v2/a/manifests/tags/list"),
            Ok(Route::ListTags {
                repository: name("a/manifests")
            })
        );
        let reference = "list".parse().expect("a tag");
        assert_eq!(
            get("/v2/a/tags/manifests/list"),
            Ok(Route::ReadManifest {
                repository: name("a/tags"),
                reference
            })
        );
        let digest = Digest::of(Algorithm::Sha512, b"x");
        let blob = Route::ReadBlob {
            repository: name("a/blobs/uploads"),
            digest,
        };
        assert_eq!(
            get(&format!("/v2/a/blobs/uploads/blobs/{digest}")),
            Ok(blob)
        );
        let post = |path: &str| Route::parse(&Method::POST, path);
        assert_eq!(
            post("/v2/a/blobs/uploads/blobs/uploads/"),
            Ok(Route::StartUpload {
                repository: name("a/blobs/uploads")
            })
        );
        assert_eq!(
            post("/v2/aa/blobs/uploads"),
            Ok(Route::StartUpload {
                repository: name("aa")
            })
        );
    }

    #[test]
    fn digests_may_be_percent_encoded_but_slashes_may_not() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let path = format!("/v2/a%62/blobs/{}", digest.to_string().replace(':', "%3A"));
        assert_eq!(
            Route::parse(&Method::HEAD, &path),
            Ok(Route::CheckBlob {
                repository: name("ab"),
                digest
            })
        );
        assert_eq!(
            Route::parse(&Method::GET, "/v2/a%2Fb/tags/list"),
            Err(RouteError::Encoding)
        );
        assert_eq!(
            Route::parse(&Method::GET, "/v2/a%ff/tags/list"),
            Err(RouteError::Encoding)
        );
        assert!(matches!(
            Route::parse(&Method::GET, "/v2/a%252Fb/tags/list"),
            Err(RouteError::Name(_))
        ));
    }

    #[test]
    fn each_part_is_blamed_for_itself() {
        let get = |path: &str| Route::parse(&Method::GET, path);
        for bad in [
            "/v2/tags/list",
            "/v2/A/tags/list",
            "/v2/../etc/tags/list",
            "/v2//tags/list",
            "/v2/a//b/manifests/x",
            "/v2/blobs/x",
        ] {
            assert!(matches!(get(bad), Err(RouteError::Name(_))), "{bad}");
        }
        assert!(matches!(
            get("/v2/aa/manifests/sha256:abc"),
            Err(RouteError::Digest(DigestError::Malformed))
        ));
        assert!(matches!(
            get("/v2/aa/blobs/md5:abc"),
            Err(RouteError::Digest(DigestError::UnsupportedAlgorithm))
        ));
        assert!(matches!(
            get("/v2/aa/referrers/latest"),
            Err(RouteError::Digest(DigestError::Malformed))
        ));
        assert!(matches!(
            get("/v2/aa/manifests/.x"),
            Err(RouteError::Tag(NameError::Tag))
        ));
        assert_eq!(
            get("/v2/aa/blobs/uploads/../../x"),
            Err(RouteError::NoSuchEndpoint)
        );
        assert_eq!(get("/v2/aa/blobs/uploads/1"), Err(RouteError::UploadId));
        assert_eq!(
            get(&format!("/v2/aa/blobs/uploads/{}", ID.replace('-', ""))),
            Err(RouteError::UploadId)
        );
        for none in [
            "/",
            "/v1/",
            "/v2x",
            "/v2/aa",
            "/v2/aa/",
            "/v2/aa/tags/",
            "/v2/aa/tags/lists",
            "/v2/aa/tags/list/",
        ] {
            assert_eq!(get(none), Err(RouteError::NoSuchEndpoint), "{none}");
        }
        assert!(matches!(
            Route::parse(&Method::POST, "/v2/aa/manifests/x"),
            Err(RouteError::Method { .. })
        ));
        assert!(matches!(
            get("/v2/aa/blobs/uploads/"),
            Err(RouteError::Method { allowed: "POST" })
        ));
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
        fn every_name_comes_back_from_every_route(parts in proptest::collection::vec(component(), 1..6), tag in "[a-zA-Z0-9_][a-z.-]{0,8}") {
            let name = parts.join("/");
            prop_assume!(name.len() >= 2);
            let repository: RepositoryName = name.parse().expect("a name");
            let digest = Digest::of(Algorithm::Sha256, tag.as_bytes());
            let id: Uuid = ID.parse().expect("a UUID");
            let reference: Reference = tag.parse().expect("a tag");
            let same = |method: Method, path: String, route: Route| {
                prop_assert_eq!(Route::parse(&method, &path), Ok(route.clone()));
                prop_assert_eq!(route.repository(), Some(&repository));
                Ok(())
            };
            same(Method::GET, format!("/v2/{name}/blobs/{digest}"), Route::ReadBlob { repository: repository.clone(), digest })?;
            same(Method::DELETE, format!("/v2/{name}/manifests/{tag}"), Route::DeleteManifest { repository: repository.clone(), reference })?;
            same(Method::POST, format!("/v2/{name}/blobs/uploads/"), Route::StartUpload { repository: repository.clone() })?;
            same(Method::PATCH, format!("/v2/{name}/blobs/uploads/{id}"), Route::AppendUpload { repository: repository.clone(), id })?;
            same(Method::GET, format!("/v2/{name}/tags/list"), Route::ListTags { repository: repository.clone() })?;
            let referrers = Route::ListReferrers { repository: repository.clone(), subject: digest };
            same(Method::GET, format!("/v2/{name}/referrers/{digest}"), referrers)?;
        }

        #[test]
        fn no_path_makes_it_panic(path in "(/v2)?/\\PC{0,80}", tail in "(/blobs/uploads/|/manifests/|/tags/list|%2F|%)?") {
            for method in [Method::GET, Method::PUT, Method::POST] {
                let _ = Route::parse(&method, &format!("{path}{tail}"));
            }
        }
    }
}
