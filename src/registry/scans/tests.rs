//! Tests of scans on every engine: who does the work, what becomes of it, and what is left.

use std::path::Path;

use bytes::Bytes;
use wharfinger_base::{Durability, Ids, Timestamp};
use wharfinger_blobs::{BlobStore, BlobsConfig};
use wharfinger_db::params;
use wharfinger_db::testing::every_engine;
use wharfinger_oci::{Algorithm, Digest, Manifest};

use super::*;
use crate::images::Push;
use crate::model::{RegistryId, Repository, RepositorySettings};
use crate::store::image_status;
use crate::store::scans::{ScanResult, ScanWork};
use crate::uploads::Part;
use crate::{Config, Registry};

struct World {
    registry: Registry,
    repository: Repository,
    db: Db,
    clock: Clock,
    folder: tempfile::TempDir,
}

/// A registry with a repository that is scanned on push, on each engine.
async fn worlds() -> Vec<World> {
    let migrations = [crate::MIGRATIONS, wharfinger_scanning::MIGRATIONS].concat();
    let mut worlds = Vec::new();
    for db in every_engine(&migrations) {
        let clock = Clock::manual(Timestamp::from_ms(1_700_000_000_000));
        let ids = Ids::default();
        let opened = BlobStore::open(&BlobsConfig::Memory, Durability::default(), ids.clone());
        let blobs = opened.await.expect("a store");
        let registry = Registry::new(&db, &blobs, &clock, &ids, Config::default());
        let id = RegistryId {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        let settings = RepositorySettings {
            scan_on_push: true,
            ..RepositorySettings::default()
        };
        let name = "web".parse().expect("a name");
        let created = registry.repositories.create(&id, &name, settings).await;
        worlds.push(World {
            repository: created.expect("a repository"),
            registry,
            db,
            clock,
            folder: tempfile::tempdir().expect("a folder"),
        });
    }
    worlds
}

impl World {
    async fn blob(&self, bytes: Vec<u8>) -> Digest {
        let (uploads, id) = (&self.registry.uploads, self.repository.id);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let upload = uploads.start(id, Algorithm::Sha256, "test").await;
        let part = Part {
            length: Some(bytes.len() as u64),
            body: futures_util::stream::iter([Ok(Bytes::from(bytes))]),
            offset: None,
        };
        let upload = upload.expect("an upload").id;
        uploads
            .finish(id, upload, &digest, part)
            .await
            .expect("a blob");
        digest
    }

    /// Pushes an image with one npm package.
    async fn push(&self, version: &str) -> Digest {
        let text = format!(r#"{{"name": "lodash", "version": "{version}"}}"#);
        let path = "app/node_modules/lodash/package.json";
        self.push_files(&[(path, text.as_bytes())]).await
    }

    /// Pushes an image of these files.
    async fn push_files(&self, files: &[(&str, &[u8])]) -> Digest {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            archive
                .append_data(&mut header, path, *bytes)
                .expect("memory");
        }
        let layer = archive.into_inner().expect("memory");
        let size = layer.len();
        let (config, layer) = (self.blob(b"{}".to_vec()).await, self.blob(layer).await);
        let bytes = Bytes::from(format!(
            r#"{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {{"mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": "{config}", "size": 2}},
            "layers": [{{"mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": "{layer}", "size": {size}}}]}}"#
        ));
        let push = Push {
            manifest: Manifest::parse(&bytes, None).expect("a manifest"),
            digest: Digest::of(Algorithm::Sha256, &bytes),
            bytes,
            tags: vec!["v1".parse().expect("a tag")],
            refuse_existing: false,
        };
        self.registry
            .images
            .put(&self.repository, push)
            .await
            .expect("an image")
    }

    async fn import(&self, id: &str, fixed: &str) {
        let path = self.folder.path().join("advisory.json");
        let text = format!(
            r#"{{"id": "{id}", "affected": [{{"package": {{"ecosystem": "npm",
            "name": "lodash"}}, "ranges": [{{"type": "SEMVER", "events": [
            {{"introduced": "0"}}, {{"fixed": "{fixed}"}}]}}]}}]}}"#
        );
        std::fs::write(&path, text).expect("a file");
        let imported = self
            .registry
            .scans
            .advisories
            .import("osv", Path::new(&path))
            .await;
        imported.expect("an import");
    }

    /// Does all work that is due.
    async fn work(&self) -> usize {
        let mut done = 0;
        while self
            .registry
            .scans
            .work(self.clock.now())
            .await
            .expect("work")
        {
            done += 1;
        }
        done
    }

    async fn image(&self, digest: Digest) -> Image {
        let reference = Reference::Digest(digest);
        let head = self
            .registry
            .images
            .head(self.repository.id, &reference)
            .await;
        head.expect("an image")
    }

    /// The status of the image's scan, and the names of what was found.
    async fn result(&self, digest: Digest) -> (ScanStatus, Vec<String>) {
        let (scans, image) = (&self.registry.scans, self.image(digest).await);
        let scan = scans
            .of_image(&image)
            .await
            .expect("a read")
            .expect("a scan");
        let found = scans
            .findings(&image, &scan, 0, 100)
            .await
            .expect("findings");
        let names = found.items.into_iter().map(|one| one.name).collect();
        (scan.status, names)
    }

    async fn rows(&self, statement: &'static str) -> i64 {
        let count = self
            .db
            .read(move |tx| tx.query_optional(statement, &[], |row| Ok(row.integer(0))));
        count.await.expect("a read").unwrap_or_default()
    }
}

