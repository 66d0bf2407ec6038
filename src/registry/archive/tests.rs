//! Blobs go to the archive and come back: on every engine, with folders and with objects.

mod foreign_layers;
mod from_upstream;
mod in_doubt;
mod simulation;

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use wharfinger_base::{Durability, Ids};
use wharfinger_blobs::{AppendLimits, BlobKey, BlobStore, BlobsConfig, BodyError};
use wharfinger_db::testing;
use wharfinger_oci::{Algorithm, Digest, Manifest, Reference};

use crate::archive::encoding::pieces;
use crate::archive::mover::ArchiveMover;
use crate::archive::storing::decide_some;
use crate::archive::{Archive, Encoding};
use crate::error::Error;
use crate::fsck::{Finding, FsckOptions, Phase, Position};
use crate::images::Push;
use crate::lifecycle::StorageClass;
use crate::model::{ArchivedBlob, ImageStatus, Repository};
use crate::store::archive::{self as store, ArchiveWrite};
use crate::store::blob_store::{self, RecordedStore, StoreRole};
use crate::store::{image_status, images};
use crate::uploads::tests::{TestServer, part};
use crate::{Config, MIGRATIONS, Registry, RegistryId, RepositorySettings};

const LEASE: Duration = Duration::from_hours(24);
const MINUTE: Duration = Duration::from_mins(1);

/// A server with an archive.
struct World {
    server: TestServer,
    registry: Registry,
    mover: ArchiveMover,
    archive: BlobStore,
    folder: tempfile::TempDir,
}

/// Text that compresses well, other for each seed.
fn text(seed: u32) -> Vec<u8> {
    let line = |number| format!("line {number} of file {seed}\n");
    (0..2_000)
        .flat_map(|number| line(number).into_bytes())
        .collect()
}

/// Bytes that do not compress.
fn noise(seed: u32) -> Vec<u8> {
    let digest = |number: u32| Digest::of(Algorithm::Sha512, format!("{seed} {number}").as_bytes());
    (0..1_000)
        .flat_map(|number| digest(number).to_stored())
        .collect()
}

