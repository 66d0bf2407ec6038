//! Lifecycle policies: rules by which the images of a repository expire or go to the archive.

mod apply;
pub(crate) mod evaluation;
mod parser;
mod plan;
pub(crate) mod policy;
mod previews;
mod reconciler;
pub(crate) mod results;
pub(crate) mod schedule;
mod schema;
mod service;
mod storage_class;
#[cfg(test)]
mod tests;

pub use apply::EvaluationReport;
pub use policy::{Action, LifecyclePolicy, LifecyclePolicyError, StorageClass};
pub use previews::PreviewPage;
pub use reconciler::LifecycleReconciler;
pub use results::{Preview, PreviewResult, PreviewStatus};
pub use service::{Lifecycle, RepositoryWithPolicy, StoredLifecyclePolicy};
