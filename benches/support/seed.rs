//! Fills the index of a stopped server with repositories, images and tags, many in a transaction:
//! pushing a million images takes an hour.

use std::time::Instant;

use anyhow::ensure;
use wharfinger_db::{self as db, DatabaseConfig, Db, Tx, Upgrade, params};
use wharfinger_oci::{Algorithm, Digest};

use super::arguments::Scale;
use super::content::{
    BIG, CONFIG_TYPE, MANIFEST_TYPE, big_tag, repository_name, seeded_blobs, seeded_manifest,
};

/// When all that is seeded was pushed, in milliseconds since the epoch.
const PUSHED_AT: i64 = 1_790_000_000_000;

/// Images or tags written in one transaction. SQLite keeps the pages that a savepoint has changed
/// in a list, which each statement traverses: in larger batches, that is most of the time.
const BATCH: u64 = 1_000;

/// Fills the index, in which a repository named `BIG` was made by its own server; the others are
/// made like it.
pub(crate) fn fill(database: &DatabaseConfig, scale: Scale) -> anyhow::Result<()> {
    let started = Instant::now();
    // Opening blocks, so it happens outside the runtime.
    let db = Db::open(
        database,
        &wharfinger::server::migrations(database),
        Upgrade::Apply,
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(fill_index(&db, scale))?;
    crate::say(&format!("seeded in {} s", started.elapsed().as_secs()));
    Ok(())
}

async fn fill_index(db: &Db, scale: Scale) -> anyhow::Result<()> {
    let big = db.write(|tx| repository_id(tx, BIG)).await?;
    fill_big(db, big, scale).await?;
    let images_per_repository = scale.images_per_repository;
    let per_batch = (BATCH / images_per_repository.max(1)).max(1);
    for first in (0..scale.repositories).step_by(per_batch as usize) {
        let numbers = first..(first + per_batch).min(scale.repositories);
        db.write(move |tx| {
            for number in numbers.clone() {
                let name = repository_name(number);
                let id = insert_repository(tx, &name, big)?;
                insert_blobs(tx, id, &name)?;
                let images = insert_images(tx, id, &name, 0..images_per_repository)?;
                insert_tags(tx, id, &images, 0..images_per_repository)?;
            }
            Ok::<_, db::Error>(())
        })
        .await?;
    }
    let count = db
        .read(|tx| tx.query_optional("SELECT COUNT(*) FROM images", &[], |row| Ok(row.integer(0))))
        .await?
        .unwrap_or_default();
    let expected = scale.big_images + scale.repositories * images_per_repository;
    ensure!(count as u64 == expected, "{count} images were seeded");
    Ok(())
}

/// Fills the repository with all the tags.
async fn fill_big(db: &Db, big: i64, scale: Scale) -> anyhow::Result<()> {
    db.write(move |tx| insert_blobs(tx, big, BIG)).await?;
    let mut images = Vec::new();
    for numbers in batches(scale.big_images) {
        images.extend(
            db.write(move |tx| insert_images(tx, big, BIG, numbers.clone()))
                .await?,
        );
    }
    for numbers in batches(scale.big_tags) {
        let images = images.clone();
        db.write(move |tx| insert_tags(tx, big, &images, numbers.clone()))
            .await?;
    }
    Ok(())
}

/// `0..count` in ranges of at most `BATCH`.
fn batches(count: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    (0..count)
        .step_by(BATCH as usize)
        .map(move |first| first..(first + BATCH).min(count))
}

fn repository_id(tx: &mut Tx<'_>, name: &str) -> db::Result<i64> {
    let row = tx.query_optional(
        "SELECT id FROM repositories WHERE name = ?1",
        params![name],
        |row| Ok(row.integer(0)),
    )?;
    row.ok_or_else(|| db::Error::other("the server made no such repository"))
}

/// Makes a repository with the settings of another one.
fn insert_repository(tx: &mut Tx<'_>, name: &str, like: i64) -> db::Result<i64> {
    let row = tx.query_optional(
        "INSERT INTO repositories (account, region, name, created_at, mutability, \
         mutability_filters, scan, encryption, tags) \
         SELECT account, region, ?1, created_at, mutability, mutability_filters, scan, encryption, \
         tags FROM repositories WHERE id = ?2 RETURNING id",
        params![name, like],
        |row| Ok(row.integer(0)),
    )?;
    row.ok_or_else(|| db::Error::other("an insert returned no row"))
}

/// The blobs that all seeded images of a repository share; their bytes do not exist.
fn insert_blobs(tx: &mut Tx<'_>, repository: i64, name: &str) -> db::Result<()> {
    for blob in seeded_blobs(name) {
        let digest = parse(&blob.digest)?;
        let stored = digest.to_stored();
        tx.execute(
            "INSERT INTO blobs (digest, size, location, lease_until, created_at) \
             VALUES (?1, ?2, ?3, 0, ?4)",
            params![
                &stored[..],
                blob.size as i64,
                &*format!("seeded/{}", digest.hex()),
                PUSHED_AT
            ],
        )?;
        tx.execute(
            "INSERT INTO blob_links (repository_id, digest, linked_at) VALUES (?1, ?2, ?3)",
            params![repository, &stored[..], PUSHED_AT],
        )?;
    }
    Ok(())
}

/// Inserts images with these numbers and returns their row ids.
fn insert_images(
    tx: &mut Tx<'_>,
    repository: i64,
    name: &str,
    numbers: std::ops::Range<u64>,
) -> db::Result<Vec<i64>> {
    let blobs = seeded_blobs(name);
    let content_size = blobs.iter().map(|blob| blob.size as i64).sum::<i64>();
    let children = blobs
        .iter()
        .map(|blob| parse(&blob.digest).map(|digest| digest.to_stored()))
        .collect::<db::Result<Vec<_>>>()?;
    let mut images = Vec::new();
    for number in numbers {
        let manifest = seeded_manifest(&blobs, number);
        let digest = Digest::of(Algorithm::Sha256, manifest.as_bytes()).to_stored();
        let image = tx
            .query_optional(
                "INSERT INTO images (repository_id, digest, media_type, artifact_type, \
                 content_size, manifest_size, pushed_at, aged_from) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) RETURNING id",
                params![
                    repository,
                    &digest[..],
                    MANIFEST_TYPE,
                    CONFIG_TYPE,
                    content_size,
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
        for (at, child) in children.iter().enumerate() {
            let kind = if at == 0 { "config" } else { "layer" };
            tx.execute(
                "INSERT INTO image_references (repository_id, child, image_id, kind) \
                 VALUES (?1, ?2, ?3, ?4)",
                params![repository, &child[..], image, kind],
            )?;
        }
        images.push(image);
    }
    Ok(images)
}

/// Sets the tags with these numbers, on the images in turn.
fn insert_tags(
    tx: &mut Tx<'_>,
    repository: i64,
    images: &[i64],
    numbers: std::ops::Range<u64>,
) -> db::Result<()> {
    for number in numbers {
        let image = images[number as usize % images.len()];
        tx.execute(
            "INSERT INTO tags (repository_id, name, image_id, tagged_at) VALUES (?1, ?2, ?3, ?4)",
            params![repository, &*big_tag(number), image, PUSHED_AT],
        )?;
    }
    Ok(())
}

fn parse(digest: &str) -> db::Result<Digest> {
    digest.parse().map_err(db::Error::other)
}
