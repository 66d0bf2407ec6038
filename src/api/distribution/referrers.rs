//! `GET /v2/NAME/referrers/DIGEST`: the manifests that refer to a manifest, as an image index;
//! filtered and in pages.

use std::collections::BTreeMap;

use axum::body::Body;
use http::header::LINK;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use wharfinger_api_core::response::document;
use wharfinger_base::{Page, PageToken};
use wharfinger_oci::{Digest, MediaType};
use wharfinger_registry::{ImageStatus, Referrer, ReferrerPosition};

use crate::error::DistributionError;
use crate::link::next_page;
use crate::query::QueryError;
use crate::request::AuthorizedRequest;

/// Referrers on a page. Each costs a read of its manifest for the annotations, and clients accept
/// at most 4 MiB of JSON.
const PAGE_REFERRERS: usize = 500;

const LISTING: &str = "referrers";
const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferrerIndex<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<ReferrerDescriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferrerDescriptor<'a> {
    media_type: &'a str,
    size: u64,
    digest: &'a Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// Always 200: a manifest without referrers, or one that does not exist (yet), has an empty list.
pub(crate) async fn list(
    request: &AuthorizedRequest<'_>,
) -> Result<Response<Body>, DistributionError> {
    let (name, subject) = (request.name()?, request.digest()?);
    let filter = request.query.first("artifactType");
    let filter = filter.filter(|filter| !filter.is_empty());
    let after = request.query.last().map(position).transpose()?;
    let images = &request.state().registry.images;
    let page = match request.found_repository() {
        Some(repository) => {
            images
                .referrers(repository.id, subject, filter, after, PAGE_REFERRERS)
                .await?
        }
        None => Page {
            items: Vec::new(),
            next: None,
        },
    };
    let content_type = HeaderValue::from_static(MediaType::OCI_INDEX);
    let mut response = document(StatusCode::OK, content_type, encode(&page.items));
    let headers = response.headers_mut();
    if filter.is_some() {
        let applied = HeaderValue::from_static("artifactType");
        headers.insert(OCI_FILTERS_APPLIED, applied);
    }
    if let Some(next) = page.next {
        let last = token(&next);
        let parameters = [("artifactType", filter), ("last", Some(last.as_str()))];
        if let Some(link) = next_page(&format!("/v2/{name}/referrers/{subject}"), &parameters) {
            headers.insert(LINK, link);
        }
    }
    Ok(response)
}

fn encode(referrers: &[Referrer]) -> Vec<u8> {
    // An archived artifact cannot be pulled, so that it is not shown either.
    let active = |referrer: &&Referrer| referrer.status == ImageStatus::Active;
    let manifests = referrers.iter().filter(active).map(descriptor).collect();
    serde_json::to_vec(&ReferrerIndex {
        schema_version: 2,
        media_type: MediaType::OCI_INDEX,
        manifests,
    })
    .unwrap_or_default()
}

fn descriptor(referrer: &Referrer) -> ReferrerDescriptor<'_> {
    let Referrer {
        digest,
        media_type,
        artifact_type,
        size,
        annotations,
        ..
    } = referrer;
    let artifact_type = artifact_type.as_deref().filter(|text| !text.is_empty());
    ReferrerDescriptor {
        media_type,
        size: *size,
        digest,
        artifact_type,
        annotations,
    }
}

fn token(position: &ReferrerPosition) -> String {
    PageToken::encode(
        LISTING,
        &[&position.artifact_type, &hex::encode(&position.digest)],
    )
}

fn position(token: &str) -> Result<ReferrerPosition, QueryError> {
    let parts = PageToken::decode(LISTING, token).ok_or(QueryError::Last)?;
    let [artifact_type, digest]: [String; 2] = parts.try_into().map_err(|_| QueryError::Last)?;
    Ok(ReferrerPosition {
        artifact_type,
        digest: hex::decode(digest).map_err(|_| QueryError::Last)?,
    })
}

#[cfg(test)]
mod tests {
    use wharfinger_oci::Algorithm;

    use super::*;

    #[test]
    fn an_index_without_referrers_is_an_empty_list() {
        let expected = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [],
        });
        let encoded: serde_json::Value = serde_json::from_slice(&encode(&[])).expect("JSON");
        assert_eq!(encoded, expected);
    }

    #[test]
    fn a_position_is_decoded_from_its_token() {
        let digest = Digest::of(Algorithm::Sha512, b"x").to_stored();
        let stored = ReferrerPosition {
            artifact_type: "application/a.b+json".to_owned(),
            digest,
        };
        assert_eq!(position(&token(&stored)), Ok(stored));
        for bad in [
            "x",
            "",
            &PageToken::encode(LISTING, &["a"]),
            &PageToken::encode("tags", &["a", "00"]),
        ] {
            assert_eq!(position(bad), Err(QueryError::Last), "{bad}");
        }
    }
}
