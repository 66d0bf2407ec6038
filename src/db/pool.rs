//! [`Db`]: runs closures in transactions, whichever engine holds the index.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use wharfinger_base::{Durability, Secret};

use crate::engine::Tx;
use crate::error::{Error, OpenError};
use crate::job::{Kind, attempt, submit};
use crate::migrate::{Migration, Upgrade};
use crate::postgres::Postgres;
use crate::sqlite::Sqlite;

/// Connections to PostgreSQL, each with its thread: enough to overlap the round trips of a few
/// hundred requests a second.
pub const POSTGRES_CONNECTIONS: usize = 8;

/// How long a result of the readiness check is used: anybody may request the check, and each check
/// writes.
const READINESS_AGE: Duration = Duration::from_secs(1);
/// How long the check may take; orchestrators give up after some seconds.
const READINESS_WAIT: Duration = Duration::from_secs(5);

/// Where the index is.
#[derive(Debug, Clone)]
pub enum DatabaseConfig {
    /// A file; made where there is none (its folder must exist).
    Sqlite {
        path: PathBuf,
        durability: Durability,
    },
    /// A `postgres://` URL as libpq takes it, by default with `target_session_attrs=read-write`.
    /// `sslmode=require`, `verify-ca` and `verify-full` all verify the server's certificate and
    /// name, against the system's roots or the file in `sslrootcert`.
    Postgres {
        url: Secret<String>,
        connections: usize,
    },
}

impl DatabaseConfig {
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::Sqlite {
            path: path.into(),
            durability: Durability::Full,
        }
    }

    pub fn postgres(url: impl Into<String>) -> Self {
        Self::Postgres {
            url: Secret::new(url.into()),
            connections: POSTGRES_CONNECTIONS,
        }
    }
}

/// A handle on the index; clones share it. The last one to go waits for the connection threads to
/// end.
#[derive(Clone)]
pub struct Db {
    side: Arc<Side>,
    readiness: Arc<Mutex<Readiness>>,
}

/// When the index was last found ready or not.
type Readiness = Option<(Instant, Result<(), Error>)>;

enum Side {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Db {
    /// Opens the index with the engines' own tables and those of `migrations`: the ones of all
    /// crates that use the index. Blocks, at most for as long as pending migrations take.
    pub fn open(
        config: &DatabaseConfig,
        migrations: &[Migration],
        upgrade: Upgrade,
    ) -> Result<Self, OpenError> {
        let side = match config {
            DatabaseConfig::Sqlite { path, durability } => {
                Side::Sqlite(Sqlite::open(path, *durability, migrations, upgrade)?)
            }
            DatabaseConfig::Postgres { url, connections } => {
                Side::Postgres(Postgres::open(url, *connections, migrations, upgrade)?)
            }
        };
        Ok(Self::of(side))
    }

    /// An empty index that is removed with its last handle: for tests and for throwaway servers.
    pub fn memory(migrations: &[Migration]) -> Result<Self, OpenError> {
        Ok(Self::of(Side::Sqlite(Sqlite::temporary(migrations)?)))
    }

    fn of(side: Side) -> Self {
        Self {
            side: Arc::new(side),
            readiness: Arc::default(),
        }
    }

    /// Point reads by key, in one snapshot. On SQLite they run at once on the calling thread: a hop
    /// costs more than the read. On PostgreSQL several of them share a transaction that begins
    /// after all of them were requested.
    pub async fn get<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        match &*self.side {
            Side::Sqlite(sqlite) => match sqlite.inline(|tx| attempt(&work, tx)) {
                Some(result) => result.unwrap_or_else(|error| Err(E::from(error))),
                None => submit(sqlite.reads(), Kind::Points, work).await,
            },
            Side::Postgres(postgres) => submit(postgres.queue(), Kind::Points, work).await,
        }
    }

    /// Reads of any length (scans, pages of lists), in one snapshot, on a connection thread.
    pub async fn read<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        match &*self.side {
            Side::Sqlite(sqlite) => submit(sqlite.reads(), Kind::Scan, work).await,
            Side::Postgres(postgres) => submit(postgres.queue(), Kind::Scan, work).await,
        }
    }

    /// Writes: all of the closure's statements, durable when it returns, or none of them where it
    /// errs or panics. The closure may run several times. Once this has returned, every later `get`
    /// and `read` sees the change. Where the caller goes away before its turn, the closure does not
    /// run at all.
    pub async fn write<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        match &*self.side {
            Side::Sqlite(sqlite) => submit(sqlite.writes(), Kind::Write, work).await,
            Side::Postgres(postgres) => submit(postgres.queue(), Kind::Write, work).await,
        }
    }

    /// Whether the index takes writes now. Writes one row, at most once a second however often it
    /// is called.
    pub async fn check_ready(&self) -> Result<(), Error> {
        let mut newest = self.readiness.lock().await;
        if let Some((at, result)) = &*newest
            && at.elapsed() < READINESS_AGE
        {
            return result.clone();
        }
        let write = self.write(|tx| {
            let sql = "UPDATE readiness SET checked_at = checked_at + 1 WHERE id = 1";
            tx.execute(sql, &[]).map(drop)
        });
        let late = |_| Err(Error::Unavailable("the index is too slow".to_owned()));
        let result = tokio::time::timeout(READINESS_WAIT, write)
            .await
            .unwrap_or_else(late);
        *newest = Some((Instant::now(), result.clone()));
        result
    }

    /// `sqlite` or `postgres`: a label for logs and metrics.
    pub fn engine(&self) -> &'static str {
        match &*self.side {
            Side::Sqlite(_) => "sqlite",
            Side::Postgres(_) => "postgres",
        }
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Db")
            .field("engine", &self.engine())
            .finish()
    }
}
