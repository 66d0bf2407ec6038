//! Many pulls at once: what they do to memory.

use crate::Bench;
use crate::rows::download::{place_blob, size_name};
use crate::support::report::{Sample, Section, Verdict, digits};
use crate::support::scripts::Same;

const BLOB_SIZE: usize = 1024 * 1024;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let connections = bench.arguments.crowd;
    let load = bench.arguments.load(connections);
    let rounds = bench.arguments.rounds;
    let requests: Vec<_> = place_blob(bench, BLOB_SIZE)?
        .into_iter()
        .map(|(_, request)| request)
        .collect();
    let (mut lines, mut verdicts) = (Vec::new(), Vec::new());
    let servers = std::iter::once(&mut bench.nginx)
        .chain(&mut bench.peers)
        .chain([&mut bench.ours]);
    for (server, request) in servers.zip(requests) {
        // A fresh process: what earlier rows left in its heap is not these pulls'.
        server.restart()?;
        let samples = (0..rounds)
            .map(|_| Sample::take(server, load, &mut Same(request.clone())))
            .collect::<Result<Vec<_>, _>>()?;
        let sample = Sample::median(&samples);
        lines.push(vec![
            server.name.into(),
            server.terms.into(),
            digits(sample.rate),
            digits(sample.p50_ms),
            digits(sample.p99_ms),
            digits(sample.mb_per_s),
            digits(sample.cpu_s_per_gib),
            digits(sample.peak_mb),
        ]);
        if server.name == "wharfinger" {
            verdicts.push(Verdict::at_most(
                format!("peak RSS of {connections} pulls at once"),
                " MB",
                sample.peak_mb,
                80.0,
            ));
        }
    }
    Ok(Section {
        title: format!("{connections} pulls at once"),
        how: format!(
            "{connections} connections that pull a blob of {} again and again, from a fresh \
             process.",
            size_name(BLOB_SIZE)
        ),
        header: vec![
            "server",
            "terms",
            "pulls/s",
            "p50 ms",
            "p99 ms",
            "MB/s",
            "CPU s/GiB",
            "peak RSS MB",
        ],
        lines,
        verdicts,
    })
}
