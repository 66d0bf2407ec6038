//! `wharfinger gc`: collects what nothing needs, or shows what a collection would remove.

use std::process::ExitCode;

use clap::Args;

use crate::cli::admin;
use crate::cli::configured::Configured;
use crate::cli::output::{aligned, say};
use crate::collection::{self, Outcome, Survey};

#[derive(Args)]
pub(super) struct GcArguments {
    /// Show what would be removed now, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    configured: Box<Configured>,
}

pub(super) fn run(arguments: GcArguments) -> anyhow::Result<ExitCode> {
    let dry_run = arguments.dry_run;
    admin::run(*arguments.configured, async move |app| {
        let text = if dry_run {
            report(&collection::survey(app).await?)
        } else {
            told(&collection::run(app).await?)
        };
        Ok(say(&text)?)
    })
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Collected {
            links,
            blobs,
            bytes,
        } => aligned(&[
            row("links removed", *links),
            row("blobs removed", *blobs),
            row("bytes removed", *bytes),
        ]),
        Outcome::ByServer => "the running server has collected everything that is due\n".to_owned(),
    }
}

fn row(what: &str, count: u64) -> [String; 2] {
    [what.to_owned(), count.to_string()]
}

fn report(survey: &Survey) -> String {
    aligned(&[
        row("links to remove", survey.links),
        row("blobs to remove", survey.blobs),
        row("bytes to remove", survey.bytes),
        row("blobs kept by a lease", survey.leased_blobs),
        row("bytes kept by a lease", survey.leased_bytes),
        row("blobs being removed", survey.condemned_blobs),
        row("bytes being removed", survey.condemned_bytes),
        row("deleted images with references", survey.deleted_images),
    ])
}
