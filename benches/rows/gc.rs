//! Pushes and pulls while very many dead blobs are collected.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use serde_json::json;

use crate::Bench;
use crate::support::content::{self, Blob, Descriptor, Random};
use crate::support::garbage;
use crate::support::report::{Sample, Section, Verdict, digits, ratio};
use crate::support::request::{Request, Script};
use crate::support::response::Response;
use crate::support::server::Server;
use crate::support::sign::ecr_call;
use crate::support::wharfinger;

/// Half of the connections push, the others pull.
const CONNECTIONS: usize = 16;
const REPOSITORY: &str = "collected";
const LAYER_SIZE: usize = 16 * 1024;

/// Most time of a push beside a collection, in that of one without; most MB of memory.
const LIMIT: f64 = 2.0;
const LIMIT_MB: f64 = 200.0;
/// How long pushes and pulls go on beside the collection, unless it ends before. What is left then
/// is collected without them.
const UNDER_LOAD: Duration = Duration::from_mins(2);
/// Blobs that a server collects at most between a look at its numbers and its end.
const LAST_BLOBS: u64 = 4_096;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let folder = bench.folder.join("gc");
    let blobs = bench.arguments.collected_blobs;
    let mut server = wharfinger::start_with(&folder, &["--gc-load-percent", "0"])?;
    let key = wharfinger::root_key(&folder)?;
    let body = json!({ "repositoryName": REPOSITORY });
    server.must(&ecr_call(&key, "CreateRepository", body.to_string()))?;
    server.process.stop();
    crate::say(&format!("storing {blobs} blobs"));
    let dead = garbage::fill(&folder.join("data"), REPOSITORY, blobs)?;
    server.restart()?;

    let mut script = PushAndPull::new(&server, blobs, bench.arguments.seed)?;
    let windows = (0..bench.arguments.rounds)
        .map(|_| Sample::take(&server, bench.arguments.load(CONNECTIONS), &mut script))
        .collect::<Result<Vec<_>, _>>()?;
    let without = Sample::median(&windows);

    server.process.stop();
    drop(server);
    // The defaults of the program.
    let server = wharfinger::start_with(&folder, &[])?;
    script.headers.clone_from(&server.headers);
    let began = Instant::now();
    let mut windows = Vec::new();
    let mut peak_mb = 0.0_f64;
    // What the load itself leaves is under its leases for a day.
    let mut collected = 0;
    while collected < dead && began.elapsed() < UNDER_LOAD {
        let sample = Sample::take(&server, bench.arguments.load(CONNECTIONS), &mut script)?;
        peak_mb = peak_mb.max(sample.peak_mb);
        windows.push(sample);
        collected = removed(&server)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    ensure!(collected > 0, "nothing was collected beside the load");
    let during = Sample::median(&windows);
    let p99s = windows.iter().map(|sample| sample.p99_ms);
    let worst = p99s.fold(0.0, f64::max);
    drop(server);
    // Steps may have ended since the numbers of the server were read.
    let due = number(&folder, &["gc", "--dry-run"], "blobs to remove")?;
    let left = dead - collected;
    ensure!(
        due <= left && left - due <= LAST_BLOBS,
        "{collected} of {dead} blobs were collected, and {due} are due"
    );
    let alone = Instant::now();
    let rest = number(&folder, &["gc"], "blobs removed")?;
    let alone = alone.elapsed().as_secs_f64();
    ensure!(rest == due, "{rest} of {due} blobs were collected");
    let nothing = number(&folder, &["gc", "--dry-run"], "blobs to remove")?;
    ensure!(nothing == 0, "{nothing} blobs are still due");
    succeed(&mut wharfinger::command(&folder, &["fsck"]))?;

    let line = |what: &str, sample: &Sample| {
        vec![
            what.to_owned(),
            digits(sample.rate),
            digits(sample.p50_ms),
            digits(sample.p99_ms),
            ratio(sample.p99_ms, Some(without.p99_ms)),
            digits(sample.longest_ms),
            digits(sample.peak_mb),
        ]
    };
    Ok(Section {
        title: "Garbage collection under load".into(),
        how: format!(
            "{blobs} stored blobs, {dead} of them dead (half of these still linked), at the \
             default share of the time. {CONNECTIONS} connections: half push a layer of {} KiB and \
             its manifest again and again, half pull living blobs; the figures are those of \
             pushes. {collected} were collected beside them in {} s ({}/s), the others by \
             `wharfinger gc` in {} s; the worst window of {} had a p99 of {} ms, no request \
             failed, and `wharfinger fsck` found nothing.",
            LAYER_SIZE / 1024,
            digits(seconds),
            digits(collected as f64 / seconds),
            digits(alone),
            windows.len(),
            digits(worst)
        ),
        header: vec![
            "",
            "pushes/s",
            "p50 ms",
            "p99 ms",
            "ratio",
            "longest ms",
            "peak RSS MB",
        ],
        lines: vec![
            line("without collection", &without),
            line("while it collects", &during),
        ],
        verdicts: vec![
            Verdict::at_most(
                "p99 of pushes beside garbage collection, against without",
                " times",
                during.p99_ms / without.p99_ms,
                LIMIT,
            ),
            Verdict::at_most("RSS while collecting", " MB", peak_mb, LIMIT_MB),
        ],
    })
}

