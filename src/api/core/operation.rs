//! An operation of an AWS API: a request type, the permissions that it demands, and what it does.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wharfinger_aws::{Family, Fault, json, xml};

use crate::call::{Call, Context};
use crate::scope::RequestScope;
use crate::service::{OperationFacts, Service};

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
    /// Tags that the request sets, for `aws:RequestTag`.
    pub(crate) request_tags: Vec<(String, String)>,
}

impl<S: Service> Demand<S> {
    /// The service's own action of this name.
    #[must_use]
    pub fn new(action: &str, resource: S::ResourceId) -> Self {
        Self {
            action: format!("{}:{action}", S::model().name),
            resource,
            request_tags: Vec::new(),
        }
    }

    #[must_use]
    pub fn with_tags(mut self, tags: Vec<(String, String)>) -> Self {
        self.request_tags = tags;
        self
    }
}

/// A response in progress: the encoded body, or the fault.
pub(crate) type Response = Pin<Box<dyn Future<Output = Result<Vec<u8>, Fault>> + Send>>;

/// An operation in a service's table, its type erased.
#[derive(Debug)]
pub struct OperationEntry<S: Service> {
    facts: OperationFacts,
    run: fn(Call<S>, Value) -> Response,
}

impl<S: Service> OperationEntry<S> {
    #[must_use]
    pub const fn of<O: Operation<Service = S>>() -> Self {
        Self {
            facts: OperationFacts {
                name: O::NAME,
                max_body_bytes: O::MAX_BODY_BYTES,
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

    pub(crate) fn run(&self, call: Call<S>, document: Value) -> Response {
        (self.run)(call, document)
    }
}

/// Checks the document against the published limits, decodes it, authorises the call, runs the
/// operation and encodes its output.
fn run<O: Operation>(call: Call<O::Service>, document: Value) -> Response {
    Box::pin(async move {
        let model = O::Service::model();
        model.limits.check(O::NAME, &document)?;
        let operation: O = json::decode(document)?;
        let cx = call.authorize(&operation).await?;
        let output = operation.run(&cx).await.map_err(Into::into)?;
        match model.family {
            Family::Json => json::encode(&output),
            Family::Query => xml::encode(O::NAME, model.namespace, &output, cx.request_id()),
        }
    })
}

/// Makes a service's table of operations.
#[macro_export]
macro_rules! operations {
    ($($operation:ty),* $(,)?) => { &[$($crate::OperationEntry::of::<$operation>()),*] };
}
