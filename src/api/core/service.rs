//! An AWS API as the gateway serves it: its published facts, its state and its operations.

use std::future::Future;
use std::sync::{Arc, LazyLock};

use wharfinger_aws::constraints::Limits;
use wharfinger_aws::{Family, Fault};
use wharfinger_iam::Resource;

use crate::call::CallHead;
use crate::operation::{OperationEntry, Response};

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
    /// caller without permission must not learn whether it exists.
    fn load(
        state: &Self::State,
        id: &Self::ResourceId,
    ) -> impl Future<Output = Result<Self::Resource, Self::Error>> + Send;
}

/// A service with its state, its type erased.
#[derive(Clone)]
pub struct MountedService(Arc<dyn ErasedService>);

impl MountedService {
    #[must_use]
    pub fn new<S: Service>(state: S::State) -> Self {
        Self(Arc::new(Mounted::<S>(Arc::new(state))))
    }

    #[must_use]
    pub fn model(&self) -> &'static ServiceModel {
        self.0.model()
    }

    /// The names of its operations.
    pub fn operation_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let service = Arc::clone(&self.0);
        (0..).map_while(move |index| Some(service.operation(index)?.name))
    }

    pub(crate) fn find(&self, name: &str) -> Option<MountedOperation> {
        let index = self.operation_names().position(|known| known == name)?;
        let facts = self.0.operation(index)?;
        Some(MountedOperation {
            service: self.clone(),
            index,
            facts,
        })
    }
}

/// One operation of a mounted service.
#[derive(Clone)]
pub(crate) struct MountedOperation {
    service: MountedService,
    index: usize,
    facts: OperationFacts,
}

/// What the gateway needs to know of an operation before it is decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OperationFacts {
    pub(crate) name: &'static str,
    pub(crate) max_body_bytes: usize,
}

impl MountedOperation {
    pub(crate) fn facts(&self) -> OperationFacts {
        self.facts
    }

    pub(crate) fn model(&self) -> &'static ServiceModel {
        self.service.model()
    }

    pub(crate) fn run(&self, head: CallHead, document: serde_json::Value) -> Response {
        self.service.0.run(self.index, head, document)
    }
}

trait ErasedService: Send + Sync {
    fn model(&self) -> &'static ServiceModel;
    fn operation(&self, index: usize) -> Option<OperationFacts>;
    fn run(&self, index: usize, head: CallHead, document: serde_json::Value) -> Response;
}

struct Mounted<S: Service>(Arc<S::State>);

impl<S: Service> ErasedService for Mounted<S> {
    fn model(&self) -> &'static ServiceModel {
        S::model()
    }

    fn operation(&self, index: usize) -> Option<OperationFacts> {
        Some(S::operations().get(index)?.facts())
    }

    fn run(&self, index: usize, head: CallHead, document: serde_json::Value) -> Response {
        S::operations()[index].run(head.with_state(Arc::clone(&self.0)), document)
    }
}
