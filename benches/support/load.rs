//! The load generator: one thread, one epoll, raw HTTP/1.1. It shares the cores with the server, so
//! it does little else.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mio::{Events, Interest, Poll, Token};

use super::connection::{Connection, Turn};
use super::latencies::Latencies;
use super::process::Process;
use super::request::Script;

/// One read takes up to this; responses are read into one buffer and dropped.
const READ_BUFFER: usize = 1024 * 1024;

/// A script that ends by itself must do so within this.
const LONGEST_RUN: Duration = Duration::from_mins(5);

/// How much load, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// Warm-up: responses are not counted.
    pub(crate) warm_up: Duration,
    /// Counted; None: until the script has no more requests.
    pub(crate) window: Option<Duration>,
}

impl Load {
    pub(crate) fn until_done(connections: usize) -> Self {
        Self {
            connections,
            warm_up: Duration::ZERO,
            window: None,
        }
    }
}

/// What a run has seen.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) responses: u64,
    /// Bytes read, heads included.
    pub(crate) bytes: u64,
    pub(crate) latencies: Latencies,
    failures: u64,
    first_failure: Option<String>,
}

impl Tally {
    pub(crate) fn record(&mut self, sent_at: Instant) {
        self.responses += 1;
        self.latencies.add(sent_at.elapsed());
    }

    pub(crate) fn failure(&mut self, describe: impl FnOnce() -> String) {
        self.failures += 1;
        self.first_failure.get_or_insert_with(describe);
    }
}

/// A run's result.
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) elapsed: Duration,
    /// Processor time of the server over the counted window.
    pub(crate) cpu: Duration,
}

/// A server under load: its address, and the process whose time is taken.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) process: &'a Process,
}

/// Runs `script` against `targets`, to which connections are given in turn. Any unexpected status
/// makes it fail.
pub(crate) fn run(
    targets: &[Target<'_>],
    load: Load,
    script: &mut dyn Script,
) -> anyhow::Result<Outcome> {
    let cpu_of_all = || {
        targets
            .iter()
            .map(|target| target.process.cpu())
            .sum::<anyhow::Result<Duration>>()
    };
    let mut generator = Generator::open(targets, load.connections)?;
    generator.start(script)?;
    if !load.warm_up.is_zero() {
        generator.go(script, Some(load.warm_up))?;
    }
    generator.tally = Tally::default();
    let cpu_before = cpu_of_all()?;
    let began = Instant::now();
    generator.go(script, load.window)?;
    let elapsed = began.elapsed();
    let cpu = cpu_of_all()?.saturating_sub(cpu_before);
    let tally = generator.tally;
    if let Some(failure) = &tally.first_failure {
        anyhow::bail!("{} requests failed, the first by {failure}", tally.failures);
    }
    Ok(Outcome {
        tally,
        elapsed,
        cpu,
    })
}

struct Generator {
    poll: Poll,
    connections: Vec<Connection>,
    /// Connections with more to do before the next wait.
    ready: VecDeque<usize>,
    done: usize,
    tally: Tally,
    buffer: Vec<u8>,
}

impl Generator {
    fn open(targets: &[Target<'_>], count: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(count);
        for index in 0..count {
            let address = targets[index % targets.len()].address;
            let mut connection = Connection::open(address, index)?;
            poll.registry().register(
                &mut connection.stream,
                Token(index),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            connections.push(connection);
        }
        Ok(Self {
            poll,
            connections,
            ready: VecDeque::new(),
            done: 0,
            tally: Tally::default(),
            buffer: vec![0; READ_BUFFER],
        })
    }

    fn start(&mut self, script: &mut dyn Script) -> anyhow::Result<()> {
        for connection in &mut self.connections {
            if connection.start(script)? == Turn::Done {
                self.done += 1;
            }
        }
        Ok(())
    }

    /// Serves the connections for `window`, or until each is done.
    fn go(&mut self, script: &mut dyn Script, window: Option<Duration>) -> anyhow::Result<()> {
        let end = Instant::now() + window.unwrap_or(LONGEST_RUN);
        let mut events = Events::with_capacity(1024);
        while self.done < self.connections.len() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                ensure!(
                    window.is_some(),
                    "the run did not end within {LONGEST_RUN:?}"
                );
                return Ok(());
            }
            self.poll
                .poll(
                    &mut events,
                    Some(if self.ready.is_empty() {
                        left
                    } else {
                        Duration::ZERO
                    }),
                )
                .context("waiting for sockets")?;
            self.ready
                .extend(events.iter().map(|event| event.token().0));
            for _ in 0..self.ready.len() {
                let Some(index) = self.ready.pop_front() else {
                    break;
                };
                match self.connections[index].advance(&mut self.buffer, script, &mut self.tally)? {
                    Turn::Waiting => {}
                    Turn::Unfinished => self.ready.push_back(index),
                    Turn::Done => self.done += 1,
                }
            }
        }
        Ok(())
    }
}