fn digest(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

async fn worlds(takes_all: bool) -> Vec<World> {
    let mut worlds = worlds_of(true, takes_all).await;
    worlds.extend(worlds_of(false, takes_all).await);
    worlds
}

async fn worlds_of(disk: bool, takes_all: bool) -> Vec<World> {
    let mut worlds = Vec::new();
    for db in testing::every_engine(MIGRATIONS) {
        let server = TestServer::over(db, disk, Config::default()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let config = if disk {
            BlobsConfig::Disk {
                root: folder.path().to_owned(),
            }
        } else {
            BlobsConfig::Memory
        };
        let archive = BlobStore::open(&config, Durability::Relaxed, Ids::default()).await;
        let archive = archive.expect("a store");
        let registry = server.registry.clone().with_archive(Archive {
            store: archive.clone(),
            takes_all,
        });
        let mover = registry.archive_mover(&Ids::default()).expect("a mover");
        worlds.push(World {
            server,
            registry,
            mover,
            archive,
            folder,
        });
    }
    worlds
}

impl World {
    /// Makes the index anew from the journal, as after its loss, and goes on with it.
    async fn rebuild(&mut self) {
        let db = wharfinger_db::Db::memory(MIGRATIONS).expect("an index");
        let (blobs, clock) = (&self.server.blobs, &self.server.clock);
        let rebuilt = Registry::new(&db, blobs, clock, &Ids::default(), Config::default())
            .with_archive(Archive {
                store: self.archive.clone(),
                takes_all: true,
            });
        rebuilt.rebuild().run(|_| {}).await.expect("rebuilt");
        self.mover = rebuilt.archive_mover(&Ids::default()).expect("a mover");
        self.server.db = db;
        self.registry = rebuilt;
    }

    async fn repository(&self, name: &str) -> Repository {
        let id = RegistryId {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        let name = name.parse().expect("a name");
        let made = self
            .registry
            .repositories
            .create(&id, &name, RepositorySettings::default());
        made.await.expect("created")
    }

    async fn upload(&self, repository: &Repository, content: &[u8]) {
        let (uploads, digest) = (&self.registry.uploads, digest(content));
        let uploaded = uploads.monolithic(repository.id, &digest, part(None, content));
        uploaded.await.expect("uploaded");
    }

    async fn put(&self, repository: &Repository, layers: &[&[u8]]) -> Result<Digest, Error> {
        let described: Vec<String> = layers
            .iter()
            .map(|layer| {
                let (digest, size) = (digest(layer), layer.len());
                let kind = "application/vnd.oci.image.layer.v1.tar";
                format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#)
            })
            .collect();
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let bytes = Bytes::from(format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{},"layers":[{}]}}"#,
            described[0],
            described.join(",")
        ));
        self.put_manifest(repository, bytes).await
    }

    async fn put_manifest(&self, repository: &Repository, bytes: Bytes) -> Result<Digest, Error> {
        let push = Push {
            digest: digest(&bytes),
            manifest: Manifest::parse(&bytes, None).expect("a manifest"),
            bytes,
            tags: Vec::new(),
            refuse_existing: false,
        };
        self.registry.images.put(repository, push).await
    }

    async fn push(&self, repository: &Repository, layers: &[&[u8]]) -> Digest {
        for layer in layers {
            self.upload(repository, layer).await;
        }
        self.put(repository, layers).await.expect("pushed")
    }

    async fn set(
        &self,
        repository: &Repository,
        image: Digest,
        class: StorageClass,
    ) -> ImageStatus {
        let (images, image) = (&self.registry.images, Reference::Digest(image));
        let set = images.set_storage_class(repository.id, &image, class);
        set.await.expect("set").1
    }

    async fn status(&self, repository: &Repository, image: Digest) -> ImageStatus {
        let images = &self.registry.images;
        let head = images.head(repository.id, &Reference::Digest(image)).await;
        head.expect("an image").status
    }

    /// Moves everything that may be moved, after the leases of all pushes.
    async fn settle(&mut self) {
        self.server.clock.advance(LEASE + MINUTE);
        self.work().await;
    }

    /// Runs all steps, and the removals that follow.
    async fn work(&mut self) {
        for _ in 0..2 {
            for _ in 0..100 {
                let step = self.mover.step().await.expect("a step");
                if !step.more {
                    break;
                }
            }
            self.server.clock.advance(MINUTE);
            let collector = &self.registry.collector;
            collector.collect(100, |_| {}).await.expect("collected");
        }
    }

    async fn objects(store: &BlobStore) -> usize {
        store.objects(None, 1_000).await.expect("listed").len()
    }

    /// Checks everything by all bytes, and objects whatever their age.
    async fn findings(&self) -> Vec<Finding> {
        let mut fsck = self.registry.fsck(FsckOptions {
            checksums: true,
            ..FsckOptions::default()
        });
        fsck.clock = wharfinger_base::Clock::manual(self.server.clock.now().plus(100 * LEASE));
        let (mut position, mut found) = (Some(Position::default()), Vec::new());
        while let Some(at) = position {
            if at.phase == Phase::Journal {
                break;
            }
            let page = fsck.page(&at).await.expect("checked");
            found.extend(page.found);
            position = page.next;
        }
        found
    }

    async fn content(&self, repository: &Repository, content: &[u8]) -> Option<Vec<u8>> {
        let blob = self
            .registry
            .content
            .get(repository.id, &digest(content))
            .await;
        let reader = self.registry.content.open(&blob.ok()?, None).await;
        let mut pieces = pieces(reader.expect("opened"));
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece.expect("read"));
        }
        Some(all)
    }

    /// Writes content to the archive, and ends before the index learns of it. Returns what was
    /// recorded, and where the content is.
    async fn write(&self, content: &[u8], finished: bool) -> (ArchiveWrite, Option<BlobKey>) {
        let upload = Ids::default().uuid();
        let location = self.archive.key_of(&digest(content));
        let mut write = ArchiveWrite {
            upload,
            location: location.filter(|_| finished),
        };
        let mut staged = self.archive.begin(upload, Algorithm::Sha256);
        let limits = AppendLimits {
            max_bytes: u64::MAX,
            idle_timeout: MINUTE,
            expected: None,
            last: true,
        };
        let body = [Ok::<_, BodyError>(Bytes::from(content.to_vec()))];
        let body = futures_util::stream::iter(body);
        let appended = self.archive.append(&mut staged, body, limits).await;
        appended.expect("appended");
        let mut key = None;
        if finished {
            let stored = self.archive.finish(staged, &digest(content), false).await;
            key = Some(stored.expect("finished").key);
        }
        let recorded = write.clone();
        let recorded = self
            .server
            .db
            .write(move |tx| store::begin_write(tx, &recorded));
        recorded.await.expect("recorded");
        if write.location.is_none() {
            write.location.clone_from(&key);
        }
        (write, key)
    }

    async fn archived(&self, content: &[u8]) -> Option<Encoding> {
        self.archived_blob(content).await.map(|blob| blob.encoding)
    }

    async fn archived_blob(&self, content: &[u8]) -> Option<ArchivedBlob> {
        let digest = digest(content);
        let found = self.server.db.read(move |tx| store::present(tx, &digest));
        found.await.expect("read")
    }
}

