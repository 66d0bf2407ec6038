//! Pulls of blobs of several sizes, against nginx with sendfile.

use std::fs::File;
use std::io::Write as _;

use crate::Bench;
use crate::support::content::{Blob, Random};
use crate::support::report::{Sample, Section, Verdict, digits, ratio};
use crate::support::request::Request;
use crate::support::scripts::Same;
use crate::support::server::Server;

const MIB: usize = 1024 * 1024;

/// Most server time in nginx's, for blobs below 64 MiB and from there on.
const CPU_LIMITS: (f64, f64) = (1.3, 1.2);

/// Least throughput in nginx's.
const THROUGHPUT_LIMIT: f64 = 1.0;

/// A latency, or a dash where no pull came to its end within the window.
fn milliseconds(ms: f64) -> String {
    if ms > 0.0 { digits(ms) } else { "-".into() }
}

pub(crate) fn size_name(size: usize) -> String {
    match size {
        size if size >= 1024 * MIB => format!("{} GiB", size / (1024 * MIB)),
        size if size >= MIB => format!("{} MiB", size / MIB),
        size => format!("{} KiB", size / 1024),
    }
}

/// Puts a blob of `size` bytes into every server; returns a request for it at each server, nginx
/// first and
/// ours last.
pub(crate) fn place_blob(bench: &Bench, size: usize) -> anyhow::Result<Vec<(&Server, Request)>> {
    let blob = Blob::new(
        size as u64,
        size,
        &Random::new(bench.arguments.seed).bytes(size),
    );
    let path = bench.folder.join("nginx/files").join(size.to_string());
    let mut file = File::create(path)?;
    for part in &blob.parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    let mut requests = vec![(
        &bench.nginx,
        bench.nginx.request("GET", &format!("/{size}"), 200),
    )];
    for server in bench.peers.iter().chain([&bench.ours]) {
        server.push("blobs", std::slice::from_ref(&blob))?;
        requests.push((
            server,
            server.request("GET", &format!("/v2/blobs/blobs/{}", blob.digest), 200),
        ));
    }
    Ok(requests)
}

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let (mut lines, mut verdicts) = (Vec::new(), Vec::new());
    for &(size, connections) in &bench.arguments.downloads {
        let requests = place_blob(bench, size)?;
        let mut samples = vec![Vec::new(); requests.len()];
        for _ in 0..bench.arguments.rounds {
            for ((server, request), samples) in requests.iter().zip(&mut samples) {
                samples.push(Sample::take(
                    server,
                    bench.arguments.load(connections),
                    &mut Same(request.clone()),
                )?);
            }
        }
        let medians: Vec<_> = requests
            .iter()
            .zip(&samples)
            .map(|((server, _), samples)| (*server, Sample::median(samples)))
            .collect();
        let nginx = medians[0].1;
        let distribution = medians
            .iter()
            .find(|(server, _)| server.name == "distribution");
        let distribution = distribution.map(|(_, sample)| sample.cpu_s_per_gib);
        for (server, sample) in &medians {
            lines.push(vec![
                size_name(size),
                connections.to_string(),
                server.name.into(),
                server.terms.into(),
                digits(sample.mb_per_s),
                ratio(sample.mb_per_s, Some(nginx.mb_per_s)),
                digits(sample.cpu_s_per_gib),
                ratio(sample.cpu_s_per_gib, Some(nginx.cpu_s_per_gib)),
                ratio(sample.cpu_s_per_gib, distribution),
                milliseconds(sample.p50_ms),
                milliseconds(sample.p99_ms),
                digits(sample.peak_mb),
            ]);
        }
        if let Some((_, ours)) = medians.last() {
            let what = format!("GET {} at {connections}", size_name(size));
            let limit = if size < 64 * MIB {
                CPU_LIMITS.0
            } else {
                CPU_LIMITS.1
            };
            verdicts.push(Verdict::at_most(
                format!("{what}: CPU against nginx"),
                " times",
                ours.cpu_s_per_gib / nginx.cpu_s_per_gib,
                limit,
            ));
            let throughput = ours.mb_per_s / nginx.mb_per_s;
            verdicts.push(Verdict::at_least(
                format!("{what}: throughput against nginx"),
                " times",
                throughput,
                THROUGHPUT_LIMIT,
            ));
        }
    }
    Ok(Section {
        title: "Pulls of blobs".into(),
        how: "One blob from disk (in the page cache), pulled again and again; nginx serves a file \
         of the same bytes with sendfile. The \
              client reads every byte into a buffer of 1 MiB."
            .into(),
        header: vec![
            "blob",
            "connections",
            "server",
            "terms",
            "MB/s",
            "÷ nginx",
            "CPU s/GiB",
            "÷ nginx",
            "÷ distribution",
            "p50 ms",
            "p99 ms",
            "peak RSS MB",
        ],
        lines,
        verdicts,
    })
}
