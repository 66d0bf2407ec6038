//! Blobs of registries, as streams that continue where a connection broke off.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, Method, StatusCode};
use reqwest::Response;
use wharfinger_oci::Digest;

use crate::Result;
use crate::client::{RegistryClient, piece};
use crate::endpoint::Upstream;
use crate::error::Error;
use crate::pace::Pace;
use crate::request::{Access, Request};

/// Times that a download continues after a failure without a byte between two of them.
const MAX_FRUITLESS_RESUMES: usize = 3;

/// A blob that is being received. Its digest is not checked here.
pub struct BlobDownload {
    client: RegistryClient,
    upstream: Upstream,
    repository: String,
    digest: Digest,
    /// Size of the whole blob, in bytes.
    size: u64,
    /// Bytes that have been given out.
    received: u64,
    /// Bytes that come again, since the registry ignored the requested range.
    skip: u64,
    response: Option<Response>,
    failures: usize,
    pace: Pace,
}

impl RegistryClient {
    /// Begins to receive a blob, whose size is known from the manifest that names it. Returns once
    /// the registry has begun to send.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a blob of another size.
    pub async fn blob(
        &self,
        upstream: &Upstream,
        repository: &str,
        digest: &Digest,
        size: u64,
    ) -> Result<BlobDownload> {
        let mut download = BlobDownload {
            client: self.clone(),
            upstream: upstream.clone(),
            repository: repository.to_owned(),
            digest: *digest,
            size,
            received: 0,
            skip: 0,
            response: None,
            failures: 0,
            pace: Pace::default(),
        };
        download.open().await?;
        Ok(download)
    }
}

impl BlobDownload {
    /// Size of the whole blob, in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The pieces, `size` bytes together. After a failure the rest is requested again.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        try_unfold(self, |mut download| async move {
            let piece = download.next().await?;
            Ok(piece.map(|piece| (piece, download)))
        })
    }

    /// Requests what is missing.
    async fn open(&mut self) -> Result<()> {
        let (endpoint, reference) = (&self.upstream.endpoint, self.digest.to_string());
        let url = endpoint.path(&self.repository, "blobs", &reference);
        let scope = Some((self.repository.as_str(), Access::Pull));
        let request = Request {
            offset: self.received,
            ..Request::new(Method::GET, url, scope)
        };
        let response = self.client.send(&self.upstream, &request).await?;
        let headers = response.headers();
        let (skip, length) = if response.status() == StatusCode::PARTIAL_CONTENT {
            if range_start(headers) != Some(self.received) {
                return Err(Error::Invalid("it sends another range".to_owned()));
            }
            (0, self.size - self.received)
        } else {
            (self.received, self.size)
        };
        if let Some(declared) = content_length(headers).filter(|declared| *declared != length) {
            let size = self.size;
            let why = format!("the blob has {declared} bytes where {length} of {size} are due");
            return Err(Error::Invalid(why));
        }
        self.skip = skip;
        self.response = Some(response);
        Ok(())
    }

    /// The next piece; `None` after the last one.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.received < self.size {
            let began = Instant::now();
            let Some(response) = &mut self.response else {
                self.open().await?;
                self.note(0, began.elapsed())?;
                continue;
            };
            let received = piece(response).await;
            let length = received.as_ref().map_or(0, |piece| {
                piece.as_ref().map_or(0, |piece| piece.len() as u64)
            });
            // Only the time that the registry takes counts, not that of whoever reads.
            self.note(length, began.elapsed())?;
            let broken = match received {
                Ok(Some(piece)) => match self.unseen(piece)? {
                    Some(piece) => return Ok(Some(piece)),
                    None => continue,
                },
                Ok(None) => Error::Unavailable("the body ended early".to_owned()),
                Err(error) => error,
            };
            self.response = None;
            self.failures += 1;
            if self.failures > MAX_FRUITLESS_RESUMES || !broken.is_transient() {
                return Err(broken);
            }
        }
        // Another byte would be one too many, and is not waited for.
        Ok(None)
    }

    /// Gives up where the registry has been too slow.
    fn note(&mut self, bytes: u64, waited: Duration) -> Result<()> {
        if self.pace.note(bytes, waited, self.client.pace()) {
            return Ok(());
        }
        Err(Error::Unavailable("it sends too slowly".to_owned()))
    }

    /// What of a piece has not been given out before.
    fn unseen(&mut self, mut piece: Bytes) -> Result<Option<Bytes>> {
        let known = self.skip.min(piece.len() as u64);
        self.skip -= known;
        let known = usize::try_from(known).unwrap_or(piece.len());
        let piece = piece.split_off(known);
        if piece.is_empty() {
            return Ok(None);
        }
        if piece.len() as u64 > self.size - self.received {
            let limit_bytes = self.size;
            return Err(Error::TooLarge { limit_bytes });
        }
        self.received += piece.len() as u64;
        self.failures = 0;
        Ok(Some(piece))
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn range_start(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let range = value.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}
