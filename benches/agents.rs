//! Measures the orchestrator with simulated agents, each on a real ACS socket, in one process.
//!
//! `cargo bench --bench agents -- [--agents N] [--seconds N] [--callers N] [--service N]
//! [--server BINARY]`
//!
//! Instances register, connect, acknowledge their payloads and report each task as running; they
//! run nothing. `RunTask` with ten tasks is called by several callers at once. Then a service goes
//! from no task to `--service` of them, and the server is killed and started again. Printed are
//! tasks per second, the latency of `RunTask`, the time until all tasks run, the time from a start
//! to the first response, and the memory of the server.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people: sizes and counts are far below 2^52"
)]

mod agents_support;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use agents_support::api::{Api, Key};
use agents_support::simulated::{Counters, connect};
use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use tokio::task::JoinSet;

/// Tasks of one call: the most that ECS allows.
const TASKS_PER_CALL: usize = 10;
/// Instances that register or connect at once.
const AT_ONCE: usize = 64;
/// Connections by which all agents report.
const REPORTERS: usize = 32;
/// Until all tasks run after the last call.
const SETTLING: Duration = Duration::from_mins(2);
/// Between two looks at a service, and between two attempts to reach a server that starts.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const CONNECT_INTERVAL: Duration = Duration::from_millis(5);

struct Arguments {
    agents: usize,
    seconds: u64,
    callers: usize,
    service: u64,
    server: PathBuf,
}

impl Arguments {
    fn parse() -> anyhow::Result<Self> {
        let mut arguments = Self {
            agents: 5_000,
            seconds: 20,
            callers: 4,
            service: 50_000,
            server: "target/release/wharfinger".into(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{word} needs a value"))
            };
            match word.as_str() {
                // Cargo adds this by itself.
                "--bench" => {}
                "--agents" => arguments.agents = value()?.parse()?,
                "--seconds" => arguments.seconds = value()?.parse()?,
                "--callers" => arguments.callers = value()?.parse()?,
                "--service" => arguments.service = value()?.parse()?,
                "--server" => arguments.server = value()?.into(),
                _ => bail!("unknown argument {word}"),
            }
        }
        Ok(arguments)
    }
}

/// The server, which ends with this value.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
    api: Api,
}

impl Server {
    async fn start(arguments: &Arguments) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?
            .local_addr()?
            .port();
        let address = format!("127.0.0.1:{port}");
        let output = folder.path().join("output");
        let child = Self::spawn(arguments, folder.path(), &address)?;
        let started = Instant::now();
        let key = loop {
            if let Some(key) = Key::exported(&fs::read_to_string(&output)?) {
                break key;
            }
            ensure!(
                started.elapsed() < Duration::from_secs(30),
                "the server does not start"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let api = Api {
            address: Arc::from(address),
            key: Arc::new(key),
        };
        Ok(Self { child, folder, api })
    }

    /// Starts a process on what is in the folder.
    fn spawn(arguments: &Arguments, folder: &Path, address: &str) -> anyhow::Result<Child> {
        Command::new(&arguments.server)
            .args(["serve", "--local-clusters", "none", "--listen", address])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .env("WHARFINGER_LOG_LEVEL", "warn")
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("output"))?)
            .spawn()
            .with_context(|| format!("starting {}", arguments.server.display()))
    }

    /// Kills the process and starts another one. Returns how long it takes until that responds to
    /// a request about tasks.
    async fn restart(&mut self, arguments: &Arguments) -> anyhow::Result<Duration> {
        self.child.kill()?;
        self.child.wait()?;
        let started = Instant::now();
        self.child = Self::spawn(arguments, self.folder.path(), &self.api.address)?;
        let request = json!({"cluster": "bench"});
        loop {
            if let Ok(mut client) = self.api.client().await
                && client.call("ListTasks", &request).await.is_ok()
            {
                return Ok(started.elapsed());
            }
            ensure!(
                started.elapsed() < SETTLING,
                "the server does not start again"
            );
            tokio::time::sleep(CONNECT_INTERVAL).await;
        }
    }

    /// Resident memory in MiB, and processor time in seconds.
    fn usage(&self) -> anyhow::Result<(u64, f64)> {
        let pid = self.child.id();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line
            .and_then(|line| line.split_whitespace().next())
            .context("no memory")?
            .parse()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let rest = stat.rsplit(')').next().unwrap_or_default();
        let ticks = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse::<u64>);
        let ticks: u64 = ticks.collect::<Result<Vec<_>, _>>()?.iter().sum();
        Ok((kib / 1024, ticks as f64 / 100.0))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn main() -> anyhow::Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(Arguments::parse()?))
}

