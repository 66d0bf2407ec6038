//! A call of an operation from its authentication to its permission.

use std::sync::Arc;

use wharfinger_aws::Fault;
use wharfinger_base::Timestamp;
use wharfinger_iam::{Caller, EvaluationBudget, Policy};

use crate::authorizer::Authorizer;
use crate::operation::Operation;
use crate::origin::Origin;
use crate::scope::RequestScope;
use crate::service::Service;

/// An authenticated call, before its operation is decoded.
pub(crate) struct CallHead {
    pub(crate) caller: Arc<Caller>,
    pub(crate) scope: RequestScope,
    pub(crate) origin: Origin,
    pub(crate) request_id: String,
    pub(crate) now: Timestamp,
}

impl CallHead {
    pub(crate) fn with_state<S: Service>(self, state: Arc<S::State>) -> Call<S> {
        Call { head: self, state }
    }
}

/// An authenticated call of an operation of the service `S`.
pub struct Call<S: Service> {
    head: CallHead,
    state: Arc<S::State>,
}

/// What an operation may know and use. Only [`Call::authorize`] makes one, so that no operation
/// runs without permission.
pub struct Context<S: Service> {
    call: Call<S>,
    /// The resource of [`Operation::resource`].
    resource: S::Resource,
    /// Further resources of [`Operation::demands`], in their order.
    others: Vec<S::Resource>,
    budget: EvaluationBudget,
}

impl<S: Service> Call<S> {
    /// Loads the resources of an operation, each once, and checks its demands.
    ///
    /// # Errors
    /// `AccessDenied…` for the first demand that is not granted.
    pub(crate) async fn authorize<O>(self, operation: &O) -> Result<Context<S>, Fault>
    where
        O: Operation<Service = S>,
    {
        let scope = &self.head.scope;
        let id = operation.resource(scope).map_err(Into::into)?;
        let resource = self.load(&id).await?;
        let mut others: Vec<(S::ResourceId, S::Resource)> = Vec::new();
        let budget = EvaluationBudget::default();
        for demand in operation.demands(scope).map_err(Into::into)? {
            let known = others.iter().position(|(id, _)| *id == demand.resource);
            let resource = if demand.resource == id {
                &resource
            } else if let Some(known) = known {
                &others[known].1
            } else {
                let loaded = self.load(&demand.resource).await?;
                &others.push_mut((demand.resource, loaded)).1
            };
            self.authorizer(&budget)
                .check_with_tags(&demand.action, resource, &demand.request_tags)
                .map_err(|denied| Fault::access_denied(S::model().family, denied.message))?;
        }
        Ok(Context {
            resource,
            others: others.into_iter().map(|(_, resource)| resource).collect(),
            call: self,
            budget,
        })
    }

    async fn load(&self, id: &S::ResourceId) -> Result<S::Resource, Fault> {
        S::load(&self.state, id).await.map_err(Into::into)
    }

    fn authorizer<'a>(&'a self, budget: &'a EvaluationBudget) -> Authorizer<'a> {
        let head = &self.head;
        Authorizer {
            caller: &head.caller,
            origin: &head.origin,
            region: &head.scope.region,
            now: head.now,
            budget,
        }
    }
}

impl<S: Service> Context<S> {
    #[must_use]
    pub fn state(&self) -> &S::State {
        &self.call.state
    }

    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.call.head.caller
    }

    /// The account and region that the request addresses where it does not name others.
    #[must_use]
    pub fn scope(&self) -> &RequestScope {
        &self.call.head.scope
    }

    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.call.head.origin
    }

    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.call.head.request_id
    }

    /// The resource that the operation works on, as it was loaded for the decision.
    #[must_use]
    pub fn resource(&self) -> &S::Resource {
        &self.resource
    }

    /// All resources that the operation demanded permissions on, in the order of its demands.
    pub fn resources(&self) -> impl Iterator<Item = &S::Resource> {
        std::iter::once(&self.resource).chain(&self.others)
    }

    /// Whether the caller could perform the service's action of this name on the resource if
    /// `policy` were the resource's. For an operation that sets a policy and must not lock its
    /// caller out.
    #[must_use]
    pub fn would_allow(&self, action: &str, policy: &Policy) -> bool {
        let action = format!("{}:{action}", S::model().name);
        self.call
            .authorizer(&self.budget)
            .check_under_policy(&action, &self.resource, policy)
            .is_ok()
    }
}
