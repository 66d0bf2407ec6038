//! `/v2/NAME/blobs/uploads/`: blobs pushed whole, in chunks or as a stream, or mounted from another
//! repository.

use axum::body::Body;
use futures_util::TryStreamExt as _;
use http::header::{CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use uuid::Uuid;
use wharfinger_api_core::response::empty;
use wharfinger_oci::{Digest, RepositoryName};
use wharfinger_registry::{
    self as registry, Part, PartBody, Repository, RepositoryResource, Upload,
};

use crate::error::{Code, DistributionError};
use crate::permissions::READ_LAYER;
use crate::query::MountSource;
use crate::range::ChunkRange;
use crate::request::AuthorizedRequest;
use crate::response::{DOCKER_CONTENT_DIGEST, ascii, digest_header};

const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// POST: a mount, a whole blob or a new session, depending on the query.
///
/// A mount that is not possible is not an error: the specification then wants a session, so that
/// the client uploads.
pub(crate) async fn start(
    request: &AuthorizedRequest<'_>,
    body: Body,
) -> Result<Response<Body>, DistributionError> {
    let repository = request.repository()?;
    let uploads = &request.state().registry.uploads;
    let algorithm = request.query.digest_algorithm()?;
    let digest = request.query.digest()?;
    if let Some((digest, source)) = request.query.mount()? {
        if mount(request, repository, &digest, &source).await? {
            return Ok(created(&repository.name, &digest));
        }
    } else if let Some(digest) = digest {
        let part = part(request, body, None, request.content_length());
        uploads.monolithic(repository.id, &digest, part).await?;
        return Ok(created(&repository.name, &digest));
    }
    let algorithm = algorithm.unwrap_or_default();
    // All sessions of a role count as one caller: whoever assumes it chooses their names.
    let owner = request.caller.principal_arn().to_string();
    let upload = uploads.start(repository.id, algorithm, &owner).await?;
    Ok(progress(StatusCode::ACCEPTED, &repository.name, &upload))
}

/// GET: how many bytes have arrived.
pub(crate) async fn status(
    request: &AuthorizedRequest<'_>,
) -> Result<Response<Body>, DistributionError> {
    let (repository, id) = (request.repository()?, request.upload_id()?);
    let uploads = &request.state().registry.uploads;
    let upload = uploads
        .status(repository.id, id)
        .await
        .map_err(|error| upload_error(error, repository, id))?;
    Ok(progress(StatusCode::NO_CONTENT, &repository.name, &upload))
}

/// PATCH: a chunk at a position, or a stream at the end.
pub(crate) async fn append(
    request: &AuthorizedRequest<'_>,
    body: Body,
) -> Result<Response<Body>, DistributionError> {
    let (repository, id) = (request.repository()?, request.upload_id()?);
    let (offset, length) = chunk_position(request)?;
    let part = part(request, body, offset, length);
    let uploads = &request.state().registry.uploads;
    let upload = uploads
        .append(repository.id, id, part)
        .await
        .map_err(|error| upload_error(error, repository, id))?;
    Ok(progress(StatusCode::ACCEPTED, &repository.name, &upload))
}

/// PUT: the last chunk, if any, and the digest that the whole must have.
pub(crate) async fn finish(
    request: &AuthorizedRequest<'_>,
    body: Body,
) -> Result<Response<Body>, DistributionError> {
    let (repository, id) = (request.repository()?, request.upload_id()?);
    let digest = request.query.digest()?;
    let digest = digest.ok_or_else(|| {
        DistributionError::new(Code::DigestInvalid, "parameter 'digest' is missing")
    })?;
    let (offset, length) = chunk_position(request)?;
    let part = part(request, body, offset, length);
    let uploads = &request.state().registry.uploads;
    uploads
        .finish(repository.id, id, &digest, part)
        .await
        .map_err(|error| upload_error(error, repository, id))?;
    Ok(created(&repository.name, &digest))
}

/// DELETE: ends the session.
pub(crate) async fn cancel(
    request: &AuthorizedRequest<'_>,
) -> Result<Response<Body>, DistributionError> {
    let (repository, id) = (request.repository()?, request.upload_id()?);
    let uploads = &request.state().registry.uploads;
    uploads
        .cancel(repository.id, id)
        .await
        .map_err(|error| upload_error(error, repository, id))?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Links the blob from a repository that the caller may read it from. Returns whether there was
/// one.
async fn mount(
    request: &AuthorizedRequest<'_>,
    target: &Repository,
    digest: &Digest,
    source: &MountSource,
) -> Result<bool, DistributionError> {
    let registry = &request.state().registry;
    let sources = mount_sources(request, digest, source).await?;
    // The account may have switched off mounts from other repositories: the client then uploads.
    let is_other = |source: &Repository| source.id != target.id;
    let only_own =
        sources.iter().any(is_other) && !registry.settings.mounts_blobs(&request.registry).await?;
    let content = &registry.content;
    for source in sources {
        if only_own && is_other(&source) {
            continue;
        }
        match content.mount(source.id, target.id, digest).await {
            Ok(_) => return Ok(true),
            Err(registry::Error::NoSuchBlob(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// The repositories that a mount may take the blob from: the named one, or those that link it where
/// none is named. Repositories that the caller may not read are treated as missing.
///
/// # Errors
/// 401 with `insufficient_scope` where the policies allow reading the named source and only the
/// scopes of the token do not.
async fn mount_sources(
    request: &AuthorizedRequest<'_>,
    digest: &Digest,
    source: &MountSource,
) -> Result<Vec<Repository>, DistributionError> {
    let repositories = &request.state().registry.repositories;
    let registry = &request.registry;
    let candidates = match source {
        MountSource::Nowhere => Vec::new(),
        MountSource::Anywhere => repositories.linking(registry, digest).await?,
        MountSource::Repository(name) => {
            let found = repositories.find(registry, name).await?;
            found.into_iter().collect()
        }
    };
    let mut readable = Vec::new();
    for candidate in candidates {
        let resource = RepositoryResource::from(candidate);
        if !request.authorizer().would_allow(READ_LAYER, &resource) {
            continue;
        }
        if request.scopes_allow_pull(&resource.name) {
            readable.extend(resource.into_repository());
        } else if matches!(source, MountSource::Repository(_)) {
            return Err(request.incoming.insufficient_scope());
        }
    }
    Ok(readable)
}

/// The body as the part of an upload, counted as it arrives.
fn part(
    request: &AuthorizedRequest<'_>,
    body: Body,
    offset: Option<u64>,
    length: Option<u64>,
) -> Part<impl PartBody> {
    let counter = request.state().metrics.blob_bytes_in();
    let body = body
        .into_data_stream()
        .inspect_ok(move |bytes| counter.add(bytes.len()))
        .err_into();
    Part {
        body,
        offset,
        length,
    }
}

/// The offset and the length that the headers of a chunk state. A length that contradicts the range
/// is refused before a byte is read.
fn chunk_position(
    request: &AuthorizedRequest<'_>,
) -> Result<(Option<u64>, Option<u64>), DistributionError> {
    let length = request.content_length();
    let Some(header) = request.headers().get(CONTENT_RANGE) else {
        return Ok((None, length));
    };
    let range = header.to_str().ok().and_then(ChunkRange::parse);
    let range = range.ok_or_else(|| {
        let message = "Content-Range is written FIRST-LAST, for example 0-1023";
        DistributionError::new(Code::BlobUploadInvalid, message)
    })?;
    match length {
        Some(length) if length != range.len() => {
            let ChunkRange { first, last } = range;
            let expected = range.len();
            let message = format!(
                "Content-Range {first}-{last} is {expected} bytes, Content-Length {length}"
            );
            Err(DistributionError::new(Code::SizeInvalid, message))
        }
        _ => Ok((Some(range.first), Some(range.len()))),
    }
}

/// 201: the blob is durable and can be read at `Location`.
fn created(name: &RepositoryName, digest: &Digest) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(LOCATION, ascii(format!("/v2/{name}/blobs/{digest}")));
    headers.insert(DOCKER_CONTENT_DIGEST, digest_header(digest));
    response
}

fn progress(status: StatusCode, name: &RepositoryName, upload: &Upload) -> Response<Body> {
    let mut response = empty(status);
    let headers = response.headers_mut();
    headers.insert(LOCATION, location(name, upload.id));
    headers.insert(RANGE, received(upload.size));
    headers.insert(DOCKER_UPLOAD_UUID, ascii(upload.id.to_string()));
    response
}

fn location(name: &RepositoryName, id: Uuid) -> HeaderValue {
    ascii(format!("/v2/{name}/blobs/uploads/{id}"))
}

/// The inclusive range of the bytes that have arrived. By convention, none is written `0-0` too.
/// Docker takes the size of a layer from it.
fn received(size: u64) -> HeaderValue {
    ascii(format!("0-{}", size.saturating_sub(1)))
}

/// An error that names the session. One for a chunk out of order also states where the next chunk
/// belongs.
fn upload_error(error: registry::Error, repository: &Repository, id: Uuid) -> DistributionError {
    match error {
        registry::Error::OutOfOrder { expected, .. } => DistributionError::from(error)
            .with_header(RANGE, received(expected))
            .with_header(LOCATION, location(&repository.name, id))
            .with_header(DOCKER_UPLOAD_UUID, ascii(id.to_string())),
        registry::Error::NoSuchUpload => DistributionError::from(error)
            .with_detail(&serde_json::json!({ "upload": id.to_string() })),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inclusive_and_begin_at_zero() {
        assert_eq!(
            [0, 1, 1024].map(received),
            ["0-0", "0-0", "0-1023"].map(HeaderValue::from_static)
        );
    }
}
