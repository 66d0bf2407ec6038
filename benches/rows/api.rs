//! Operations of the ECR API, each request signed and verified.

use std::collections::VecDeque;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::Bench;
use crate::support::content::{self, BIG, MANIFEST_TYPE, Random, SEEDED_LAYERS};
use crate::support::report::{Sample, Section, Verdict, digits};
use crate::support::request::{Request, Script};
use crate::support::scripts::{Made, Same};
use crate::support::server::Server;
use crate::support::sign::{AccessKey, ecr_call};
use crate::support::wharfinger;

const CONNECTIONS: usize = 32;

/// Requests for different images, signed before a measurement.
const SIGNED: usize = 4_096;

/// Images of a page, and most milliseconds for one.
const PAGE: u64 = 100;
const PAGE_LIMIT_MS: f64 = 5.0;

struct Case {
    operation: &'static str,
    /// Fewest requests in a second: at least twice the quota of ECR.
    least: f64,
    script: Box<dyn Script>,
}

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let scale = bench.arguments.one_repository;
    let folder = bench.folder.join("api");
    let server = wharfinger::start_scaled(&bench.arguments, scale, &folder)?;
    let key = wharfinger::user_key(&folder)?;
    let (mut lines, mut verdicts) = (Vec::new(), Vec::new());
    for mut case in cases(bench, &server, &key)? {
        let samples = (0..bench.arguments.rounds)
            .map(|_| {
                let load = bench.arguments.load(CONNECTIONS);
                Sample::take(&server, load, case.script.as_mut())
            })
            .collect::<Result<Vec<_>, _>>()?;
        let sample = Sample::median(&samples);
        lines.push(line(case.operation, CONNECTIONS, &sample));
        let rate = sample.rate;
        verdicts.push(Verdict::at_least(case.operation, "/s", rate, case.least));
    }
    for (place, request) in pages(&server, &key, scale.big_images)? {
        let samples = (0..bench.arguments.rounds)
            .map(|_| Sample::take(&server, bench.arguments.load(1), &mut Same(request.clone())))
            .collect::<Result<Vec<_>, _>>()?;
        let sample = Sample::median(&samples);
        let what = format!("DescribeImages, {place} page of {PAGE}");
        lines.push(line(&what, 1, &sample));
        verdicts.push(Verdict::at_most(what, " ms", sample.p50_ms, PAGE_LIMIT_MS));
    }
    Ok(Section {
        title: "Operations of the ECR API".into(),
        how: format!(
            "Signed requests on connections that are kept, by a user with an identity policy, to a \
             repository with a policy and {} images; each signature is verified and each request \
             decided.",
            scale.big_images
        ),
        header: vec![
            "operation",
            "connections",
            "per second",
            "p50 ms",
            "p99 ms",
            "CPU µs",
            "peak RSS MB",
        ],
        lines,
        verdicts,
    })
}

fn line(what: &str, connections: usize, sample: &Sample) -> Vec<String> {
    vec![
        what.into(),
        connections.to_string(),
        digits(sample.rate),
        digits(sample.p50_ms),
        digits(sample.p99_ms),
        digits(sample.cpu_us),
        digits(sample.peak_mb),
    ]
}

fn cases(bench: &Bench, server: &Server, key: &AccessKey) -> anyhow::Result<Vec<Case>> {
    let scale = bench.arguments.one_repository;
    let layers = server.push_image(BIG, "pushed", SEEDED_LAYERS)?.blobs;
    let digests: Vec<_> = layers.iter().map(|blob| blob.digest.clone()).collect();
    let mut random = Random::new(bench.arguments.seed);
    let mut signed: VecDeque<_> = (0..SIGNED)
        .map(|_| {
            let tag = content::big_tag(random.below(scale.big_tags));
            let body = json!({ "repositoryName": BIG, "imageIds": [{ "imageTag": tag }],
                "acceptedMediaTypes": [MANIFEST_TYPE] });
            ecr_call(key, "BatchGetImage", body.to_string())
        })
        .collect();
    let first: Value = serde_json::from_slice(&server.must(&signed[0])?.body)?;
    ensure!(
        first["images"]
            .as_array()
            .is_some_and(|found| found.len() == 1),
        "no image was found: {first}"
    );
    let body = json!({ "repositoryName": BIG, "layerDigest": digests[1] });
    let download = ecr_call(key, "GetDownloadUrlForLayer", body.to_string());
    let body = json!({ "repositoryName": BIG, "layerDigests": digests });
    let check = ecr_call(key, "BatchCheckLayerAvailability", body.to_string());
    let token = ecr_call(key, "GetAuthorizationToken", "{}".into());
    for request in [&download, &check, &token] {
        server.must(request)?;
    }
    let blobs = server.push_image("empty", "first", SEEDED_LAYERS)?.blobs;
    let (owner, mut number) = (key.clone(), 0_u64);
    let put = Made(move || {
        number += 1;
        let manifest = content::manifest(&blobs, &format!("api {number}"));
        let body = json!({ "repositoryName": "empty", "imageManifest": manifest,
            "imageManifestMediaType": MANIFEST_TYPE, "imageTag": format!("a{number}") });
        Some(ecr_call(&owner, "PutImage", body.to_string()))
    });
    let get = Made(move || {
        signed.rotate_left(1);
        signed.front().cloned()
    });
    let case = |operation, least, script| Case {
        operation,
        least,
        script,
    };
    Ok(vec![
        case("BatchGetImage", 4_000.0, Box::new(get)),
        case("GetDownloadUrlForLayer", 6_000.0, Box::new(Same(download))),
        case(
            "BatchCheckLayerAvailability",
            2_000.0,
            Box::new(Same(check)),
        ),
        case("GetAuthorizationToken", 1_000.0, Box::new(Same(token))),
        case("PutImage", 1_000.0, Box::new(put)),
    ])
}

/// The first page of images, and one in the middle of all.
fn pages(
    server: &Server,
    key: &AccessKey,
    images: u64,
) -> anyhow::Result<[(&'static str, Request); 2]> {
    let request = |size: u64, token: Option<&str>| {
        let mut body = json!({ "repositoryName": BIG, "maxResults": size });
        if let Some(token) = token {
            body["nextToken"] = token.into();
        }
        ecr_call(key, "DescribeImages", body.to_string())
    };
    // A token is valid for requests of any size.
    let largest = 1_000.min(images / 4);
    let mut token = None;
    for _ in 0..images / 2 / largest {
        let page = server.must(&request(largest, token.as_deref()))?.body;
        let page: Value = serde_json::from_slice(&page)?;
        let next = page["nextToken"]
            .as_str()
            .context("the images ended early")?;
        token = Some(next.to_owned());
    }
    let pages = [
        ("first", request(PAGE, None)),
        ("middle", request(PAGE, token.as_deref())),
    ];
    for (place, request) in &pages {
        let page: Value = serde_json::from_slice(&server.must(request)?.body)?;
        let count = page["imageDetails"].as_array().map_or(0, Vec::len);
        ensure!(count as u64 == PAGE, "the {place} page has {count} images");
    }
    Ok(pages)
}