const FINDINGS: &str = "SELECT COUNT(*) FROM scan_findings";

#[tokio::test]
async fn pushed_images_are_scanned_and_compared_again_when_advisories_change() {
    for world in worlds().await {
        world.import("A", "5.0.0").await;
        let digest = world.push("4.0.0").await;
        assert_eq!(world.result(digest).await.0, ScanStatus::Pending);
        assert_eq!(world.work().await, 1);
        let expected = (ScanStatus::Complete, vec!["A".to_owned()]);
        assert_eq!(world.result(digest).await, expected);
        assert_eq!(world.work().await, 0);
        // The layers are not read again: they may be gone.
        world.import("B", "4.5.0").await;
        assert_eq!(world.work().await, 1);
        assert_eq!(
            world.result(digest).await,
            (ScanStatus::Complete, vec!["B".to_owned()])
        );
        assert_eq!(world.rows(FINDINGS).await, 1, "former findings are removed");
        world
            .registry
            .scans
            .advisories
            .remove("osv")
            .await
            .expect("a removal");
        assert_eq!(world.work().await, 1);
        assert_eq!(world.result(digest).await, (ScanStatus::Failed, Vec::new()));
        assert_eq!(world.work().await, 0);
        let (complete, failed) = world.registry.scans.counts().ended();
        assert_eq!((complete, failed), (2, 1));
    }
}

/// Another attempt would find as many: it is not made before the advisories change.
#[tokio::test]
async fn an_image_with_too_many_findings_fails_once() {
    for world in worlds().await {
        world.import("A", "5.0.0").await;
        let package = br#"{"name": "lodash", "version": "4.0.0"}"#;
        let paths = (0..225).map(|place| format!("{place}/node_modules/lodash/package.json"));
        let paths: Vec<String> = paths.collect();
        let files = paths.iter().map(|path| (path.as_str(), package.as_slice()));
        let digest = world.push_files(&files.collect::<Vec<_>>()).await;
        assert_eq!(world.work().await, 1);
        assert_eq!(world.result(digest).await.0, ScanStatus::Complete);

        let folder = world.folder.path().join("many");
        std::fs::create_dir(&folder).expect("a folder");
        for number in 0..223 {
            let text = format!(
                r#"{{"id": "M-{number}", "affected": [{{"package": {{"ecosystem": "npm",
                "name": "lodash"}}, "ranges": [{{"type": "SEMVER", "events": [
                {{"introduced": "0"}}, {{"fixed": "5.0.0"}}]}}]}}]}}"#
            );
            std::fs::write(folder.join(format!("{number}.json")), text).expect("a file");
        }
        let imported = world.registry.scans.advisories.import("osv", &folder).await;
        imported.expect("an import");
        assert_eq!(world.work().await, 1);
        assert_eq!(world.result(digest).await, (ScanStatus::Failed, Vec::new()));
        world.clock.advance(Duration::from_hours(48));
        assert_eq!(world.work().await, 0);
        world.import("A", "5.0.0").await;
        assert_eq!(world.work().await, 1);
        assert_eq!(world.result(digest).await.0, ScanStatus::Complete);
    }
}

