//! Pushes of manifests while a large repository is deleted.

use std::time::{Duration, Instant};

use crate::Bench;
use crate::support::content::{self, BIG};
use crate::support::load::Load;
use crate::support::report::{Sample, Section, Verdict, digits};
use crate::support::scripts::Made;
use crate::support::sign::ecr_call;
use crate::support::wharfinger;

const WRITERS: usize = 8;
const LAYERS: u64 = 10;

/// How many windows are measured once the deletion was acknowledged. The work that it leaves goes
/// on through all of them.
const WINDOWS: u32 = 5;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let scale = bench.arguments.scale;
    let server = &bench.ours;
    let root = wharfinger::root_key(&bench.folder.join("wharfinger"))?;
    let blobs = server.push_image("empty", "kept", LAYERS)?.blobs;
    let mut number = 0_u64;
    let mut take = |windows: u32| {
        let mut script = Made(|| {
            number += 1;
            let manifest = content::manifest(&blobs, &format!("deletion {number}"));
            Some(server.put_manifest("empty", &format!("d{number}"), manifest))
        });
        let load = bench.arguments.load(WRITERS);
        let window = load.window.map(|window| window * windows);
        Sample::take(server, Load { window, ..load }, &mut script)
    };
    let before = take(1)?;
    let body = serde_json::json!({ "repositoryName": BIG, "force": true });
    let began = Instant::now();
    server.must(&ecr_call(&root, "DeleteRepository", body.to_string()))?;
    let response_time = began.elapsed();
    // A repository of the same name is there at once, and empty.
    let body = serde_json::json!({ "repositoryName": BIG });
    server.must(&ecr_call(&root, "CreateRepository", body.to_string()))?;
    let during = take(WINDOWS)?;
    Ok(report(
        [("before", before), ("afterwards", during)],
        response_time,
        &format!("{} images and {} tags", scale.big_images, scale.big_tags),
    ))
}

fn report(samples: [(&str, Sample); 2], response_time: Duration, size: &str) -> Section {
    let lines = samples.iter().map(|(when, sample)| {
        vec![
            (*when).into(),
            digits(sample.rate),
            digits(sample.p50_ms),
            digits(sample.p99_ms),
            digits(sample.longest_ms),
            digits(sample.peak_mb),
        ]
    });
    let [(_, before), (_, during)] = &samples;
    let milliseconds = response_time.as_secs_f64() * 1e3;
    Section {
        title: format!("Deletion of a repository with {size}"),
        how: format!(
            "{WRITERS} connections put new manifests into another repository. DeleteRepository was \
             acknowledged after {} ms; its rows were removed while the second line was taken.",
            digits(milliseconds)
        ),
        header: vec![
            "when",
            "PUT/s",
            "p50 ms",
            "p99 ms",
            "longest ms",
            "peak RSS MB",
        ],
        lines: lines.collect(),
        verdicts: vec![
            Verdict::at_most("DeleteRepository: response", " ms", milliseconds, 50.0),
            Verdict::at_most(
                "manifest PUT while rows are removed: longest",
                " ms",
                during.longest_ms,
                50.0 + before.longest_ms,
            ),
        ],
    }
}
