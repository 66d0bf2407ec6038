//! `wharfinger serve`: runs the server until it is told to stop.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use wharfinger_base::Secret;
use wharfinger_telemetry as telemetry;

use crate::cli::admin::print_key;
use crate::cli::exports;
use crate::cli::output::say;
use crate::config::Config;
use crate::server::Server;

/// Under `--dev` any key is accepted.
const DEV_KEY: &str = "test";
/// Time for threads that block when the server has stopped. Reading the layers of an image may take
/// 15 minutes, and is done again by the next server.
const THREADS_WAIT: Duration = Duration::from_secs(5);

pub(super) fn run(config: Config) -> anyhow::Result<ExitCode> {
    let telemetry = telemetry::init(&config.logs, config.traces.as_ref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("wharfinger")
        .build();
    let runtime = runtime.context("cannot start the runtime")?;
    let outcome = run_to_end(runtime, serve(config), THREADS_WAIT);
    // After the runtime: the exporter blocks.
    telemetry.shut_down();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Runs `work`, and then waits for its threads, but not longer than `wait`: the end of the process
/// ends the others.
fn run_to_end<T>(runtime: Runtime, work: impl Future<Output = T>, wait: Duration) -> T {
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(wait);
    outcome
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::task::spawn_blocking;

    use super::*;

    #[test]
    fn a_thread_that_still_works_does_not_keep_the_process() {
        let (release, held) = mpsc::channel::<()>();
        let (sender, outcome) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = Runtime::new().expect("a runtime");
            let work = async {
                let (started, start) = tokio::sync::oneshot::channel();
                spawn_blocking(move || {
                    started.send(()).expect("a receiver");
                    held.recv()
                });
                start.await.expect("a thread");
                "stopped"
            };
            sender.send(run_to_end(runtime, work, Duration::from_millis(50)))
        });
        let ended = outcome.recv_timeout(Duration::from_secs(20));
        drop(release);
        assert_eq!(ended, Ok("stopped"));
    }
}
