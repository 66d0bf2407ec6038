//! `wharfinger backup`: makes, lists, checks and removes backups.

use std::process::ExitCode;

use clap::{ArgGroup, Args};
use wharfinger_telemetry as telemetry;

use crate::backup::{
    self, BackupError, BackupId, BackupManifest, CreateProgress, Pruned, VerifyProgress,
};
use crate::cli::admin;
use crate::cli::configured::Configured;
use crate::cli::output::{aligned, say};
use crate::config::Config;

#[derive(Args)]
#[command(group = ArgGroup::new("instead").args(["list", "verify", "prune"]))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(super) struct BackupArguments {
    /// Where the backups are: a folder, or <s3://BUCKET/PREFIX?endpoint=URL&region=NAME>
    target: String,
    /// Put the master key into the backup as well, so that whoever reads the backup can read all
    /// secrets
    #[arg(long, conflicts_with = "instead")]
    with_key: bool,
    /// List the backups, and make none
    #[arg(long)]
    list: bool,
    /// Read all of the newest backup, or of the named one, and compare checksums; make none
    #[arg(long, value_name = "BACKUP", num_args = 0..=1, default_missing_value = "")]
    verify: Option<String>,
    /// With --verify, put damaged blobs aside, so that the next backup copies them anew
    #[arg(long, requires = "verify")]
    repair: bool,
    /// Remove old backups, and the blobs that no other backup has; make none
    #[arg(long, requires = "keep")]
    prune: bool,
    /// With --prune, how many of the newest backups stay
    #[arg(long, value_name = "COUNT", requires = "prune",
          value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    #[command(flatten)]
    configured: Box<Configured>,
}

/// Runs the command; the exit code of a check is 1 where anything is missing or damaged.
pub(super) fn run(arguments: BackupArguments) -> anyhow::Result<ExitCode> {
    let config = arguments.configured.load()?;
    telemetry::init(&config.logs, None)?.shut_down();
    let target = arguments.target;
    let runtime = admin::runtime(2)?;
    runtime.block_on(async {
        if arguments.list {
            let found = backup::list(&config, &target).await?;
            say(&listed(&found))?;
        } else if let Some(named) = &arguments.verify {
            return verify(&config, &target, named, arguments.repair).await;
        } else if let Some(keep) = arguments.keep.filter(|_| arguments.prune) {
            let keep = usize::try_from(keep).unwrap_or(usize::MAX);
            let shown = |so_far| drop(say(&pruned_line(so_far)));
            let pruned = backup::prune(&config, &target, keep, shown).await?;
            say(&pruned_line(pruned))?;
        } else {
            // An error of the output does not end the command.
            let shown = |progress: &CreateProgress| drop(say(&line(progress)));
            let made = backup::create(config, &target, arguments.with_key, shown).await?;
            say(&made_line(&made.0, &made.1))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn verify(
    config: &Config,
    target: &str,
    named: &str,
    repair: bool,
) -> anyhow::Result<ExitCode> {
    let named = Some(named).filter(|named| !named.is_empty());
    let progress = VerifyProgress::default();
    let found = |fault: String| drop(say(&format!("{fault}\n")));
    let shown = || drop(say(&verify_line(&progress)));
    let id = backup::verify(config, target, named, repair, &progress, &found, shown).await?;
    say(&format!("{id}: {}", verify_line(&progress)))?;
    Ok(if progress.found() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn line(progress: &CreateProgress) -> String {
    format!(
        "{} rows, {} blobs; copied {} blobs, {} bytes\n",
        progress.rows(),
        progress.blobs(),
        progress.copied(),
        progress.copied_bytes()
    )
}

fn made_line(id: &BackupId, manifest: &BackupManifest) -> String {
    let key = if manifest.has_key {
        "The master key is in it: keep it as safe as the key."
    } else {
        "The master key is not in it: keep the key file elsewhere."
    };
    format!(
        "{id}: {} rows, {} blobs, {} bytes. {key}\n",
        manifest.rows, manifest.blobs, manifest.blob_bytes
    )
}

fn verify_line(progress: &VerifyProgress) -> String {
    format!(
        "{} parts and {} blobs checked, {} found\n",
        progress.parts(),
        progress.blobs(),
        progress.found()
    )
}

fn pruned_line(pruned: Pruned) -> String {
    format!(
        "removed {} backups, {} blobs, {} bytes\n",
        pruned.backups, pruned.blobs, pruned.bytes
    )
}

fn listed(found: &[(BackupId, Result<BackupManifest, BackupError>)]) -> String {
    let head = ["BACKUP", "INDEX", "ROWS", "BLOBS", "BYTES", "MASTER KEY"].map(str::to_owned);
    let rows = found.iter().map(|(id, manifest)| {
        let Ok(manifest) = manifest else {
            let mut row = ["-"; 6].map(str::to_owned);
            row[0] = id.to_string();
            "damaged".clone_into(&mut row[1]);
            return row;
        };
        let key = if manifest.has_key { " (included)" } else { "" };
        [
            id.to_string(),
            manifest.engine.clone(),
            manifest.rows.to_string(),
            manifest.blobs.to_string(),
            manifest.blob_bytes.to_string(),
            format!("{}{key}", manifest.master_key),
        ]
    });
    aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}
