//! Small requests at 32 connections, against nginx with a file of 1 KB.

use std::path::Path;
use std::{fs, io};

use crate::Bench;
use crate::support::content::{self, BIG, Random, SEEDED_LAYERS, SMALL};
use crate::support::report::{Sample, Section, Verdict, digits, ratio};
use crate::support::request::{Request, Script};
use crate::support::scripts::{Made, Same};
use crate::support::server::{Server, get_manifest};
use crate::support::wharfinger::OTHER;

const CONNECTIONS: usize = 32;

/// Digests requested at random in the big repository.
const DIGESTS: u64 = 16_384;

/// Most server time for one request, in nginx's for its file: where one thing is requested again
/// and again, and at random among all tags of the big repository.
const LIMIT: f64 = 1.5;
const RANDOM_LIMIT: f64 = 2.5;

struct Case<'a> {
    what: &'static str,
    place: &'static str,
    server: &'a Server,
    script: Box<dyn Script>,
    samples: Vec<Sample>,
}

impl<'a> Case<'a> {
    fn same(what: &'static str, place: &'static str, server: &'a Server, request: Request) -> Self {
        Self {
            what,
            place,
            server,
            script: Box::new(Same(request)),
            samples: Vec::new(),
        }
    }

    fn made(
        what: &'static str,
        place: &'static str,
        server: &'a Server,
        make: impl FnMut() -> Request + 'static,
    ) -> Self {
        let mut make = make;
        Self {
            what,
            place,
            server,
            script: Box::new(Made(move || Some(make()))),
            samples: Vec::new(),
        }
    }
}

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<Section> {
    let mut cases = vec![Case::same(
        "GET 1 KB file",
        "-",
        &bench.nginx,
        bench.nginx.request("GET", "/1k", 200),
    )];
    for server in bench.peers.iter().chain([&bench.ours]) {
        small_repository(server, &mut cases)?;
    }
    let others = bench.peers.iter().filter(|peer| peer.name == OTHER);
    for server in others.chain([&bench.ours]) {
        big_repository(bench, server, &mut cases)?;
    }
    if bench.arguments.against.is_some() {
        // The same request to both builds, one after the other.
        cases[1..].sort_by_key(|case| (case.place, case.what));
    }
    for _ in 0..bench.arguments.rounds {
        if !bench.arguments.stores.are_remote() {
            read_through(&bench.folder.join("wharfinger/data"))?;
        }
        if bench.arguments.against.is_some() {
            read_through(&bench.folder.join(OTHER).join("data"))?;
        }
        for case in &mut cases {
            case.samples.push(Sample::take(
                case.server,
                bench.arguments.load(CONNECTIONS),
                case.script.as_mut(),
            )?);
        }
    }
    Ok(report(&cases, bench))
}

/// Reads the index's files, so that they lie in the page cache as they do under a server that has
/// been requested for a while.
fn read_through(data: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(data)? {
        let path = entry?.path();
        if path.is_file() {
            io::copy(&mut fs::File::open(path)?, &mut io::sink())?;
        }
    }
    Ok(())
}

/// A repository with one image, in each registry.
fn small_repository<'a>(server: &'a Server, cases: &mut Vec<Case<'a>>) -> anyhow::Result<()> {
    let image = server.push_image(SMALL, "latest", SEEDED_LAYERS)?;
    let place = "one tag";
    cases.push(Case::same(
        "GET /v2/",
        "-",
        server,
        server.request("GET", "/v2/", 200),
    ));
    let blob = format!("/v2/{SMALL}/blobs/{}", image.blobs[1].digest);
    cases.push(Case::same(
        "HEAD blob",
        place,
        server,
        server.request("HEAD", &blob, 200),
    ));
    cases.push(Case::same(
        "GET manifest by tag",
        place,
        server,
        server.get_manifest(SMALL, "latest"),
    ));
    cases.push(Case::same(
        "GET manifest by digest",
        place,
        server,
        server.get_manifest(SMALL, &image.digest),
    ));
    Ok(())
}

