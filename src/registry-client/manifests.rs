//! Manifests of registries: read, stored and deleted.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use wharfinger_oci::{Algorithm, Digest, Manifest, Reference};

use crate::Result;
use crate::client::{RegistryClient, body};
use crate::endpoint::Upstream;
use crate::error::{Error, WrongDigest};
use crate::request::{Access, Content, Request};

/// Time for a manifest as a whole.
const MANIFEST_TIMEOUT: Duration = Duration::from_mins(1);
/// The types of manifests that are understood.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A manifest whose bytes have the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedManifest {
    pub bytes: Bytes,
    pub digest: Digest,
    pub content_type: Option<String>,
}

/// A manifest that is to be stored.
#[derive(Clone, Debug)]
pub struct ManifestUpload<'a> {
    pub digest: Digest,
    pub media_type: &'a str,
    pub bytes: Bytes,
}

impl RegistryClient {
    /// Gets a manifest, which has at most [`Manifest::MAX_BYTES`], and checks its digest.
    ///
    /// # Errors
    /// [`Error`]: [`Error::DigestMismatch`] also for a tag whose response names another digest.
    pub async fn manifest(
        &self,
        upstream: &Upstream,
        repository: &str,
        reference: &Reference,
    ) -> Result<FetchedManifest> {
        let work = async {
            let request = manifest_request(upstream, Method::GET, repository, reference);
            let response = self.send(upstream, &request).await?;
            let declared = declared_digest(response.headers());
            let content_type = response.headers().get(CONTENT_TYPE);
            let content_type = content_type.and_then(|value| value.to_str().ok());
            let content_type = content_type.map(str::to_owned);
            let bytes = Bytes::from(body(response, Manifest::MAX_BYTES).await?);
            let expected = match reference {
                Reference::Digest(digest) => Some(*digest),
                Reference::Tag(_) => declared,
            };
            let algorithm = expected.map_or(Algorithm::Sha256, |digest| digest.algorithm());
            let actual = Digest::of(algorithm, &bytes);
            match expected.filter(|expected| *expected != actual) {
                Some(expected) => Err(Error::DigestMismatch(Box::new(WrongDigest {
                    expected,
                    actual,
                }))),
                None => Ok(FetchedManifest {
                    bytes,
                    digest: actual,
                    content_type,
                }),
            }
        };
        in_time(work).await
    }

    /// The digest that a tag names now; `None` where the registry does not tell it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn manifest_digest(
        &self,
        upstream: &Upstream,
        repository: &str,
        reference: &Reference,
    ) -> Result<Option<Digest>> {
        let work = async {
            let request = manifest_request(upstream, Method::HEAD, repository, reference);
            let response = self.send(upstream, &request).await?;
            Ok(declared_digest(response.headers()))
        };
        in_time(work).await
    }

    /// Stores a manifest under its digest or a tag. What it names must be there before.
    ///
    /// # Errors
    /// [`Error::Refused`] with the registry's code; [`Error::DigestMismatch`] where the registry
    /// has stored something else.
    pub async fn put_manifest(
        &self,
        upstream: &Upstream,
        repository: &str,
        reference: &Reference,
        manifest: &ManifestUpload<'_>,
    ) -> Result<()> {
        let shown = reference.to_string();
        let url = upstream.endpoint.path(repository, "manifests", &shown);
        let request = Request {
            content: Some(Content::Manifest {
                media_type: manifest.media_type,
                bytes: manifest.bytes.clone(),
            }),
            ..Request::new(Method::PUT, url, Some((repository, Access::Push)))
        };
        let response = in_time(self.send(upstream, &request)).await?;
        let expected = manifest.digest;
        match declared_digest(response.headers()) {
            // Under a tag, some registries always use SHA-256.
            Some(actual) if actual.algorithm() == expected.algorithm() && actual != expected => {
                Err(Error::DigestMismatch(Box::new(WrongDigest {
                    expected,
                    actual,
                })))
            }
            _ => Ok(()),
        }
    }

    /// Deletes a manifest with all its tags, or one tag. One that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Refused`] where the registry does not allow it.
    pub async fn delete_manifest(
        &self,
        upstream: &Upstream,
        repository: &str,
        reference: &Reference,
    ) -> Result<()> {
        let shown = reference.to_string();
        let url = upstream.endpoint.path(repository, "manifests", &shown);
        let request = Request::new(Method::DELETE, url, Some((repository, Access::Delete)));
        match in_time(self.send(upstream, &request)).await {
            Err(error) if error.is_gone() => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }
}

fn manifest_request<'a>(
    upstream: &Upstream,
    method: Method,
    repository: &'a str,
    reference: &Reference,
) -> Request<'a> {
    let reference = reference.to_string();
    let url = upstream.endpoint.path(repository, "manifests", &reference);
    Request {
        accept: Some(ACCEPT),
        ..Request::new(method, url, Some((repository, Access::Pull)))
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::Unavailable("no manifest in time".to_owned());
    let outcome = tokio::time::timeout(MANIFEST_TIMEOUT, work).await;
    outcome.map_err(late).and_then(|outcome| outcome)
}

fn declared_digest(headers: &HeaderMap) -> Option<Digest> {
    let value = headers.get("docker-content-digest")?;
    value.to_str().ok()?.parse().ok()
}
