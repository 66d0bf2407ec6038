//! `GET /v2/NAME/tags/list`: tags in byte order, in pages.

use axum::body::Body;
use http::header::LINK;
use http::{Response, StatusCode};
use serde::Serialize;
use wharfinger_api_core::response::{JSON, document};

use crate::error::DistributionError;
use crate::link::next_page;
use crate::request::AuthorizedRequest;
use crate::response::PAGE_ITEMS;

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a str,
    tags: Vec<String>,
}

/// At most `n` tags after `last`. `n=0` gets an empty list without a next page, as the
/// specification says.
pub(crate) async fn list(
    request: &AuthorizedRequest<'_>,
) -> Result<Response<Body>, DistributionError> {
    let repository = request.repository()?;
    let requested = request.query.page_size()?;
    let limit = requested.unwrap_or(PAGE_ITEMS).min(PAGE_ITEMS);
    let name = repository.name.as_str();
    if limit == 0 {
        return Ok(encode(name, Vec::new()));
    }
    let images = &request.state().registry.images;
    let last = request.query.last().unwrap_or_default();
    let page = images.tags_page(repository.id, last, limit).await?;
    let mut response = encode(name, page.items);
    if let Some(last) = page.next {
        let n = requested.map(|_| limit.to_string());
        let parameters = [("n", n.as_deref()), ("last", Some(last.as_str()))];
        if let Some(link) = next_page(&format!("/v2/{name}/tags/list"), &parameters) {
            response.headers_mut().insert(LINK, link);
        }
    }
    Ok(response)
}

fn encode(name: &str, tags: Vec<String>) -> Response<Body> {
    let body = serde_json::to_vec(&TagList { name, tags }).unwrap_or_default();
    document(StatusCode::OK, JSON, body)
}
