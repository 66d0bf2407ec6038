//! Indexes and stores that are whole, and that are not.

use bytes::Bytes;
use futures_util::stream;
use wharfinger_base::{Clock, Durability, Ids, Timestamp};
use wharfinger_blobs::{AppendLimits, BlobStore, BlobsConfig, BodyError, RecordName};
use wharfinger_db::{Db, params};
use wharfinger_oci::{Algorithm, Digest, Manifest};

use super::*;
use crate::{Config, MIGRATIONS, Part, Push, Registry, RegistryId, Repository, RepositorySettings};

struct World {
    db: Db,
    registry: Registry,
    repository: Repository,
    folder: tempfile::TempDir,
}

impl World {
    /// Overwrites the first segment of the journal.
    async fn damage_segment(&self) {
        let store = &self.registry.content.store;
        let segments = store.records("journal").await.expect("listed");
        let damaged = Bytes::from_static(b"no segment");
        let put = store.put_record(&segments[0].name, damaged);
        put.await.expect("put");
    }

    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = BlobsConfig::Disk {
            root: folder.path().to_owned(),
        };
        Self::of(folder, &config).await
    }

    async fn of(folder: tempfile::TempDir, config: &BlobsConfig) -> Self {
        let (ids, db) = (Ids::default(), Db::memory(MIGRATIONS).expect("an index"));
        let store = BlobStore::open(config, Durability::Relaxed, ids.clone()).await;
        let store = store.expect("a store");
        // Two days from now, so that what is written today is no longer new.
        let clock = Clock::manual(
            Clock::System
                .now()
                .plus(std::time::Duration::from_hours(48)),
        );
        let registry = Registry::new(&db, &store, &clock, &ids, Config::default());
        let id = RegistryId {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        let name = "team/web".parse().expect("a name");
        let made = registry
            .repositories
            .create(&id, &name, RepositorySettings::default());
        Self {
            repository: made.await.expect("created"),
            db,
            registry,
            folder,
        }
    }

    async fn upload(&self, content: &str) -> Digest {
        let bytes = Bytes::from(content.to_owned());
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let part = Part {
            body: stream::iter([Ok::<_, BodyError>(bytes)]),
            offset: None,
            length: None,
        };
        let uploads = &self.registry.uploads;
        let uploaded = uploads.monolithic(self.repository.id, &digest, part);
        uploaded.await.expect("uploaded");
        digest
    }

    async fn push(&self, content: &str) -> (Digest, Digest) {
        let blob = self.upload(content).await;
        let bytes = Bytes::from(format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/vnd.oci.empty.v1+json",
            "digest":"{blob}","size":{}}},"layers":[]}}"#,
            content.len()
        ));
        let push = Push {
            digest: Digest::of(Algorithm::Sha256, &bytes),
            manifest: Manifest::parse(&bytes, None).expect("a manifest"),
            bytes,
            tags: vec![content.parse().expect("a tag")],
            refuse_existing: false,
        };
        let image = self.registry.images.put(&self.repository, push).await;
        (image.expect("pushed"), blob)
    }

    fn file(&self, digest: &Digest) -> std::path::PathBuf {
        let hex = digest.hex();
        let shard = &hex[..2];
        self.folder
            .path()
            .join(format!("blobs/sha256/{shard}/{hex}"))
    }

    async fn check(&self, checksums: bool, repair: bool) -> Vec<Finding> {
        self.check_with(checksums, repair, Vec::new()).await
    }

    async fn check_with(
        &self,
        checksums: bool,
        repair: bool,
        sources: Vec<Box<dyn RepairSource>>,
    ) -> Vec<Finding> {
        let fsck = self.registry.fsck(FsckOptions {
            checksums,
            repair,
            ..FsckOptions::default()
        });
        let mut fsck = fsck.with_sources(sources);
        let (mut position, mut found) = (Some(Position::default()), Vec::new());
        while let Some(at) = position {
            let page = fsck.page(&at).await.expect("checked");
            found.extend(page.found);
            position = page.next;
        }
        found
    }

    async fn execute(&self, sql: &'static str) {
        let run = self.db.write(move |tx| tx.execute(sql, &[]).map(drop));
        run.await.expect("run");
    }
}

