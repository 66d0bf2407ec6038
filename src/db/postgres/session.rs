//! One connection: its transactions and the statements that it has prepared.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use postgres::types::Type;
use postgres::{Client, SimpleQueryMessage, SimpleQueryRow, Statement};
use wharfinger_base::Timestamp;

use crate::engine::{Engine, Tx};
use crate::error::{Error, OpenError, Result};
use crate::job::Job;
use crate::postgres::fault::{chain, ends_session, fault};
use crate::postgres::queue::Turn;
use crate::postgres::snapshots::Snapshots;
use crate::postgres::values::{as_params, type_of, with_dollars};
use crate::row::Row;
use crate::value::Value;

/// Prepared statements kept by each connection, above the number that the program has.
const STATEMENTS: usize = 512;
/// How long one statement may run: a scan of the largest index takes seconds, so what takes this
/// long hangs.
const STATEMENT_WAIT: Duration = Duration::from_secs(30);

/// How the database server finds out that the host of a session is gone: within some 35 s. Until
/// then the session keeps its locks. Without effect on a socket of the same host.
pub(super) const PROBES: &str = "SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 5; \
    SET tcp_keepalives_count = 3";

/// Milliseconds since the epoch, at the moment of the statement.
const SERVER_TIME: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

/// Whether commits are durable, what names the server, and whether it is in recovery.
const DESCRIBE_SERVER: &str = "SELECT current_setting('synchronous_commit'), concat_ws(' ', \
    inet_server_addr(), inet_server_port(), EXTRACT(EPOCH FROM pg_postmaster_start_time())), \
    pg_is_in_recovery()";
const BEGIN_READ: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_current_snapshot()::text";
const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE";

/// How one run of a job ended.
pub(super) enum Run {
    /// Respond to the job with this.
    Done(Result<()>),
    /// Run it again: it lost a race.
    Raced,
    /// Run it again on a new connection: nothing of it can have been committed.
    Disconnected(Error),
}

/// Why a connection does not become a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("{}", chain(.0))]
    Driver(#[from] postgres::Error),
    #[error("{}", OpenError::SynchronousCommit)]
    SynchronousCommit,
}

impl From<SessionError> for OpenError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Driver(error) => Self::Connect(chain(&error)),
            SessionError::SynchronousCommit => Self::SynchronousCommit,
        }
    }
}

pub(super) struct Session {
    client: Client,
    /// A failure that a new connection may not have.
    useless: bool,
    /// A transaction of reads has not been ended: their results do not depend on how it ends, and
    /// its end travels with the beginning of the next one.
    open: bool,
    /// Statements that were sent.
    statements: u64,
    prepared: Prepared,
    /// What names the server among others and among its own restarts; `None` for one in recovery.
    server: Option<Arc<str>>,
}

impl Session {
    /// Sets the session up, in one round trip.
    ///
    /// # Errors
    /// Also where its commits would not be durable: the setting of a role, of a database or of the
    /// server a failover leads to may have changed since the first session was opened.
    pub(super) fn new(mut client: Client, snapshots: &Snapshots) -> Result<Self, SessionError> {
        let messages = client.simple_query(&format!(
            "SET statement_timeout = '{wait}s'; \
             SET idle_in_transaction_session_timeout = '{wait}s'; {PROBES}; {DESCRIBE_SERVER}",
            wait = STATEMENT_WAIT.as_secs()
        ))?;
        let column = |column| first_row(&messages).and_then(|row| row.get(column));
        if column(0) == Some("off") {
            return Err(SessionError::SynchronousCommit);
        }
        let server = column(1).filter(|_| column(2) == Some("f")).map(Arc::from);
        snapshots.raise_epoch();
        Ok(Self {
            client,
            useless: false,
            open: false,
            statements: 0,
            prepared: Prepared::default(),
            server,
        })
    }

    /// Whether the session must be replaced before the next job.
    pub(super) fn is_useless(&self) -> bool {
        self.useless || self.client.is_closed()
    }

    /// Whether a transaction of reads can take another job.
    pub(super) const fn is_open(&self) -> bool {
        self.open
    }

    /// How many statements were sent, to compare.
    pub(super) const fn statements(&self) -> u64 {
        self.statements
    }

    /// Begins a transaction for [`Self::read`] and takes its snapshot, in one round trip that also
    /// ends the last transaction. Returns the number of the snapshot, if it has one.
    pub(super) fn begin_read(&mut self, snapshots: &Snapshots) -> Result<Option<u64>> {
        let epoch = snapshots.epoch();
        let messages = self.begin(BEGIN_READ)?;
        self.open = true;
        let text = first_row(&messages).and_then(|row| row.get(0));
        let number = |(server, text)| snapshots.number(epoch, server, text);
        Ok(self.server.as_ref().zip(text).map(number))
    }

