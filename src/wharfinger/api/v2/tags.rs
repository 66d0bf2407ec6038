//! `GET /v2/NAME/tags/list`: tags in byte order, by pages.

use axum::body::Body;
use http::Response;
use http::header::LINK;
use serde::Serialize;
use wharfinger_registry::Repository;

use crate::api::v2::error::Refusal;
use crate::api::v2::link::next_page;
use crate::api::v2::visit::{JSON, PAGE_ITEMS, Visit, document};

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a str,
    tags: Vec<String>,
}

/// At most `n` tags after `last`. `n=0` asks for nothing and gets an empty list without a next
/// page, as the specification says.
pub(super) async fn list(
    visit: &Visit<'_>,
    repository: &Repository,
) -> Result<Response<Body>, Refusal> {
    let asked = visit.query.page_size()?;
    let limit = asked.unwrap_or(PAGE_ITEMS).min(PAGE_ITEMS);
    let name = repository.name.as_str();
    if limit == 0 {
        return Ok(document(JSON, encode(name, Vec::new())));
    }
    let page = visit
        .app
        .registry
        .images
        .tags_page(repository.id, visit.query.last().unwrap_or_default(), limit)
        .await?;
    let mut response = document(JSON, encode(name, page.items));
    if let Some(last) = page.next {
        let n = asked.map(|_| limit.to_string());
        if let Some(link) = next_page(
            &format!("/v2/{name}/tags/list"),
            &[("n", n.as_deref()), ("last", Some(&last))],
        ) {
            response.headers_mut().insert(LINK, link);
        }
    }
    Ok(response)
}

fn encode(name: &str, tags: Vec<String>) -> Vec<u8> {
    serde_json::to_vec(&TagList { name, tags }).unwrap_or_default()
}
