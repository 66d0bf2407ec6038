//! The settings of a command: flags over environment over file.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::config::{Config, Problem, Settings};

/// The options that every command with a configuration has.
#[derive(Args)]
pub(super) struct Configured {
    /// TOML file with settings; config/server.toml explains every key
    #[arg(long, env = "WHARFINGER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

impl Configured {
    /// All settings, before defaults and checks.
    pub(super) fn settings(self) -> anyhow::Result<Settings> {
        let Some(path) = self.config else {
            return Ok(with_usual_endpoint(self.settings));
        };
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
        let file = Settings::from_toml(&text)
            .with_context(|| format!("the configuration file {} is not valid", path.display()))?;
        Ok(with_usual_endpoint(self.settings.over(file)))
    }

    pub(super) fn load(self) -> anyhow::Result<Config> {
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

pub(super) fn listed(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("  {problem}"))
        .collect::<Vec<_>>()
        .join("\n")
}
