//! `wharfinger restore`: restores a backup.

use std::process::ExitCode;

use clap::Args;
use wharfinger_telemetry as telemetry;

use crate::cli::admin;
use crate::cli::configured::Configured;
use crate::cli::output::say;
use crate::restore::{self, BackupManifest, RestoreProgress};

#[derive(Args)]
pub(super) struct RestoreArguments {
    /// Where the backups are: a folder, or <s3://BUCKET/PREFIX?endpoint=URL&region=NAME>
    source: String,
    /// The backup to restore, of those that `wharfinger backup --list` shows [default: the newest]
    #[arg(long, value_name = "BACKUP")]
    backup: Option<String>,
    #[command(flatten)]
    configured: Box<Configured>,
}

/// Restores, or goes on where an earlier run was interrupted, and prints how far it is.
pub(super) fn run(arguments: RestoreArguments) -> anyhow::Result<ExitCode> {
    let config = arguments.configured.load()?;
    telemetry::init(&config.logs, None)?.shut_down();
    let runtime = admin::runtime(2)?;
    // An error of the output does not end the command.
    let shown = |progress: &RestoreProgress, manifest: &BackupManifest| {
        drop(say(&line(progress, manifest)));
    };
    let named = arguments.backup.as_deref();
    let id = runtime.block_on(restore::run(config, &arguments.source, named, shown))?;
    say(&format!("The backup {id} is restored.\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn line(progress: &RestoreProgress, manifest: &BackupManifest) -> String {
    format!(
        "{} of {} blobs, {} of {} bytes, {} of {} rows\n",
        progress.blobs(),
        manifest.blobs,
        progress.bytes(),
        manifest.blob_bytes,
        progress.rows(),
        manifest.rows
    )
}