#[tokio::test]
async fn a_claim_that_ends_lets_another_server_go_on_and_refuses_the_first() {
    for world in worlds().await {
        let digest = world.push("4.0.0").await;
        let now = world.clock.now();
        let claim = |at: Timestamp| {
            let until = at.plus(Duration::from_mins(1));
            world
                .db
                .write(move |tx| store::claim(tx, "", at, |_| until))
        };
        let first = claim(now).await.expect("a write").expect("a claim");
        assert_eq!((first.work, first.attempts), (ScanWork::Scan, 1));
        assert_eq!(world.result(digest).await.0, ScanStatus::InProgress);
        assert_eq!(claim(now).await.expect("a write"), None, "one at a time");
        let later = now.plus(Duration::from_mins(2));
        let second = claim(later).await.expect("a write").expect("a claim");
        assert_eq!(second.attempts, 2);
        let finish = |claim: crate::store::scans::ScanClaim| {
            world.db.write(move |tx| {
                let counts = BTreeMap::new();
                let result = ScanResult {
                    status: ScanStatus::Complete,
                    description: "",
                    advisories: Some(""),
                    advisories_at: None,
                    counts: &counts,
                    again_at: None,
                };
                store::finish(tx, &claim, &result, later)
            })
        };
        assert!(!finish(first).await.expect("a write"));
        assert!(finish(second).await.expect("a write"));
    }
}

#[tokio::test]
async fn deleted_images_and_repositories_leave_nothing() {
    for world in worlds().await {
        world.import("A", "5.0.0").await;
        let reference = Reference::Digest(world.push("4.0.0").await);
        world.push("4.0.1").await;
        assert_eq!(world.work().await, 2);
        assert_eq!(world.rows(FINDINGS).await, 2);
        let (images, repository) = (&world.registry.images, &world.repository);
        images
            .delete_as_ecr(repository.id, &reference)
            .await
            .expect("a deletion");
        world.work().await;
        assert_eq!(world.rows(FINDINGS).await, 1);
        let deletion = world.registry.repositories.delete(repository, true).await;
        deletion.expect("a deletion");
        while world
            .db
            .write(crate::cleanup::step)
            .await
            .expect("a step")
            .more
        {}
        world.work().await;
        assert_eq!(world.rows(FINDINGS).await, 0);
        assert_eq!(world.rows("SELECT COUNT(*) FROM scan_inventories").await, 0);
        assert_eq!(world.rows("SELECT COUNT(*) FROM image_scans").await, 0);
    }
}

#[tokio::test]
async fn documents_are_attached_once_and_are_not_scanned() {
    for world in worlds().await {
        let digest = world.push("4.0.0").await;
        world.work().await;
        let count = "SELECT COUNT(*) FROM images WHERE subject IS NOT NULL";
        assert_eq!(world.rows(count).await, 2);
        world.clock.advance(Duration::from_hours(25));
        let reference = Reference::Digest(digest);
        let scans = &world.registry.scans;
        scans
            .start(world.repository.id, &reference)
            .await
            .expect("a scan");
        assert_eq!(world.work().await, 1);
        assert_eq!(world.rows(count).await, 2);
        assert_eq!(world.rows("SELECT COUNT(*) FROM image_scans").await, 1);
        let again = scans.start(world.repository.id, &reference).await;
        assert!(matches!(again, Err(Error::ScanQuota)));
    }
}

