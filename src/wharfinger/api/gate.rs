//! The authorizer of one registry, for handlers that hold the whole application.

use wharfinger_api_core::{Authorizer, Origin};
use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::{Caller, EvaluationBudget, Policy, Resource};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{Error, RegistryId, Repository, RepositoryResource};

use crate::app::App;

/// A caller before the policies of one registry.
#[derive(Clone, Copy)]
pub struct Gate<'a> {
    pub app: &'a App,
    pub caller: &'a Caller,
    pub registry: &'a RegistryId,
    pub origin: &'a Origin,
    /// The work that all decisions of the request may do together.
    pub budget: &'a EvaluationBudget,
}

/// A resource without policy and tags.
struct Bare<'a> {
    arn: Option<&'a Arn>,
    account: AccountId,
}

impl Resource for Bare<'_> {
    fn arn(&self) -> Option<&Arn> {
        self.arn
    }

    fn account(&self) -> AccountId {
        self.account
    }
}

impl Gate<'_> {
    /// Loads what `name` refers to.
    pub async fn find(&self, name: &RepositoryName) -> Result<RepositoryResource, Error> {
        let repositories = &self.app.registry.repositories;
        repositories.load_resource(self.registry, name).await
    }

    /// Loads what a decision about a repository at hand needs.
    #[must_use]
    pub fn subject(&self, repository: Repository) -> RepositoryResource {
        repository.into()
    }

    /// `None` if the caller may; else AWS's sentence why not.
    #[must_use]
    pub fn refusal(&self, subject: &RepositoryResource, action: &str) -> Option<String> {
        self.refusal_with_tags(subject, action, &[])
    }

    /// The same about a request that brings resource tags.
    #[must_use]
    pub fn refusal_with_tags(
        &self,
        subject: &RepositoryResource,
        action: &str,
        request_tags: &[(String, String)],
    ) -> Option<String> {
        self.authorizer()
            .check_with_tags(action, subject, request_tags)
            .err()
            .map(|denied| denied.message)
    }

    /// The same about something that carries no policy: another kind of resource, or none at all.
    #[must_use]
    pub fn refusal_on(&self, resource: Option<&Arn>, action: &str) -> Option<String> {
        let bare = Bare {
            arn: resource,
            account: self.registry.account,
        };
        self.authorizer()
            .check(action, &bare)
            .err()
            .map(|denied| denied.message)
    }

    /// The same as if `policy` were the repository's: for a policy that is about to be set.
    #[must_use]
    pub fn refusal_under(
        &self,
        subject: &RepositoryResource,
        policy: &Policy,
        action: &str,
    ) -> Option<String> {
        self.authorizer()
            .check_under_policy(action, subject, policy)
            .err()
            .map(|denied| denied.message)
    }

    /// The same about all repositories of the registry at once.
    #[must_use]
    pub fn refusal_on_all(&self, action: &str) -> Option<String> {
        let RegistryId { account, region } = self.registry;
        self.refusal_on(Some(&Arn::ecr_repository(region, account, "*")), action)
    }

    fn authorizer(&self) -> Authorizer<'_> {
        Authorizer {
            caller: self.caller,
            origin: self.origin,
            region: &self.registry.region,
            now: self.app.clock.now(),
            budget: self.budget,
        }
    }
}
