//! Blobs uploaded to registries: whole, in one request after the one that begins the upload.

use http::header::LOCATION;
use http::{Method, StatusCode};
use reqwest::Response;
use url::Url;
use wharfinger_oci::Digest;

use crate::Result;
use crate::client::RegistryClient;
use crate::endpoint::Upstream;
use crate::error::Error;
use crate::request::{Access, BlobUpload, Content, Request};

/// Times that an upload is begun.
const MAX_ATTEMPTS: u32 = 3;
/// How an upload begins.
enum Begun {
    /// The registry has linked the blob from another repository.
    Mounted,
    /// The bytes are expected at this URL.
    At(Url),
}

impl RegistryClient {
    /// Whether the repository has the blob.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn has_blob(
        &self,
        upstream: &Upstream,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool> {
        let shown = digest.to_string();
        let url = upstream.endpoint.path(repository, "blobs", &shown);
        // The scope of the upload that follows, so that one token is enough.
        let request = Request::new(Method::HEAD, url, Some((repository, Access::Push)));
        match self.send(upstream, &request).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Uploads a blob, or lets the registry link it from the repository `from`, which has it as far
    /// as is known. An upload that fails on its way is begun anew a few times.
    ///
    /// # Errors
    /// [`Error::Refused`] with the registry's code; [`Error::Source`].
    pub async fn put_blob(
        &self,
        upstream: &Upstream,
        repository: &str,
        from: Option<&str>,
        blob: &BlobUpload<'_>,
    ) -> Result<()> {
        let (mut from, mut attempts) = (from, 1);
        loop {
            let error = match self.upload_once(upstream, repository, from, blob).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let passes = error.is_transient() || error.is_lost_upload();
            if !passes || attempts >= MAX_ATTEMPTS {
                return Err(error);
            }
            tokio::time::sleep(self.pace().anew_wait * attempts).await;
            attempts += 1;
            from = None;
            // It may have come, and only the response was lost.
            if self.has_blob(upstream, repository, &blob.digest).await? {
                return Ok(());
            }
        }
    }

    async fn upload_once(
        &self,
        upstream: &Upstream,
        repository: &str,
        from: Option<&str>,
        blob: &BlobUpload<'_>,
    ) -> Result<()> {
        let session = match self.begin(upstream, repository, from, blob).await? {
            Begun::Mounted => return Ok(()),
            Begun::At(url) => url,
        };
        let scope = Some((repository, Access::Push));
        let mut url = session.clone();
        // The query that is there belongs to the registry.
        url.query_pairs_mut()
            .append_pair("digest", &blob.digest.to_string());
        let request = Request {
            content: Some(Content::Blob(blob)),
            ..Request::new(Method::PUT, url, scope)
        };
        let outcome = self.send_once(upstream, &request).await;
        if outcome.is_err() {
            let cancel = Request::new(Method::DELETE, session, scope);
            let cancel = self.send_once(upstream, &cancel);
            // Without it, the registry forgets the upload by itself later.
            let _ = tokio::time::timeout(self.pace().cancel_wait, cancel).await;
        }
        outcome.map(|_| ())
    }

    async fn begin(
        &self,
        upstream: &Upstream,
        repository: &str,
        from: Option<&str>,
        blob: &BlobUpload<'_>,
    ) -> Result<Begun> {
        let mut url = upstream.endpoint.uploads(repository);
        if let Some(from) = from {
            url.query_pairs_mut()
                .append_pair("mount", &blob.digest.to_string())
                .append_pair("from", from);
        }
        let request = Request::new(Method::POST, url, Some((repository, Access::Push)));
        let response = self.send(upstream, &request).await?;
        if response.status() == StatusCode::CREATED && from.is_some() {
            return Ok(Begun::Mounted);
        }
        let target = location(&response);
        let target = target.ok_or_else(|| Error::Invalid("an upload without a URL".to_owned()))?;
        Ok(Begun::At(target))
    }
}

/// The URL that a response leads to, which may be relative.
fn location(response: &Response) -> Option<Url> {
    let target = response.headers().get(LOCATION)?.to_str().ok()?;
    response.url().join(target).ok()
}