#[tokio::test]
async fn a_comparison_that_was_stopped_is_tried_again_once_it_can_succeed() {
    for world in worlds().await {
        world.import("A", "5.0.0").await;
        let digest = world.push("4.0.0").await;
        assert_eq!(world.work().await, 1);
        // A stored advisory that cannot be read stops comparisons.
        world.import("B", "5.0.0").await;
        let set = |document: &'static str| {
            world.db.write(move |tx| {
                tx.execute(
                    "UPDATE advisory_entries SET document = ?1",
                    params![document],
                )
            })
        };
        set("damaged").await.expect("a write");
        let hour = Duration::from_hours(1);
        for _ in 0..4 {
            assert_eq!(world.work().await, 1);
            world.clock.advance(Duration::from_mins(10));
        }
        assert_eq!(world.result(digest).await, (ScanStatus::Failed, Vec::new()));
        assert_eq!(world.registry.scans.counts().ended(), (1, 1));
        world.clock.advance(hour);
        assert_eq!(world.work().await, 1);
        assert_eq!(
            world.registry.scans.counts().ended(),
            (1, 1),
            "it fails once"
        );
        set(
            r#"{"id": "C", "modified": "", "published": null, "aliases": [], "description": "",
            "vectors": [], "word": null, "references": [], "affected": [{"versions": ["4.0.0"],
            "ranges": []}]}"#,
        )
        .await
        .expect("a write");
        assert_eq!(world.work().await, 0, "the next attempt has its time");
        world.clock.advance(2 * hour);
        assert_eq!(world.work().await, 1);
        let expected = (ScanStatus::Complete, vec!["C".to_owned()]);
        assert_eq!(world.result(digest).await, expected);
        world.clock.advance(24 * hour);
        assert_eq!(world.work().await, 0);
    }
}

#[tokio::test]
async fn names_with_a_nul_do_not_stop_a_scan() {
    for world in worlds().await {
        world.import("A", "5.0.0").await;
        let package = |name: &str| format!(r#"{{"name": "{name}", "version": "4.0.0"}}"#);
        let (odd, lodash) = (package(r"lod\u0000ash"), package("lodash"));
        let files = [
            (
                "etc/os-release",
                b"ID=alpine\0\nVERSION_ID=3\0.19\n".as_slice(),
            ),
            (
                "lib/apk/db/installed",
                b"P:mu\0sl\nV:1.2\n\nP:zlib\nV:1\0\n",
            ),
            ("a/node_modules/odd/package.json", odd.as_bytes()),
            ("a/node_modules/lodash/package.json", lodash.as_bytes()),
        ];
        let digest = world.push_files(&files).await;
        assert_eq!(world.work().await, 1);
        let expected = (ScanStatus::Complete, vec!["A".to_owned()]);
        assert_eq!(world.result(digest).await, expected);
    }
}

#[tokio::test]
async fn archived_images_are_scanned_once_they_are_restored() {
    for world in worlds().await {
        world.import("A", "5.0.0").await;
        let digest = world.push("4.0.0").await;
        let image = world.image(digest).await.id;
        let (archive, now) = (&world.db, world.clock.now());
        let archived = archive.write(move |tx| image_status::archive(tx, image, now));
        archived.await.expect("a write");
        let reference = Reference::Digest(digest);
        let refused = world.registry.scans.start(world.repository.id, &reference);
        assert!(matches!(refused.await, Err(Error::ImageArchived(_))));
        for _ in 0..9 {
            assert_eq!(world.work().await, 1);
            assert_eq!(world.result(digest).await.0, ScanStatus::Pending);
            world.clock.advance(Duration::from_mins(61));
        }
        // While it comes back, its layers may still be in the archive.
        let begun = world
            .db
            .write(move |tx| image_status::begin_activation(tx, image));
        begun.await.expect("a write");
        let refused = world.registry.scans.start(world.repository.id, &reference);
        assert!(matches!(refused.await, Err(Error::ImageArchived(_))));
        for _ in 0..9 {
            assert_eq!(world.work().await, 1);
            assert_eq!(world.result(digest).await.0, ScanStatus::Pending);
            world.clock.advance(Duration::from_mins(1));
        }
        let restored = world
            .db
            .write(move |tx| image_status::end_activation(tx, image, now));
        assert!(restored.await.expect("a write"));
        assert_eq!(world.work().await, 1);
        let expected = (ScanStatus::Complete, vec!["A".to_owned()]);
        assert_eq!(world.result(digest).await, expected);
    }
}
