//! `wharfinger user`: makes, lists, disables and deletes users; also while a server runs on the
//! same index, which heeds it in a second.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use wharfinger_db::Upgrade;
use wharfinger_iam::{PolicyAttachment, UserSummary, managed_policy_names};
use wharfinger_telemetry as telemetry;

use crate::app::App;
use crate::cli::{Configured, exports, say};
use crate::config::Config;
use crate::server;

/// Users printed per read of the index.
const PAGE: usize = 100;

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Make a user with an access key, and print the lines that put it to use
    Create(Create),
    /// Print all users, with their keys and policies
    List(Just),
    /// Refuse a user's keys and passwords until it is enabled again
    Disable(Named),
    /// Take back `disable`
    Enable(Named),
    /// Remove a user, its keys and its policies
    Delete(Named),
}

#[derive(Args)]
pub(super) struct Create {
    name: String,
    /// A managed policy by name, such as `AmazonEC2ContainerRegistryReadOnly`; may be given
    /// several times
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// A file with a policy document of the user's own; it is called as the file; may be given
    /// several times
    #[arg(long = "policy-file", value_name = "FILE")]
    policy_files: Vec<PathBuf>,
    #[command(flatten)]
    configured: Box<Configured>,
}

#[derive(Args)]
pub(super) struct Just {
    #[command(flatten)]
    configured: Box<Configured>,
}

#[derive(Args)]
pub(super) struct Named {
    name: String,
    #[command(flatten)]
    configured: Box<Configured>,
}

pub(super) fn run(command: UserCommand) -> anyhow::Result<ExitCode> {
    match command {
        UserCommand::Create(Create {
            name,
            policies,
            policy_files,
            configured,
        }) => {
            let attachments = attachments(&policies, &policy_files)?;
            within(*configured, async move |app| {
                create(app, &name, attachments).await
            })
        }
        UserCommand::List(Just { configured }) => within(*configured, list),
        UserCommand::Disable(Named { name, configured }) => within(*configured, async move |app| {
            Ok(app.iam.users().disable(app.iam.account(), &name).await?)
        }),
        UserCommand::Enable(Named { name, configured }) => within(*configured, async move |app| {
            Ok(app.iam.users().enable(app.iam.account(), &name).await?)
        }),
        UserCommand::Delete(Named { name, configured }) => within(*configured, async move |app| {
            Ok(app.iam.users().delete(app.iam.account(), &name).await?)
        }),
    }
}

/// Opens the house as the server does, and does one thing in it.
fn within(
    configured: Configured,
    work: impl AsyncFnOnce(&App) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let config: Config = configured.load()?;
    telemetry::init(&config.logs, None)?.shut_down();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let app = server::open(config, Upgrade::Refuse).await?;
        work(&app).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn attachments(policies: &[String], files: &[PathBuf]) -> anyhow::Result<Vec<PolicyAttachment>> {
    let managed = policies.iter().map(|name| {
        let known = || {
            format!(
                "`--policy {name}`; there are {}",
                managed_policy_names().collect::<Vec<_>>().join(", ")
            )
        };
        PolicyAttachment::managed(name).with_context(known)
    });
    let inline = files.iter().map(|path| {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the policy file {}", path.display()))?;
        PolicyAttachment::inline(&policy_name(path), &text)
            .with_context(|| format!("the policy file {} is not right", path.display()))
    });
    managed.chain(inline).collect()
}

fn policy_name(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}

async fn create(app: &App, name: &str, attachments: Vec<PolicyAttachment>) -> anyhow::Result<()> {
    let key = app
        .iam
        .users()
        .create(app.iam.account(), name, attachments)
        .await?;
    let names = &app.config.names;
    Ok(say(&exports::lines(
        &server::endpoint(&app.config),
        &key.access_key_id,
        &key.secret_access_key,
        &names.region,
    ))?)
}

async fn list(app: &App) -> anyhow::Result<()> {
    let mut after: Option<String> = None;
    loop {
        let page = app
            .iam
            .users()
            .list(app.iam.account(), after.as_deref(), PAGE)
            .await?;
        say(&page.items.iter().map(line).collect::<String>())?;
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// Name, state, keys and policies of a user, apart by tabs.
fn line(user: &UserSummary) -> String {
    let state = if user.disabled_at.is_some() {
        "disabled"
    } else {
        "enabled"
    };
    let keys = user.keys.iter().map(|key| {
        let state = if key.disabled_at.is_some() {
            " (disabled)"
        } else {
            ""
        };
        format!("{}{state}", key.access_key_id)
    });
    let mut line = String::new();
    // Writing into a string does not fail.
    let _ = writeln!(
        line,
        "{}\t{state}\t{}\t{}",
        user.name,
        keys.collect::<Vec<_>>().join(","),
        user.policies.join(",")
    );
    line
}
