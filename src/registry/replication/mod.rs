//! Replication: copies images to other registries as the replication configuration says.
//!
//! A push records what is to be replicated in its own transaction, so that an acknowledged push is
//! always replicated, whatever happens to the server. The reconciler carries it out. Within this
//! server that is one transaction which links the content, stores the image by the code of a push
//! and ends the replication. To a registry of another server, what is missing there is sent. What
//! was replicated is not replicated on.

mod access;
mod attempt;
mod backfill;
mod decide;
mod finish;
mod local;
pub(crate) mod model;
mod progress;
pub(crate) mod queue;
mod reconciler;
mod remote;
pub(crate) mod rules;
mod sending;
mod service;
#[cfg(test)]
mod tests;

pub use decide::ReplicationFailure;
pub use model::{
    Backfill, BackfillPosition, BackfillProgress, BackfillResult, BackfillStatus, ReplicationState,
    ReplicationStatus, ResultPosition,
};
pub use progress::ReplicationProgress;
pub use reconciler::ImageReplication;
pub use remote::{BlobSource, RemoteDestinations, RemoteError, RemoteManifest, RemoteRegistry};
pub use rules::{ReplicationConfiguration, ReplicationRule, ReplicationRulesError};
pub use service::{Replications, ResultFilter};
