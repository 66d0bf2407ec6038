//! Services as the gateway holds them: with their state, and their types erased.

use std::sync::Arc;

use serde_json::Value;

use crate::service::{CallHead, EncodedResponse, OperationFacts, Service, ServiceModel};

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

impl MountedOperation {
    pub(crate) fn facts(&self) -> OperationFacts {
        self.facts
    }

    pub(crate) fn model(&self) -> &'static ServiceModel {
        self.service.model()
    }

    pub(crate) fn run(&self, head: CallHead, document: Value) -> EncodedResponse {
        self.service.0.run(self.index, head, document)
    }
}

trait ErasedService: Send + Sync {
    fn model(&self) -> &'static ServiceModel;
    fn operation(&self, index: usize) -> Option<OperationFacts>;
    fn run(&self, index: usize, head: CallHead, document: Value) -> EncodedResponse;
}

struct Mounted<S: Service>(Arc<S::State>);

impl<S: Service> ErasedService for Mounted<S> {
    fn model(&self) -> &'static ServiceModel {
        S::model()
    }

    fn operation(&self, index: usize) -> Option<OperationFacts> {
        Some(S::operations().get(index)?.facts())
    }

    fn run(&self, index: usize, head: CallHead, document: Value) -> EncodedResponse {
        S::operations()[index].run(head.with_state(Arc::clone(&self.0)), document)
    }
}