/// The repository of a million tags, requested at random.
fn big_repository<'a>(
    bench: &Bench,
    server: &'a Server,
    cases: &mut Vec<Case<'a>>,
) -> anyhow::Result<()> {
    let (scale, seed) = (bench.arguments.scale, bench.arguments.seed);
    let place = "big";
    let image = server.push_image(BIG, "pushed", SEEDED_LAYERS)?;
    let blob = format!("/v2/{BIG}/blobs/{}", image.blobs[1].digest);
    cases.push(Case::same(
        "HEAD blob",
        place,
        server,
        server.request("HEAD", &blob, 200),
    ));

    let (headers, mut random) = (server.headers.clone(), Random::new(seed));
    cases.push(Case::made(
        "GET manifest by tag",
        place,
        server,
        move || {
            let tag = content::big_tag(random.below(scale.big_tags));
            get_manifest(&headers, BIG, &tag)
        },
    ));

    let (headers, mut random) = (server.headers.clone(), Random::new(seed));
    let blobs = content::seeded_blobs(BIG);
    let digest = |_| {
        content::sha256(content::seeded_manifest(&blobs, random.below(scale.big_images)).as_bytes())
    };
    let digests: Vec<String> = (0..DIGESTS).map(digest).collect();
    let mut random = Random::new(seed + 1);
    cases.push(Case::made(
        "GET manifest by digest",
        place,
        server,
        move || {
            let digest = &digests[random.below(DIGESTS) as usize];
            get_manifest(&headers, BIG, digest)
        },
    ));
    Ok(())
}

fn report(cases: &[Case<'_>], bench: &Bench) -> Section {
    let medians: Vec<_> = cases
        .iter()
        .map(|case| (case, Sample::median(&case.samples)))
        .collect();
    let nginx = medians[0].1;
    let peers = |what: &str, name: &str| {
        medians
            .iter()
            .find(|(case, _)| case.what == what && case.server.name == name)
            .map(|(_, s)| s.cpu_us)
    };
    let lines = medians.iter().map(|(case, sample)| {
        vec![
            case.what.into(),
            case.place.into(),
            case.server.name.into(),
            case.server.terms.into(),
            digits(sample.rate),
            digits(sample.p50_ms),
            digits(sample.p99_ms),
            digits(sample.cpu_us),
            ratio(sample.cpu_us, Some(nginx.cpu_us)),
            ratio(sample.cpu_us, peers(case.what, "distribution")),
            digits(sample.peak_mb),
        ]
    });
    let verdict = |(case, sample): &(&Case<'_>, Sample)| {
        let random = case.place == "big" && case.what.starts_with("GET manifest");
        let limit = if random { RANDOM_LIMIT } else { LIMIT };
        let what = format!("CPU of {} ({}), against nginx", case.what, case.place);
        (case.server.name == "wharfinger")
            .then(|| Verdict::at_most(what, " times", sample.cpu_us / nginx.cpu_us, limit))
    };
    let tags = bench.arguments.scale.big_tags;
    Section {
        title: "Small requests".into(),
        how: format!(
            "{CONNECTIONS} connections, each sending its next request as soon as the last response \
             is complete. \"one tag\": a repository with one image, requested \
             again and again; \"big\": a repository with {tags} tags, requested at random (of \
             {DIGESTS} digests). Manifests are about 1 KB. \
             The index's files are read once before each round, as they lie in the page cache of a \
             server that is in use."
        ),
        header: vec![
            "request",
            "repository",
            "server",
            "terms",
            "req/s",
            "p50 ms",
            "p99 ms",
            "CPU µs/request",
            "÷ nginx",
            "÷ distribution",
            "peak RSS MB",
        ],
        lines: lines.collect(),
        verdicts: medians.iter().filter_map(verdict).collect(),
    }
}
