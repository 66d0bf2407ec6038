//! The traits of an AWS API: a service has state, resources and operations; an operation is a
//! request type with the permissions that it demands. A [`Context`] proves that they were granted.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use wharfinger_aws::constraints::Limits;
use wharfinger_aws::{Family, Fault, json, xml};
use wharfinger_base::Timestamp;
use wharfinger_iam::{Caller, EvaluationBudget, Policy, Resource};

use crate::audit_trail::AuditTrail;
use crate::authorizer::{AccessDenied, Authorizer, RequestFacts};
use crate::body_budget::{BodyReservation, EncodedDocument};
use crate::operation_kind::reads;
use crate::origin::Origin;
use crate::scope::RequestScope;

/// The published facts of an AWS API.
#[derive(Debug)]
pub struct ServiceModel {
    /// The name in credential scopes, and the prefix of IAM actions.
    pub name: &'static str,
    pub family: Family,
    /// JSON: the part of `X-Amz-Target` before the dot.
    pub target: &'static str,
    pub version: &'static str,
    /// Query: the XML namespace of responses.
    pub namespace: &'static str,
    /// What requests may contain.
    pub limits: &'static LazyLock<Limits>,
    /// Operations of the published model that mean nothing on this server.
    pub unsupported: &'static [&'static str],
}

/// An AWS API: ECR, IAM, STS and others. Each is a crate that implements this trait once and
/// [`crate::Operation`] for each of its requests.
pub trait Service: Sized + Send + Sync + 'static {
    /// The handles that operations may use; not the whole application.
    type State: Send + Sync + 'static;
    /// Names a resource of this API, such as a repository.
    type ResourceId: PartialEq + Send + Sync;
    /// The resource, loaded once for the decision and the operation.
    type Resource: Resource + Send + Sync;
    /// The API's errors. Its `error.rs` converts domain errors, so that operations use `?`.
    type Error: Into<Fault> + Send;

    fn model() -> &'static ServiceModel;

    /// The operations, usually by [`crate::operations!`].
    fn operations() -> &'static [OperationEntry<Self>];

    /// Loads a resource. One that does not exist is loaded too, as far as decisions need it: a
    /// caller without permission must not learn whether it exists. `caller` is for services with
    /// requests that mean the caller by naming nothing.
    fn load(
        state: &Self::State,
        id: &Self::ResourceId,
        caller: &Caller,
    ) -> impl Future<Output = Result<Self::Resource, Self::Error>> + Send;
}

/// The largest body of an operation that declares no other limit, in bytes: 100 image identifiers
/// of the longest kind take some 50 KB.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The resource id of an operation's service.
pub type ResourceIdOf<O> = <<O as Operation>::Service as Service>::ResourceId;
/// The error of an operation's service.
pub type ErrorOf<O> = <<O as Operation>::Service as Service>::Error;

/// One operation, implemented for its request type.
pub trait Operation: DeserializeOwned + Send + Sync + 'static {
    type Service: Service;
    /// The response, named as in the service model: `NAME` and `Output`.
    type Output: Serialize + Send;

    /// The name in the service model, such as `DescribeImages`.
    const NAME: &'static str;
    /// The IAM action, without the service's prefix, if it differs from the name.
    const ACTION: &'static str = Self::NAME;
    /// The largest request body, in bytes.
    const MAX_BODY_BYTES: usize = MAX_BODY_BYTES;
    /// Whether the audit log has every call of the operation, or only those that are denied: by
    /// default it has those of operations that change something. One that issues credentials
    /// overrides it.
    const IS_AUDITED: bool = !reads(Self::NAME);
    /// Whether requests need no signature, because their members prove who sends them. For
    /// operations of the Query protocol. Their caller is anonymous unless there is a signature.
    const IS_UNSIGNED: bool = false;

    /// The resource that the operation works on.
    ///
    /// # Errors
    /// A request that does not name a resource properly.
    fn resource(&self, scope: &RequestScope) -> Result<ResourceIdOf<Self>, ErrorOf<Self>>;

    /// The permissions that the caller needs: by default the operation's own action on its
    /// resource. Operations override it if AWS demands more, such as for tags.
    ///
    /// # Errors
    /// As [`Operation::resource`].
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Self::Service>>, ErrorOf<Self>> {
        Ok(vec![Demand::new(Self::ACTION, self.resource(scope)?)])
    }

    /// Runs the operation. `cx` proves that the caller is authorised.
    fn run(
        self,
        cx: &Context<Self::Service>,
    ) -> impl Future<Output = Result<Self::Output, ErrorOf<Self>>> + Send;
}

