//! The command line.

mod admin;
mod advisories;
mod agent;
mod audit;
mod backup;
mod check;
mod configured;
mod explain;
mod exports;
mod fsck;
mod gc;
mod healthcheck;
mod key;
mod lifecycle;
mod operations;
mod output;
mod policy;
mod rebuild;
mod restore;
mod serve;
mod signing_key;
mod top;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::configured::Configured;

/// An Amazon ECR on your own machines, as one binary.
#[derive(Parser)]
#[command(name = "wharfinger", version, about, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(Box<Configured>),
    /// Join this host to a cluster as a container instance
    Agent(Box<agent::AgentArguments>),
    /// Show clusters, services, events and container instances live in the terminal
    Top(top::TopArguments),
    /// Create, list, disable and delete users, and attach policies to them
    #[command(subcommand)]
    User(user::UserCommand),
    /// Create, list, disable, rotate and delete access keys, also of the account's root
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Import, list and remove the advisories that images are compared with
    #[command(subcommand)]
    Advisories(advisories::AdvisoriesCommand),
    /// Evaluate lifecycle policies now
    #[command(subcommand)]
    Lifecycle(lifecycle::LifecycleCommand),
    /// Create and show the keys that sign images which are pushed
    #[command(subcommand)]
    SigningKey(signing_key::SigningKeyCommand),
    /// Explain what policies decide
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Explain what the orchestrator decides
    #[command(subcommand)]
    Explain(explain::ExplainCommand),
    /// Show the audit log: what was changed and refused, by whom and why
    Audit(audit::AuditArguments),
    /// Copy the index and all blobs of a running server to a folder or bucket
    Backup(backup::BackupArguments),
    /// Restore a backup into an empty index, blob store and archive
    Restore(restore::RestoreArguments),
    /// Make a lost index anew from the journal in the blob store: repositories, images and tags
    RebuildIndex(rebuild::RebuildArguments),
    /// Remove what nothing needs from the blob store, or show what would be removed
    Gc(gc::GcArguments),
    /// Check that the index and the blob store are whole and belong together
    Fsck(fsck::FsckArguments),
    /// Check a configuration and print what is wrong with it
    Check(Box<Configured>),
    /// Check whether the server on this machine is ready; for container health checks
    Healthcheck(Box<Configured>),
    /// List the operations of the AWS APIs that this server implements
    Operations(operations::Operations),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(configured) => serve::run(configured.load()?),
            Command::Agent(arguments) => agent::run(&arguments),
            Command::Top(arguments) => top::run(&arguments),
            Command::User(command) => user::run(command),
            Command::Key(command) => key::run(command),
            Command::Advisories(command) => advisories::run(command),
            Command::Lifecycle(command) => lifecycle::run(command),
            Command::SigningKey(command) => signing_key::run(command),
            Command::Policy(command) => policy::run(command),
            Command::Explain(command) => explain::run(command),
            Command::Audit(arguments) => audit::run(arguments),
            Command::Fsck(arguments) => fsck::run(arguments),
            Command::Backup(arguments) => backup::run(arguments),
            Command::Restore(arguments) => restore::run(arguments),
            Command::RebuildIndex(arguments) => rebuild::run(arguments),
            Command::Gc(arguments) => gc::run(arguments),
            Command::Check(configured) => check::run(*configured),
            Command::Healthcheck(configured) => healthcheck::run(&configured.load()?),
            Command::Operations(how) => operations::run(&how).map(|()| ExitCode::SUCCESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