#[tokio::test]
async fn what_only_archived_images_need_goes_to_the_archive_and_comes_back_whole() {
    for mut world in worlds(true).await {
        let (web, api) = (world.repository("web").await, world.repository("api").await);
        let (own, shared, packed) = (text(1), text(2), noise(3));
        let image = world.push(&web, &[&own, &shared, &packed]).await;
        let other = world.push(&api, &[&shared]).await;
        assert_eq!(
            world.set(&web, image, StorageClass::Archive).await,
            ImageStatus::Archived
        );
        world.work().await;
        assert_eq!(
            World::objects(&world.archive).await,
            0,
            "a push may need them"
        );
        world.settle().await;
        assert_eq!(world.archived(&own).await, Some(Encoding::Zstd));
        assert_eq!(world.archived(&packed).await, Some(Encoding::Identity));
        assert_eq!(
            world.archived(&shared).await,
            None,
            "an active image needs it"
        );
        assert_eq!(World::objects(&world.archive).await, 2);
        assert_eq!(World::objects(&world.server.blobs).await, 1);
        assert_eq!(world.findings().await, []);
        assert_eq!(world.content(&web, &own).await, None);
        let missing = world
            .registry
            .content
            .get_and_keep(web.id, &digest(&own))
            .await;
        assert!(matches!(missing, Err(Error::NoSuchBlob(_))), "{missing:?}");
        let mounted = world
            .registry
            .content
            .mount(web.id, api.id, &digest(&own))
            .await;
        assert!(matches!(mounted, Err(Error::NoSuchBlob(_))), "{mounted:?}");
        let size = world
            .registry
            .content
            .archived_size(web.id, &digest(&own))
            .await;
        assert_eq!(size.expect("read"), Some(own.len() as u64));

        // The other image goes, too, in the other order.
        assert_eq!(
            world.set(&api, other, StorageClass::Archive).await,
            ImageStatus::Archived
        );
        world.settle().await;
        assert_eq!(World::objects(&world.server.blobs).await, 0);
        assert_eq!(world.findings().await, []);

        assert_eq!(
            world.set(&web, image, StorageClass::Standard).await,
            ImageStatus::Activating
        );
        let got = world
            .registry
            .images
            .get(web.id, &Reference::Digest(image))
            .await;
        assert!(matches!(got, Err(Error::ImageArchived(_))), "{got:?}");
        assert_eq!(world.findings().await, []);
        world.work().await;
        assert_eq!(world.status(&web, image).await, ImageStatus::Active);
        for content in [&own, &shared, &packed] {
            assert_eq!(world.content(&web, content).await.as_ref(), Some(content));
        }
        assert_eq!(world.status(&api, other).await, ImageStatus::Archived);
        assert_eq!(World::objects(&world.archive).await, 0);
        assert_eq!(world.findings().await, []);
        assert_eq!(
            world.set(&api, other, StorageClass::Standard).await,
            ImageStatus::Active
        );
    }
}