/// A permission that a caller needs: an action on a resource.
pub struct Demand<S: Service> {
    /// The IAM action, such as `ecr:PutImage`.
    pub(crate) action: String,
    pub(crate) resource: S::ResourceId,
    pub(crate) facts: RequestFacts,
    /// Condition keys whose values the loaded resource has.
    keys_of_resource: Vec<(&'static str, ValueOf<S>)>,
}

/// Reads the value of a condition key from a resource.
type ValueOf<S> = fn(&<S as Service>::Resource) -> Option<&str>;

impl<S: Service> Demand<S> {
    /// The service's own action of this name.
    #[must_use]
    pub fn new(action: &str, resource: S::ResourceId) -> Self {
        Self {
            action: format!("{}:{action}", S::model().name),
            resource,
            facts: RequestFacts::default(),
            keys_of_resource: Vec::new(),
        }
    }

    /// An action of another service by its full name, such as `iam:PassRole`.
    #[must_use]
    pub fn of_other_service(action: &str, resource: S::ResourceId) -> Self {
        Self {
            action: action.to_owned(),
            resource,
            facts: RequestFacts::default(),
            keys_of_resource: Vec::new(),
        }
    }

    /// For an action with a condition key that the resource determines, such as
    /// `iam:PermissionsBoundary`. The request lacks the key where the resource has no value.
    #[must_use]
    pub fn with_key_of_resource(mut self, key: &'static str, value: ValueOf<S>) -> Self {
        self.keys_of_resource.push((key, value));
        self
    }

    /// For a request that sets these tags.
    #[must_use]
    pub fn with_tags(mut self, tags: Vec<(String, String)>) -> Self {
        self.facts.set = tags;
        self
    }

    /// For a request that determines a condition key of the service, such as `iam:PolicyARN`.
    #[must_use]
    pub fn with_key(mut self, key: &'static str, value: &str) -> Self {
        let values = vec![value.to_owned()];
        self.facts.keys.push((key, values));
        self
    }

    /// For a request that removes the tags with these keys.
    #[must_use]
    pub fn removing_tags(mut self, keys: Vec<String>) -> Self {
        self.facts.removed = keys;
        self
    }
}

/// What the gateway needs to know of an operation before it is decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OperationFacts {
    pub(crate) name: &'static str,
    pub(crate) max_body_bytes: usize,
    pub(crate) is_audited: bool,
    pub(crate) is_unsigned: bool,
}

/// A response in progress: the encoded body, or the fault.
pub(crate) type EncodedResponse =
    Pin<Box<dyn Future<Output = Result<EncodedDocument, Fault>> + Send>>;

/// An operation in a service's table, its type erased.
#[derive(Debug)]
pub struct OperationEntry<S: Service> {
    facts: OperationFacts,
    run: fn(Call<S>, Value) -> EncodedResponse,
}

impl<S: Service> OperationEntry<S> {
    #[must_use]
    pub const fn of<O: Operation<Service = S>>() -> Self {
        Self {
            facts: OperationFacts {
                name: O::NAME,
                max_body_bytes: O::MAX_BODY_BYTES,
                is_audited: O::IS_AUDITED,
                is_unsigned: O::IS_UNSIGNED,
            },
            run: run::<O>,
        }
    }

    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.facts.name
    }

    pub(crate) const fn facts(&self) -> OperationFacts {
        self.facts
    }

    pub(crate) fn run(&self, call: Call<S>, document: Value) -> EncodedResponse {
        (self.run)(call, document)
    }
}

/// Checks the document against the published limits, decodes it, authorises the call, runs the
/// operation and encodes its output.
fn run<O: Operation>(call: Call<O::Service>, mut document: Value) -> EncodedResponse {
    Box::pin(async move {
        let model = O::Service::model();
        if model.family == Family::Query {
            model.limits.type_values(O::NAME, &mut document);
        }
        model.limits.check(O::NAME, &document)?;
        let operation: O = json::decode(document)?;
        let cx = call.authorize(&operation).await?;
        let output = operation.run(&cx).await.map_err(Into::into)?;
        let bytes = match model.family {
            Family::Json => json::encode(&output),
            Family::Query => xml::encode(O::NAME, model.namespace, &output, cx.request_id()),
        }?;
        let memory = cx.call.head.memory.into_inner();
        Ok(EncodedDocument::new(bytes, memory))
    })
}

