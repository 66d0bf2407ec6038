//! `wharfinger rebuild-index`: makes a lost index anew.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use wharfinger_telemetry as telemetry;

use crate::cli::admin;
use crate::cli::configured::Configured;
use crate::cli::output::say;
use crate::rebuild::{self, Rebuilt};

/// How often the progress is printed.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(super) struct RebuildArguments {
    /// Leave blobs out also where the store has none of many, as where part of it is not mounted,
    /// and go on where a part of the journal is missing
    #[arg(long)]
    accept_loss: bool,
    #[command(flatten)]
    configured: Box<Configured>,
}

/// Makes the index anew, and prints how far it is.
pub(super) fn run(arguments: RebuildArguments) -> anyhow::Result<ExitCode> {
    let config = arguments.configured.load()?;
    telemetry::init(&config.logs, None)?.shut_down();
    let runtime = admin::runtime(1)?;
    let mut shown = Instant::now();
    let done = runtime.block_on(rebuild::run(config, arguments.accept_loss, |so_far| {
        if shown.elapsed() >= PROGRESS_PERIOD {
            shown = Instant::now();
            // An error of the output does not end the command.
            let _ = say(&line(so_far));
        }
    }))?;
    say(&line(done))?;
    if done.missing_blobs > 0 {
        let count = done.missing_blobs;
        say(&format!(
            "{count} blobs are not in the blob store and were left out; a push brings them again.\n"
        ))?;
    }
    say("The index is made anew. Users, keys and settings of IAM are not in the journal.\n")?;
    Ok(ExitCode::SUCCESS)
}

fn line(so_far: Rebuilt) -> String {
    format!(
        "{} of {} segments, {} records, {} tags\n",
        so_far.segments, so_far.segments_total, so_far.records, so_far.tags
    )
}
