//! One connection: its transactions and the statements that it has prepared.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use postgres::types::Type;
use postgres::{Client, IsolationLevel, SimpleQueryMessage, Statement, Transaction};
use wharfinger_base::Timestamp;

use crate::engine::{Engine, Tx};
use crate::error::{Error, OpenError, Result};
use crate::job::Job;
use crate::postgres::fault::{chain, ends_session, fault};
use crate::postgres::values::{as_params, type_of, with_dollars};
use crate::row::Row;
use crate::value::Value;

/// Prepared statements kept by each connection, above the number that the program has.
const STATEMENTS: usize = 512;
/// How long one statement may run: a scan of the largest index takes seconds, so what takes this
/// long hangs.
const STATEMENT_WAIT: Duration = Duration::from_secs(30);

/// Milliseconds since the epoch, at the moment of the statement.
const SERVER_TIME: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

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
    prepared: Prepared,
}

impl Session {
    /// Sets the session up, in one round trip.
    ///
    /// # Errors
    /// Also where its commits would not be durable: the setting of a role, of a database or of the
    /// server a failover leads to may have changed since the first session was opened.
    pub(super) fn new(mut client: Client) -> Result<Self, SessionError> {
        let messages = client.simple_query(&format!(
            "SET statement_timeout = '{}s'; SHOW synchronous_commit",
            STATEMENT_WAIT.as_secs()
        ))?;
        let early = messages.iter().any(
            |message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("off")),
        );
        if early {
            return Err(SessionError::SynchronousCommit);
        }
        Ok(Self {
            client,
            useless: false,
            prepared: Prepared::default(),
        })
    }

    /// Whether the session must be replaced before the next job.
    pub(super) fn is_useless(&self) -> bool {
        self.useless || self.client.is_closed()
    }

    /// One transaction, begun and ended.
    pub(super) fn run(&mut self, job: &mut dyn Job) -> Run {
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
                session_ended: false,
            },
            Err(error) => {
                self.useless = true;
                return Run::Disconnected(fault(&error));
            }
        };
        let mut tx = Tx::new(&mut open);
        let keep = job.run(&mut tx);
        let failure = tx.failure().cloned();
        if keep {
            let Open { transaction, .. } = open;
            return match transaction.commit() {
                Ok(()) => Run::Done(Ok(())),
                Err(error) => {
                    self.useless = ends_session(&error);
                    after_commit(&error, job.writes())
                }
            };
        }
        let Open {
            transaction,
            session_ended,
            ..
        } = open;
        let rolled_back = transaction.rollback().is_ok();
        self.useless = session_ended || !rolled_back;
        match failure {
            Some(Error::Conflict) => Run::Raced,
            Some(error @ Error::Unavailable(_)) if self.useless => Run::Disconnected(error),
            _ => Run::Done(Ok(())),
        }
    }
}

fn after_commit(error: &postgres::Error, writes: bool) -> Run {
    match fault(error) {
        Error::Conflict => Run::Raced,
        // Whether a write was committed is not known: it must not run again.
        error @ Error::Unavailable(_) if !writes => Run::Disconnected(error),
        error => Run::Done(Err(error)),
    }
}

/// An open transaction with the statements its connection has prepared.
struct Open<'a> {
    transaction: Transaction<'a>,
    prepared: &'a mut Prepared,
    /// A statement failed in a way that [`ends_session`].
    session_ended: bool,
}

impl Open<'_> {
    fn note(&mut self, error: &postgres::Error) -> Error {
        self.session_ended |= ends_session(error);
        fault(error)
    }

    fn prepare(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<Statement> {
        let prepared = self.prepared.get(&mut self.transaction, sql, params);
        let statement = prepared.map_err(|error| self.note(&error))?;
        check_count(params, statement.params().len())?;
        Ok(statement)
    }
}

impl Engine for Open<'_> {
    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let statement = self.prepare(sql, params)?;
        let rows = self.transaction.query(&statement, &as_params(params));
        for row in rows.map_err(|error| self.note(&error))? {
            if each(Row::postgres(&row))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
        let statement = self.prepare(sql, params)?;
        let changed = self.transaction.execute(&statement, &as_params(params));
        changed.map_err(|error| self.note(&error))
    }

    fn may_lose_commits(&self) -> bool {
        true
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
        transaction: &mut Transaction<'_>,
        sql: &'static str,
        params: &[Value<'_>],
    ) -> Result<Statement, postgres::Error> {
        if let Some(statement) = self.0.get(sql) {
            return Ok(statement.clone());
        }
        let types: Vec<Type> = params.iter().map(type_of).collect();
        let statement = transaction.prepare_typed(&with_dollars(sql), &types)?;
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