/// An authenticated call, before its operation is decoded.
pub(crate) struct CallHead {
    pub(crate) caller: Arc<Caller>,
    pub(crate) scope: RequestScope,
    pub(crate) origin: Origin,
    /// What is charged for the response.
    pub(crate) memory: Mutex<BodyReservation>,
    pub(crate) request_id: String,
    pub(crate) now: Timestamp,
    pub(crate) trail: Arc<AuditTrail>,
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
            let (facts, keys) = (demand.facts, demand.keys_of_resource);
            self.check(&budget, &demand.action, resource, facts, keys)?;
        }
        Ok(Context {
            resource,
            others: others.into_iter().map(|(_, resource)| resource).collect(),
            call: self,
            budget,
        })
    }

    /// Checks one demand on a loaded resource.
    fn check(
        &self,
        budget: &EvaluationBudget,
        action: &str,
        resource: &S::Resource,
        mut facts: RequestFacts,
        keys_of_resource: Vec<(&'static str, ValueOf<S>)>,
    ) -> Result<(), Fault> {
        for (key, value) in keys_of_resource {
            let value = value(resource).map(|value| (key, vec![value.to_owned()]));
            facts.keys.extend(value);
        }
        let authorizer = self.authorizer(budget);
        let checked = authorizer.check_with_facts(action, resource, &facts);
        checked.map_err(|denied| Fault::access_denied(S::model().family, denied.message))
    }

    async fn load(&self, id: &S::ResourceId) -> Result<S::Resource, Fault> {
        let caller = &self.head.caller;
        S::load(&self.state, id, caller).await.map_err(Into::into)
    }

    fn authorizer<'a>(&'a self, budget: &'a EvaluationBudget) -> Authorizer<'a> {
        self.authorizer_of(&self.head.caller, budget)
    }

    fn authorizer_of<'a>(
        &'a self,
        caller: &'a Caller,
        budget: &'a EvaluationBudget,
    ) -> Authorizer<'a> {
        let head = &self.head;
        Authorizer {
            caller,
            origin: &head.origin,
            region: &head.scope.region,
            now: head.now,
            budget,
            trail: &head.trail,
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

    /// When the request was received.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.call.head.now
    }

    /// Charges `bytes` of the response to the memory budget of the server, until it was sent. For
    /// operations whose output may be large.
    ///
    /// # Errors
    /// The service is unavailable (clients try again) if no memory becomes free in time.
    pub async fn charge_response(&self, bytes: usize) -> Result<(), Fault> {
        let mut memory = self.call.head.memory.lock().await;
        let granted = memory.grow(bytes).await;
        granted.map_err(|_exhausted| Fault::unavailable(S::model().family))
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

    /// Checks that `caller` may perform the service's action of this name on the resource of the
    /// operation. For what only becomes known while the operation runs, such as whom the members of
    /// a request prove to be its sender.
    ///
    /// # Errors
    /// [`AccessDenied`].
    pub fn check_as(
        &self,
        caller: &Caller,
        action: &str,
        facts: &RequestFacts,
    ) -> Result<(), AccessDenied> {
        let action = format!("{}:{action}", S::model().name);
        let authorizer = self.call.authorizer_of(caller, &self.budget);
        authorizer.check_with_facts(&action, &self.resource, facts)
    }

    /// Checks a permission that only becomes known while the operation runs, such as the one to
    /// pass the roles that a stored object names.
    ///
    /// # Errors
    /// `AccessDenied…` if it is not granted.
    pub async fn require(&self, demand: Demand<S>) -> Result<(), Fault> {
        let resource = self.call.load(&demand.resource).await?;
        let (facts, keys) = (demand.facts, demand.keys_of_resource);
        let action = &demand.action;
        self.call
            .check(&self.budget, action, &resource, facts, keys)
    }

    /// Whether the caller could perform the service's action of this name on the resource if
    /// `policy` were the resource's. For an operation that sets a policy and must not lock its
    /// caller out.
    #[must_use]
    pub fn would_allow(&self, action: &str, policy: &Policy) -> bool {
        let action = format!("{}:{action}", S::model().name);
        self.call
            .authorizer(&self.budget)
            .would_allow_under_policy(&action, &self.resource, policy)
    }
}

/// Makes a service's table of operations.
#[macro_export]
macro_rules! operations {
    ($($operation:ty),* $(,)?) => { &[$($crate::OperationEntry::of::<$operation>()),*] };
}
