//! The orchestrator: clusters, container instances, task definitions, tasks and services.

mod clusters;
#[allow(dead_code, unused_imports, reason = "its caller is being written")]
mod deployment;
mod error;
pub mod identifiers;
pub mod model;
pub mod payload;
pub mod placement;
#[allow(dead_code, reason = "its callers are being written")]
mod store;
mod task_definition;
mod task_definitions;

pub use clusters::{ClusterCounts, Clusters, LaunchCounts};
pub use error::Error;
pub use task_definitions::{
    DeletionFailure, Deletions, FamilyStatus, MAX_DELETIONS, TaskDefinitionListing, TaskDefinitions,
};
use wharfinger_base::{Clock, Ids};
use wharfinger_db::{Db, Migration, migration};

/// The tables of this crate.
pub const MIGRATIONS: &[Migration] = &[migration!("V0016__orchestrator")];

/// All operations of the orchestrator.
#[derive(Clone)]
pub struct Orchestrator {
    pub clusters: Clusters,
    pub task_definitions: TaskDefinitions,
}

impl Orchestrator {
    pub fn new(db: &Db, clock: &Clock, ids: &Ids) -> Self {
        Self {
            clusters: Clusters::new(db.clone(), clock.clone(), ids.clone()),
            task_definitions: TaskDefinitions::new(db.clone(), clock.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_db::Db;

    #[test]
    fn the_tables_can_be_made() {
        assert!(Db::memory(super::MIGRATIONS).is_ok());
    }
}
