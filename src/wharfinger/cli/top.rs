//! `wharfinger top`: the clusters of a server, live in the terminal.

mod draw;
mod fetch;
mod snapshot;
mod view;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use url::Url;

use crate::cli::output;
use fetch::Source;
use snapshot::Snapshot;
use view::{Action, Outcome, View};

/// How long the reader of keys waits before it looks whether the program ends.
const KEY_POLL: Duration = Duration::from_millis(200);

/// Keys that may wait: more than a person types between two frames.
const MAX_WAITING_KEYS: usize = 64;

/// The options of `wharfinger top`. Keys come from the environment, a profile or the role of the
/// machine, as for every AWS client.
#[derive(Args)]
pub(super) struct TopArguments {
    /// URL of the server
    #[arg(
        long,
        env = "AWS_ENDPOINT_URL",
        default_value = "http://localhost:4566",
        value_name = "URL"
    )]
    endpoint: Url,
    /// Region of the clusters
    #[arg(
        long,
        env = "AWS_REGION",
        default_value = "us-east-1",
        value_name = "REGION"
    )]
    region: String,
    /// Cluster to show first
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Seconds between two looks at the server
    #[arg(
        long,
        default_value_t = 2,
        value_parser = clap::value_parser!(u64).range(1..=60),
        value_name = "SECONDS"
    )]
    interval: u64,
    /// Print what there is once, as text, and end
    #[arg(long)]
    once: bool,
}

pub(super) fn run(arguments: &TopArguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("cannot start the runtime")?;
    let source = runtime.block_on(Source::new(&arguments.endpoint, &arguments.region))?;
    if arguments.once {
        let snapshot = runtime.block_on(source.snapshot(arguments.cluster.as_deref()));
        output::say(&draw::text(&snapshot?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut terminal = ratatui::try_init().context("top needs a terminal; --once does not")?;
    let outcome = runtime.block_on(show(&mut terminal, source, arguments));
    ratatui::restore();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Draws until the user ends it.
async fn show(
    terminal: &mut ratatui::DefaultTerminal,
    source: Source,
    arguments: &TopArguments,
) -> anyhow::Result<()> {
    let mut view = View::new(arguments.cluster.clone());
    let (wanted, wants) = watch::channel(view.cluster().map(ToOwned::to_owned));
    let (sender, mut snapshots) = mpsc::channel(1);
    let interval = Duration::from_secs(arguments.interval);
    let looking = tokio::spawn(look(source, wants, sender, interval));
    let mut keys = read_keys();
    let outcome = loop {
        if let Err(error) = terminal.draw(|frame| draw::frame(frame, &view)) {
            break Err(error.into());
        }
        tokio::select! {
            snapshot = snapshots.recv() => match snapshot {
                Some(snapshot) => view.take(snapshot),
                None => break Ok(()),
            },
            key = keys.recv() => match key.map(action) {
                None => break Ok(()),
                Some(None) => {}
                Some(Some(action)) => match view.apply(action) {
                    Outcome::End => break Ok(()),
                    Outcome::Look => {
                        wanted.send_replace(view.cluster().map(ToOwned::to_owned));
                    }
                    Outcome::Stay => {}
                },
            },
        }
    };
    looking.abort();
    outcome
}

/// Looks at the server by interval, and at once when another cluster is wanted.
async fn look(
    source: Source,
    mut wants: watch::Receiver<Option<String>>,
    sender: mpsc::Sender<Result<Snapshot, String>>,
    interval: Duration,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = wants.changed() => if changed.is_err() { return },
        }
        let cluster = wants.borrow_and_update().clone();
        let snapshot = source.snapshot(cluster.as_deref()).await;
        let snapshot = snapshot.map_err(|error| format!("{error:#}"));
        if sender.send(snapshot).await.is_err() {
            return;
        }
    }
}

/// Keys of the terminal, read in a thread of their own, which ends when nobody wants them.
fn read_keys() -> mpsc::Receiver<KeyEvent> {
    let (sender, receiver) = mpsc::channel(MAX_WAITING_KEYS);
    thread::spawn(move || {
        while !sender.is_closed() {
            match event::poll(KEY_POLL) {
                Ok(false) => {}
                Ok(true) => match event::read() {
                    Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                        if sender.blocking_send(key).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => return,
                },
                Err(_) => return,
            }
        }
    });
    receiver
}

/// What a key means.
fn action(key: KeyEvent) -> Option<Action> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if is_control => Action::End,
        KeyCode::Char('q') | KeyCode::Esc => Action::End,
        KeyCode::Up | KeyCode::Char('k') => Action::Up,
        KeyCode::Down | KeyCode::Char('j') => Action::Down,
        KeyCode::Left | KeyCode::Char('h') => Action::PreviousCluster,
        KeyCode::Right | KeyCode::Char('l') => Action::NextCluster,
        KeyCode::Tab => Action::NextPane,
        KeyCode::Char('r') => Action::Look,
        _ => return None,
    })
}
