//! `wharfinger user`: manages users and their policies.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use wharfinger_iam::{AccessKeySummary, PolicyAttachment, UserSummary, managed_policy_names};

use crate::app::App;
use crate::cli::admin::{self, NoArguments, PAGE, print_key};
use crate::cli::configured::Configured;
use crate::cli::output::say;
use crate::server;

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Create a user with an access key, and print the lines that put it to use
    Create(NameAndPolicies),
    /// Print the root and all users: name, state, access keys, policies
    List(NoArguments),
    /// Attach policies to a user
    Attach(NameAndPolicies),
    /// Detach a policy from a user
    Detach(NameAndPolicy),
    /// Refuse a user's keys, passwords and tokens until it is enabled again
    Disable(Name),
    /// Accept a disabled user again
    Enable(Name),
    /// Delete a user, its keys and its policies
    Delete(Name),
}

#[derive(Args)]
pub(super) struct NameAndPolicies {
    /// 1 to 64 letters, digits and +=,.@_-
    name: String,
    /// A managed policy by name, such as `AmazonEC2ContainerRegistryReadOnly`; may be given
    /// several times
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// A file with a policy document of the user's own, named as the file without its extension;
    /// may be given several times
    #[arg(long = "policy-file", value_name = "FILE")]
    policy_files: Vec<PathBuf>,
    #[command(flatten)]
    configured: Box<Configured>,
}

#[derive(Args)]
pub(super) struct NameAndPolicy {
    /// The user
    name: String,
    /// The name of the policy
    policy: String,
    #[command(flatten)]
    configured: Box<Configured>,
}

#[derive(Args)]
pub(super) struct Name {
    /// The user
    name: String,
    #[command(flatten)]
    configured: Box<Configured>,
}

pub(super) fn run(command: UserCommand) -> anyhow::Result<ExitCode> {
    match command {
        UserCommand::Create(user) => {
            let attachments = attachments(&user.policies, &user.policy_files)?;
            admin::run(*user.configured, async move |app| {
                create(app, &user.name, attachments).await
            })
        }
        UserCommand::List(NoArguments { configured }) => admin::run(*configured, list),
        UserCommand::Attach(user) => {
            let attachments = attachments(&user.policies, &user.policy_files)?;
            admin::run(*user.configured, async move |app| {
                for attachment in attachments {
                    let (users, account) = (app.iam.users(), app.iam.account());
                    users.attach(account, &user.name, attachment).await?;
                }
                Ok(())
            })
        }
        UserCommand::Detach(user) => admin::run(*user.configured, async move |app| {
            let (users, account) = (app.iam.users(), app.iam.account());
            Ok(users.detach(account, &user.name, &user.policy).await?)
        }),
        UserCommand::Disable(user) => admin::run(*user.configured, async move |app| {
            Ok(app
                .iam
                .users()
                .disable(app.iam.account(), &user.name)
                .await?)
        }),
        UserCommand::Enable(user) => admin::run(*user.configured, async move |app| {
            Ok(app
                .iam
                .users()
                .enable(app.iam.account(), &user.name)
                .await?)
        }),
        UserCommand::Delete(user) => admin::run(*user.configured, async move |app| {
            Ok(app
                .iam
                .users()
                .delete(app.iam.account(), &user.name)
                .await?)
        }),
    }
}

fn attachments(policies: &[String], files: &[PathBuf]) -> anyhow::Result<Vec<PolicyAttachment>> {
    let managed = policies.iter().map(|name| {
        let known = || {
            format!(
                "`--policy {name}`; the managed policies are {}",
                managed_policy_names().collect::<Vec<_>>().join(", ")
            )
        };
        PolicyAttachment::managed(name).with_context(known)
    });
    let inline = files.iter().map(|path| {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the policy file {}", path.display()))?;
        PolicyAttachment::inline(&policy_name(path), &text)
            .with_context(|| format!("the policy file {} is not valid", path.display()))
    });
    managed.chain(inline).collect()
}

fn policy_name(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}

async fn create(app: &App, name: &str, attachments: Vec<PolicyAttachment>) -> anyhow::Result<()> {
    let (users, account) = (app.iam.users(), app.iam.account());
    let key = users.create(account, name, attachments).await?;
    print_key(app, &server::endpoint(&app.config), &key).await
}

async fn list(app: &App) -> anyhow::Result<()> {
    let (users, account) = (app.iam.users(), app.iam.account());
    let root = users.keys(account, None).await?;
    say(&line("root", true, &root, &[]))?;
    let mut after: Option<String> = None;
    loop {
        let page = users.list(account, after.as_deref(), PAGE).await?;
        say(&page.items.iter().map(user_line).collect::<String>())?;
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

fn user_line(user: &UserSummary) -> String {
    let enabled = user.disabled_at.is_none();
    line(&user.name, enabled, &user.keys, &user.policies)
}

/// Name, state, keys and policies, separated by tabs.
fn line(name: &str, enabled: bool, keys: &[AccessKeySummary], policies: &[String]) -> String {
    let state = if enabled { "enabled" } else { "disabled" };
    let keys = keys.iter().map(|key| {
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
        "{name}\t{state}\t{}\t{}",
        keys.collect::<Vec<_>>().join(","),
        policies.join(",")
    );
    line
}
