//! Commands that change users and keys in the index, also while a server runs on it: the server
//! applies a change within a second.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tokio::runtime::{Builder, Runtime};
use wharfinger_db::Upgrade;
use wharfinger_iam::{AccessKeySummary, NewAccessKey};
use wharfinger_telemetry as telemetry;

use crate::app::App;
use crate::cli::configured::Configured;
use crate::cli::exports;
use crate::cli::output::say;
use crate::server;

/// Users read from the index at a time.
pub(super) const PAGE: usize = 100;

/// The arguments of a command without any of its own.
#[derive(Args)]
pub(super) struct NoArguments {
    #[command(flatten)]
    pub(super) configured: Box<Configured>,
}

/// Opens the index as the server does, and runs one command.
pub(super) fn run(
    configured: Configured,
    work: impl AsyncFnOnce(&App) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let config = configured.load()?;
    telemetry::init(&config.logs, None)?.shut_down();
    runtime(1)?.block_on(async {
        let app = server::open(config, Upgrade::Refuse).await?;
        work(&app).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The runtime of a command.
pub(super) fn runtime(threads: usize) -> anyhow::Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    runtime.context("cannot start the runtime")
}

/// Prints a new key as lines for a shell. A key that cannot be printed is deleted again, because
/// its secret is lost.
pub(super) async fn print_key(app: &App, endpoint: &str, key: &NewAccessKey) -> anyhow::Result<()> {
    let lines = exports::lines(
        endpoint,
        &key.access_key_id,
        &key.secret_access_key,
        &app.config.names.region,
    );
    let Err(error) = say(&lines) else {
        return Ok(());
    };
    app.iam
        .users()
        .delete_key(key.account, &key.access_key_id)
        .await
        .context("the new access key could be neither printed nor deleted")?;
    Err(error).context("the new access key could not be printed, so it was deleted")
}

pub(super) const fn key_state(key: &AccessKeySummary) -> &'static str {
    if key.disabled_at.is_some() {
        "disabled"
    } else {
        "enabled"
    }
}
