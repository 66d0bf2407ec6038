//! Fills the index of a stopped server with repositories, images and tags, by SQL in bulk: pushing
//! a million images takes an hour.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rusqlite::{Connection, Transaction, params};
use wharfinger_oci::{Algorithm, Digest};

use super::arguments::Scale;
use super::content::{
    BIG, CONFIG_TYPE, MANIFEST_TYPE, big_tag, repository_name, seeded_blobs, seeded_manifest,
};

/// When all that is seeded was pushed, in milliseconds since the epoch.
const PUSHED_AT: i64 = 1_790_000_000_000;

/// What every `SQLite` file begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// The `SQLite` file of a data folder.
fn index_of(folder: &Path) -> anyhow::Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let mut start = [0; 16];
        if path.is_file() && File::open(&path)?.read_exact(&mut start).is_ok() && start == MAGIC {
            return Ok(path);
        }
    }
    anyhow::bail!("no SQLite file in {}", folder.display())
}

/// Fills the index under `folder`, in which a repository named `BIG` was made by its own server;
/// the others are made like it.
pub(crate) fn fill(folder: &Path, scale: Scale) -> anyhow::Result<()> {
    let mut index = Connection::open(index_of(folder)?)?;
    // Nothing is lost when this is cut off: the folder is filled again.
    index.execute_batch(
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; PRAGMA temp_store = MEMORY;",
    )?;
    let transaction = index.transaction()?;
    let big: i64 = transaction.query_row(
        "SELECT id FROM repositories WHERE name = ?1",
        [BIG],
        |row| row.get(0),
    )?;
    let images = fill_repository(&transaction, big, BIG, scale.big_images)?;
    fill_tags(&transaction, big, &images, scale.big_tags)?;
    for number in 0..scale.repositories {
        let name = repository_name(number);
        let id = transaction
            .prepare_cached(
                "INSERT INTO repositories (account, region, name, created_at, mutability, mutability_filters, scan, encryption, tags)
                 SELECT account, region, ?1, created_at, mutability, mutability_filters, scan, encryption, tags FROM repositories
                 WHERE id = ?2 RETURNING id",
            )?
            .query_row(params![name, big], |row| row.get(0))?;
        let images = fill_repository(&transaction, id, &name, scale.images_per_repository)?;
        fill_tags(&transaction, id, &images, scale.images_per_repository)?;
    }
    transaction.commit()?;
    index.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")?;
    let count: i64 = index.query_row("SELECT COUNT(*) FROM images", [], |row| row.get(0))?;
    ensure!(
        count as u64 == scale.big_images + scale.repositories * scale.images_per_repository,
        "{count} images were seeded"
    );
    Ok(())
}

/// Inserts `count` images with their blobs; answers their row numbers.
fn fill_repository(
    tx: &Transaction<'_>,
    repository: i64,
    name: &str,
    count: u64,
) -> anyhow::Result<Vec<i64>> {
    let blobs = seeded_blobs(name);
    let mut children = Vec::new();
    for blob in &blobs {
        let digest: Digest = blob
            .digest
            .parse()
            .context("a made digest does not parse")?;
        let stored = digest.to_stored();
        tx.prepare_cached(
            "INSERT INTO blobs (digest, size, location, state, lease_until, created_at) VALUES (?1, ?2, ?3, 'present', 0, ?4)",
        )?
        .execute(params![stored, blob.size as i64, format!("seeded/{}", digest.hex()), PUSHED_AT])?;
        tx.prepare_cached(
            "INSERT INTO blob_links (repository_id, digest, linked_at) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![repository, stored, PUSHED_AT])?;
        children.push(stored);
    }
    let content_size = blobs.iter().map(|blob| blob.size as i64).sum::<i64>();
    let mut images = Vec::new();
    for number in 0..count {
        let manifest = seeded_manifest(&blobs, number);
        let digest = Digest::of(Algorithm::Sha256, manifest.as_bytes()).to_stored();
        let image: i64 = tx
            .prepare_cached(
                "INSERT INTO images (repository_id, digest, media_type, artifact_type, content_size, manifest_size, pushed_at, manifest)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING id",
            )?
            .query_row(
                params![
                    repository,
                    digest,
                    MANIFEST_TYPE,
                    CONFIG_TYPE,
                    content_size,
                    manifest.len() as i64,
                    PUSHED_AT,
                    manifest.as_bytes()
                ],
                |row| row.get(0),
            )?;
        for (at, child) in children.iter().enumerate() {
            tx.prepare_cached("INSERT INTO image_references (repository_id, child, image_id, kind) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![repository, child, image, if at == 0 { "config" } else { "layer" }])?;
        }
        images.push(image);
    }
    Ok(images)
}

/// Sets `count` tags, on the images in turn.
fn fill_tags(
    tx: &Transaction<'_>,
    repository: i64,
    images: &[i64],
    count: u64,
) -> anyhow::Result<()> {
    for (number, image) in (0..count).zip(images.iter().cycle()) {
        tx.prepare_cached(
            "INSERT INTO tags (repository_id, name, image_id, tagged_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![repository, big_tag(number), image, PUSHED_AT])?;
    }
    Ok(())
}
