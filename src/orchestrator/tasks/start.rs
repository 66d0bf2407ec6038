//! Tasks are started: placed and stored, all of a request in one transaction with the resources
//! that they take, or none.

use std::sync::Arc;

use tokio::sync::oneshot;
use wharfinger_db::{self as db, Tx};

use crate::error::{Error, Result};
use crate::model::TaskId;
use crate::store;
use crate::store::client_tokens::TokenUse;
use crate::tasks::Tasks;
use crate::tasks::prepared::Prepared;
use crate::tasks::queue::{Job, Outcome};
use crate::tasks::request::{StartTasks, StartedTasks};

impl Tasks {
    /// Starts tasks: they are placed and stored with the resources that they take, and their agents
    /// are told. Tasks of capacity providers that find no capacity are stored and wait.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a constraint or strategy that is not valid;
    /// [`Error::Conflict`] for a client token of another request.
    pub async fn start(&self, request: StartTasks) -> Result<StartedTasks> {
        if let Some(used) = self.used_token(&request).await? {
            return self.repeated(&request, &used).await;
        }
        let prepared = Prepared::new(&self.db, request).await?;
        let request = Arc::clone(&prepared.request);
        let cluster = request.cluster.id.clone();
        let (reply, outcome) = oneshot::channel();
        let job = Job {
            prepared,
            queued_at: self.clock.now(),
            attempts: 0,
            reply,
        };
        let unavailable = |why: &str| Error::Index(db::Error::Unavailable(why.to_owned()));
        let is_first = self.starts.push(&cluster, job);
        if is_first.map_err(|_| unavailable("too many tasks are being started"))? {
            // A task of its own: it works for others too, and its caller may go away.
            let tasks = self.clone();
            tokio::spawn(async move { tasks.work(&cluster).await });
        }
        let lost = |_| Err(unavailable("placement ended early"));
        match outcome.await.unwrap_or_else(lost)? {
            Outcome::Started(started) => Ok(started),
            Outcome::TokenUsed => match self.used_token(&request).await? {
                Some(used) => self.repeated(&request, &used).await,
                None => Err(Error::Index(db::Error::Conflict)),
            },
        }
    }

    /// The earlier use of the request's client token.
    async fn used_token(&self, request: &StartTasks) -> Result<Option<TokenUse>> {
        let Some(key) = request.token_key() else {
            return Ok(None);
        };
        let read = move |tx: &mut Tx<'_>| store::client_tokens::get(tx, &key);
        Ok(self.db.get(read).await?)
    }

    /// What the first request with the same client token made.
    async fn repeated(&self, request: &StartTasks, used: &TokenUse) -> Result<StartedTasks> {
        let ids = serde_json::from_str::<Vec<TaskId>>(&used.result);
        let ids = ids.map_err(|error| Error::Index(db::Error::other(error)))?;
        let given = request.token.as_ref().map(|token| &token.request);
        if given != Some(&used.request) {
            let name = &request.cluster.name;
            let arns = ids.iter().map(|id| name.task_arn(id).to_string());
            return Err(Error::Conflict {
                message: "The client token was used for a request with other parameters."
                    .to_owned(),
                resource_ids: arns.collect(),
            });
        }
        let found = self.find_all(&request.cluster.id, &ids).await?;
        Ok(StartedTasks {
            tasks: found.into_iter().flatten().collect(),
            unplaced: None,
        })
    }
}
