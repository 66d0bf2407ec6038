//! Requests as they are sent: what they do to a repository, and the content that they carry.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::Method;
use reqwest::Body;
use url::Url;
use wharfinger_oci::Digest;

use crate::error::SourceFailure;

/// What a request does to a repository: the scope that its token needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
    Delete,
}

impl Access {
    /// The actions as a token names them.
    pub(crate) const fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete,pull,push",
        }
    }
}

/// A request without the `Authorization` header.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) accept: Option<&'static str>,
    /// The first byte that is requested, for a part of the content.
    pub(crate) offset: u64,
    /// The repository and what is done to it; `None` where any valid credentials are enough.
    pub(crate) scope: Option<(&'a str, Access)>,
    pub(crate) content: Option<Content<'a>>,
}

impl<'a> Request<'a> {
    /// A request of the whole of what a URL names, without content.
    pub(crate) const fn new(method: Method, url: Url, scope: Option<(&'a str, Access)>) -> Self {
        Self {
            method,
            url,
            accept: None,
            offset: 0,
            scope,
            content: None,
        }
    }
}

/// What a request carries.
pub(crate) enum Content<'a> {
    Manifest { media_type: &'a str, bytes: Bytes },
    Blob(&'a BlobUpload<'a>),
}

/// The bytes of a blob from its start.
pub type UploadStream = BoxStream<'static, io::Result<Bytes>>;

/// The content of a blob that is to be uploaded.
pub trait UploadContent: Send + Sync {
    /// Opens the blob, once for each attempt.
    fn open(&self) -> BoxFuture<'_, io::Result<UploadStream>>;
}

/// A blob that is to be uploaded.
pub struct BlobUpload<'a> {
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    pub content: &'a dyn UploadContent,
}

impl BlobUpload<'_> {
    /// The blob as the body of a request, and the number of bytes that were taken of it.
    pub(crate) async fn body(&self) -> Result<(Body, Arc<AtomicU64>), SourceFailure> {
        let failed = |error: io::Error| SourceFailure(error.to_string());
        let taken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&taken);
        let stream = self.content.open().await.map_err(failed)?;
        let pieces = stream.map_err(failed).inspect(move |piece| {
            let length = piece.as_ref().map_or(0, Bytes::len);
            counter.fetch_add(length as u64, Ordering::Relaxed);
        });
        Ok((Body::wrap_stream(pieces), taken))
    }
}
