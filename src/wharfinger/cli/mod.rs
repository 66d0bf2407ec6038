//! The command line: what may be typed, and who does it.

mod check;
mod exports;
mod healthcheck;
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
    /// Make, list, disable and delete users
    #[command(subcommand)]
    User(user::UserCommand),
    /// Check a configuration and print what is wrong with it
    Check(Box<Configured>),
    /// Ask the server on this machine whether it is ready; for container health checks
    Healthcheck(Box<Configured>),
    /// List the operations of the AWS APIs that are answered here
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
    /// Does what was typed. Errors that are not the user's to correct carry their causes.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(configured) => serve::run(configured.load()?),
            Command::User(command) => user::run(command),
            Command::Check(configured) => check::run(*configured),
            Command::Healthcheck(configured) => healthcheck::run(&configured.load()?),
            Command::Operations(how) => operations::run(&how).map(|()| ExitCode::SUCCESS),
        }
    }
}

impl Configured {
    /// All that was set, before defaults and checks.
    fn settings(self) -> anyhow::Result<Settings> {
        let Some(path) = self.config else {
            return Ok(with_usual_endpoint(self.settings));
        };
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read the config file {}", path.display()))?;
        let file = Settings::from_toml(&text)
            .with_context(|| format!("the config file {} is not right", path.display()))?;
        Ok(with_usual_endpoint(self.settings.over(file)))
    }

    fn load(self) -> anyhow::Result<Config> {
        Config::from_settings(self.settings()?).map_err(|problems| {
            anyhow::anyhow!("the configuration is not right:\n{}", listed(&problems))
        })
    }
}

/// The variable that every program with OpenTelemetry knows, where ours says nothing.
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

/// Writes to stdout, where others may read on; a closed pipe is not an error worth a stack of
/// messages.
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
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
