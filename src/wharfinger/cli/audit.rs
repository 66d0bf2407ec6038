//! `wharfinger audit`: shows the audit log of this machine's server.

mod filter;
mod table;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use wharfinger_audit::{Entry, Event, Reader};
use wharfinger_base::Clock;

use crate::cli::audit::filter::Filter;
use crate::cli::audit::table::{HEADER, row};
use crate::cli::configured::Configured;
use crate::cli::output::say;
use crate::config::units;

/// How often `--follow` looks for new records.
const POLL_PERIOD: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(super) struct AuditArguments {
    /// Only records of this time until now, such as 30m, 1h or 7d
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    since: Option<Duration>,
    /// Only requests of this user, role or access key: a name, an ARN or a key id; or `root`
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only this action, such as `ecr:PutImage`, `PutImage` or `ecr:Put*`
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only requests on resources whose ARN contains this text
    #[arg(long, value_name = "TEXT")]
    resource: Option<String>,
    /// Only requests that were denied, and sign-ins that failed
    #[arg(long)]
    denied: bool,
    /// Wait for further records and show them as they are written
    #[arg(long)]
    follow: bool,
    /// As `CloudTrail` events, one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    configured: Box<Configured>,
}

pub(super) fn run(arguments: AuditArguments) -> anyhow::Result<ExitCode> {
    let config = arguments.configured.load()?;
    let log = config
        .audit
        .context("the audit log is off in this configuration")?;
    let since = arguments
        .since
        .map(|since| Clock::default().now().minus(since));
    let filter = Filter {
        since: since.map(wharfinger_base::Timestamp::to_rfc3339),
        user: arguments.user,
        action: arguments.action,
        resource: arguments.resource,
        denied: arguments.denied,
    };
    let cannot_read = || format!("cannot read the audit log in {}", log.folder.display());
    let mut reader = Reader::open(&log.folder, since).with_context(cannot_read)?;
    if !arguments.json {
        say(HEADER)?;
    }
    let mut unreadable = 0_u64;
    loop {
        while let Some(entry) = reader.next_entry().with_context(cannot_read)? {
            match entry {
                Entry::Event(event) if filter.has(&event) => {
                    if is_closed(&say(&line(&event, arguments.json)?))? {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
                Entry::Event(_) => {}
                Entry::Unreadable => unreadable += 1,
            }
        }
        if !arguments.follow {
            break;
        }
        std::thread::sleep(POLL_PERIOD);
    }
    if unreadable > 0 {
        tracing::warn!(unreadable, "lines of the audit log are not records");
    }
    Ok(ExitCode::SUCCESS)
}

fn line(event: &Event, json: bool) -> anyhow::Result<String> {
    if !json {
        return Ok(row(event));
    }
    let mut line = serde_json::to_string(event).context("a record cannot be written")?;
    line.push('\n');
    Ok(line)
}

/// Whether nobody reads the output any more, as after `| head`.
fn is_closed(said: &io::Result<()>) -> io::Result<bool> {
    match said {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}
