//! Checks and migrations of a database, before it is used.

use postgres::Client;
use refinery::Migrate as _;

use crate::error::OpenError;
use crate::migrate::{HISTORY, MIGRATION_WAIT, Schema, Upgrade, failed};
use crate::postgres::fault::chain;

/// The advisory lock that migrations run under: "wharf" in ASCII.
const MIGRATION_LOCK: i64 = 0x77_68_61_72_66;

/// Text order must be the order of bytes, as it is in the embedded engine: pages and prefix
/// searches are built on it.
pub(super) fn check_collation(client: &mut Client) -> Result<(), OpenError> {
    let sql = "SELECT datcollate::text, pg_encoding_to_char(encoding)::text, 'a' < 'B' FROM \
        pg_database WHERE datname = current_database()";
    let row = client
        .query_one(sql, &[])
        .map_err(|error| OpenError::Connect(chain(&error)))?;
    let (collation, encoding, linguistic): (String, String, bool) =
        (row.get(0), row.get(1), row.get(2));
    let by_bytes = ["C", "POSIX"].contains(&collation.as_str()) && !linguistic;
    if by_bytes && ["UTF8", "SQL_ASCII"].contains(&encoding.as_str()) {
        Ok(())
    } else {
        Err(OpenError::Collation {
            collation,
            encoding,
        })
    }
}

pub(super) fn migrate(
    client: &mut Client,
    schema: &Schema,
    upgrade: Upgrade,
) -> Result<(), OpenError> {
    if !schema.needs_migration(&applied(client)?, upgrade)? {
        return Ok(());
    }
    let wait = MIGRATION_WAIT.as_secs();
    client
        .batch_execute(&format!("SET lock_timeout = '{wait}s'"))
        .map_err(failed)?;
    client
        .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
        .map_err(|_| OpenError::Migrating(wait))?;
    let result = if schema.needs_migration(&applied(client)?, upgrade)? {
        schema.apply(client)
    } else {
        Ok(())
    };
    client
        .execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK])
        .map_err(failed)?;
    client.batch_execute("RESET lock_timeout").map_err(failed)?;
    result
}

/// A write that was reported as done must survive a crash of the database server.
pub(super) fn check_durability(client: &mut Client) -> Result<(), OpenError> {
    let sql = "SELECT current_setting('synchronous_commit'), current_setting('fsync')";
    let row = client
        .query_one(sql, &[])
        .map_err(|error| OpenError::Connect(chain(&error)))?;
    if row.get::<_, &str>(0) == "off" {
        return Err(OpenError::SynchronousCommit);
    }
    if row.get::<_, &str>(1) == "off" {
        tracing::warn!("the PostgreSQL server runs with fsync=off: a power cut loses data");
    }
    Ok(())
}

fn applied(client: &mut Client) -> Result<Vec<refinery::Migration>, OpenError> {
    let row = client
        .query_one("SELECT to_regclass($1) IS NOT NULL", &[&HISTORY])
        .map_err(failed)?;
    if row.get(0) {
        client.get_applied_migrations(HISTORY).map_err(failed)
    } else {
        Ok(Vec::new())
    }
}
