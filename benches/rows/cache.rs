//! Pulls through the cache beside pulls from the upstream registry and from our own storage.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use crate::Bench;
use crate::rows::download::size_name;
use crate::support::content::{self, Blob, Descriptor, Random};
use crate::support::link;
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

/// Time before each pull.
const PAUSE: Duration = Duration::from_secs(1);

/// What a link of 1 Gbit/s carries.
const LINK_BYTES_PER_SECOND: usize = 125_000_000;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let registry = &bench.peers[0];
    let limited = link::start(
        &bench.folder.join("link"),
        registry.address,
        LINK_BYTES_PER_SECOND,
    )?;
    let size = bench.arguments.cached_size;
    let mut lines = Vec::new();
    let mut verdicts = Vec::new();
    for (what, name, upstream) in [
        ("1 Gbit/s", "limited", &limited),
        ("memory speed", "unlimited", registry),
    ] {
        let folder = bench.folder.join(format!("cache-{name}"));
        let times = measure(bench, registry, upstream, &folder)?;
        let [direct, first, second, own] = times.map(median);
        let mut line = |pull: &str, milliseconds: f64, of: Option<f64>| {
            lines.push(vec![
                what.to_owned(),
                pull.to_owned(),
                digits(milliseconds),
                ratio(milliseconds, of),
            ]);
        };
        line("from the upstream registry", direct, None);
        line("first, through the cache (÷ direct)", first, Some(direct));
        line("second, through the cache (÷ own)", second, Some(own));
        line("from our own storage", own, None);
        verdicts.push(Verdict::at_most(
            format!("first pull through the cache, upstream at {what}, against a direct one"),
            " times",
            first / direct,
            FIRST_LIMIT,
        ));
        verdicts.push(Verdict::at_most(
            format!("second pull through the cache, upstream at {what}, against our own storage"),
            " times",
            second / own,
            SECOND_LIMIT,
        ));
    }
    Ok(Section {
        title: "Pulls through the cache".into(),
        how: format!(
            "A manifest by its tag and its layer of {} on one connection, each round another \
             image. The upstream registry is {} on the same machine, whose files are in the page \
             cache, once over a link of 1 Gbit/s. Pulls are a second apart.",
            size_name(size),
            registry.name
        ),
        header: vec!["upstream", "pull", "ms", "ratio"],
        lines,
        verdicts,
    })
}

/// The milliseconds of each round for a direct pull, the first and the second one through the
/// cache, and one from our own storage. `registry` has what is pulled from `upstream`.
fn measure(
    bench: &Bench,
    registry: &Server,
    upstream: &Server,
    folder: &Path,
) -> anyhow::Result<[Vec<f64>; 4]> {
    let upstreams = format!("quay.io=http://{}", upstream.address);
    let cache = wharfinger::start_with(folder, &["--upstreams", &upstreams])?;
    let key = wharfinger::root_key(folder)?;
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
        let digest = place(registry, &tag, 2 * round as u64, size, &filler)?;
        let own_digest = place(&cache, &own_tag, 2 * round as u64 + 1, size, &filler)?;
        let pulls = [
            (upstream, REPOSITORY, &tag, &digest),
            (&cache, &*through, &tag, &digest),
            (&cache, &*through, &tag, &digest),
            (&cache, REPOSITORY, &own_tag, &own_digest),
        ];
        for ((server, repository, tag, layer), times) in pulls.into_iter().zip(&mut times) {
            // A pull must not pay for what the disk still writes of the one before.
            std::thread::sleep(PAUSE);
            times.push(pull(server, repository, tag, layer, size)?);
        }
    }
    Ok(times)
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