async fn measure(arguments: Arguments) -> anyhow::Result<()> {
    let mut server = Server::start(&arguments).await?;
    let api = &server.api;
    let mut client = api.client().await?;
    client
        .call("CreateCluster", &json!({"clusterName": "bench"}))
        .await?;
    let container = json!({"name": "main", "image": "busybox", "cpu": 1, "memory": 6});
    let definition = json!({"family": "bench", "containerDefinitions": [container]});
    client.call("RegisterTaskDefinition", &definition).await?;

    let started = Instant::now();
    let instances = register(api, arguments.agents).await?;
    say(&format!(
        "registered {} instances in {:.1} s",
        instances.len(),
        started.elapsed().as_secs_f64()
    ));
    let counters = Counters::start(api, REPORTERS).await?;
    let started = Instant::now();
    for part in instances.chunks(AT_ONCE) {
        let mut joining = JoinSet::new();
        for instance in part {
            joining.spawn(connect(api.clone(), instance.clone(), counters.clone()));
        }
        while let Some(connected) = joining.join_next().await {
            connected??;
        }
    }
    let (mib, _) = server.usage()?;
    say(&format!(
        "connected {} agents in {:.1} s; server {mib} MiB",
        instances.len(),
        started.elapsed().as_secs_f64()
    ));
    let placed = run_tasks(&arguments, &server, &counters).await?;
    if arguments.service > 0 {
        run_service(&arguments, &server).await?;
    }
    let took = server.restart(&arguments).await?;
    say(&format!(
        "restart with {} tasks after kill -9: first response after {:.2} s",
        placed as u64 + arguments.service,
        took.as_secs_f64(),
    ));
    Ok(())
}

/// Creates a service and waits until all of its tasks run.
async fn run_service(arguments: &Arguments, server: &Server) -> anyhow::Result<()> {
    let wanted = arguments.service;
    let mut client = server.api.client().await?;
    let started = Instant::now();
    let request = json!({
        "cluster": "bench", "serviceName": "bench", "taskDefinition": "bench:1",
        "desiredCount": wanted,
    });
    client.call("CreateService", &request).await?;
    let request = json!({"cluster": "bench", "services": ["bench"]});
    loop {
        let seen = client.call("DescribeServices", &request).await?;
        let running = seen["services"][0]["runningCount"].as_u64();
        if running == Some(wanted) {
            break;
        }
        ensure!(
            started.elapsed() < SETTLING,
            "only {running:?} tasks of the service run"
        );
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    let (mib, _) = server.usage()?;
    say(&format!(
        "service from 0 to {wanted} tasks: {:.1} s; server {mib} MiB",
        started.elapsed().as_secs_f64(),
    ));
    Ok(())
}

/// Registers instances; returns their ARNs.
async fn register(api: &Api, count: usize) -> anyhow::Result<Vec<String>> {
    let mut joining = JoinSet::new();
    for caller in 0..AT_ONCE {
        let api = api.clone();
        let of_caller = (caller..count).step_by(AT_ONCE).count();
        joining.spawn(async move {
            let mut client = api.client().await?;
            let mut arns = Vec::with_capacity(of_caller);
            for number in 0..of_caller {
                let zone = format!("zone-{}", number % 3);
                let resource = |name: &str, value: i64| {
                    json!({"name": name, "type": "INTEGER", "integerValue": value})
                };
                let request = json!({
                    "cluster": "bench",
                    "totalResources": [resource("CPU", 64_000), resource("MEMORY", 256_000)],
                    "attributes": [{"name": "ecs.availability-zone", "value": zone}],
                });
                let made = client.call("RegisterContainerInstance", &request).await?;
                let arn = made["containerInstance"]["containerInstanceArn"].as_str();
                arns.push(arn.context("no ARN")?.to_owned());
            }
            anyhow::Ok(arns)
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(arns) = joining.join_next().await {
        all.extend(arns??);
    }
    Ok(all)
}

async fn run_tasks(
    arguments: &Arguments,
    server: &Server,
    counters: &Counters,
) -> anyhow::Result<usize> {
    let (_, cpu_before) = server.usage()?;
    let started = Instant::now();
    let end = started + Duration::from_secs(arguments.seconds);
    let mut callers = JoinSet::new();
    for _ in 0..arguments.callers {
        let api = server.api.clone();
        callers.spawn(async move {
            let mut client = api.client().await?;
            let request = json!({
                "cluster": "bench", "taskDefinition": "bench:1", "count": TASKS_PER_CALL,
            });
            let mut latencies = Vec::new();
            let mut placed = 0;
            while Instant::now() < end {
                let called = Instant::now();
                let started = client.call("RunTask", &request).await?;
                latencies.push(called.elapsed());
                placed += started["tasks"].as_array().map_or(0, Vec::len);
            }
            anyhow::Ok((latencies, placed))
        });
    }
    let (mut latencies, mut placed) = (Vec::new(), 0);
    while let Some(of_caller) = callers.join_next().await {
        let (of_caller, count) = of_caller??;
        latencies.extend(of_caller);
        placed += count;
    }
    let took = started.elapsed().as_secs_f64();
    let running_at_end = counters.reported.load(Relaxed);
    let settled = Instant::now();
    while counters.reported.load(Relaxed) < placed as u64 {
        ensure!(
            settled.elapsed() < SETTLING,
            "only {} of {placed} tasks run",
            counters.reported.load(Relaxed)
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let all = started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: f64| {
        let index = (share * (latencies.len().saturating_sub(1)) as f64).round() as usize;
        latencies
            .get(index)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    };
    let (mib, cpu) = server.usage()?;
    say(&format!(
        "RunTask of {TASKS_PER_CALL}, {} callers: {placed} tasks in {took:.1} s: {:.0} tasks/s; \
         p50 {:.1} ms, p99 {:.1} ms",
        arguments.callers,
        placed as f64 / took,
        at(0.5),
        at(0.99),
    ));
    say(&format!(
        "reported as running: {running_at_end} by then, all {placed} after {all:.1} s: \
         {:.0} tasks/s; server {mib} MiB, {:.1} s of CPU",
        placed as f64 / all,
        cpu - cpu_before,
    ));
    Ok(placed)
}
