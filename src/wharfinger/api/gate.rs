//! The one gate of `/v2/`, `/token` and the AWS APIs: may this caller do that to a repository of
//! this name, by every policy that bears on it?

use std::sync::Arc;

use wharfinger_aws::Arn;
use wharfinger_iam::{
    AccessRequest, Caller, ConditionContext, EvaluationBudget, Policy, PolicySet, evaluate,
};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{Error, RegistryId, Repository};

use crate::api::origin::Origin;
use crate::app::App;

/// A caller before the policies of one registry.
#[derive(Clone, Copy)]
pub struct Gate<'a> {
    pub app: &'a App,
    pub caller: &'a Caller,
    pub registry: &'a RegistryId,
    pub origin: &'a Origin<'a>,
    /// The work that all decisions of the request may do together.
    pub budget: &'a EvaluationBudget,
}

/// A repository's name, and all that decisions about it need to know: looked up once for all
/// actions of a request.
pub struct Subject {
    arn: Arn,
    /// The repository, if there is one of that name.
    pub repository: Option<Repository>,
    policy: Option<Arc<Policy>>,
    tags: Vec<(String, String)>,
}

/// The tags that conditions may ask about: those a resource has, and those a request brings.
#[derive(Clone, Copy, Default)]
struct Tags<'a> {
    resource: &'a [(String, String)],
    request: &'a [(String, String)],
}

impl Gate<'_> {
    /// Looks up what is called `name`. Decisions about a name that nothing bears are made as about
    /// a repository without policy and tags.
    pub async fn find(&self, name: &RepositoryName) -> Result<Subject, Error> {
        match self
            .app
            .registry
            .repositories
            .find(self.registry, name)
            .await?
        {
            Some(repository) => Ok(self.subject(repository)),
            None => Ok(Subject {
                arn: self.registry.repository_arn(name),
                repository: None,
                policy: None,
                tags: Vec::new(),
            }),
        }
    }

    /// What decisions about a repository at hand need.
    #[must_use]
    pub fn subject(&self, repository: Repository) -> Subject {
        let tags = repository
            .settings
            .tags
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Subject {
            arn: repository.arn(),
            policy: repository.policy.clone(),
            repository: Some(repository),
            tags,
        }
    }

    /// `None` where the caller may; else AWS's sentence why not, the same whether the repository
    /// exists or not.
    #[must_use]
    pub fn refusal(&self, subject: &Subject, action: &str) -> Option<String> {
        self.refusal_with_tags(subject, action, &[])
    }

    /// The same about a request that brings resource tags.
    #[must_use]
    pub fn refusal_with_tags(
        &self,
        subject: &Subject,
        action: &str,
        request_tags: &[(String, String)],
    ) -> Option<String> {
        self.decide(
            Some(&subject.arn),
            subject.policy.as_deref(),
            Tags {
                resource: &subject.tags,
                request: request_tags,
            },
            action,
        )
    }

    /// The same about something that carries no policy: another kind of resource, or none at all.
    #[must_use]
    pub fn refusal_on(&self, resource: Option<&Arn>, action: &str) -> Option<String> {
        self.decide(resource, None, Tags::default(), action)
    }

    /// The same as if `policy` were the repository's: for a policy that is about to be set.
    #[must_use]
    pub fn refusal_under(
        &self,
        subject: &Subject,
        policy: &Policy,
        action: &str,
    ) -> Option<String> {
        self.decide(
            Some(&subject.arn),
            Some(policy),
            Tags {
                resource: &subject.tags,
                request: &[],
            },
            action,
        )
    }

    /// The same about all repositories of the registry at once: what identity policies say of
    /// `repository/*`.
    #[must_use]
    pub fn refusal_on_all(&self, action: &str) -> Option<String> {
        self.refusal_on(
            Some(&Arn::ecr_repository(
                &self.registry.region,
                &self.registry.account,
                "*",
            )),
            action,
        )
    }

    fn decide(
        &self,
        resource: Option<&Arn>,
        policy: Option<&Policy>,
        tags: Tags<'_>,
        action: &str,
    ) -> Option<String> {
        let context = ConditionContext {
            now: self.app.clock.now(),
            source_ip: self.origin.peer,
            secure_transport: self.origin.secure,
            user_agent: self.origin.user_agent,
            requested_region: Some(self.registry.region.as_str()),
            resource_tags: tags.resource,
            request_tags: tags.request,
            ..ConditionContext::default()
        };
        let request = AccessRequest {
            caller: self.caller,
            action,
            resource,
            resource_account: self.registry.account,
            context,
            budget: self.budget,
        };
        let decision = evaluate(&request, &PolicySet::of(self.caller, policy));
        if decision.is_allow() {
            None
        } else {
            Some(decision.message(&request))
        }
    }
}