#[tokio::test]
async fn without_another_store_only_what_gets_smaller_is_moved() {
    for mut world in worlds(false).await {
        let web = world.repository("web").await;
        let (own, packed, small) = (text(1), noise(2), b"{}".as_slice());
        let image = world.push(&web, &[small, &own, &packed]).await;
        world.set(&web, image, StorageClass::Archive).await;
        world.settle().await;
        assert_eq!(world.archived(&own).await, Some(Encoding::Zstd));
        assert_eq!(world.archived(&packed).await, None);
        assert_eq!(world.archived(small).await, None);
        assert_eq!(World::objects(&world.archive).await, 1);
        assert_eq!(World::objects(&world.server.blobs).await, 2);
        let step = world.mover.step().await.expect("a step");
        assert!(
            step.done == 0 && !step.more,
            "what stays is not tried again"
        );
        assert_eq!(world.findings().await, []);
    }
}

#[tokio::test]
async fn a_push_of_archived_content_makes_it_standard() {
    for mut world in worlds(true).await {
        let web = world.repository("web").await;
        let layer = text(1);
        let image = world.push(&web, &[&layer]).await;
        world.set(&web, image, StorageClass::Archive).await;
        world.settle().await;
        let refused = world.put(&web, &[&layer]).await;
        assert!(
            matches!(refused, Err(Error::MissingBlobs(_))),
            "{refused:?}"
        );
        assert_eq!(world.status(&web, image).await, ImageStatus::Archived);

        world.upload(&web, &layer).await;
        assert_eq!(world.archived(&layer).await, None);
        assert_eq!(world.content(&web, &layer).await.as_ref(), Some(&layer));
        // No image followed: it goes back after its lease.
        world.settle().await;
        assert_eq!(world.archived(&layer).await, Some(Encoding::Zstd));
        assert_eq!(World::objects(&world.archive).await, 1);
        assert_eq!(world.findings().await, []);

        world.push(&web, &[&layer]).await;
        assert_eq!(world.status(&web, image).await, ImageStatus::Active);
        world.settle().await;
        assert_eq!(World::objects(&world.archive).await, 0);
        assert_eq!(world.content(&web, &layer).await.as_ref(), Some(&layer));
        assert_eq!(world.findings().await, []);
    }
}

#[tokio::test]
async fn deletions_remove_from_the_archive_and_let_go_what_was_shared() {
    for mut world in worlds(true).await {
        let (web, api) = (world.repository("web").await, world.repository("api").await);
        let (own, shared, across) = (text(1), text(2), text(3));
        let archived = world.push(&web, &[&own, &shared]).await;
        let active = world.push(&web, &[&shared, &across]).await;
        let other = world.push(&api, &[&across]).await;
        world.set(&web, archived, StorageClass::Archive).await;
        world.set(&api, other, StorageClass::Archive).await;
        world.settle().await;
        assert_eq!(World::objects(&world.archive).await, 1);
        // What the active image alone kept in its place may go now.
        let images = &world.registry.images;
        images
            .delete_manifest(web.id, &active)
            .await
            .expect("deleted");
        world.settle().await;
        assert!(world.archived(&shared).await.is_some());
        assert!(world.archived(&across).await.is_some());
        assert_eq!(World::objects(&world.server.blobs).await, 0);
        assert_eq!(world.findings().await, []);

        let images = &world.registry.images;
        images
            .delete_manifest(web.id, &archived)
            .await
            .expect("deleted");
        world.work().await;
        assert_eq!(
            World::objects(&world.archive).await,
            1,
            "the one of the other repository"
        );
        assert_eq!(world.findings().await, []);
        world
            .registry
            .repositories
            .delete(&api, true)
            .await
            .expect("deleted");
        let mut cleanup = world.registry.repositories.cleanup();
        for _ in 0..20 {
            let now = world.server.clock.now();
            wharfinger_reconcile::Reconciler::pass(&mut cleanup, now)
                .await
                .expect("cleaned");
        }
        world.work().await;
        assert_eq!(World::objects(&world.archive).await, 0);
        assert_eq!(world.findings().await, []);
    }
}