    /// Runs a job that only reads in the open transaction, which ends where a statement fails.
    /// The turn ends with the first statement.
    pub(super) fn read(
        &mut self,
        job: &mut dyn Job,
        snapshot: Option<u64>,
        turn: Option<&mut Turn<'_>>,
    ) -> Run {
        let mut transaction = Transaction {
            session: self,
            turn,
            session_ended: false,
        };
        let mut tx = Tx::at(&mut transaction, snapshot);
        job.run(&mut tx);
        let failure = tx.failure().cloned();
        let session_ended = transaction.session_ended;
        match failure {
            Some(failure) => self.roll_back(Some(failure), session_ended),
            None => Run::Done(Ok(())),
        }
    }

    /// Runs a job in a transaction of its own that can write.
    pub(super) fn write(&mut self, job: &mut dyn Job) -> Run {
        if let Err(error) = self.begin(BEGIN_WRITE) {
            return Run::Disconnected(error);
        }
        let mut transaction = Transaction {
            session: self,
            turn: None,
            session_ended: false,
        };
        let mut tx = Tx::new(&mut transaction);
        let keep = job.run(&mut tx);
        let failure = tx.failure().cloned();
        let session_ended = transaction.session_ended;
        if !keep {
            return self.roll_back(failure, session_ended);
        }
        match self.client.batch_execute("COMMIT") {
            Ok(()) => Run::Done(Ok(())),
            Err(error) => {
                self.useless = ends_session(&error);
                after_commit(&error)
            }
        }
    }

    /// Ends the open transaction of reads, if there is one: it would keep the server from removing
    /// old rows.
    pub(super) fn end(&mut self) {
        if self.open {
            self.open = false;
            self.useless |= self.client.batch_execute("COMMIT").is_err();
        }
    }

    fn begin(&mut self, beginning: &str) -> Result<Vec<SimpleQueryMessage>> {
        let end = if self.open { "COMMIT; " } else { "" };
        self.open = false;
        let messages = self.client.simple_query(&format!("{end}{beginning}"));
        messages.map_err(|error| {
            self.useless = true;
            fault(&error)
        })
    }

    /// Rolls the transaction back that the job did not complete; `failure` is what lost it.
    fn roll_back(&mut self, failure: Option<Error>, session_ended: bool) -> Run {
        self.open = false;
        let rolled_back = self.client.batch_execute("ROLLBACK").is_ok();
        self.useless = session_ended || !rolled_back;
        match failure {
            Some(Error::Conflict) => Run::Raced,
            Some(error @ Error::Unavailable(_)) if self.useless => Run::Disconnected(error),
            _ => Run::Done(Ok(())),
        }
    }
}

fn first_row(messages: &[SimpleQueryMessage]) -> Option<&SimpleQueryRow> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

fn after_commit(error: &postgres::Error) -> Run {
    match fault(error) {
        Error::Conflict => Run::Raced,
        // Whether it was committed may not be known: it must not run again.
        error => Run::Done(Err(error)),
    }
}

/// A session in a transaction.
struct Transaction<'a, 't> {
    session: &'a mut Session,
    /// What another worker waits for.
    turn: Option<&'a mut Turn<'t>>,
    /// A statement failed in a way that [`ends_session`].
    session_ended: bool,
}

impl Transaction<'_, '_> {
    fn note(&mut self, error: &postgres::Error) -> Error {
        self.session_ended |= ends_session(error);
        fault(error)
    }

    fn prepare(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<Statement> {
        if let Some(turn) = &mut self.turn {
            turn.end();
        }
        let session = &mut *self.session;
        session.statements += 1;
        let prepared = session.prepared.get(&mut session.client, sql, params);
        let statement = prepared.map_err(|error| self.note(&error))?;
        check_count(params, statement.params().len())?;
        Ok(statement)
    }
}

impl Engine for Transaction<'_, '_> {
    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let statement = self.prepare(sql, params)?;
        let rows = self.session.client.query(&statement, &as_params(params));
        for row in rows.map_err(|error| self.note(&error))? {
            if each(Row::postgres(&row))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
        let statement = self.prepare(sql, params)?;
        let changed = self.session.client.execute(&statement, &as_params(params));
        changed.map_err(|error| self.note(&error))
    }

    fn server_time(&mut self) -> Result<Option<Timestamp>> {
        let mut time = None;
        self.query(SERVER_TIME, &[], &mut |row| {
            time = Some(Timestamp::from_ms(row.integer(0)));
            Ok(ControlFlow::Break(()))
        })?;
        Ok(time)
    }
}

/// Statements prepared on one connection, by their text.
#[derive(Default)]
struct Prepared(HashMap<&'static str, Statement>);

impl Prepared {
    fn get(
        &mut self,
        client: &mut Client,
        sql: &'static str,
        params: &[Value<'_>],
    ) -> Result<Statement, postgres::Error> {
        if let Some(statement) = self.0.get(sql) {
            return Ok(statement.clone());
        }
        let types: Vec<Type> = params.iter().map(type_of).collect();
        let statement = client.prepare_typed(&with_dollars(sql), &types)?;
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