/// The number that a command prints after these words.
fn number(folder: &Path, command: &[&str], words: &str) -> anyhow::Result<u64> {
    let printed = succeed(&mut wharfinger::command(folder, command))?;
    let mut lines = printed.lines();
    let value = lines.find_map(|line| line.strip_prefix(words));
    let value = value.and_then(|value| value.trim().parse().ok());
    value.with_context(|| format!("{command:?} printed {printed}"))
}

/// Runs a command that must succeed; returns what it printed.
fn succeed(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{command:?} printed {printed}");
    Ok(printed)
}

/// How many blobs the server has collected since its start.
fn removed(server: &Server) -> anyhow::Result<u64> {
    let metrics = server
        .must(&server.request("GET", "/metrics", 200).kept())?
        .body;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    let line = metrics
        .lines()
        .find(|line| !line.starts_with('#') && line.contains("gc_blobs_removed"))
        .context("/metrics does not count collected blobs")?;
    let value = line.rsplit(' ').next().unwrap_or_default();
    Ok(value.parse::<f64>()? as u64)
}

#[derive(Clone)]
enum Step {
    Begin,
    Upload(Blob),
    Manifest(Descriptor),
}

/// Connections with even numbers push images of one new layer, the others pull blobs that images
/// need. Only the two requests that complete a push are counted.
struct PushAndPull {
    headers: String,
    config: Descriptor,
    filler: Bytes,
    number: u64,
    steps: Vec<Step>,
    blobs: u64,
    seeded_filler: Bytes,
    random: Random,
}

impl PushAndPull {
    fn new(server: &Server, blobs: u64, seed: u64) -> anyhow::Result<Self> {
        let filler = Random::new(seed).bytes(LAYER_SIZE);
        let config = Blob::new(u64::MAX, LAYER_SIZE, &filler);
        server.push(REPOSITORY, std::slice::from_ref(&config))?;
        Ok(Self {
            headers: server.headers.clone(),
            config: Descriptor::from(&config),
            filler,
            number: 0,
            steps: vec![Step::Begin; CONNECTIONS],
            blobs,
            seeded_filler: garbage::filler(),
            random: Random::new(seed),
        })
    }

    fn push(&mut self, step: &mut Step, response: Option<&Response>) -> Option<Request> {
        let path = format!("/v2/{REPOSITORY}");
        match std::mem::replace(step, Step::Begin) {
            Step::Begin => {
                self.number += 1;
                // Seeded blobs have lower numbers.
                let number = self.blobs + self.number;
                *step = Step::Upload(Blob::new(number, LAYER_SIZE, &self.filler));
                let path = format!("{path}/blobs/uploads/");
                let begin = Request::new("POST", &path, &self.headers, 202);
                Some(begin.kept().uncounted())
            }
            Step::Upload(blob) => {
                let location = response?.location.clone()?;
                let at = location.find("/v2/")?;
                let separator = if location.contains('?') { '&' } else { '?' };
                let path = format!("{}{separator}digest={}", &location[at..], blob.digest);
                *step = Step::Manifest(Descriptor::from(&blob));
                let headers = format!("{}Content-Type: application/octet-stream\r\n", self.headers);
                Some(Request::with_body("PUT", &path, &headers, blob.parts, 201))
            }
            Step::Manifest(layer) => {
                let mark = layer.digest.clone();
                let manifest = content::manifest(&[self.config.clone(), layer], &mark);
                let path = format!("{path}/manifests/t{}", &mark[7..]);
                let headers = format!(
                    "{}Content-Type: {}\r\n",
                    self.headers,
                    content::MANIFEST_TYPE
                );
                let body = [manifest.into(), Bytes::new()];
                Some(Request::with_body("PUT", &path, &headers, body, 201))
            }
        }
    }

    fn pull(&mut self) -> Request {
        let number = garbage::live_number(self.random.next(), self.blobs);
        let blob = garbage::blob(number, &self.seeded_filler);
        let path = format!("/v2/{REPOSITORY}/blobs/{}", blob.digest);
        Request::new("GET", &path, &self.headers, 200).uncounted()
    }
}

impl Script for PushAndPull {
    fn next(&mut self, connection: usize, response: Option<&Response>) -> Option<Request> {
        if connection % 2 == 1 {
            return Some(self.pull());
        }
        let first = Step::Begin;
        // A new run opens new connections: what the last one left undone begins again.
        let mut step = match response {
            None => first,
            Some(_) => std::mem::replace(&mut self.steps[connection], first),
        };
        let request = self.push(&mut step, response);
        self.steps[connection] = step;
        request
    }
}
