//! `wharfinger lifecycle`: evaluates lifecycle policies on demand.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::admin;
use crate::cli::configured::Configured;
use crate::cli::output::say;
use crate::lifecycle;

#[derive(Subcommand)]
pub(super) enum LifecycleCommand {
    /// Evaluate policies and do what they say. Where a server owns the index, it does so at the
    /// command's request
    Run(RunArguments),
}

#[derive(Args)]
pub(super) struct RunArguments {
    /// Only the policy of this repository of the configured account and region [default: all]
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// Tell how many images would expire or be archived, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    configured: Box<Configured>,
}

pub(super) fn run(command: LifecycleCommand) -> anyhow::Result<ExitCode> {
    let LifecycleCommand::Run(arguments) = command;
    let RunArguments {
        repository,
        dry_run,
        configured,
    } = arguments;
    admin::run(*configured, async move |app| {
        let selected = lifecycle::selected(app, repository.as_deref()).await?;
        let evaluation = lifecycle::Evaluation::of(app, dry_run).await?;
        for repository in selected {
            say(&evaluation.run(&repository).await?)?;
        }
        Ok(())
    })
}
