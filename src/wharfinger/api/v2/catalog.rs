//! `GET /v2/_catalog`: the repositories that the caller may see, by pages. Not in the
//! specification; sync tools and podman ask for it.

use axum::body::Body;
use http::Response;
use http::header::LINK;
use serde::Serialize;

use crate::api::v2::access;
use crate::api::v2::error::Refusal;
use crate::api::v2::link::next_page;
use crate::api::v2::visit::{JSON, PAGE_ITEMS, Visit, document};

/// Reads made for one page, where most repositories are hidden from the caller; then the page goes
/// out short, with a way on.
const READS_PER_PAGE: usize = 10;

#[derive(Serialize)]
struct Catalog {
    repositories: Vec<String>,
}

pub(super) async fn list(visit: &Visit<'_>) -> Result<Response<Body>, Refusal> {
    visit.arrival.check_scope(visit.gate.caller)?;
    let asked = visit.query.page_size()?;
    let limit = asked.unwrap_or(PAGE_ITEMS).min(PAGE_ITEMS);
    let mut names = Vec::new();
    let mut next = (limit > 0).then(|| visit.query.last().unwrap_or_default().to_owned());
    for _ in 0..READS_PER_PAGE {
        let Some(after) = next.take() else { break };
        let page = visit
            .app
            .registry
            .repositories
            .page(visit.gate.registry, &after, limit - names.len())
            .await?;
        for repository in page.items {
            names.extend(access::visible(visit, repository).map(|name| name.to_string()));
        }
        next = page.next;
        if names.len() == limit {
            break;
        }
    }
    if names.is_empty() && next.is_none() {
        access::may_list(visit)?;
    }
    let mut response = document(
        JSON,
        serde_json::to_vec(&Catalog {
            repositories: names,
        })
        .unwrap_or_default(),
    );
    if let Some(last) = next {
        let n = asked.map(|_| limit.to_string());
        if let Some(link) = next_page(
            "/v2/_catalog",
            &[("n", n.as_deref()), ("last", Some(&last))],
        ) {
            response.headers_mut().insert(LINK, link);
        }
    }
    Ok(response)
}
