//! The server engine: connection threads, prepared statements, serialisable transactions that are
//! repeated after a lost race.

use std::collections::HashMap;
use std::error::Error as _;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use bytes::BytesMut;
use postgres::error::SqlState;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, IsolationLevel, Statement, Transaction};
use refinery::Migrate;
use tokio::sync::mpsc;
use wharfinger_base::{Ids, Secret};

use crate::engine::{Engine, Tx};
use crate::error::{Error, OpenError, Result};
use crate::job::{Job, Queue};
use crate::migrate::{Dialect, HISTORY, MIGRATION_WAIT, Migration, Schema, Upgrade, failed};
use crate::row::Row;
use crate::threads::Threads;
use crate::tls::Connector;
use crate::value::Value;

/// Jobs that may wait for a connection.
const QUEUE: usize = 1024;
/// Prepared statements kept by each connection, above the number that the program has.
const STATEMENTS: usize = 512;
/// Runs of one closure before a lost race becomes the caller's: with the pauses below, two to three
/// seconds of trying.
const ATTEMPTS: u32 = 24;
/// The first pause after a lost race; it doubles up to the longest one, and a random half of it is
/// left out.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// Tries to connect again before a waiting job is told that the database is away.
const RECONNECTS: u32 = 4;
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);
/// How long one statement may run: a scan of the largest index takes seconds, so what takes this
/// long hangs.
const STATEMENT_WAIT: Duration = Duration::from_mins(2);
/// The advisory lock that migrations run under: "wharf" in ASCII.
const MIGRATION_LOCK: i64 = 0x77_68_61_72_66;

/// The index on a PostgreSQL server.
pub(super) struct Postgres {
    queue: Queue,
    _threads: Threads,
}

impl Postgres {
    pub(super) fn open(
        url: &Secret<String>,
        connections: usize,
        migrations: &[Migration],
        upgrade: Upgrade,
    ) -> Result<Self, OpenError> {
        let connector = Arc::new(Connector::from_url(url.reveal())?);
        let schema = Schema::of(Dialect::Postgres, migrations)?;
        // The blocking client runs a runtime of its own, which must not happen on a thread of the
        // caller's.
        let first = std::thread::scope(|scope| {
            let opening = scope.spawn(|| {
                let mut client = connector
                    .connect()
                    .map_err(|error| OpenError::Connect(chain(&error)))?;
                check_collation(&mut client)?;
                migrate(&mut client, &schema, upgrade)?;
                Session::new(client).map_err(|error| OpenError::Connect(chain(&error)))
            });
            opening.join().unwrap_or_else(|_| {
                Err(OpenError::Connect(
                    "the connection thread panicked".to_owned(),
                ))
            })
        })?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Threads::default();
        let mut first = Some(first);
        for _ in 0..connections.max(1) {
            let mut worker = Worker {
                connector: Arc::clone(&connector),
                session: first.take(),
                ids: Ids::default(),
            };
            let jobs = Arc::clone(&jobs);
            threads.start("db-postgres", move || worker.run(&jobs))?;
        }
        Ok(Self {
            queue,
            _threads: threads,
        })
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }
}