#[tokio::test]
async fn what_is_whole_has_no_findings() {
    let world = World::new().await;
    world.push("one").await;
    world.push("two").await;
    world.upload("three").await;
    assert_eq!(world.check(true, true).await, []);
}

#[tokio::test]
async fn missing_and_damaged_blobs_are_found_and_come_back_with_a_push() {
    let world = World::new().await;
    world.push("kept").await;
    let ((image, missing), (_, damaged)) = (world.push("gone").await, world.push("bad").await);
    std::fs::remove_file(world.file(&missing)).expect("removed");
    std::fs::write(world.file(&damaged), "bAd").expect("damaged");
    let found = world.check(false, false).await;
    let is_missing = |one: &Finding| matches!(one, Finding::MissingBlob(b) if b.digest == missing);
    assert!(found.len() == 1 && is_missing(&found[0]), "{found:?}");
    let found = world.check(true, true).await;
    assert!(found.iter().any(is_missing), "{found:?}");
    let is_damaged = |one: &Finding| matches!(one, Finding::DamagedBlob(b) if b.digest == damaged);
    assert!(found.iter().any(is_damaged), "{found:?}");
    let lacks = |one: &Finding| {
        matches!(one, Finding::IncompleteImage { image: of, missing: what, .. }
            if *of == image && *what == missing)
    };
    assert!(found.iter().any(lacks), "{found:?}");
    let got = world
        .registry
        .content
        .get(world.repository.id, &missing)
        .await;
    assert!(got.is_err(), "a client is told to upload it");
    world.upload("gone").await;
    world.upload("bad").await;
    assert_eq!(world.check(true, false).await, []);
}

#[tokio::test]
async fn unknown_objects_are_put_aside_once_they_are_old() {
    let world = World::new().await;
    let (_, blob) = world.push("one").await;
    let unknown = Digest::of(Algorithm::Sha256, b"unknown");
    std::fs::create_dir_all(world.file(&unknown).parent().expect("a folder")).expect("made");
    std::fs::write(world.file(&unknown), "unknown").expect("written");
    let found = world.check(false, true).await;
    let [Finding::UnknownObject { key, size: 7 }] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(key.as_str().ends_with(&*unknown.hex()), "{key}");
    assert!(world.file(&blob).exists() && !world.file(&unknown).exists());
    assert_eq!(world.check(false, false).await, []);

    let mut fsck = world.registry.fsck(FsckOptions::default());
    fsck.clock = Clock::manual(Timestamp::from_ms(0));
    std::fs::write(world.file(&unknown), "unknown").expect("written");
    let objects = Position::at(Phase::Objects, 0, Vec::new(), String::new());
    let page = fsck.page(&objects).await.expect("checked");
    assert_eq!(page.found, [], "it may be of a push");
}

#[tokio::test]
async fn unknown_objects_of_a_bucket_are_found_beside_what_is_published_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::of(folder, &BlobsConfig::Memory).await;
    world.push("one").await;
    let (uploads, repository) = (&world.registry.uploads, world.repository.id);
    let digest = Digest::of(Algorithm::Sha256, b"two");
    let part = || Part {
        body: stream::iter([Ok::<_, BodyError>(Bytes::from_static(b"two"))]),
        offset: None,
        length: None,
    };
    let open = uploads.start(repository, Algorithm::Sha256, "test").await;
    let open = open.expect("started").id;
    let appended = uploads.append(repository, open, part()).await;
    appended.expect("appended");
    // An object of a session that is gone.
    let store = &world.registry.content.store;
    let mut staged = store.begin(Ids::default().uuid(), Algorithm::Sha256);
    let limits = AppendLimits {
        max_bytes: 100,
        idle_timeout: std::time::Duration::from_mins(1),
        expected: None,
        last: true,
    };
    let written = store.append(&mut staged, part().body, limits).await;
    written.expect("written");
    let stored = store.finish(staged, &digest, false).await.expect("stored");

    let mut fsck = world.registry.fsck(FsckOptions::default());
    let objects = Position::at(Phase::Objects, 0, Vec::new(), String::new());
    let unknown = Finding::UnknownObject {
        key: stored.key,
        size: stored.size,
    };
    let first = fsck.page(&objects).await.expect("checked");
    assert_eq!(first.found, std::slice::from_ref(&unknown));
    let empty = Part {
        body: stream::iter(Vec::<Result<Bytes, BodyError>>::new()),
        offset: None,
        length: None,
    };
    let finished = uploads.finish(repository, open, &digest, empty).await;
    let published = finished.expect("published");
    let second = fsck.page(&objects).await.expect("checked");
    assert_eq!(second.found, [unknown], "{}", published.key);
}

