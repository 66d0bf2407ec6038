//! One server against three over one PostgreSQL and one S3 store.

use std::fs;

use crate::Bench;
use crate::support::content::{self, Descriptor};
use crate::support::load::Target;
use crate::support::report::{Sample, Section, digits, ratio};
use crate::support::request::Script;
use crate::support::scripts::{Made, Same};
use crate::support::server::Server;
use crate::support::wharfinger;

const CONNECTIONS: usize = 48;
const LAYERS: u64 = 10;
const REPLICAS: usize = 3;
const REPOSITORY: &str = "empty";
const TAG: &str = "replicated";

/// What a run showed, with the share of all cores that was busy meanwhile.
#[derive(Clone, Copy)]
struct Measured {
    sample: Sample,
    busy: f64,
    /// The servers' own share of all cores.
    servers: f64,
}

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let first_folder = bench.folder.join("wharfinger");
    let others = (1..REPLICAS)
        .map(|number| {
            let folder = bench.folder.join(format!("replica-{number}"));
            let first = (&bench.ours, first_folder.as_path());
            wharfinger::start_replica(&bench.arguments.stores, first, &folder)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let all: Vec<_> = std::iter::once(&bench.ours).chain(&others).collect();
    let blobs = bench.ours.push_image(REPOSITORY, TAG, LAYERS)?.blobs;
    let mut number = 0;
    let mut lines = Vec::new();
    for what in ["manifest PUT", "GET manifest by tag"] {
        let mut samples = [Vec::new(), Vec::new()];
        for _ in 0..bench.arguments.rounds {
            for (servers, samples) in [1, REPLICAS].into_iter().zip(&mut samples) {
                let mut script = script(what, &bench.ours, &blobs, &mut number);
                let measured = measure(bench, &all[..servers], script.as_mut())?;
                samples.push(measured);
            }
        }
        let one = median(&samples[0]);
        for (servers, samples) in [1, REPLICAS].into_iter().zip(&samples) {
            let all = median(samples);
            lines.push(vec![
                what.into(),
                servers.to_string(),
                digits(all.sample.rate),
                ratio(all.sample.rate, Some(one.sample.rate)),
                digits(all.sample.p50_ms),
                digits(all.sample.p99_ms),
                digits(all.sample.cpu_us),
                digits(all.servers * 100.0),
                digits(all.busy * 100.0),
            ]);
        }
    }
    Ok(Section {
        title: "Several servers over one index and one store".into(),
        how: format!(
            "{CONNECTIONS} connections, spread over the servers, each sending its next request as \
             soon as it \
             has its response. PostgreSQL, MinIO, the load generator and all servers share the \
             cores, so a busy share near 100 % says that the machine is the limit."
        ),
        header: vec![
            "request",
            "servers",
            "per second",
            "÷ one server",
            "p50 ms",
            "p99 ms",
            "servers' CPU µs/request",
            "servers' share of the cores %",
            "busy share of the cores %",
        ],
        lines,
        verdicts: Vec::new(),
    })
}

fn script<'a>(
    what: &str,
    server: &'a Server,
    blobs: &'a [Descriptor],
    number: &'a mut u64,
) -> Box<dyn Script + 'a> {
    if what == "manifest PUT" {
        Box::new(Made(move || {
            *number += 1;
            let manifest = content::manifest(blobs, &format!("replica {number}"));
            Some(server.put_manifest(REPOSITORY, &format!("r{number}"), manifest))
        }))
    } else {
        Box::new(Same(server.get_manifest(REPOSITORY, TAG)))
    }
}

fn measure(
    bench: &Bench,
    servers: &[&Server],
    script: &mut dyn Script,
) -> anyhow::Result<Measured> {
    let targets: Vec<Target<'_>> = servers.iter().map(|server| server.target()).collect();
    let before = cpu_ticks()?;
    let sample = Sample::take_from(&targets, bench.arguments.load(CONNECTIONS), script)?;
    let after = cpu_ticks()?;
    let total = (after.total - before.total).max(1) as f64;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    Ok(Measured {
        sample,
        busy: (after.busy - before.busy) as f64 / total,
        servers: sample.cpu_us * sample.rate / 1e6 / cores,
    })
}

fn median(measured: &[Measured]) -> Measured {
    let samples: Vec<_> = measured.iter().map(|measured| measured.sample).collect();
    let middle = |figure: fn(&Measured) -> f64| {
        crate::support::report::median(measured.iter().map(figure).collect())
    };
    Measured {
        sample: Sample::median(&samples),
        busy: middle(|measured| measured.busy),
        servers: middle(|measured| measured.servers),
    }
}

/// Ticks of all cores since the machine started.
struct Ticks {
    total: u64,
    busy: u64,
}

/// Reads the first line of `/proc/stat` (proc(5)): user, nice, system, idle, iowait, ….
fn cpu_ticks() -> anyhow::Result<Ticks> {
    let text = fs::read_to_string("/proc/stat")?;
    let ticks: Vec<u64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    let idle = ticks.iter().skip(3).take(2).sum::<u64>();
    let total = ticks.iter().sum::<u64>();
    Ok(Ticks {
        total,
        busy: total - idle,
    })
}
