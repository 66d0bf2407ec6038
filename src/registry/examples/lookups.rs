//! Measures the point reads of a pull, on an index in memory: microseconds of processor time per
//! look-up, which other load on the machine changes little.
//!
//! `cargo run --release -p wharfinger-registry --example lookups [TAGS]`

use std::io::Write as _;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;
use wharfinger_base::{Clock, Ids};
use wharfinger_blobs::{BlobStore, BlobsConfig};
use wharfinger_db::Db;
use wharfinger_oci::{Algorithm, Digest, Manifest, MediaType, Reference, RepositoryName};
use wharfinger_registry::{
    Config, MIGRATIONS, PullTarget, Pulled, Push, Registry, RegistryId, Repository,
    RepositorySettings,
};

const DEFAULT_TAGS: u64 = 200_000;
const LOOKUPS: u64 = 100_000;
/// Pushes under way at one time: as many as one commit takes.
const PUSHERS: u64 = 64;
/// Multiplied by it, consecutive numbers give tags that are far from each other.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let tags = std::env::args()
        .nth(1)
        .map_or(Ok(DEFAULT_TAGS), |text| text.parse())?;
    let db = Db::memory(MIGRATIONS)?;
    let blobs = BlobStore::open(
        &BlobsConfig::Memory,
        wharfinger_base::Durability::Relaxed,
        Ids::default(),
    );
    let config = Config {
        accept_missing_references: true,
        ..Config::default()
    };
    let registry = Registry::new(&db, &blobs.await?, &Clock::System, &Ids::default(), config);
    let id = RegistryId {
        account: "123456789012".parse().context("an account")?,
        region: "us-east-1".parse().context("a region")?,
    };
    let name: RepositoryName = "team/large".parse().context("a name")?;
    let settings = RepositorySettings::default();
    let repository = registry.repositories.create(&id, &name, settings).await?;
    fill(&registry, &repository, tags).await?;
    for (what, span) in [("one tag", 1), ("random tags", tags)] {
        let number = |lookup: u64| lookup.wrapping_mul(STRIDE) % span;
        let started = processor_ms()?;
        for lookup in 0..LOOKUPS {
            let reference = Reference::Tag(tag(number(lookup)).parse().context("a tag")?);
            read(&registry, &id, &name, &reference).await?;
        }
        print(what, "by tag", started)?;
        let started = processor_ms()?;
        for lookup in 0..LOOKUPS {
            let digest = Digest::of(Algorithm::Sha256, body(number(lookup)).as_bytes());
            read(&registry, &id, &name, &Reference::Digest(digest)).await?;
        }
        print(what, "by digest", started)?;
    }
    Ok(())
}

/// One pull of a manifest, as far as the index is concerned.
async fn read(
    registry: &Registry,
    id: &RegistryId,
    name: &RepositoryName,
    reference: &Reference,
) -> anyhow::Result<()> {
    let target = PullTarget::Manifest(reference.clone());
    let (_, pulled) = registry.load_for_pull(id, name, target).await?;
    ensure!(matches!(pulled, Pulled::Manifest(_)), "no manifest");
    Ok(())
}

async fn fill(registry: &Registry, repository: &Repository, tags: u64) -> anyhow::Result<()> {
    let mut pushes = JoinSet::new();
    for number in 0..tags {
        if pushes.len() as u64 >= PUSHERS {
            pushes.join_next().await.context("a push")???;
        }
        let (images, repository) = (registry.images.clone(), repository.clone());
        pushes.spawn(async move {
            let bytes = Bytes::from(body(number));
            let push = Push {
                manifest: Manifest::parse(&bytes, None)?,
                digest: Digest::of(Algorithm::Sha256, &bytes),
                bytes,
                tags: vec![tag(number).parse().context("a tag")?],
                refuse_existing: false,
            };
            images.put(&repository, push).await?;
            anyhow::Ok(())
        });
    }
    while let Some(push) = pushes.join_next().await {
        push??;
    }
    Ok(())
}

fn tag(number: u64) -> String {
    format!("v{number}")
}

/// A manifest of about 1 KB.
fn body(number: u64) -> String {
    let config = Digest::of(Algorithm::Sha256, b"{}");
    let filler = "x".repeat(700);
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"application/json",
            "digest":"{config}","size":2}},"layers":[],
            "annotations":{{"n":"{number}","filler":"{filler}"}}}}"#,
        MediaType::OCI_IMAGE
    )
}

fn print(what: &str, how: &str, started: u64) -> anyhow::Result<()> {
    let micros = f64::from(u32::try_from(processor_ms()? - started)?) * 1e3
        / f64::from(u32::try_from(LOOKUPS)?);
    writeln!(std::io::stdout(), "{what:<12} {how:<10} {micros:6.1} us")?;
    Ok(())
}

/// Processor time of this thread so far, user and system, in milliseconds.
fn processor_ms() -> anyhow::Result<u64> {
    /// Linux counts in hundredths of a second.
    const TICK_MS: u64 = 10;
    let stat = std::fs::read_to_string("/proc/thread-self/stat")?;
    // The second field, a name in parentheses, may hold spaces; the times are fields 14 and 15.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let mut times = after_name.split_whitespace().skip(11).take(2);
    let mut next = || -> anyhow::Result<u64> { Ok(times.next().context("a time")?.parse()?) };
    Ok((next()? + next()?) * TICK_MS)
}
