//! A call from its authentication to its permission: [`Context`] is made only after every demand
//! was granted, so that no operation can run without.

use std::sync::Arc;

use wharfinger_api_core::{Origin, RequestScope as Scope};
use wharfinger_aws::{AccountId, Arn, Fault};
use wharfinger_iam::{Caller, EvaluationBudget, Policy};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::RegistryId;

use crate::api::gate::Gate;
use crate::api::operation::Service;
use crate::app::App;

/// Something the caller must be allowed to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// The IAM action, such as `ecr:PutImage`.
    pub action: &'static str,
    /// On what; `None` for actions that know no resource.
    pub resource: Option<Arn>,
    /// The account that owns it.
    pub account: AccountId,
    /// Tags that the request would set, for `aws:RequestTag`.
    pub request_tags: Vec<(String, String)>,
}

impl Demand {
    #[must_use]
    pub const fn new(action: &'static str, resource: Option<Arn>, account: AccountId) -> Self {
        Self {
            action,
            resource,
            account,
            request_tags: Vec::new(),
        }
    }

    #[must_use]
    pub fn with_tags(mut self, tags: Vec<(String, String)>) -> Self {
        self.request_tags = tags;
        self
    }
}

/// An authenticated call of a known operation.
#[derive(Clone)]
pub struct Call {
    pub app: Arc<App>,
    pub caller: Arc<Caller>,
    pub scope: Scope,
    pub service: &'static Service,
    pub request_id: String,
    pub origin: Origin,
}

/// What an operation may know and use.
#[derive(Clone)]
pub struct Context(Call);

impl Call {
    /// The one way to a [`Context`]: every demand must be granted.
    ///
    /// # Errors
    /// `AccessDenied…` in AWS's words for the first demand that is not.
    pub async fn authorise(self, demands: Vec<Demand>) -> Result<Context, Fault> {
        let budget = EvaluationBudget::default();
        for demand in &demands {
            if let Some(message) = self.refusal(demand, &budget).await? {
                return Err(Fault::access_denied(self.service.family, message));
            }
        }
        Ok(Context(self))
    }

    async fn refusal(
        &self,
        demand: &Demand,
        budget: &EvaluationBudget,
    ) -> Result<Option<String>, Fault> {
        let registry = RegistryId {
            account: demand.account,
            region: self.scope.region.clone(),
        };
        let caller = &self.caller;
        let gate = Gate {
            app: &self.app,
            caller,
            registry: &registry,
            origin: &self.origin,
            budget,
        };
        let name: Option<RepositoryName> = demand
            .resource
            .as_ref()
            .and_then(Arn::repository_name)
            .and_then(|name| name.parse().ok());
        let Some(name) = name else {
            return Ok(gate.refusal_on(demand.resource.as_ref(), demand.action));
        };
        let subject = gate
            .find(&name)
            .await
            .map_err(|error| self.internal(&error))?;
        Ok(gate.refusal_with_tags(&subject, demand.action, &demand.request_tags))
    }

    fn internal(&self, error: &dyn std::error::Error) -> Fault {
        tracing::error!(request_id = self.request_id, error = %Chain(error), "a request could not be authorised");
        Fault::internal(self.service.family)
    }
}

impl Context {
    #[must_use]
    pub fn app(&self) -> &App {
        &self.0.app
    }

    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.0.caller
    }

    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.0.scope
    }

    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// An answer for something that failed here; the cause goes to the log and not to the client.
    pub fn internal(&self, error: &dyn std::error::Error) -> Fault {
        tracing::error!(request_id = self.0.request_id, error = %Chain(error), "a request failed");
        Fault::internal(self.0.service.family)
    }

    /// The URL by which this client reaches us, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> std::borrow::Cow<'_, str> {
        self.0.origin.base_url(&self.0.app.config.names)
    }

    /// Where docker signs in to a registry: the host of its repositories' URIs, with the scheme of
    /// our own address.
    #[must_use]
    pub fn registry_url(&self, registry: &RegistryId) -> String {
        let RegistryId { account, region } = registry;
        self.0.app.config.names.registry_url(account, region)
    }

    /// Would `policy`, once set on the repository, let this caller do `action` again? For
    /// `SetRepositoryPolicy`, which must not lock its caller out unawares.
    ///
    /// # Errors
    /// A fault where the repository could not be looked up.
    pub async fn would_allow(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        action: &str,
        policy: &Policy,
    ) -> Result<bool, Fault> {
        let Call {
            app,
            caller,
            origin,
            ..
        } = &self.0;
        let gate = Gate {
            app,
            caller,
            registry,
            origin,
            budget: &EvaluationBudget::default(),
        };
        let subject = gate
            .find(name)
            .await
            .map_err(|error| self.internal(&error))?;
        Ok(gate.refusal_under(&subject, policy, action).is_none())
    }
}

/// An error with its causes, in one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(formatter, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}
