//! Runs of lifecycle policies over one repository with very many images.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use crate::Bench;
use crate::support::content::BIG;
use crate::support::process::Process;
use crate::support::report::{Section, Verdict, digits};
use crate::support::sign::ecr_call;
use crate::support::wharfinger;

/// Most seconds for a run, and most MB of memory.
const LIMIT_SECONDS: f64 = 60.0;
const LIMIT_MB: f64 = 200.0;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let scale = bench.arguments.one_repository;
    let folder = bench.folder.join("lifecycle");
    let images = scale.big_images;
    let mut server = wharfinger::start_scaled(&bench.arguments, scale, &folder)?;
    let key = wharfinger::root_key(&folder)?;
    let (mut lines, mut verdicts) = (Vec::new(), Vec::new());
    // Each run leaves the images to the next one.
    let cases = [
        ("nothing expires", images, images, false),
        ("all but one would expire", images, 1, true),
        ("a tenth expires", images, images - images / 10, false),
    ];
    for (what, before, kept, dry_run) in cases {
        if !server.process.runs() {
            server.restart()?;
        }
        let policy = json!({ "rules": [{ "rulePriority": 1,
            "selection": { "tagStatus": "any", "countType": "imageCountMoreThan",
                "countNumber": kept },
            "action": { "type": "expire" } }] });
        let body = json!({ "repositoryName": BIG, "lifecyclePolicyText": policy.to_string() });
        server.must(&ecr_call(&key, "PutLifecyclePolicy", body.to_string()))?;
        server.process.stop();
        let words = if dry_run { "would expire " } else { "expired " };
        let expected = format!("{words}{}\t", before - kept);
        let (time, peak_mb) = evaluate(&folder, dry_run, &expected)?;
        let seconds = time.as_secs_f64();
        lines.push(vec![
            what.into(),
            before.to_string(),
            (before - kept).to_string(),
            digits(seconds),
            digits(peak_mb),
        ]);
        let what = format!("lifecycle run, {what}");
        verdicts.push(Verdict::at_most(&*what, " s", seconds, LIMIT_SECONDS));
        verdicts.push(Verdict::at_most(
            format!("{what}: RSS"),
            " MB",
            peak_mb,
            LIMIT_MB,
        ));
    }
    Ok(Section {
        title: "Lifecycle policies".into(),
        how:
            "`wharfinger lifecycle run` over one repository, its server stopped. A run leaves half \
              of the time to requests while it deletes."
                .into(),
        header: vec![
            "policy",
            "images",
            "of them expire",
            "seconds",
            "peak RSS MB",
        ],
        lines,
        verdicts,
    })
}

/// Evaluates the policy; returns how long that took, and the peak of memory.
fn evaluate(folder: &Path, dry_run: bool, expected: &str) -> anyhow::Result<(Duration, f64)> {
    let mut words = vec!["lifecycle", "run"];
    if dry_run {
        words.push("--dry-run");
    }
    let output = folder.join("run-output");
    let began = Instant::now();
    let mut command = wharfinger::command(folder, &words);
    let mut process = Process::spawn(&mut command, &folder.join("run-log"), &output)?;
    let mut peak_mb = 0.0_f64;
    while process.runs() {
        peak_mb = peak_mb.max(process.peak_rss_mb());
        std::thread::sleep(Duration::from_millis(5));
    }
    let time = began.elapsed();
    let printed = std::fs::read_to_string(&output)?;
    ensure!(printed.contains(expected), "the run printed {printed:?}");
    Ok((time, peak_mb))
}