#[tokio::test]
async fn rows_that_point_nowhere_are_found_and_removed() {
    let world = World::new().await;
    let (_, blob) = world.push("one").await;
    world.push("two").await;
    world
        .execute("UPDATE manifests SET bytes = CAST('x' AS BLOB) WHERE image_id = 2")
        .await;
    world
        .execute("UPDATE tags SET image_id = 99 WHERE name = 'one'")
        .await;
    world
        .execute(
            "DELETE FROM blobs WHERE digest IN
             (SELECT child FROM image_references WHERE image_id = 1)",
        )
        .await;
    let found = world.check(false, true).await;
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    let has = |text: &str| texts.iter().any(|one| one.contains(text));
    assert!(has(&format!("links the missing blob {blob}")), "{texts:?}");
    assert!(has("damaged manifest of image team/web@"), "{texts:?}");
    assert!(
        has("tag team/web:one names an image that is not there"),
        "{texts:?}"
    );
    let left = world.check(false, false).await;
    let kinds = |one: &Finding| {
        matches!(
            one,
            Finding::DamagedManifest { .. } | Finding::IncompleteImage { .. }
        ) || matches!(one, Finding::UnknownObject { .. })
    };
    assert!(left.iter().all(kinds), "{left:?}");
}

#[tokio::test]
async fn a_repair_lets_the_journal_be_written_anew_where_a_segment_is_damaged() {
    let world = World::new().await;
    world.push("one").await;
    let mut writer = world.registry.journal(&Ids::default());
    while writer.step().await.expect("written").again {}
    world.damage_segment().await;
    let is_segment = |one: &Finding| matches!(one, Finding::DamagedSegment { .. });
    let found = world.check(false, true).await;
    assert!(found.len() == 1 && is_segment(&found[0]), "{found:?}");
    while writer.step().await.expect("written").again {}
    assert_eq!(world.check(false, false).await, []);

    // The journal may have a manifest whole that the index does not.
    world.damage_segment().await;
    world
        .execute("UPDATE manifests SET bytes = CAST('x' AS BLOB) WHERE image_id = 1")
        .await;
    world.check(false, true).await;
    while writer.step().await.expect("written").again {}
    let left = world.check(false, false).await;
    assert!(left.iter().any(is_segment), "{left:?}");
}

/// The names of the segments of the journal, in order.
async fn segment_names(world: &World) -> Vec<RecordName> {
    let store = &world.registry.content.store;
    let records = store.records("journal").await.expect("listed");
    let names = records.into_iter().map(|record| record.name);
    names
        .filter(|name| name.as_str().starts_with("journal/0"))
        .collect()
}

/// A rebuild from the store of a world.
async fn rebuild(world: &World) -> Result<crate::Rebuilt, crate::RebuildError> {
    let (content, ids) = (&world.registry.content, Ids::default());
    let db = Db::memory(MIGRATIONS).expect("an index");
    let again = Registry::new(&db, &content.store, &content.clock, &ids, Config::default());
    again.rebuild().run(|_| {}).await
}

fn is_missing_segment(found: &[Finding], name: &str) -> bool {
    matches!(found, [Finding::MissingSegment { number }] if name.ends_with(&format!("{number:x}")))
}