#[tokio::test]
async fn a_step_decides_about_one_blob_where_its_time_is_over() {
    for world in worlds(true).await {
        let web = world.repository("web").await;
        let image = world.push(&web, &[&text(1), &text(2), &text(3)]).await;
        world.set(&web, image, StorageClass::Archive).await;
        world.server.clock.advance(LEASE + MINUTE);
        let now = world.server.clock.now();
        let decide = |time| world.server.db.write(move |tx| decide_some(tx, now, time));
        let noted = decide(Duration::ZERO).await.expect("decided");
        assert_eq!((noted.to_store.len(), noted.more), (0, true));
        let decided = decide(Duration::ZERO).await.expect("decided");
        assert_eq!((decided.to_store.len(), decided.more), (1, true));
        let all = decide(MINUTE).await.expect("decided");
        assert_eq!((all.to_store.len(), all.more), (3, false));
    }
}

#[tokio::test]
async fn a_server_that_another_one_replaced_ends_its_restores_without_a_failure() {
    for mut world in worlds(true).await {
        let web = world.repository("web").await;
        let layer = text(1);
        let image = world.push(&web, &[&layer]).await;
        world.set(&web, image, StorageClass::Archive).await;
        world.settle().await;
        world.set(&web, image, StorageClass::Standard).await;
        // Its bytes are on their way for as long as somebody else publishes the same digest.
        let held = world.registry.uploads.publishing.hold(digest(&layer)).await;
        world.mover.renew_every = Duration::from_millis(1);
        let recorded = world.server.db.write(|tx| {
            let other = RecordedStore {
                identity: uuid::Uuid::max(),
                location: "elsewhere".to_owned(),
            };
            blob_store::record(tx, StoreRole::Archive, &other)
        });
        recorded.await.expect("recorded");
        let step = world.mover.restore_some().await.expect("a step");
        assert_eq!(step.done, 0);
        drop(held);
        let failures = world.registry.archive_progress.failures();
        assert_eq!((failures, world.mover.failed.len()), (0, 0));
    }
}

#[tokio::test]
async fn a_lost_object_holds_up_its_own_image_only() {
    for mut world in worlds(true).await {
        let web = world.repository("web").await;
        let (lost, kept) = (text(1), text(2));
        let (first, second) = (
            world.push(&web, &[&lost]).await,
            world.push(&web, &[&kept]).await,
        );
        for image in [first, second] {
            world.set(&web, image, StorageClass::Archive).await;
        }
        world.settle().await;
        let found = world.archived_blob(&lost).await.expect("archived");
        world.archive.delete(&found.key).await.expect("lost");
        for image in [first, second] {
            world.set(&web, image, StorageClass::Standard).await;
        }
        world.work().await;
        assert_eq!(world.status(&web, first).await, ImageStatus::Activating);
        assert_eq!(world.status(&web, second).await, ImageStatus::Active);
        assert_eq!(
            world.findings().await,
            [Finding::DamagedArchivedBlob(found)]
        );
        // A push brings it again.
        world.push(&web, &[&lost]).await;
        assert_eq!(world.status(&web, first).await, ImageStatus::Active);
        assert_eq!(world.findings().await, []);
    }
}