/// Text order must be the order of bytes, as it is in the embedded engine: pages and prefix
/// searches are built on it.
fn check_collation(client: &mut Client) -> Result<(), OpenError> {
    let sql = "SELECT datcollate::text, pg_encoding_to_char(encoding)::text, 'a' < 'B' FROM pg_database WHERE datname = current_database()";
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

fn migrate(client: &mut Client, schema: &Schema, upgrade: Upgrade) -> Result<(), OpenError> {
    if !schema.is_behind(&applied(client)?, upgrade)? {
        return Ok(());
    }
    let wait = MIGRATION_WAIT.as_secs();
    client
        .batch_execute(&format!("SET lock_timeout = '{wait}s'"))
        .map_err(failed)?;
    client
        .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
        .map_err(|_| OpenError::Migrating(wait))?;
    let result = if schema.is_behind(&applied(client)?, upgrade)? {
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

/// One connection, its thread and what it has prepared.
struct Worker {
    connector: Arc<Connector>,
    session: Option<Session>,
    ids: Ids,
}

/// How one run of a job ended.
enum Run {
    /// Answer the job with this.
    Done(Result<()>),
    /// Run it again: it lost a race.
    Raced,
    /// Run it again on a new connection: nothing of it can have been committed.
    Disconnected(Error),
}

impl Worker {
    fn run(&mut self, jobs: &Mutex<mpsc::Receiver<Box<dyn Job>>>) {
        loop {
            // The lock is the queue in which idle connections stand.
            let next = jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .blocking_recv();
            let Some(mut job) = next else { return };
            if !job.abandoned() {
                let fate = self.settle(&mut *job);
                job.answer(fate);
            }
        }
    }

    /// Runs the job until it is committed, refused, or out of attempts.
    fn settle(&mut self, job: &mut dyn Job) -> Result<()> {
        let mut last = Error::Conflict;
        for attempt in 0..ATTEMPTS {
            let session = match &mut self.session {
                Some(session) => session,
                None => self.session.insert(reconnect(&self.connector)?),
            };
            let run = session.run(job);
            if session.client.is_closed() {
                self.session = None;
            }
            match run {
                Run::Done(fate) => return fate,
                Run::Raced => last = Error::Conflict,
                Run::Disconnected(error) => last = error,
            }
            self.pause(attempt);
        }
        Err(last)
    }

    fn pause(&self, attempt: u32) {
        let whole = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(attempt.min(16)));
        let [random] = self.ids.bytes::<1>();
        sleep(whole / 2 + whole * u32::from(random) / 512);
    }
}

fn reconnect(connector: &Connector) -> Result<Session> {
    let mut tries = 1;
    loop {
        match connector.connect().and_then(Session::new) {
            Ok(session) => return Ok(session),
            Err(error) if tries == RECONNECTS => {
                return Err(Error::Unavailable(format!(
                    "cannot reach the database: {}",
                    chain(&error)
                )));
            }
            Err(error) => tracing::debug!(error = chain(&error), "cannot reach the database"),
        }
        tries += 1;
        sleep(RECONNECT_PAUSE);
    }
}

struct Session {
    client: Client,
    prepared: Prepared,
}

impl Session {
    fn new(mut client: Client) -> Result<Self, postgres::Error> {
        client.batch_execute(&format!(
            "SET statement_timeout = '{}s'",
            STATEMENT_WAIT.as_secs()
        ))?;
        Ok(Self {
            client,
            prepared: Prepared::default(),
        })
    }

    /// One transaction, begun and ended.
    fn run(&mut self, job: &mut dyn Job) -> Run {
        let builder = self.client.build_transaction();
        let builder = if job.writes() {
            builder.isolation_level(IsolationLevel::Serializable)
        } else {
            builder
                .isolation_level(IsolationLevel::RepeatableRead)
                .read_only(true)
        };
        let mut open = match builder.start() {
            Ok(transaction) => Open {
                transaction,
                prepared: &mut self.prepared,
            },
            Err(error) => return Run::Disconnected(fault(&error)),
        };
        let mut tx = Tx::new(&mut open);
        let keep = job.run(&mut tx);
        let failure = tx.failure().cloned();
        if keep {
            return match open
                .transaction
                .commit()
                .map_err(|error| (fault(&error), error.is_closed()))
            {
                Ok(()) => Run::Done(Ok(())),
                Err((Error::Conflict, _)) => Run::Raced,
                // Whether it was committed is not known: it must not run again.
                Err((error, true)) if job.writes() => Run::Done(Err(error)),
                Err((error, true)) => Run::Disconnected(error),
                Err((error, false)) => Run::Done(Err(error)),
            };
        }
        let Open { transaction, .. } = open;
        let rolled_back = transaction.rollback().is_ok();
        match failure {
            Some(Error::Conflict) => Run::Raced,
            Some(error @ Error::Unavailable(_)) if !rolled_back => Run::Disconnected(error),
            _ => Run::Done(Ok(())),
        }
    }
}

/// An open transaction with the statements its connection has prepared.
struct Open<'a> {
    transaction: Transaction<'a>,
    prepared: &'a mut Prepared,
}

impl Engine for Open<'_> {
    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let statement = self.prepared.get(&mut self.transaction, sql, params)?;
        for row in self
            .transaction
            .query(&statement, &as_params(params))
            .map_err(|error| fault(&error))?
        {
            if each(Row::postgres(&row))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
        let statement = self.prepared.get(&mut self.transaction, sql, params)?;
        self.transaction
            .execute(&statement, &as_params(params))
            .map_err(|error| fault(&error))
    }
}

