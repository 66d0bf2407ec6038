//! Pushes of large blobs, alone and four at once, against distribution.

use std::fs;
use std::path::Path;

use bytes::Bytes;

use crate::Bench;
use crate::rows::download::size_name;
use crate::support::content::{Blob, Random};
use crate::support::load::Load;
use crate::support::report::{Sample, Section, Verdict, digits, ratio};
use crate::support::scripts::{Push, Way};
use crate::support::server::Server;

/// Blobs pushed in one measurement.
const BLOBS: usize = 4;

struct Case {
    name: &'static str,
    way: Way,
    connections: usize,
    /// Least throughput in distribution's; none where the project set no target.
    throughput: Option<f64>,
}

const CASES: [Case; 3] = [
    Case {
        name: "alone",
        way: Way::Put,
        connections: 1,
        throughput: Some(1.3),
    },
    Case {
        name: "4 at once",
        way: Way::Put,
        connections: BLOBS,
        throughput: Some(1.0),
    },
    Case {
        name: "alone, PATCH then PUT",
        way: Way::Patch,
        connections: 1,
        throughput: None,
    },
];

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let size = bench.arguments.push_size;
    let filler = Random::new(bench.arguments.seed).bytes(size);
    let servers: Vec<_> = bench.peers.iter().chain([&bench.ours]).collect();
    let (mut lines, mut verdicts, mut number) = (Vec::new(), Vec::new(), 1);
    for case in &CASES {
        let mut samples = vec![Vec::new(); servers.len()];
        for _ in 0..bench.arguments.rounds {
            for (server, samples) in servers.iter().zip(&mut samples) {
                samples.push(push(server, case, size, &mut number, &filler)?);
                if !bench.arguments.stores.are_remote() {
                    remove_files_of(&bench.folder, size as u64)?;
                }
            }
        }
        let medians: Vec<_> = samples
            .iter()
            .map(|samples| Sample::median(samples))
            .collect();
        let distribution = medians[0];
        for (server, sample) in servers.iter().zip(&medians) {
            lines.push(vec![
                case.name.into(),
                server.name.into(),
                server.terms.into(),
                digits(sample.mb_per_s),
                ratio(sample.mb_per_s, Some(distribution.mb_per_s)),
                digits(sample.cpu_s_per_gib),
                ratio(sample.cpu_s_per_gib, Some(distribution.cpu_s_per_gib)),
                digits(sample.p50_ms),
                digits(sample.peak_mb),
            ]);
        }
        if let (Some(ours), Some(throughput)) = (medians.last(), case.throughput) {
            let cpu = ours.cpu_s_per_gib / distribution.cpu_s_per_gib;
            verdicts.push(Verdict::at_most(
                format!("push {}: CPU against distribution", case.name),
                " times",
                cpu,
                1.0,
            ));
            let measured = ours.mb_per_s / distribution.mb_per_s;
            verdicts.push(Verdict::at_least(
                format!("push {}: throughput against distribution", case.name),
                " times",
                measured,
                throughput,
            ));
        }
    }
    Ok(Section {
        title: "Pushes of blobs".into(),
        how: format!(
            "{BLOBS} blobs of {}, none pushed before, by POST and PUT (or as docker does, POST, \
             PATCH and PUT), each response is sent when the blob is durable.",
            size_name(size)
        ),
        header: vec![
            "pushed",
            "server",
            "terms",
            "MB/s",
            "÷ distribution",
            "CPU s/GiB",
            "÷ distribution",
            "last request p50 ms",
            "peak RSS MB",
        ],
        lines,
        verdicts,
    })
}

fn push(
    server: &Server,
    case: &Case,
    size: usize,
    number: &mut u64,
    filler: &Bytes,
) -> anyhow::Result<Sample> {
    let blobs: Vec<_> = (*number..)
        .take(BLOBS)
        .map(|number| Blob::new(number, size, filler))
        .collect();
    *number += BLOBS as u64;
    let mut script = Push::new("blobs", &server.headers, case.way, blobs);
    Sample::take_pushes(
        server,
        Load::until_done(case.connections),
        &mut script,
        BLOBS * size,
    )
}

/// Removes the files that a measurement wrote, without the servers' knowledge: the blobs are never
/// requested again.
fn remove_files_of(folder: &Path, size: u64) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_files_of(&entry.path(), size)?;
        } else if entry.metadata()?.len() == size {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