#[tokio::test]
async fn a_segment_that_is_gone_is_missed() {
    for lost in 0.. {
        let world = World::new().await;
        let mut writer = world.registry.journal(&Ids::default());
        for content in ["one", "two", "three", "four"] {
            world.push(content).await;
            while writer.step().await.expect("written").again {}
        }
        assert_eq!(world.check(false, false).await, []);
        let store = &world.registry.content.store;
        let segments = segment_names(&world).await;
        let Some(gone) = segments.get(lost) else {
            assert!(lost >= 4);
            return;
        };
        store.delete_record(gone).await.expect("lost");
        let found = world.check(false, true).await;
        assert!(is_missing_segment(&found, gone.as_str()), "{found:?}");
        // Without the index nothing tells of the last one.
        let refused = rebuild(&world).await;
        let is_missed = matches!(refused, Err(crate::RebuildError::MissingSegment(_)));
        assert_eq!(is_missed, lost + 1 < segments.len(), "{refused:?}");
        while writer.step().await.expect("written").again {}
        assert_eq!(world.check(false, false).await, []);
    }
}

/// A segment that was put, and whose number was not recorded since the server was killed, is the
/// last of those that are merged.
#[tokio::test]
async fn a_merge_of_a_segment_that_no_other_one_names_leaves_no_gap() {
    let world = World::new().await;
    let mut writer = world.registry.journal(&Ids::default());
    for number in 1..32 {
        world.push(&format!("image-{number}")).await;
        assert!(writer.step().await.expect("written").done > 0);
    }
    let store = &world.registry.content.store;
    let listed = segment_names(&world).await;
    let last = listed.last().expect("a segment");
    let content = store.record(last, 1 << 20).await.expect("read");
    let next = u64::from_str_radix(&last.as_str()[8..], 16).expect("a number") + 1;
    let orphan = format!("journal/{next:016x}").parse().expect("a name");
    store.put_record(&orphan, content).await.expect("put");
    world
        .execute("UPDATE journal SET number = number + 1")
        .await;
    let mut writer = world.registry.journal(&Ids::default());
    world.push("last").await;
    while writer.step().await.expect("written").again {}
    let merged = segment_names(&world).await;
    assert!(merged.len() < 10, "{}", merged.len());
    assert_eq!(world.check(false, false).await, []);
    rebuild(&world).await.expect("made anew");
}

/// Until everything has been written anew, the earlier segments are needed.
#[tokio::test]
async fn the_first_segment_is_missed_while_everything_is_written_anew() {
    let world = World::new().await;
    let mut writer = world.registry.journal(&Ids::default());
    for content in ["one", "two"] {
        world.push(content).await;
        while writer.step().await.expect("written").again {}
    }
    let begun = crate::store::journal::refresh_from_start;
    world.db.write(begun).await.expect("begun");
    world.push("three").await;
    writer.step().await.expect("written");
    let store = &world.registry.content.store;
    let gone = segment_names(&world).await.remove(0);
    store.delete_record(&gone).await.expect("lost");
    let found = world.check(false, false).await;
    assert!(is_missing_segment(&found, gone.as_str()), "{found:?}");
    while writer.step().await.expect("written").again {}
    assert_eq!(world.check(false, false).await, []);
    rebuild(&world).await.expect("made anew");
}

/// A repair writes a journal that is lost as a whole anew, which needs nothing of the lost one.
#[tokio::test]
async fn a_lost_journal_is_written_anew_by_a_repair() {
    let world = World::new().await;
    let mut writer = world.registry.journal(&Ids::default());
    for content in ["one", "two"] {
        world.push(content).await;
        writer.write_all().await.expect("written");
    }
    let store = &world.registry.content.store;
    for name in segment_names(&world).await {
        store.delete_record(&name).await.expect("lost");
    }
    let found = world.check(false, true).await;
    assert!(
        matches!(found[..], [Finding::MissingSegment { .. }]),
        "{found:?}"
    );
    let mut writer = world.registry.journal(&Ids::default());
    writer.write_all().await.expect("written");
    assert_eq!(world.check(false, false).await, []);
    rebuild(&world).await.expect("made anew");
}

