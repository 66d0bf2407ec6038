//! Numbered migrations: one text for both engines, applied at open, never undone.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use refinery::Runner;
use wharfinger_base::Chain;

use crate::error::OpenError;

/// One migration: a file `VNNNN__what.sql` of the crate whose tables it makes.
///
/// All crates share one sequence of numbers. To add a migration, take the next number, list it in
/// the crate's `MIGRATIONS`, and never change an older one. Words in braces differ by engine:
/// `{identity}` declares a key that the database counts up, `{row_id}` a key that the insert names
/// and that takes no index of its own on SQLite, `{without_rowid}` ends a table that is
/// stored in the order of its primary key.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The file's name without its extension.
    pub name: &'static str,
    pub sql: &'static str,
}

/// A `Migration` of the file `migrations/NAME.sql` beside the caller.
#[macro_export]
macro_rules! migration {
    ($name:literal) => {
        $crate::Migration {
            name: $name,
            sql: include_str!(concat!("migrations/", $name, ".sql")),
        }
    };
}

/// The engines' own tables.
const OWN: &[Migration] = &[
    crate::migration!("V0001__leases"),
    crate::migration!("V0004__readiness"),
    crate::migration!("V0034__restore"),
];

/// What to do with an index that an older version of the program made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// Migrate it: for a server that starts.
    Apply,
    /// Refuse it: for commands, since a server of the older version may be using the index. A new
    /// index is made all the same.
    Refuse,
}

/// How long an open waits while another process migrates the same database; a migration of a large
/// index takes a while.
pub(super) const MIGRATION_WAIT: Duration = Duration::from_mins(5);
const LOCK_POLL: Duration = Duration::from_millis(50);

/// Where refinery keeps its history.
pub(super) const HISTORY: &str = "refinery_schema_history";

#[derive(Clone, Copy)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// The schema as this program knows it, in one engine's dialect.
pub(super) struct Schema(Vec<refinery::Migration>);

impl Schema {
    /// The engines' own migrations and those of the other crates.
    pub(super) fn of(dialect: Dialect, others: &[Migration]) -> Result<Self, OpenError> {
        let mut migrations = OWN
            .iter()
            .chain(others)
            .map(|migration| {
                refinery::Migration::unapplied(migration.name, &translate(dialect, migration.sql))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        migrations.sort_by_key(refinery::Migration::version);
        for pair in migrations.windows(2) {
            if pair[0].version() == pair[1].version() {
                return Err(OpenError::Migration(format!(
                    "{} and {} have one number",
                    pair[0], pair[1]
                )));
            }
        }
        Ok(Self(migrations))
    }

    /// The number of the newest migration.
    pub(super) fn newest(&self) -> i64 {
        let numbers = self.0.iter().map(|one| i64::from(one.version()));
        numbers.max().unwrap_or_default()
    }

    /// The schema as it was at migration `version`.
    pub(super) fn up_to(
        dialect: Dialect,
        others: &[Migration],
        version: i64,
    ) -> Result<Self, OpenError> {
        let Self(mut migrations) = Self::of(dialect, others)?;
        migrations.retain(|migration| i64::from(migration.version()) <= version);
        Ok(Self(migrations))
    }

    /// Compares what the database has with what we know; true where something is left to apply.
    /// Changes nothing.
    pub(super) fn needs_migration(
        &self,
        applied: &[refinery::Migration],
        upgrade: Upgrade,
    ) -> Result<bool, OpenError> {
        let known = self.newest();
        for migration in applied {
            let (version, name) = (i64::from(migration.version()), migration.name().to_owned());
            match self
                .0
                .iter()
                .find(|known| known.version() == migration.version())
            {
                None => {
                    return Err(OpenError::NewerVersion {
                        version,
                        name,
                        known,
                    });
                }
                Some(ours) if ours != migration => {
                    return Err(OpenError::Divergent { version, name });
                }
                Some(_) => {}
            }
        }
        let incomplete = applied.len() < self.0.len();
        if incomplete && upgrade == Upgrade::Refuse && !applied.is_empty() {
            return Err(OpenError::OlderVersion);
        }
        Ok(incomplete)
    }

    /// Applies what is missing, all or nothing. The caller holds the migration lock.
    pub(super) fn apply<C: refinery::Migrate>(&self, connection: &mut C) -> Result<(), OpenError> {
        let report = Runner::new(&self.0)
            .set_grouped(true)
            .run(connection)
            .map_err(failed)?;
        for migration in report.applied_migrations() {
            tracing::info!(%migration, "migrated the index");
        }
        Ok(())
    }
}

fn translate(dialect: Dialect, sql: &str) -> String {
    let (identity, row_id, without_rowid) = match dialect {
        Dialect::Sqlite => (
            "INTEGER PRIMARY KEY AUTOINCREMENT",
            "INTEGER PRIMARY KEY",
            "WITHOUT ROWID",
        ),
        Dialect::Postgres => (
            "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
            "BIGINT PRIMARY KEY",
            "",
        ),
    };
    sql.replace("{identity}", identity)
        .replace("{row_id}", row_id)
        .replace("{without_rowid}", without_rowid)
}

pub(super) fn failed(error: impl std::error::Error) -> OpenError {
    OpenError::Migration(Chain(&error).to_string())
}

/// Holds the file at `path` alone until dropped; waits up to [`MIGRATION_WAIT`].
pub(super) fn lock_file(path: &Path) -> Result<File, OpenError> {
    let trouble = |error: std::io::Error| OpenError::File {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(trouble)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(trouble(error)),
            Err(TryLockError::WouldBlock) if started.elapsed() > MIGRATION_WAIT => {
                return Err(OpenError::Migrating(MIGRATION_WAIT.as_secs()));
            }
            Err(TryLockError::WouldBlock) => sleep(LOCK_POLL),
        }
    }
}
