//! `wharfinger fsck`: checks the index and the blob store.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use wharfinger_telemetry as telemetry;

use crate::cli::admin;
use crate::cli::configured::Configured;
use crate::cli::output::say;
use crate::fsck::{self, FsckOptions, Progress, Request};

/// How often the progress is printed.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(super) struct FsckArguments {
    /// Read all bytes and compare their digests, not only sizes
    #[arg(long)]
    checksums: bool,
    #[command(flatten)]
    repair: RepairArguments,
    /// From the beginning, also where an earlier check was interrupted
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    configured: Box<Configured>,
}

/// What a repair does.
#[derive(Args)]
struct RepairArguments {
    /// Put damaged and unknown objects aside and take what is missing out of the index, so that a
    /// push brings it again; the server must be stopped
    #[arg(long)]
    repair: bool,
    /// With --repair, take blobs out of the index also where the store has none of many, as where
    /// part of it is not mounted
    #[arg(long)]
    accept_loss: bool,
    /// With --repair, the URL of a registry with the same repositories, without a path, that
    /// missing and damaged blobs are fetched from; those of the pull-through cache are fetched
    /// from upstream in any case
    #[arg(long, value_name = "URL", env = "WHARFINGER_FSCK_SOURCE")]
    source: Option<String>,
    /// The user name for the source
    #[arg(long, value_name = "NAME", default_value = "AWS")]
    source_username: String,
    /// The password for the source [default: no credentials]
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "WHARFINGER_FSCK_SOURCE_PASSWORD",
        hide_env_values = true
    )]
    source_password: Option<String>,
}

/// Prints a line for each finding; the exit code is 1 where there is any.
pub(super) fn run(arguments: FsckArguments) -> anyhow::Result<ExitCode> {
    let config = arguments.configured.load()?;
    telemetry::init(&config.logs, None)?.shut_down();
    let repair = arguments.repair;
    if repair.source.is_some() && !repair.repair {
        // No error, since the environment may name it for all commands.
        tracing::warn!("nothing is fetched from the source without --repair");
    }
    let runtime = admin::runtime(2)?;
    let replica = match &repair.source {
        Some(url) => Some(fsck::replica(
            url,
            repair.source_username,
            repair.source_password,
        )?),
        None => None,
    };
    let request = Request {
        options: FsckOptions {
            checksums: arguments.checksums,
            repair: repair.repair,
            accept_loss: repair.accept_loss,
        },
        restart: arguments.restart,
        replica,
    };
    let mut shown = Instant::now();
    let done = runtime.block_on(fsck::run(config, request, |found, progress| {
        let mut text = String::new();
        for one in found {
            text += &one.to_string();
            text.push('\n');
        }
        if shown.elapsed() >= PROGRESS_PERIOD {
            shown = Instant::now();
            text += &line(progress);
        }
        say(&text)
    }))?;
    say(&line(&done))?;
    Ok(if done.found == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn line(progress: &Progress) -> String {
    format!("{} checked, {} found\n", progress.seen, progress.found)
}
