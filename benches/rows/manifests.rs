//! Pushes of manifests by many writers.

use crate::Bench;
use crate::support::content::{self, BIG, Descriptor};
use crate::support::report::{Sample, Section, Verdict, digits, ratio};
use crate::support::scripts::Made;
use crate::support::server::Server;

const WRITERS: usize = 32;
const LAYERS: u64 = 10;

struct Case<'a> {
    server: &'a Server,
    repository: &'static str,
    tags: u64,
    blobs: Vec<Descriptor>,
    samples: Vec<Sample>,
}

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let mut cases = Vec::new();
    let places = bench.peers.iter().map(|peer| (peer, "empty", 0));
    for (server, repository, tags) in places.chain([
        (&bench.ours, "empty", 0),
        (&bench.ours, BIG, bench.arguments.scale.big_tags),
    ]) {
        let blobs = server.push_image(repository, "first", LAYERS)?.blobs;
        cases.push(Case {
            server,
            repository,
            tags,
            blobs,
            samples: Vec::new(),
        });
    }
    let mut number = 0_u64;
    for _ in 0..bench.arguments.rounds {
        for case in &mut cases {
            let (server, repository, blobs) = (case.server, case.repository, &case.blobs);
            let mut script = Made(|| {
                number += 1;
                let manifest = content::manifest(blobs, &number.to_string());
                Some(server.put_manifest(repository, &format!("w{number}"), manifest))
            });
            case.samples.push(Sample::take(
                server,
                bench.arguments.load(WRITERS),
                &mut script,
            )?);
        }
    }
    Ok(report(&cases))
}

fn report(cases: &[Case<'_>]) -> Section {
    let medians: Vec<_> = cases
        .iter()
        .map(|case| (case, Sample::median(&case.samples)))
        .collect();
    let distribution = medians[0].1;
    let lines = medians.iter().map(|(case, sample)| {
        vec![
            case.tags.to_string(),
            case.server.name.into(),
            case.server.terms.into(),
            digits(sample.rate),
            ratio(sample.rate, Some(distribution.rate)),
            digits(sample.p50_ms),
            digits(sample.p99_ms),
            digits(sample.cpu_us),
            ratio(sample.cpu_us, Some(distribution.cpu_us)),
            digits(sample.peak_mb),
        ]
    });
    let mut verdicts = Vec::new();
    for (case, sample) in medians
        .iter()
        .filter(|(case, _)| case.server.name == "wharfinger")
    {
        let what = format!("manifest PUT, {WRITERS} writers, {} tags", case.tags);
        verdicts.push(Verdict::at_least(
            format!("{what}: rate"),
            "/s",
            sample.rate,
            1000.0,
        ));
        verdicts.push(Verdict::at_most(
            format!("{what}: p99"),
            " ms",
            sample.p99_ms,
            60.0,
        ));
    }
    Section {
        title: "Pushes of manifests".into(),
        how: format!(
            "{WRITERS} connections, each putting a new manifest of {LAYERS} layers under a new tag \
             as soon as the response to its last one is complete; the \
             repository had the tags of the first column before."
        ),
        header: vec![
            "tags",
            "server",
            "terms",
            "PUT/s",
            "÷ distribution",
            "p50 ms",
            "p99 ms",
            "CPU µs/PUT",
            "÷ distribution",
            "peak RSS MB",
        ],
        lines: lines.collect(),
        verdicts,
    }
}
