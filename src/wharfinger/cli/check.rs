//! `wharfinger check`: checks a configuration.

use std::process::ExitCode;

use wharfinger_base::Chain;
use wharfinger_http::Certificates;

use crate::cli::configured::{Configured, listed};
use crate::cli::output::say;
use crate::config::Config;

/// Prints every problem, or `ok`; the exit code says the same.
pub(super) fn run(configured: Configured) -> anyhow::Result<ExitCode> {
    let problems = match Config::from_settings(&configured.settings()?) {
        Err(problems) => listed(&problems),
        Ok(config) => match config.tls.map(Certificates::load).transpose() {
            Err(why) => format!("  tls_certificate: {}", Chain(&why)),
            Ok(_) => {
                say("ok\n")?;
                return Ok(ExitCode::SUCCESS);
            }
        },
    };
    say(&format!("the configuration is not valid:\n{problems}\n"))?;
    Ok(ExitCode::FAILURE)
}