#[tokio::test]
async fn an_image_that_lost_a_layer_becomes_active_once_that_is_pushed_again() {
    for activating in [false, true] {
        for mut world in worlds(true).await {
            let web = world.repository("web").await;
            let (lost, kept) = (text(1), text(2));
            let image = world.push(&web, &[&kept, &lost]).await;
            world.set(&web, image, StorageClass::Archive).await;
            world.settle().await;
            if activating {
                world.set(&web, image, StorageClass::Standard).await;
            }
            let found = world.archived_blob(&lost).await.expect("archived");
            world.archive.delete(&found.key).await.expect("lost");
            let fsck = world.registry.fsck(FsckOptions::default());
            let finding = Finding::DamagedArchivedBlob(found);
            fsck.repair(&finding).await.expect("repaired");
            let set = world.set(&web, image, StorageClass::Standard).await;
            assert_eq!(set, ImageStatus::Activating);
            world.work().await;
            let status = world.status(&web, image).await;
            assert_eq!(status, ImageStatus::Activating, "a layer is missing");
            world.upload(&web, &lost).await;
            world.work().await;
            assert_eq!(world.status(&web, image).await, ImageStatus::Active);
            assert_eq!(world.findings().await, []);
        }
    }
}

#[tokio::test]
async fn an_index_made_anew_does_not_have_archived_blobs_whose_bytes_are_lost() {
    for mut world in worlds_of(true, true).await {
        let web = world.repository("web").await;
        let (lost, kept) = (text(1), text(2));
        let image = world.push(&web, &[&kept, &lost]).await;
        world.set(&web, image, StorageClass::Archive).await;
        world.settle().await;
        let mut writer = world.registry.journal(&Ids::default());
        while writer.step().await.expect("written").again {}
        let blob = world.archived_blob(&lost).await.expect("archived");
        world.archive.delete(&blob.key).await.expect("lost");
        world.rebuild().await;
        assert_eq!(world.archived(&lost).await, None);
        assert!(world.archived(&kept).await.is_some());
    }
}

#[tokio::test]
async fn an_archived_blob_that_cannot_be_read_is_a_finding_and_not_the_end() {
    for mut world in worlds_of(true, true).await {
        let web = world.repository("web").await;
        let (lost, kept) = (text(1), text(2));
        for layer in [&lost, &kept] {
            let image = world.push(&web, &[layer]).await;
            world.set(&web, image, StorageClass::Archive).await;
        }
        world.settle().await;
        let found = world.archived_blob(&lost).await.expect("archived");
        let file = world.folder.path().join(found.key.as_str());
        // It exists and cannot be opened, by root neither.
        std::fs::remove_file(&file).expect("removed");
        std::os::unix::fs::symlink(&file, &file).expect("a link to itself");
        // Another process: the file is still open in this one.
        let config = BlobsConfig::Disk {
            root: world.folder.path().to_owned(),
        };
        let opened = BlobStore::open(&config, Durability::Relaxed, Ids::default()).await;
        world.registry = world.registry.clone().with_archive(Archive {
            store: opened.expect("a store"),
            takes_all: true,
        });
        let mut fsck = world.registry.fsck(FsckOptions::default());
        let start = Position::after(Phase::Blobs).expect("a phase");
        let told = fsck.page(&start).await.expect("checked").found;
        let is_named = |one: &Finding| match one {
            Finding::UnreadableArchivedBlob { blob, .. } => *blob == found,
            _ => false,
        };
        assert!(told.len() == 1 && is_named(&told[0]), "{told:?}");
        fsck.repair(&told[0]).await.expect("repaired");
        assert_eq!(world.archived(&lost).await, None);
        assert!(world.archived(&kept).await.is_some());
    }
}

#[tokio::test]
async fn what_an_interrupted_write_left_is_removed() {
    for mut world in worlds(true).await {
        let web = world.repository("web").await;
        let layer = text(1);
        let image = world.push(&web, &[&layer]).await;
        world.set(&web, image, StorageClass::Archive).await;
        for finished in [false, true] {
            world.write(&layer, finished).await;
            if finished {
                assert_eq!(World::objects(&world.archive).await, 1);
            }
            world.mover.step().await.expect("a step");
            assert_eq!(World::objects(&world.archive).await, 0);
            let empty = world.server.db.read(store::is_empty).await;
            assert!(empty.expect("read"));
        }
        world.settle().await;
        assert!(world.archived(&layer).await.is_some());
        assert_eq!(world.findings().await, []);
    }
}

