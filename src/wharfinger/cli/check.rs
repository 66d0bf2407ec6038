//! `wharfinger check`: checks a configuration.

use std::process::ExitCode;

use wharfinger_base::Chain;
use wharfinger_http::Certificates;

use crate::cli::configured::{Configured, listed};
use crate::cli::output::say;
use crate::config::Config;
use crate::event_delivery::event_sinks;
use crate::replication_destinations;

/// Prints every problem, or `ok`; the exit code says the same.
pub(super) fn run(configured: Configured) -> anyhow::Result<ExitCode> {
    let problems = match Config::from_settings(&configured.settings()?) {
        Err(problems) => Some(listed(&problems)),
        Ok(config) => files(&config),
    };
    let Some(problems) = problems else {
        say("ok\n")?;
        return Ok(ExitCode::SUCCESS);
    };
    say(&format!("the configuration is not valid:\n{problems}\n"))?;
    Ok(ExitCode::FAILURE)
}

/// What is wrong with the files that the configuration names.
fn files(config: &Config) -> Option<String> {
    if let Err(why) = config.tls.clone().map(Certificates::load).transpose() {
        return Some(format!("  tls_certificate: {}", Chain(&why)));
    }
    if let Err(why) = event_sinks(config) {
        return Some(format!("  events: {}", Chain(&why)));
    }
    let destinations = replication_destinations::check(&config.replication_destinations);
    let why = destinations.err()?;
    Some(format!("  replication_destinations: {}", Chain(&why)))
}
