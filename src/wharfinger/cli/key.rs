//! `wharfinger key`: manages the access keys of users and of the account's root.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use wharfinger_iam::{AccessKeySummary, NewAccessKey};

use crate::app::App;
use crate::cli::admin::{self, NoArguments, PAGE, key_state, print_key};
use crate::cli::configured::Configured;
use crate::cli::output::say;
use crate::server;

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// Create another access key, and print the lines that put it to use; two are the most
    Create(Owner),
    /// Print all access keys: owner, id, state, time of creation
    List(NoArguments),
    /// Replace all access keys of the user, or of the root, by a new one, and print it
    Rotate(Owner),
    /// Refuse an access key, and the passwords and tokens made with it, until it is enabled again
    Disable(KeyArguments),
    /// Accept a disabled access key again
    Enable(KeyArguments),
    /// Delete an access key for good; a root without any gets a new one at the next start
    Delete(KeyArguments),
}

#[derive(Args)]
pub(super) struct Owner {
    /// The user that owns the key [default: the root of the account]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    configured: Box<Configured>,
}

#[derive(Args)]
pub(super) struct KeyArguments {
    /// The id of the access key, such as AKIAIOSFODNN7EXAMPLE
    access_key_id: String,
    #[command(flatten)]
    configured: Box<Configured>,
}

pub(super) fn run(command: KeyCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeyCommand::Create(Owner { user, configured }) => {
            admin::run(*configured, async move |app| {
                let users = app.iam.users();
                let key = users.add_key(app.iam.account(), user.as_deref()).await?;
                print(app, &key).await
            })
        }
        KeyCommand::Rotate(Owner { user, configured }) => {
            admin::run(*configured, async move |app| {
                let users = app.iam.users();
                let key = users.rotate_key(app.iam.account(), user.as_deref()).await?;
                print(app, &key).await
            })
        }
        KeyCommand::List(NoArguments { configured }) => admin::run(*configured, list),
        KeyCommand::Disable(key) => admin::run(*key.configured, async move |app| {
            let users = app.iam.users();
            let account = app.iam.account();
            Ok(users.disable_key(account, &key.access_key_id).await?)
        }),
        KeyCommand::Enable(key) => admin::run(*key.configured, async move |app| {
            let users = app.iam.users();
            let account = app.iam.account();
            Ok(users.enable_key(account, &key.access_key_id).await?)
        }),
        KeyCommand::Delete(key) => admin::run(*key.configured, async move |app| {
            let users = app.iam.users();
            let account = app.iam.account();
            Ok(users.delete_key(account, &key.access_key_id).await?)
        }),
    }
}

async fn print(app: &App, key: &NewAccessKey) -> anyhow::Result<()> {
    print_key(app, &server::endpoint(&app.config), key).await
}

async fn list(app: &App) -> anyhow::Result<()> {
    let (users, account) = (app.iam.users(), app.iam.account());
    say(&lines("root", &users.keys(account, None).await?))?;
    let mut after: Option<String> = None;
    loop {
        let page = users.list(account, after.as_deref(), PAGE).await?;
        let listed = page.items.iter().map(|user| lines(&user.name, &user.keys));
        say(&listed.collect::<String>())?;
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// Owner, id, state and time of creation of each key, separated by tabs.
fn lines(owner: &str, keys: &[AccessKeySummary]) -> String {
    let mut lines = String::new();
    for key in keys {
        let (state, created) = (key_state(key), key.created_at.to_rfc3339());
        // Writing into a string does not fail.
        let _ = writeln!(lines, "{owner}\t{}\t{state}\t{created}", key.access_key_id);
    }
    lines
}
