//! Fills the store of a stopped server with small blobs of which half are dead, with their files:
//! pushing a million blobs takes an hour.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use wharfinger_db::{self as db, DatabaseConfig, Db, Tx, Upgrade, params};
use wharfinger_oci::{Algorithm, Digest};

use super::content::{self, Blob, CONFIG_TYPE, Descriptor, MANIFEST_TYPE, Random};

const BLOB_SIZE: usize = 256;
/// Blobs of an image, config included.
const BLOBS_PER_IMAGE: u64 = 5;
/// Images' worth of blobs in one transaction.
const BATCH: u64 = 200;
const PUSHED_AT: i64 = 1_790_000_000_000;

/// What a group of blobs is.
#[derive(Clone, Copy)]
enum State {
    /// An image needs them.
    Live,
    /// Their repository links them, and no image needs them.
    Linked,
    /// Nothing links them.
    Unlinked,
}

/// Groups alternate, so that the dead lie among the living.
fn state_of(group: u64) -> State {
    match group % 4 {
        0 | 2 => State::Live,
        1 => State::Linked,
        _ => State::Unlinked,
    }
}

/// The `number`-th blob.
pub(crate) fn blob(number: u64, filler: &Bytes) -> Blob {
    Blob::new(number, BLOB_SIZE, filler)
}

/// The bytes that all blobs share.
pub(crate) fn filler() -> Bytes {
    Random::new(1).bytes(BLOB_SIZE)
}

/// A blob that an image needs, by a random number.
pub(crate) fn live_number(random: u64, blobs: u64) -> u64 {
    let groups = blobs / BLOBS_PER_IMAGE / 2;
    (random % groups) * 2 * BLOBS_PER_IMAGE + (random / groups) % BLOBS_PER_IMAGE
}

/// Stores `blobs` blobs in the repository, which the server of the data folder made. Returns how
/// many of them are dead.
pub(crate) fn fill(data: &Path, repository: &str, blobs: u64) -> anyhow::Result<u64> {
    let groups = blobs / BLOBS_PER_IMAGE;
    let filler = filler();
    let half = groups / 2;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| write_files(data, half..groups, &filler));
        write_files(data, 0..half, &filler)?;
        other
            .join()
            .map_err(|_| anyhow::anyhow!("a writer panicked"))?
    })?;
    let database = DatabaseConfig::sqlite(data.join("index.sqlite"));
    let migrations = wharfinger::server::migrations(&database);
    let db = Db::open(&database, &migrations, Upgrade::Apply)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let name = repository.to_owned();
        let find = "SELECT id FROM repositories WHERE name = ?1";
        let found = db
            .read(move |tx| tx.query_optional(find, params![&*name], |row| Ok(row.integer(0))))
            .await?;
        let repository = found.context("the server made no such repository")?;
        for first in (0..groups).step_by(BATCH as usize) {
            let (batch, filler) = (first..(first + BATCH).min(groups), filler.clone());
            db.write(move |tx| {
                batch
                    .clone()
                    .try_for_each(|group| insert_group(tx, repository, group, &filler))
            })
            .await?;
        }
        anyhow::Ok(())
    })?;
    let dead = (0..groups).filter(|group| !matches!(state_of(*group), State::Live));
    Ok(dead.count() as u64 * BLOBS_PER_IMAGE)
}

fn numbers(group: u64) -> Range<u64> {
    group * BLOBS_PER_IMAGE..(group + 1) * BLOBS_PER_IMAGE
}

/// Where the store keeps a blob.
fn location(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("blobs/sha256/{}/{hex}", &hex[..2])
}

fn write_files(data: &Path, groups: Range<u64>, filler: &Bytes) -> anyhow::Result<()> {
    let root = data.join("blobs");
    for folder in 0..=u8::MAX {
        fs::create_dir_all(root.join(format!("blobs/sha256/{folder:02x}")))?;
    }
    for number in groups.flat_map(numbers) {
        let blob = blob(number, filler);
        let digest: Digest = blob.digest.parse()?;
        fs::write(root.join(location(&digest)), blob.parts.concat())?;
    }
    Ok(())
}

fn insert_group(tx: &mut Tx<'_>, repository: i64, group: u64, filler: &Bytes) -> db::Result<()> {
    let blobs: Vec<_> = numbers(group).map(|number| blob(number, filler)).collect();
    let state = state_of(group);
    let mut stored = Vec::new();
    for blob in &blobs {
        let digest: Digest = blob.digest.parse().map_err(db::Error::other)?;
        let bytes = digest.to_stored();
        let collect_at = matches!(state, State::Unlinked).then_some(0_i64);
        tx.execute(
            "INSERT INTO blobs (digest, size, location, lease_until, created_at, collect_at) \
             VALUES (?1, ?2, ?3, 0, ?4, ?5)",
            params![
                &bytes[..],
                blob.size() as i64,
                &*location(&digest),
                PUSHED_AT,
                collect_at
            ],
        )?;
        if !matches!(state, State::Unlinked) {
            let check_at = matches!(state, State::Linked).then_some(0_i64);
            tx.execute(
                "INSERT INTO blob_links (repository_id, digest, linked_at, check_at) \
                 VALUES (?1, ?2, ?3, ?4)",
                params![repository, &bytes[..], PUSHED_AT, check_at],
            )?;
        }
        stored.push(bytes);
    }
    if !matches!(state, State::Live) {
        return Ok(());
    }
    let descriptors: Vec<_> = blobs.iter().map(Descriptor::from).collect();
    let manifest = content::manifest(&descriptors, &format!("group {group}"));
    let digest = Digest::of(Algorithm::Sha256, manifest.as_bytes()).to_stored();
    let image = tx
        .query_optional(
            "INSERT INTO images (repository_id, digest, media_type, artifact_type, content_size, \
             manifest_size, pushed_at, aged_from) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) \
             RETURNING id",
            params![
                repository,
                &digest[..],
                MANIFEST_TYPE,
                CONFIG_TYPE,
                (BLOB_SIZE * blobs.len()) as i64,
                manifest.len() as i64,
                PUSHED_AT
            ],
            |row| Ok(row.integer(0)),
        )?
        .ok_or_else(|| db::Error::other("an insert returned no row"))?;
    tx.execute(
        "INSERT INTO manifests (image_id, bytes) VALUES (?1, ?2)",
        params![image, manifest.as_bytes()],
    )?;
    for (at, child) in stored.iter().enumerate() {
        let kind = if at == 0 { "config" } else { "layer" };
        tx.execute(
            "INSERT INTO image_references (repository_id, child, image_id, kind) \
             VALUES (?1, ?2, ?3, ?4)",
            params![repository, &child[..], image, kind],
        )?;
    }
    Ok(())
}
