//! `/v2/NAME/blobs/uploads/`: blobs pushed whole, in chunks or as a stream, or mounted from another
//! repository.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use uuid::Uuid;
use wharfinger_oci::{Digest, RepositoryName};
use wharfinger_registry::{self as registry, Part, Repository};

use crate::api::v2::access;
use crate::api::v2::error::{Code, Refusal};
use crate::api::v2::range::ChunkRange;
use crate::api::v2::visit::{
    DOCKER_CONTENT_DIGEST, Visit, blob_path, digest_header, empty, visible,
};

const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// POST: a mount, a whole blob, or a new session, by what the query says.
///
/// A mount that cannot be done is no error: the specification wants a session then, so that the
/// client uploads.
pub(super) async fn start(
    visit: &Visit<'_>,
    repository: &Repository,
    body: &mut Body,
) -> Result<Response<Body>, Refusal> {
    let uploads = &visit.app.registry.uploads;
    let algorithm = visit.query.digest_algorithm()?;
    let digest = visit.query.digest()?;
    if let Some((digest, source)) = visit.query.mount()? {
        for source in access::mountable(visit, &digest, &source).await? {
            match visit
                .app
                .registry
                .content
                .mount(source.id, repository.id, &digest)
                .await
            {
                Ok(_) => return Ok(created(&repository.name, &digest)),
                Err(registry::Error::NoSuchBlob(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    } else if let Some(digest) = digest {
        let lent = Lent::take(body);
        let part = Part {
            length: declared_length(visit),
            offset: None,
            body: lent.stream(),
        };
        let outcome = uploads.monolithic(repository.id, &digest, part).await;
        *body = lent.give_back();
        outcome?;
        return Ok(created(&repository.name, &digest));
    }
    let upload = uploads
        .start(
            repository.id,
            algorithm.unwrap_or_default(),
            &visit.gate.caller.arn().to_string(),
        )
        .await?;
    Ok(progress(
        StatusCode::ACCEPTED,
        &repository.name,
        upload.id,
        upload.size,
    ))
}

/// GET: how much has arrived.
pub(super) async fn ask(
    visit: &Visit<'_>,
    repository: &Repository,
    id: Uuid,
) -> Result<Response<Body>, Refusal> {
    let upload = visit
        .app
        .registry
        .uploads
        .status(repository.id, id)
        .await
        .map_err(|error| refuse(error, repository, id))?;
    Ok(progress(
        StatusCode::NO_CONTENT,
        &repository.name,
        id,
        upload.size,
    ))
}

/// PATCH: a chunk at its place, or a stream at the end.
pub(super) async fn append(
    visit: &Visit<'_>,
    repository: &Repository,
    id: Uuid,
    body: &mut Body,
) -> Result<Response<Body>, Refusal> {
    let (offset, length) = place(visit)?;
    let lent = Lent::take(body);
    let outcome = visit
        .app
        .registry
        .uploads
        .append(
            repository.id,
            id,
            Part {
                body: lent.stream(),
                offset,
                length,
            },
        )
        .await;
    *body = lent.give_back();
    let upload = outcome.map_err(|error| refuse(error, repository, id))?;
    Ok(progress(
        StatusCode::ACCEPTED,
        &repository.name,
        id,
        upload.size,
    ))
}

/// PUT: the last chunk, if any, and the digest that the whole must have.
pub(super) async fn finish(
    visit: &Visit<'_>,
    repository: &Repository,
    id: Uuid,
    body: &mut Body,
) -> Result<Response<Body>, Refusal> {
    let digest = visit.query.digest()?;
    let digest =
        digest.ok_or_else(|| Refusal::new(Code::DigestInvalid, "parameter 'digest' is missing"))?;
    let (offset, length) = place(visit)?;
    let lent = Lent::take(body);
    let outcome = visit
        .app
        .registry
        .uploads
        .finish(
            repository.id,
            id,
            &digest,
            Part {
                body: lent.stream(),
                offset,
                length,
            },
        )
        .await;
    *body = lent.give_back();
    outcome.map_err(|error| refuse(error, repository, id))?;
    Ok(created(&repository.name, &digest))
}

/// DELETE: ends the session.
pub(super) async fn cancel(
    visit: &Visit<'_>,
    repository: &Repository,
    id: Uuid,
) -> Result<Response<Body>, Refusal> {
    visit
        .app
        .registry
        .uploads
        .cancel(repository.id, id)
        .await
        .map_err(|error| refuse(error, repository, id))?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// 201: the blob is durable and readable at its place.
fn created(name: &RepositoryName, digest: &Digest) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    response
        .headers_mut()
        .insert(LOCATION, visible(blob_path(name, digest)));
    response
        .headers_mut()
        .insert(DOCKER_CONTENT_DIGEST, digest_header(digest));
    response
}

fn location(name: &RepositoryName, id: Uuid) -> HeaderValue {
    visible(format!("/v2/{name}/blobs/uploads/{id}"))
}

/// The inclusive range of what has arrived; nothing at all is written `0-0`, by convention. Docker
/// reads the size of a layer from it.
fn arrived(size: u64) -> HeaderValue {
    visible(format!("0-{}", size.saturating_sub(1)))
}

fn progress(status: StatusCode, name: &RepositoryName, id: Uuid, size: u64) -> Response<Body> {
    let mut response = empty(status);
    let headers = response.headers_mut();
    headers.insert(LOCATION, location(name, id));
    headers.insert(RANGE, arrived(size));
    headers.insert(DOCKER_UPLOAD_UUID, visible(id.to_string()));
    response
}

/// A refusal that names the session; one for a chunk out of order also says where the next one
/// belongs.
fn refuse(error: registry::Error, repository: &Repository, id: Uuid) -> Refusal {
    let expected = match &error {
        registry::Error::OutOfOrder { expected, .. } => Some(*expected),
        _ => None,
    };
    let refusal = Refusal::from(error);
    match expected {
        Some(expected) => refusal
            .with_header(RANGE, arrived(expected))
            .with_header(LOCATION, location(&repository.name, id))
            .with_header(DOCKER_UPLOAD_UUID, visible(id.to_string())),
        None if refusal.code() == Code::BlobUploadUnknown.name() => {
            refusal.with_detail(&serde_json::json!({ "upload": id.to_string() }))
        }
        None => refusal,
    }
}

/// Where a chunk says it belongs, and how long it says it is. A length that contradicts its range
/// is refused before a byte is read.
fn place(visit: &Visit<'_>) -> Result<(Option<u64>, Option<u64>), Refusal> {
    let length = declared_length(visit);
    let Some(header) = visit.headers.get(CONTENT_RANGE) else {
        return Ok((None, length));
    };
    let range = header.to_str().ok().and_then(ChunkRange::parse);
    let range = range.ok_or_else(|| {
        Refusal::new(
            Code::BlobUploadInvalid,
            "Content-Range is written FIRST-LAST, for example 0-1023",
        )
    })?;
    match length {
        Some(length) if length != range.len() => {
            let message = format!(
                "Content-Range {}-{} is {} bytes, Content-Length {length}",
                range.first,
                range.last,
                range.len()
            );
            Err(Refusal::new(Code::SizeInvalid, message))
        }
        _ => Ok((Some(range.first), Some(range.len()))),
    }
}

fn declared_length(visit: &Visit<'_>) -> Option<u64> {
    visit
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
}

/// A request's body, lent to a verb that runs in a task of its own. What the verb does not read
/// comes back, to be drained.
struct Lent(Arc<Mutex<Body>>);

impl Lent {
    fn take(body: &mut Body) -> Self {
        Self(Arc::new(Mutex::new(std::mem::take(body))))
    }

    fn stream(&self) -> LentStream {
        let body = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        LentStream {
            body: body.into_data_stream(),
            home: self.0.clone(),
        }
    }

    fn give_back(self) -> Body {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct LentStream {
    body: BodyDataStream,
    home: Arc<Mutex<Body>>,
}

impl Stream for LentStream {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.body).poll_next(cx).map_err(Into::into)
    }
}

impl Drop for LentStream {
    fn drop(&mut self) {
        let rest = std::mem::replace(&mut self.body, Body::empty().into_data_stream());
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = Body::new(rest);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn ranges_are_inclusive_and_begin_at_zero() {
        assert_eq!(
            [0, 1, 1024].map(arrived),
            ["0-0", "0-0", "0-1023"].map(HeaderValue::from_static)
        );
    }

    #[tokio::test]
    async fn what_a_verb_leaves_unread_comes_back() {
        let pieces =
            ["ab", "cd"].map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes())));
        let mut body = Body::from_stream(futures_util::stream::iter(pieces));
        let lent = Lent::take(&mut body);
        let mut stream = lent.stream();
        tokio::spawn(async move {
            assert_eq!(stream.next().await.expect("a piece").expect("bytes"), "ab");
        })
        .await
        .expect("no panic");
        assert_eq!(
            lent.give_back().collect().await.expect("a body").to_bytes(),
            "cd"
        );
    }
}