#[tokio::test]
async fn one_of_two_servers_moves_blobs() {
    for mut world in worlds(true).await {
        let web = world.repository("web").await;
        let image = world.push(&web, &[&text(1)]).await;
        world.set(&web, image, StorageClass::Archive).await;
        world.server.clock.advance(LEASE + MINUTE);
        let mut other = world
            .registry
            .archive_mover(&Ids::default())
            .expect("a mover");
        let is_shared = world.server.db.engine() == "postgres";
        assert!(world.mover.hold().await.expect("held"));
        let step = other.step().await.expect("a step");
        // An index within one process has one server: an earlier holder is gone.
        assert_eq!(step.done, usize::from(!is_shared));
        world.work().await;
        assert_eq!(World::objects(&world.archive).await, 1);
        assert_eq!(world.findings().await, []);
    }
}

#[tokio::test]
async fn an_archive_that_was_given_up_is_not_written_to() {
    for mut world in worlds(true).await {
        let web = world.repository("web").await;
        let image = world.push(&web, &[&text(1)]).await;
        world.set(&web, image, StorageClass::Archive).await;
        let ids = Ids::default();
        world
            .registry
            .claim_archive(ids.uuid())
            .await
            .expect("claimed");
        let other = BlobStore::open(&BlobsConfig::Memory, Durability::Relaxed, ids.clone()).await;
        let other = world.registry.clone().with_archive(Archive {
            store: other.expect("a store"),
            takes_all: true,
        });
        other
            .claim_archive(ids.uuid())
            .await
            .expect("nothing is there yet");
        world.settle().await;
        assert_eq!(World::objects(&world.archive).await, 0);
        assert_eq!(World::objects(&world.server.blobs).await, 1);
        assert_eq!(world.findings().await, []);
    }
}

#[tokio::test]
async fn a_rebuilt_index_finds_archived_blobs() {
    let mut worlds = worlds(true).await;
    let mut world = worlds.remove(0);
    let web = world.repository("web").await;
    let (layer, active) = (text(1), text(2));
    let image = world.push(&web, &[&layer]).await;
    world.push(&web, &[&active]).await;
    world.set(&web, image, StorageClass::Archive).await;
    world.settle().await;
    let mut journal = world.registry.journal(&Ids::default());
    while journal.step().await.expect("written").again {}
    world.rebuild().await;
    assert_eq!(world.findings().await, []);
    assert_eq!(world.status(&web, image).await, ImageStatus::Archived);
    assert!(world.archived(&layer).await.is_some());
    assert_eq!(
        world.set(&web, image, StorageClass::Standard).await,
        ImageStatus::Activating
    );
    world.work().await;
    assert_eq!(world.status(&web, image).await, ImageStatus::Active);
    assert_eq!(world.content(&web, &layer).await, Some(layer));
}

#[tokio::test]
async fn a_rebuilt_index_goes_on_to_restore_and_knows_what_was_replicated() {
    for mut world in worlds(true).await {
        let web = world.repository("web").await;
        let layer = text(1);
        let image = world.push(&web, &[&layer]).await;
        world.set(&web, image, StorageClass::Archive).await;
        world.settle().await;
        let mut journal = world.registry.journal(&Ids::default());
        while journal.step().await.expect("written").again {}
        let id = web.id;
        let noted = world.server.db.write(move |tx| {
            let row = images::id_by_digest(tx, id, &image)?.expect("an image");
            image_status::set_replicated(tx, row, true)
        });
        noted.await.expect("noted");
        let set = world.set(&web, image, StorageClass::Standard).await;
        assert_eq!(set, ImageStatus::Activating);
        while journal.step().await.expect("written").again {}

        world.rebuild().await;
        let found = world.registry.repositories.find(&web.registry, &web.name);
        let web = found.await.expect("looked up").expect("a repository");
        assert_eq!(world.status(&web, image).await, ImageStatus::Activating);
        let id = web.id;
        let replicated = world.server.db.read(move |tx| {
            let row = images::id_by_digest(tx, id, &image)?.expect("an image");
            image_status::is_replicated(tx, row)
        });
        assert!(replicated.await.expect("read"));
        world.work().await;
        assert_eq!(world.status(&web, image).await, ImageStatus::Active);
        assert_eq!(world.content(&web, &layer).await, Some(layer));
    }
}

