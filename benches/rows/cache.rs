//! Pulls through the cache beside pulls from the upstream registry and from our own storage.

use std::collections::VecDeque;

use anyhow::ensure;
use serde_json::json;

use crate::Bench;
use crate::rows::download::size_name;
use crate::support::content::{self, Blob, Descriptor, Random};
use crate::support::load::Load;
use crate::support::report::{Section, Verdict, digits, median, ratio};
use crate::support::request::Request;
use crate::support::scripts::Made;
use crate::support::server::{Server, get_manifest};
use crate::support::sign::ecr_call;
use crate::support::wharfinger;

const REPOSITORY: &str = "cached";
const PREFIX: &str = "quay";

/// Most time of a first pull through the cache, in that of a direct one; and of a second pull, in
/// that from our own storage.
const FIRST_LIMIT: f64 = 1.2;
const SECOND_LIMIT: f64 = 1.1;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let upstream = &bench.peers[0];
    let folder = bench.folder.join("cache");
    let upstreams = format!("quay.io=http://{}", upstream.address);
    let cache = wharfinger::start_with(&folder, &["--upstreams", &upstreams])?;
    let key = wharfinger::root_key(&folder)?;
    let rule = json!({ "ecrRepositoryPrefix": PREFIX, "upstreamRegistryUrl": "quay.io" });
    cache.must(&ecr_call(
        &key,
        "CreatePullThroughCacheRule",
        rule.to_string(),
    ))?;
    let own = json!({ "repositoryName": REPOSITORY });
    cache.must(&ecr_call(&key, "CreateRepository", own.to_string()))?;

    let size = bench.arguments.cached_size;
    let filler = Random::new(bench.arguments.seed).bytes(size);
    let through = format!("{PREFIX}/{REPOSITORY}");
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..bench.arguments.rounds {
        let tag = format!("v{round}");
        let own_tag = format!("own{round}");
        let digest = place(upstream, &tag, 2 * round as u64, size, &filler)?;
        let own_digest = place(&cache, &own_tag, 2 * round as u64 + 1, size, &filler)?;
        let pulls = [
            (upstream, REPOSITORY, &tag, &digest),
            (&cache, &*through, &tag, &digest),
            (&cache, &*through, &tag, &digest),
            (&cache, REPOSITORY, &own_tag, &own_digest),
        ];
        for ((server, repository, tag, layer), times) in pulls.into_iter().zip(&mut times) {
            times.push(pull(server, repository, tag, layer, size)?);
        }
    }
    let [direct, first, second, own] = times.map(median);
    let line = |what: &str, milliseconds: f64, of: Option<f64>| {
        vec![
            what.to_owned(),
            digits(milliseconds),
            ratio(milliseconds, of),
        ]
    };
    Ok(Section {
        title: "Pulls through the cache".into(),
        how: format!(
            "A manifest by its tag and its layer of {} on one connection, each round another \
             image; the upstream registry is {} on the same machine, whose files are in the page \
             cache.",
            size_name(size),
            upstream.name
        ),
        header: vec!["pull", "ms", "ratio"],
        lines: vec![
            line("from the upstream registry", direct, None),
            line(
                "first, through the cache (÷ upstream registry)",
                first,
                Some(direct),
            ),
            line(
                "second, through the cache (÷ own storage)",
                second,
                Some(own),
            ),
            line("from our own storage", own, None),
        ],
        verdicts: vec![
            Verdict::at_most(
                "first pull through the cache, against a direct one",
                " times",
                first / direct,
                FIRST_LIMIT,
            ),
            Verdict::at_most(
                "second pull through the cache, against our own storage",
                " times",
                second / own,
                SECOND_LIMIT,
            ),
        ],
    })
}

/// Pushes an image with one large layer; returns the digest of the layer.
fn place(
    server: &Server,
    tag: &str,
    number: u64,
    size: usize,
    filler: &bytes::Bytes,
) -> anyhow::Result<String> {
    let blobs = [
        Blob::new(1_000_000 + number, 1024.min(size), filler),
        Blob::new(number, size, filler),
    ];
    server.push(REPOSITORY, &blobs)?;
    let descriptors: Vec<_> = blobs.iter().map(Descriptor::from).collect();
    let manifest = content::manifest(&descriptors, tag);
    server.must(&server.put_manifest(REPOSITORY, tag, manifest))?;
    Ok(blobs[1].digest.clone())
}

/// Pulls the manifest and its layer; returns the milliseconds that both took.
fn pull(
    server: &Server,
    repository: &str,
    tag: &str,
    layer: &str,
    size: usize,
) -> anyhow::Result<f64> {
    let blob = format!("/v2/{repository}/blobs/{layer}");
    let mut requests: VecDeque<Request> = VecDeque::from([
        get_manifest(&server.headers, repository, tag),
        server.request("GET", &blob, 200),
    ]);
    let outcome = server.run(Load::until_done(1), &mut Made(move || requests.pop_front()))?;
    ensure!(
        outcome.tally.bytes >= size as u64,
        "{} sent {} bytes",
        server.name,
        outcome.tally.bytes
    );
    Ok(outcome.elapsed.as_secs_f64() * 1e3)
}