/// Statements prepared on one connection, by their text.
#[derive(Default)]
struct Prepared(HashMap<&'static str, Statement>);

impl Prepared {
    fn get(
        &mut self,
        transaction: &mut Transaction<'_>,
        sql: &'static str,
        params: &[Value<'_>],
    ) -> Result<Statement> {
        if let Some(statement) = self.0.get(sql) {
            check_count(params, statement.params().len())?;
            return Ok(statement.clone());
        }
        let types: Vec<Type> = params.iter().map(type_of).collect();
        let statement = transaction
            .prepare_typed(&with_dollars(sql), &types)
            .map_err(|error| fault(&error))?;
        check_count(params, statement.params().len())?;
        if self.0.len() >= STATEMENTS {
            self.0.clear();
        }
        self.0.insert(sql, statement.clone());
        Ok(statement)
    }
}

fn check_count(params: &[Value<'_>], wanted: usize) -> Result<()> {
    if params.len() == wanted {
        Ok(())
    } else {
        Err(Error::Other(format!(
            "{} parameters for a statement that takes {wanted}",
            params.len()
        )))
    }
}

/// `?1` as PostgreSQL writes it, `$1`; quoted text is left alone.
fn with_dollars(sql: &str) -> String {
    let mut quoted = false;
    let change = |c: char| {
        quoted ^= c == '\'';
        if c == '?' && !quoted { '$' } else { c }
    };
    sql.chars().map(change).collect()
}

/// Integers are BIGINT always; the server infers the type of a NULL from its place.
fn type_of(value: &Value<'_>) -> Type {
    match value {
        Value::Null => Type::UNKNOWN,
        Value::Integer(_) => Type::INT8,
        Value::Text(_) => Type::TEXT,
        Value::Bytes(_) => Type::BYTEA,
    }
}

fn as_params<'a>(params: &'a [Value<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    params
        .iter()
        .map(|value| value as &(dyn ToSql + Sync))
        .collect()
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, kind) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Integer(integer), &Type::INT4) => i32::try_from(*integer)?.to_sql(kind, out),
            (Self::Integer(integer), &Type::INT8) => integer.to_sql(kind, out),
            (Self::Text(text), &Type::TEXT | &Type::VARCHAR | &Type::UNKNOWN) => {
                text.to_sql(kind, out)
            }
            (Self::Bytes(bytes), &Type::BYTEA) => bytes.as_ref().to_sql(kind, out),
            _ => Err(format!(
                "a parameter of type {} where the statement wants {kind}",
                type_of(self)
            )
            .into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// An integer column of any width.
pub(super) struct Integer(pub(super) i64);

impl<'a> FromSql<'a> for Integer {
    fn from_sql(
        kind: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        match *kind {
            Type::INT2 => i16::from_sql(kind, raw).map(|integer| Self(integer.into())),
            Type::INT4 => i32::from_sql(kind, raw).map(|integer| Self(integer.into())),
            _ => i64::from_sql(kind, raw).map(Self),
        }
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::INT2 | Type::INT4 | Type::INT8)
    }
}

fn fault(error: &postgres::Error) -> Error {
    let Some(state) = error.code() else {
        let network = error
            .source()
            .and_then(|source| source.downcast_ref::<std::io::Error>())
            .is_some();
        return if error.is_closed() || network {
            Error::Unavailable(chain(error))
        } else {
            Error::Other(chain(error))
        };
    };
    match *state {
        SqlState::UNIQUE_VIOLATION => Error::Unique,
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => Error::Conflict,
        // Connection, resources (a full disk), operator (a shutdown), read-only (a standby after a
        // switch).
        _ if ["08", "53", "57"].contains(&&state.code()[..2])
            || *state == SqlState::READ_ONLY_SQL_TRANSACTION =>
        {
            Error::Unavailable(chain(error))
        }
        _ => Error::Other(chain(error)),
    }
}

/// The driver's own text says little; its causes say the rest.
fn chain(error: &postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