#[tokio::test]
async fn nothing_is_removed_while_a_backup_may_read_it() {
    for mut world in worlds(true).await {
        let web = world.repository("web").await;
        let (first, second) = (text(1), noise(2));
        let returning = world.push(&web, &[&first]).await;
        let leaving = world.push(&web, &[&second]).await;
        world.set(&web, returning, StorageClass::Archive).await;
        world.settle().await;
        let (registry, blob) = (world.registry.clone(), digest(&first));
        let found = world.server.db.read(move |tx| store::present(tx, &blob));
        let archived = found.await.expect("read").expect("an archived blob");
        let hold = registry.collection_hold(&Ids::default());
        hold.take().await.expect("taken");

        world.set(&web, returning, StorageClass::Standard).await;
        world.set(&web, leaving, StorageClass::Archive).await;
        world.settle().await;
        assert_eq!(world.status(&web, returning).await, ImageStatus::Active);
        assert!(world.archived(&second).await.is_some(), "moves go on");
        assert_eq!(World::objects(&world.archive).await, 2, "held");
        assert_eq!(World::objects(&world.server.blobs).await, 2, "held");
        // A crash in the middle of another move to the same key.
        let write = ArchiveWrite {
            upload: Ids::default().uuid(),
            location: Some(archived.key.clone()),
        };
        let put = world
            .server
            .db
            .write(move |tx| store::begin_write(tx, &write));
        put.await.expect("recorded");
        world.work().await;
        let writes = world.server.db.read(store::writes).await;
        assert_eq!(writes.expect("read").len(), 0, "cleaned up");
        let bytes = registry.open_archived(&archived.key, "zstd", archived.stored_size);
        let mut pieces = bytes.await.expect("still there");
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece.expect("decoded"));
        }
        assert_eq!(all, first);

        hold.release().await.expect("released");
        world.work().await;
        assert_eq!(World::objects(&world.archive).await, 1);
        assert_eq!(World::objects(&world.server.blobs).await, 1);
        assert_eq!(world.findings().await, []);
        let gone = registry.open_archived(&archived.key, "zstd", archived.stored_size);
        assert!(matches!(gone.await, Err(wharfinger_blobs::Error::NotFound)));
    }
}

/// As after a restore, which puts all blobs into the blob store.
#[tokio::test]
async fn what_a_backup_brings_back_goes_to_the_archive_or_makes_its_image_active() {
    for mut world in worlds(true).await {
        let web = world.repository("web").await;
        let (kept, returning) = (text(1), noise(2));
        let archived = world.push(&web, &[&kept]).await;
        let activating = world.push(&web, &[&returning]).await;
        for image in [archived, activating] {
            world.set(&web, image, StorageClass::Archive).await;
        }
        world.settle().await;
        let set = world.set(&web, activating, StorageClass::Standard).await;
        assert_eq!(set, ImageStatus::Activating);
        world.upload(&web, &kept).await;
        world.upload(&web, &returning).await;
        let due = world.server.db.write(|tx| {
            let sql = "UPDATE blobs SET lease_until = 0, archive_at = 0";
            tx.execute(sql, &[])?;
            tx.execute("DELETE FROM archive_removals", &[])
        });
        due.await.expect("changed");
        for object in world.archive.objects(None, 10).await.expect("listed") {
            world.archive.delete(&object.key).await.expect("removed");
        }
        world.work().await;
        assert_eq!(world.status(&web, activating).await, ImageStatus::Active);
        assert_eq!(world.content(&web, &returning).await, Some(returning));
        assert_eq!(world.status(&web, archived).await, ImageStatus::Archived);
        assert!(world.archived(&kept).await.is_some());
        assert_eq!(World::objects(&world.archive).await, 1);
        assert_eq!(World::objects(&world.server.blobs).await, 1);
        assert_eq!(world.findings().await, []);
    }
}