/// A source that has these contents, by digest.
struct Contents(Vec<(Digest, &'static str)>);

#[async_trait::async_trait]
impl RepairSource for Contents {
    async fn open(
        &self,
        _registry: &RegistryId,
        repository: &wharfinger_oci::RepositoryName,
        blob: &crate::Blob,
    ) -> Option<wharfinger_blobs::BlobBytes> {
        assert_eq!(repository.as_str(), "team/web");
        let (_, content) = self.0.iter().find(|(digest, _)| *digest == blob.digest)?;
        let piece = Ok(Bytes::from_static(content.as_bytes()));
        Some(futures_util::StreamExt::boxed(stream::iter([piece])))
    }
}

#[tokio::test]
async fn blobs_are_fetched_again_from_a_source_that_has_them() {
    let world = World::new().await;
    world.push("kept").await;
    let ((_, missing), (_, damaged)) = (world.push("gone").await, world.push("bad").await);
    let ((image, lied), (_, unknown)) = (world.push("lied").await, world.push("nowhere").await);
    for digest in [&missing, &lied, &unknown] {
        std::fs::remove_file(world.file(digest)).expect("removed");
    }
    std::fs::write(world.file(&damaged), "bAd").expect("damaged");
    let contents = || {
        let contents = vec![(missing, "gone"), (damaged, "bad"), (lied, "lies")];
        vec![Box::new(Contents(contents)) as Box<dyn RepairSource>]
    };
    let found = world.check_with(true, false, contents()).await;
    assert_eq!(
        found.len(),
        4,
        "nothing is fetched without a repair: {found:?}"
    );
    world.check_with(true, true, contents()).await;
    for (digest, content) in [(&missing, "gone"), (&damaged, "bad")] {
        assert_eq!(
            std::fs::read_to_string(world.file(digest)).expect("read"),
            content
        );
    }
    assert!(
        !world.file(&lied).exists(),
        "bytes of another digest are not taken"
    );
    let left = world.check(true, false).await;
    let lacking = |one: &&Finding| matches!(one, Finding::IncompleteImage { .. });
    assert_eq!(left.iter().filter(lacking).count(), 2, "{left:?}");
    let of_lied = |one: &Finding| {
        matches!(one, Finding::IncompleteImage { image: of, missing, .. }
            if *of == image && *missing == lied)
    };
    assert!(left.len() == 2 && left.iter().any(of_lied), "{left:?}");
}

/// Makes a file that exists and cannot be opened, by root neither.
fn make_unreadable(file: &std::path::Path) {
    let _ = std::fs::remove_file(file);
    std::os::unix::fs::symlink(file, file).expect("a link to itself");
}

#[tokio::test]
async fn a_blob_that_cannot_be_read_is_a_finding_and_not_the_end() {
    let world = World::new().await;
    world.push("kept").await;
    let (image, unreadable) = world.push("unreadable").await;
    make_unreadable(&world.file(&unreadable));
    for checksums in [false, true] {
        let found = world.check(checksums, false).await;
        let is_named = |one: &Finding| match one {
            Finding::UnreadableBlob { blob, .. } => blob.digest == unreadable,
            _ => false,
        };
        assert!(found.len() == 1 && is_named(&found[0]), "{found:?}");
    }
    world.check(true, true).await;
    let left = world.check(true, false).await;
    let lacks = |one: &Finding| {
        matches!(one, Finding::IncompleteImage { image: of, missing, .. }
            if *of == image && *missing == unreadable)
    };
    assert!(left.len() == 1 && lacks(&left[0]), "{left:?}");
    world.upload("unreadable").await;
    assert_eq!(world.check(true, false).await, []);

    // Where no blob can be read, the store fails, and nothing is taken out of the index.
    let world = World::new().await;
    for content in ["one", "two"] {
        let (_, digest) = world.push(content).await;
        make_unreadable(&world.file(&digest));
    }
    let options = FsckOptions {
        repair: true,
        ..FsckOptions::default()
    };
    let page = world
        .registry
        .fsck(options)
        .page(&Position::default())
        .await;
    assert!(page.is_err(), "{page:?}");
}

#[tokio::test]
async fn a_repair_does_not_take_everything_out_of_the_index_where_nothing_is_there() {
    let world = World::new().await;
    let ((_, one), (_, two)) = (world.push("one").await, world.push("two").await);
    // Blobs that are fetched again have other keys.
    let lose = async || {
        let store = &world.registry.content.store;
        for object in store.objects(None, 100).await.expect("listed") {
            store.delete(&object.key).await.expect("lost");
        }
    };
    lose().await;
    let first = async |accept_loss, sources| {
        let options = FsckOptions {
            repair: true,
            accept_loss,
            ..FsckOptions::default()
        };
        let fsck = world.registry.fsck(options);
        fsck.with_sources(sources).page(&Position::default()).await
    };
    let refused = first(false, Vec::new()).await;
    assert!(
        matches!(refused, Err(FsckError::NothingThere(2))),
        "{refused:?}"
    );
    // Nothing is fetched: at the next run some would be there, and the others be taken out.
    let sources = || vec![Box::new(Contents(vec![(one, "one")])) as Box<dyn RepairSource>];
    for _ in 0..2 {
        let refused = first(false, sources()).await;
        assert!(
            matches!(refused, Err(FsckError::NothingThere(2))),
            "{refused:?}"
        );
    }
    // One that cannot be read is not there either.
    make_unreadable(&world.file(&two));
    let refused = first(false, Vec::new()).await;
    assert!(
        matches!(refused, Err(FsckError::NothingThere(2))),
        "{refused:?}"
    );
    std::fs::remove_file(world.file(&two)).expect("removed");

    let accepted = first(true, sources()).await;
    assert_eq!(accepted.expect("repaired").found.len(), 2);
    let left = world.check(false, false).await;
    let lacks = |left: &[Finding]| match left {
        [Finding::IncompleteImage { missing, .. }] => *missing == two,
        _ => false,
    };
    assert!(lacks(&left), "{left:?}");
}

/// A layer that has not been pulled yet, or was given up, comes from upstream.
#[tokio::test]
async fn images_of_the_cache_may_lack_layers() {
    let world = World::new().await;
    let (_, lost) = world.push("lost").await;
    std::fs::remove_file(world.file(&lost)).expect("removed");
    world.check(true, true).await;
    let lacks = |found: &[Finding]| match found {
        [Finding::IncompleteImage { missing, .. }] => *missing == lost,
        _ => false,
    };
    assert!(lacks(&world.check(true, false).await));
    let set_rule = async |prefix: &str| {
        let prefix = prefix.to_owned();
        let written = world.db.write(move |tx| {
            tx.execute("DELETE FROM pull_through_rules", params![])?;
            tx.execute(
                "INSERT INTO pull_through_rules (account, region, prefix, upstream_url, \
                 upstream_kind, upstream_prefix, credential_arn, created_at, updated_at)
                 VALUES ('123456789012', 'us-east-1', ?1, 'quay.io', 'quay', 'ROOT', '', 0, 0)",
                params![prefix.as_str()],
            )
        });
        written.await.expect("written");
    };
    for (prefix, is_cached) in [("other", false), ("team", true), ("ROOT", false)] {
        set_rule(prefix).await;
        let found = world.check(true, false).await;
        assert!(
            if is_cached {
                found.is_empty()
            } else {
                lacks(&found)
            },
            "{prefix} {found:?}"
        );
    }
    // Something of the repository has come from upstream.
    let (repository, tag) = (world.repository.id, "lost".parse().expect("a tag"));
    let noted = world.db.write(move |tx| {
        let now = Timestamp::from_ms(1);
        crate::store::pull_through::put_tag(tx, repository, &tag, &lost, now)
    });
    noted.await.expect("written");
    assert_eq!(world.check(true, false).await, []);
}
