//! The orchestrator: clusters, container instances, task definitions, tasks and services.

pub mod model;
#[allow(dead_code, reason = "its callers are being written")]
mod store;
#[allow(dead_code, unused_imports, reason = "its callers are being written")]
mod task_definition;

use wharfinger_db::{Migration, migration};

/// The tables of this crate.
pub const MIGRATIONS: &[Migration] = &[migration!("V0016__orchestrator")];

#[cfg(test)]
mod tests {
    use wharfinger_db::Db;

    #[test]
    fn the_tables_can_be_made() {
        assert!(Db::memory(super::MIGRATIONS).is_ok());
    }
}
