//! `wharfinger signing-key`: the keys that sign images, each under the name of a signing profile.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::admin;
use crate::cli::configured::Configured;
use crate::cli::output::say;

#[derive(Subcommand)]
pub(super) enum SigningKeyCommand {
    /// Create a key, and print the ARN of its signing profile and its public key
    Create(SigningKeyArguments),
    /// Print the ARN of a key's signing profile, and its public key
    Show(SigningKeyArguments),
}

#[derive(Args)]
pub(super) struct SigningKeyArguments {
    /// The name of the signing profile: 2 to 64 letters, digits and _
    name: String,
    #[command(flatten)]
    configured: Box<Configured>,
}

pub(super) fn run(command: SigningKeyCommand) -> anyhow::Result<ExitCode> {
    match command {
        SigningKeyCommand::Create(SigningKeyArguments { name, configured }) => {
            admin::run(*configured, async move |app| {
                let key = app.create_signing_key(&name).await?;
                Ok(say(&shown(key.profile.as_str(), &key.public_key))?)
            })
        }
        SigningKeyCommand::Show(SigningKeyArguments { name, configured }) => {
            admin::run(*configured, async move |app| {
                let key = app.signing_key(&name).await?;
                Ok(say(&shown(key.profile.as_str(), &key.public_key))?)
            })
        }
    }
}

/// The ARN as a line of explanation before the key: readers of PEM skip it.
fn shown(profile: &str, public_key: &str) -> String {
    format!("{profile}\n{public_key}")
}
