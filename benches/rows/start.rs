//! Start to the first 200, and what an idle server holds in memory.

use std::time::Duration;

use crate::Bench;
use crate::support::report::{Section, Verdict, digits, median};
use crate::support::server::Server;
use crate::support::wharfinger;

/// An idle server is looked at this long after its first response.
const SETTLING: Duration = Duration::from_secs(1);

struct Started {
    first_response_ms: f64,
    slowest_ms: f64,
    idle_mb: f64,
}

fn measure(server: &mut Server, rounds: usize) -> anyhow::Result<Started> {
    let (mut times, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        times.push(server.restart()?.as_secs_f64() * 1e3);
        std::thread::sleep(SETTLING);
        idle.push(server.process.rss_mb());
    }
    let slowest_ms = times.iter().copied().fold(0.0, f64::max);
    Ok(Started {
        first_response_ms: median(times),
        slowest_ms,
        idle_mb: median(idle),
    })
}

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let rounds = bench.arguments.rounds + 2;
    let scale = bench.arguments.scale;
    let images = scale.big_images + scale.repositories * scale.images_per_repository;
    let mut lines = Vec::new();
    let mut line = |server: &str, content: String, terms: &str, started: &Started| {
        let (first, slowest) = (
            digits(started.first_response_ms),
            digits(started.slowest_ms),
        );
        lines.push(vec![
            server.into(),
            content,
            terms.into(),
            first,
            slowest,
            digits(started.idle_mb),
        ]);
    };
    for peer in &mut bench.peers {
        let started = measure(peer, rounds)?;
        line(peer.name, "empty".into(), peer.terms, &started);
    }
    let mut empty = wharfinger::start_empty(&bench.folder.join("empty"))?;
    let started = measure(&mut empty, rounds)?;
    line(empty.name, "empty".into(), empty.terms, &started);
    drop(empty);
    let full = measure(&mut bench.ours, rounds)?;
    let content = format!("{} repositories, {images} images", scale.repositories + 1);
    line(bench.ours.name, content, bench.ours.terms, &full);
    Ok(Section {
        title: "Start".into(),
        how: format!(
            "From starting the process to a 200 on `GET /v2/` (files in the page cache, as after a \
             restart), {rounds} starts; resident \
             memory {SETTLING:?} later."
        ),
        header: vec![
            "server",
            "holds",
            "terms",
            "first response ms (median)",
            "slowest ms",
            "idle RSS MB",
        ],
        lines,
        verdicts: vec![
            Verdict::at_most(
                "start to first response, full index",
                " ms",
                full.first_response_ms,
                100.0,
            ),
            Verdict::at_most(
                "first response, full against empty index",
                " times",
                full.first_response_ms / started.first_response_ms,
                1.5,
            ),
            Verdict::at_most("idle RSS, full index", " MB", full.idle_mb, 30.0),
        ],
    })
}
