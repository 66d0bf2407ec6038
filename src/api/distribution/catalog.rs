//! `GET /v2/_catalog`: the repositories that the caller may see, in pages. Not part of the
//! specification; synchronisation tools and podman use it.

use std::sync::Arc;

use axum::body::Body;
use http::header::LINK;
use http::{Response, StatusCode};
use serde::Serialize;
use wharfinger_api_core::response::{JSON, document};
use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::{Policy, Resource};
use wharfinger_registry::{RegistryId, RepositoryResource};

use crate::error::DistributionError;
use crate::link::next_page;
use crate::permissions::DESCRIBE_REPOSITORIES;
use crate::request::AuthorizedRequest;
use crate::response::PAGE_ITEMS;

/// Reads for one page where most repositories are hidden from the caller. After them the page is
/// sent short, with a link to the next one.
const READS_PER_PAGE: usize = 10;

#[derive(Serialize)]
struct Catalog {
    repositories: Vec<String>,
}

pub(crate) async fn list(
    request: &AuthorizedRequest<'_>,
) -> Result<Response<Body>, DistributionError> {
    let repositories = &request.state().registry.repositories;
    let requested = request.query.page_size()?;
    let limit = requested.unwrap_or(PAGE_ITEMS).min(PAGE_ITEMS);
    let mut names = Vec::new();
    let mut next = (limit > 0).then(|| request.query.last().unwrap_or_default().to_owned());
    for _ in 0..READS_PER_PAGE {
        let Some(after) = next.take() else { break };
        let rest = limit - names.len();
        let page = repositories.page(&request.registry, &after, rest).await?;
        for repository in page.items {
            let resource = RepositoryResource::from(repository);
            let authorizer = request.authorizer();
            if authorizer.would_allow(DESCRIBE_REPOSITORIES, &resource) {
                names.push(resource.name.to_string());
            }
        }
        next = page.next;
        if names.len() == limit {
            break;
        }
    }
    if names.is_empty() && next.is_none() {
        check_may_list(request).await?;
    }
    let catalog = Catalog {
        repositories: names,
    };
    let body = serde_json::to_vec(&catalog).unwrap_or_default();
    let mut response = document(StatusCode::OK, JSON, body);
    if let Some(last) = next {
        let n = requested.map(|_| limit.to_string());
        let parameters = [("n", n.as_deref()), ("last", Some(last.as_str()))];
        if let Some(link) = next_page("/v2/_catalog", &parameters) {
            response.headers_mut().insert(LINK, link);
        }
    }
    Ok(response)
}

/// For a caller who sees no repository: whether that is because there is none.
///
/// # Errors
/// 403 where no policy allows the caller to describe repositories.
async fn check_may_list(request: &AuthorizedRequest<'_>) -> Result<(), DistributionError> {
    let RegistryId { account, region } = &request.registry;
    let repositories = &request.state().registry.repositories;
    let policy = repositories.registry_policy(&request.registry).await?;
    let all = AllRepositories {
        policy,
        arn: Arn::ecr_repository(region, account, "*"),
        account: *account,
    };
    Ok(request.authorizer().check(DESCRIBE_REPOSITORIES, &all)?)
}

/// The repositories of a registry as one resource, which policies may name.
struct AllRepositories {
    /// That of the registry.
    policy: Option<Arc<Policy>>,
    arn: Arn,
    account: AccountId,
}

impl Resource for AllRepositories {
    fn arn(&self) -> Option<&Arn> {
        Some(&self.arn)
    }

    fn account(&self) -> AccountId {
        self.account
    }

    fn registry_policy(&self) -> Option<&Policy> {
        self.policy.as_deref()
    }
}
