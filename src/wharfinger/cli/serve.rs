//! `wharfinger serve`: runs the server until it is told to stop.

use std::process::ExitCode;

use anyhow::Context as _;
use wharfinger_base::Secret;
use wharfinger_telemetry as telemetry;

use crate::cli::admin::print_key;
use crate::cli::exports;
use crate::cli::output::say;
use crate::config::Config;
use crate::server::Server;

/// Under `--dev` any key is accepted.
const DEV_KEY: &str = "test";

pub(super) fn run(config: Config) -> anyhow::Result<ExitCode> {
    let telemetry = telemetry::init(&config.logs, config.traces.as_ref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("wharfinger")
        .build();
    let outcome = runtime
        .context("cannot start the runtime")?
        .block_on(serve(config));
    // After the runtime: the exporter blocks.
    telemetry.shut_down();
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let server = Server::start(config).await?;
    let names = &server.app().config.names;
    if server.app().config.dev {
        say(&exports::lines(
            &names.public_url,
            DEV_KEY,
            &Secret::new(DEV_KEY.to_owned()),
            &names.region,
        ))?;
    } else if let Some(key) = server.first_key().await? {
        print_key(server.app(), &names.public_url, &key).await?;
    }
    server.run().await?;
    Ok(())
}
