//! The command line.

mod admin;
mod check;
mod exports;
mod healthcheck;
mod key;
mod operations;
mod serve;
mod user;

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Problem, Settings};

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
    /// Create, list, disable and delete users, and attach policies to them
    #[command(subcommand)]
    User(user::UserCommand),
    /// Create, list, disable, rotate and delete access keys, also of the account's root
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Check a configuration and print what is wrong with it
    Check(Box<Configured>),
    /// Ask the server on this machine whether it is ready; for container health checks
    Healthcheck(Box<Configured>),
    /// List the operations of the AWS APIs that this server implements
    Operations(operations::Operations),
}

/// Where settings come from: flags over environment over file.
#[derive(Args)]
struct Configured {
    /// TOML file with settings; config/server.toml explains every key
    #[arg(long, env = "WHARFINGER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(configured) => serve::run(configured.load()?),
            Command::User(command) => user::run(command),
            Command::Key(command) => key::run(command),
            Command::Check(configured) => check::run(*configured),
            Command::Healthcheck(configured) => healthcheck::run(&configured.load()?),
            Command::Operations(how) => operations::run(&how).map(|()| ExitCode::SUCCESS),
        }
    }
}

impl Configured {
    /// All settings, before defaults and checks.
    fn settings(self) -> anyhow::Result<Settings> {
        let Some(path) = self.config else {
            return Ok(with_usual_endpoint(self.settings));
        };
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
        let file = Settings::from_toml(&text)
            .with_context(|| format!("the configuration file {} is not valid", path.display()))?;
        Ok(with_usual_endpoint(self.settings.over(file)))
    }

    fn load(self) -> anyhow::Result<Config> {
        Config::from_settings(&self.settings()?).map_err(|problems| {
            anyhow::anyhow!("the configuration is not valid:\n{}", listed(&problems))
        })
    }
}

/// Uses the standard OpenTelemetry variable where ours is not set.
fn with_usual_endpoint(mut settings: Settings) -> Settings {
    settings.otel_endpoint = settings
        .otel_endpoint
        .or_else(|| std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok());
    settings
}

fn listed(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("  {problem}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Writes to stdout.
fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
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
