//! `GET /v2/NAME/referrers/DIGEST`: who refers to a manifest, as an image index; filtered and by
//! pages.

use std::collections::BTreeMap;

use axum::body::Body;
use http::header::LINK;
use http::{HeaderName, HeaderValue, Response};
use serde::Serialize;
use wharfinger_base::{Page, PageToken};
use wharfinger_oci::{Digest, MediaType, RepositoryName};
use wharfinger_registry::{Referrer, ReferrerPosition, Repository};

use crate::api::v2::error::Refusal;
use crate::api::v2::link::next_page;
use crate::api::v2::query::QueryError;
use crate::api::v2::visit::{Visit, document};

/// Referrers on a page. Each costs a read of its manifest for the annotations, and clients take at
/// most 4 MiB of JSON.
const PAGE_REFERRERS: usize = 500;

const LISTING: &str = "referrers";
const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    size: u64,
    digest: &'a Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// Always 200: what has no referrers, or does not exist (yet), has an empty list.
pub(super) async fn list(
    visit: &Visit<'_>,
    name: &RepositoryName,
    repository: Option<&Repository>,
    subject: &Digest,
) -> Result<Response<Body>, Refusal> {
    let filter = visit
        .query
        .first("artifactType")
        .filter(|filter| !filter.is_empty());
    let after = visit.query.last().map(position).transpose()?;
    let page = match repository {
        Some(repository) => {
            visit
                .app
                .registry
                .images
                .referrers(repository.id, subject, filter, after, PAGE_REFERRERS)
                .await?
        }
        None => Page {
            items: Vec::new(),
            next: None,
        },
    };
    let mut response = document(
        HeaderValue::from_static(MediaType::OCI_INDEX),
        encode(&page.items),
    );
    if filter.is_some() {
        response.headers_mut().insert(
            OCI_FILTERS_APPLIED,
            HeaderValue::from_static("artifactType"),
        );
    }
    if let Some(next) = page.next {
        let last = token(&next);
        let parameters = [("artifactType", filter), ("last", Some(last.as_str()))];
        if let Some(link) = next_page(&format!("/v2/{name}/referrers/{subject}"), &parameters) {
            response.headers_mut().insert(LINK, link);
        }
    }
    Ok(response)
}

fn encode(referrers: &[Referrer]) -> Vec<u8> {
    let manifests = referrers.iter().map(descriptor).collect();
    serde_json::to_vec(&Index {
        schema_version: 2,
        media_type: MediaType::OCI_INDEX,
        manifests,
    })
    .unwrap_or_default()
}

fn descriptor(referrer: &Referrer) -> Descriptor<'_> {
    let Referrer {
        digest,
        media_type,
        artifact_type,
        size,
        annotations,
    } = referrer;
    let artifact_type = artifact_type.as_deref().filter(|text| !text.is_empty());
    Descriptor {
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
        let expected = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        assert_eq!(encode(&[]), expected.as_bytes());
    }

    #[test]
    fn a_position_comes_back_from_its_token() {
        let digest = Digest::of(Algorithm::Sha512, b"x").to_stored();
        let place = ReferrerPosition {
            artifact_type: "application/a.b+json".to_owned(),
            digest,
        };
        assert_eq!(position(&token(&place)), Ok(place));
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
