//! Empties all tables of the orchestrator.

use wharfinger_db::{self as db, Tx};

/// Deletes every row, in an order in which nothing is left that names what is gone.
pub(crate) fn everything(tx: &mut Tx<'_>) -> db::Result<()> {
    for statement in [
        "DELETE FROM client_tokens",
        "DELETE FROM tasks",
        "DELETE FROM service_events",
        "DELETE FROM deployments",
        "DELETE FROM services",
        "DELETE FROM container_instances",
        "DELETE FROM clusters",
        "DELETE FROM task_definitions",
        "DELETE FROM task_definition_families",
        "DELETE FROM capacity_providers",
        "DELETE FROM ecs_account_settings",
    ] {
        tx.execute(statement, &[])?;
    }
    Ok(())
}
