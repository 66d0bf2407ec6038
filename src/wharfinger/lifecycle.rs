//! Evaluations of lifecycle policies that a command wants: its own, or by the server that owns the
//! index.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::Instant;
use wharfinger_db::{DatabaseConfig, Serving, ServingError, ServingLock};
use wharfinger_registry::{RegistryId, RepositoryWithPolicy};

use crate::app::App;

/// How often a command looks whether the server has evaluated a policy.
const POLL: Duration = Duration::from_millis(250);
/// How long it waits for one evaluation.
const PATIENCE: Duration = Duration::from_hours(1);

/// The repositories with a policy; of the configured registry the one of a name.
pub(crate) async fn selected(
    app: &App,
    name: Option<&str>,
) -> anyhow::Result<Vec<RepositoryWithPolicy>> {
    let mut all = app.registry.lifecycle.repositories().await?;
    if let Some(name) = name {
        let names = &app.config.names;
        let registry = RegistryId {
            account: names.account,
            region: names.region.clone(),
        };
        all.retain(|found| found.name.as_str() == name && found.registry == registry);
        if all.is_empty() {
            bail!("no repository {name} with a lifecycle policy");
        }
    }
    Ok(all)
}

/// How a command evaluates policies.
pub(crate) struct Evaluation<'a> {
    app: &'a App,
    how: How,
}

enum How {
    DryRun,
    /// This process changes the index. Where no server may begin meanwhile, it holds the lock.
    Alone {
        _lock: Option<ServingLock>,
    },
    /// A server on SQLite keeps in memory what its own writes alone change: it does the work.
    ByServer,
}

impl<'a> Evaluation<'a> {
    /// # Errors
    /// Unless it is a `dry_run`: for an index that was lost or is being made anew, where images
    /// would expire that are not all there, and while a command has the index alone.
    pub(crate) async fn of(app: &'a App, dry_run: bool) -> anyhow::Result<Self> {
        let how = if dry_run {
            How::DryRun
        } else {
            app.registry.check_journal().await?;
            let config = &app.config;
            match ServingLock::acquire(&config.data_dir, &config.database, Serving::Beside) {
                Ok(lock) => How::Alone { _lock: Some(lock) },
                // A server has it.
                Err(ServingError::Folder(_) | ServingError::Index(_)) => match config.database {
                    DatabaseConfig::Postgres { .. } => How::Alone { _lock: None },
                    DatabaseConfig::Sqlite { .. } => How::ByServer,
                },
                Err(error) => return Err(error.into()),
            }
        };
        Ok(Self { app, how })
    }

    /// Evaluates one policy; returns a line that tells what came of it.
    pub(crate) async fn run(&self, repository: &RepositoryWithPolicy) -> anyhow::Result<String> {
        let done = match &self.how {
            How::DryRun => self.dry_run(repository).await,
            How::Alone { .. } => self.alone(repository).await,
            How::ByServer => self.by_server(repository).await,
        };
        let name = &repository.name;
        let done = done.with_context(|| format!("the policy of {name} was not evaluated"))?;
        let arn = repository.registry.repository_arn(name);
        Ok(format!("{arn}\t{done}\n"))
    }

    async fn dry_run(&self, repository: &RepositoryWithPolicy) -> anyhow::Result<String> {
        let counts = self.app.registry.lifecycle.dry_run(repository.id).await?;
        Ok(match counts {
            Some((expiring, archiving)) => {
                format!("would expire {expiring}\twould archive {archiving}")
            }
            None => "has no policy any more".to_owned(),
        })
    }

    async fn alone(&self, repository: &RepositoryWithPolicy) -> anyhow::Result<String> {
        let done = self.app.registry.lifecycle.evaluate(repository.id).await?;
        Ok(match done {
            Some(report) => {
                let more = if report.is_cut { "\tmore follow" } else { "" };
                let (expired, archived) = (report.expired, report.archived);
                format!("expired {expired}\tarchived {archived}{more}")
            }
            None => "is being evaluated already, or was changed".to_owned(),
        })
    }

    /// Has the server evaluate the policy, and waits for it.
    async fn by_server(&self, repository: &RepositoryWithPolicy) -> anyhow::Result<String> {
        let lifecycle = &self.app.registry.lifecycle;
        if !lifecycle.request_evaluation(repository.id).await? {
            return Ok("has no policy any more".to_owned());
        }
        let started = Instant::now();
        while lifecycle.is_pending(repository.id).await? {
            if started.elapsed() > PATIENCE {
                bail!("the server has not evaluated it yet");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok("evaluated by the server".to_owned())
    }
}
