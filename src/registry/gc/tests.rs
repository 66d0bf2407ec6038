//! Content that nothing needs goes, content that anything may need stays; on every engine, on a
//! folder and on an object store.

mod simulation;

use std::time::Duration;

use wharfinger_base::Ids;
use wharfinger_db::{params, testing};
use wharfinger_oci::{Algorithm, Digest, Manifest, Reference, Tag};
use wharfinger_reconcile::Reconciler as _;

use crate::content::LayerUse;
use crate::error::Error;
use crate::gc::Survey;
use crate::images::Push;
use crate::model::{Blob, Repository, RepositoryId};
use crate::uploads::tests::{TestServer, part};
use crate::{Config, MIGRATIONS, RegistryId, RepositorySettings};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LEASE: Duration = Duration::from_hours(24);
const MOMENT: Duration = Duration::from_millis(1);
const ALMOST_LEASE: Duration = Duration::from_millis(24 * 60 * 60 * 1_000 - 1);
/// Longer than a collector has for the removal of bytes.
const REMOVAL_IS_OVER: Duration = Duration::from_secs(61);

/// Servers on every engine, with a folder and with objects.
async fn servers() -> Vec<TestServer> {
    let mut servers = Vec::new();
    for disk in [true, false] {
        for db in testing::every_engine(MIGRATIONS) {
            servers.push(TestServer::over(db, disk, Config::default()).await);
        }
    }
    servers
}

fn digest(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

fn manifest(layers: &[&[u8]]) -> String {
    let layers: Vec<String> = layers
        .iter()
        .map(|layer| {
            let (digest, size) = (digest(layer), layer.len());
            let kind = "application/vnd.oci.image.layer.v1.tar";
            format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#)
        })
        .collect();
    let (config, rest) = layers.split_first().expect("a config");
    let rest = rest.join(",");
    format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{rest}]}}"#)
}

impl TestServer {
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

    async fn upload(&self, repository: &Repository, content: &[u8]) -> Blob {
        let (uploads, digest) = (&self.registry.uploads, digest(content));
        let uploaded = uploads.monolithic(repository.id, &digest, part(None, content));
        uploaded.await.expect("uploaded")
    }

    async fn put(&self, repository: &Repository, layers: &[&[u8]]) -> Result<Digest, Error> {
        let bytes = manifest(layers);
        let push = Push {
            manifest: Manifest::parse(bytes.as_bytes(), None).expect("a manifest"),
            digest: digest(bytes.as_bytes()),
            bytes: bytes.into(),
            tags: vec![],
            refuse_existing: false,
        };
        self.registry.images.put(repository, push).await
    }

    /// Uploads the layers and puts their manifest.
    async fn push(&self, repository: &Repository, layers: &[&[u8]]) -> Digest {
        for layer in layers {
            self.upload(repository, layer).await;
        }
        self.put(repository, layers).await.expect("put")
    }

    async fn delete(&self, repository: RepositoryId, image: &Digest) {
        let deleted = self.registry.images.delete_manifest(repository, image);
        deleted.await.expect("deleted");
    }

    async fn has_link(&self, repository: RepositoryId, content: &[u8]) -> bool {
        let digest = digest(content);
        let found = self.registry.content.get(repository, &digest);
        found.await.is_ok()
    }

    async fn is_stored(&self, blob: &Blob) -> bool {
        self.blobs.has(&blob.key, blob.size).await.expect("looked")
    }

    /// Lets the collector work until it finds nothing; returns how many links and blobs it removed.
    async fn collect(&self) -> usize {
        let mut removed = 0;
        loop {
            let step = self.registry.collector.step().await.expect("a step");
            removed += step.removed;
            if !step.more {
                return removed;
            }
        }
    }

    async fn survey(&self) -> Survey {
        let survey = self.registry.collector.survey(|_| {});
        survey.await.expect("looked")
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let count = self.db.read(move |tx| {
            let count = tx.query_optional(sql, params![], |row| Ok(row.integer(0)));
            count.map_err(Error::from)
        });
        count.await.expect("counted").expect("a row")
    }
}

#[tokio::test]
async fn a_deleted_image_takes_what_only_it_needed_and_leaves_what_others_need() {
    for server in servers().await {
        let [web, other] = [
            server.repository("a/web").await,
            server.repository("a/other").await,
        ];
        let [shared, own, elsewhere] = [
            server.upload(&web, b"shared").await,
            server.upload(&web, b"own").await,
            server.upload(&other, b"elsewhere").await,
        ];
        let first = server.push(&web, &[b"config", b"shared", b"own", b"elsewhere"]);
        let first = first.await;
        server.push(&web, &[b"config", b"shared"]).await;
        server.push(&other, &[b"config", b"elsewhere"]).await;
        server.clock.advance(LEASE);
        assert_eq!(server.collect().await, 0, "all is needed");

        server.delete(web.id, &first).await;
        // In the transaction of the deletion, before any step of the collector.
        assert!(!server.has_link(web.id, b"own").await);
        assert!(!server.has_link(web.id, b"elsewhere").await);
        assert!(server.has_link(web.id, b"shared").await);
        let survey = server.survey().await;
        assert_eq!((survey.links, survey.blobs, survey.bytes), (0, 1, 3));
        assert!(server.is_stored(&own).await);
        assert_eq!(server.collect().await, 1);
        assert!(!server.is_stored(&own).await);
        assert!(server.is_stored(&shared).await);
        assert!(server.is_stored(&elsewhere).await);
        assert!(server.has_link(other.id, b"elsewhere").await);
        assert!(server.survey().await.is_clean());
        let progress = server.registry.collector.progress();
        assert_eq!((progress.blobs(), progress.bytes()), (1, 3));
    }
}

#[tokio::test]
async fn content_under_a_lease_stays_linked_until_its_end() {
    for server in servers().await {
        let web = server.repository("a/web").await;
        let blob = server.upload(&web, b"own").await;
        let image = server.push(&web, &[b"own"]).await;
        server.clock.advance(LEASE / 2 + MOMENT);
        server.delete(web.id, &image).await;
        assert!(server.has_link(web.id, b"own").await);
        server.collect().await;
        // A push that was told that the blob exists goes on.
        let kept = server
            .registry
            .content
            .get_and_keep(web.id, &digest(b"own"))
            .await;
        kept.expect("there");
        server.clock.advance(LEASE / 2);
        assert_eq!(server.collect().await, 0);
        server.put(&web, &[b"own"]).await.expect("put");
        server.delete(web.id, &image).await;
        server.clock.advance(LEASE / 2);
        assert_eq!(server.survey().await.links, 1);
        assert_eq!(server.collect().await, 2, "the link and the blob");
        assert!(!server.has_link(web.id, b"own").await);
        assert!(!server.is_stored(&blob).await);
    }
}

#[tokio::test]
async fn what_was_uploaded_or_mounted_and_never_used_goes_at_the_end_of_its_lease() {
    for server in servers().await {
        let [web, other] = [
            server.repository("a/web").await,
            server.repository("a/other").await,
        ];
        let blob = server.upload(&web, b"abandoned").await;
        server.clock.advance(ALMOST_LEASE);
        assert_eq!(server.collect().await, 0);
        let content = &server.registry.content;
        let mounted = content.mount(web.id, other.id, &blob.digest).await;
        mounted.expect("mounted");
        server.clock.advance(ALMOST_LEASE);
        assert_eq!(server.collect().await, 0, "the mount renewed the lease");
        assert!(server.survey().await.is_clean());
        server.clock.advance(MOMENT);
        let survey = server.survey().await;
        assert_eq!((survey.links, survey.blobs), (2, 1));
        assert_eq!(server.collect().await, 3);
        assert!(!server.is_stored(&blob).await);
        assert_eq!(server.count("SELECT COUNT(*) FROM blobs").await, 0);
        assert_eq!(server.count("SELECT COUNT(*) FROM blob_links").await, 0);
        assert_eq!(server.count("SELECT COUNT(*) FROM blob_deletions").await, 0);
    }
}

#[tokio::test]
async fn nobody_is_told_that_a_blob_exists_that_was_collected_after_it_was_read() {
    for server in servers().await {
        let web = server.repository("a/web").await;
        let blob = server.upload(&web, b"old").await;
        server.clock.advance(LEASE);
        let lease_until = server.clock.now();
        assert_eq!(server.collect().await, 2);
        let content = &server.registry.content;
        let told = content.renew_if_due(web.id, blob.clone(), lease_until);
        assert!(matches!(told.await, Err(Error::NoSuchBlob(_))));
        assert!(matches!(
            content.open(&blob, None).await,
            Err(Error::NoSuchBlob(_))
        ));
        assert!(matches!(
            server.put(&web, &[b"old"]).await,
            Err(Error::MissingBlobs(_))
        ));
    }
}

#[tokio::test]
async fn a_removal_that_a_crash_interrupted_is_taken_over() {
    for server in servers().await {
        let web = server.repository("a/web").await;
        let blob = server.upload(&web, b"dead").await;
        server.clock.advance(LEASE);
        let other = server.another().collector;
        for link in 0..2 {
            let now = server.clock.now();
            let step = server.registry.collector.step().await.expect("a step");
            assert_eq!(step.removed, if link == 0 { 2 } else { 0 });
            let condemned = server.registry.collector.condemn(now).await;
            assert!(condemned.expect("looked").blobs.is_empty());
        }
        assert!(!server.is_stored(&blob).await);

        // Once before the bytes go, and once after.
        for bytes_are_gone in [false, true] {
            let blob = server.upload(&web, b"dead").await;
            let removed = server.registry.content.unlink(web.id, &blob.digest).await;
            removed.expect("unlinked");
            server.clock.advance(LEASE);
            let condemned = server.registry.collector.condemn(server.clock.now()).await;
            let condemned = condemned.expect("condemned").blobs;
            assert_eq!(condemned.len(), 1);
            if bytes_are_gone {
                let collector = &server.registry.collector;
                assert!(collector.remove_bytes(&condemned[0]).await);
            }
            assert_eq!(other.step().await.expect("a step").removed, 0, "not yet");
            server.clock.advance(REMOVAL_IS_OVER);
            assert_eq!(other.step().await.expect("a step").removed, 1);
            assert!(!server.is_stored(&blob).await);
            // The one that was late has lost it.
            server
                .registry
                .collector
                .remove(&condemned)
                .await
                .expect("nothing to do");
            assert_eq!(server.count("SELECT COUNT(*) FROM blob_deletions").await, 0);
        }
    }
}

#[tokio::test]
async fn a_push_of_content_that_is_being_removed_makes_it_anew() {
    for server in servers().await {
        let web = server.repository("a/web").await;
        for bytes_are_gone in [false, true] {
            let old = server.upload(&web, b"again").await;
            let removed = server.registry.content.unlink(web.id, &old.digest).await;
            removed.expect("unlinked");
            server.clock.advance(LEASE);
            let collector = &server.registry.collector;
            let condemned = collector.condemn(server.clock.now()).await;
            let condemned = condemned.expect("condemned").blobs;
            if bytes_are_gone {
                assert!(collector.remove_bytes(&condemned[0]).await);
            }
            assert!(!server.has_link(web.id, b"again").await);
            let new = server.upload(&web, b"again").await;
            collector.remove(&condemned).await.expect("removed");
            assert!(server.is_stored(&new).await, "{}", server.db.engine());
            if old.key != new.key {
                assert!(!server.is_stored(&old).await);
            }
            server.collect().await;
            server.clock.advance(REMOVAL_IS_OVER);
            server.collect().await;
            assert!(server.is_stored(&new).await);
            assert_eq!(server.count("SELECT COUNT(*) FROM blob_deletions").await, 0);
        }
    }
}

#[tokio::test]
async fn an_image_of_very_many_layers_goes_in_short_steps() {
    const LAYERS: usize = 4_200;
    for server in servers().await {
        let web = server.repository("a/web").await;
        let contents: Vec<String> = (0..LAYERS).map(|layer| format!("layer {layer}")).collect();
        let layers: Vec<&[u8]> = contents.iter().map(String::as_bytes).collect();
        let digests: Vec<Digest> = layers.iter().map(|layer| digest(layer)).collect();
        let (repository, now) = (web.id, server.clock.now());
        let linked = server.db.write(move |tx| {
            for digest in &digests {
                let blob = Blob {
                    digest: *digest,
                    size: 1,
                    key: format!("blobs/{}", digest.hex()).parse().expect("a key"),
                };
                crate::store::blobs::put(tx, &blob, now, now)?;
                crate::store::blobs::link(tx, repository, digest, now, now)?;
            }
            Ok::<_, Error>(())
        });
        linked.await.expect("linked");
        let image = server.put(&web, &layers).await.expect("put");
        server.collect().await;
        server.delete(web.id, &image).await;
        let left = server.count("SELECT COUNT(*) FROM image_references").await;
        assert!(left > 4_000, "{left}");
        let layer = digest(b"layer 7");
        let used = server.registry.content.layer_use(web.id, &layer);
        assert_eq!(used.await.expect("looked"), LayerUse::None);
        assert_eq!(server.survey().await.deleted_images, 1);
        // The same image again, while the old one's references are being removed.
        let again = server.put(&web, &layers).await;
        assert!(matches!(again, Err(Error::MissingBlobs(_))), "{again:?}");
        server.collect().await;
        for table in [
            "SELECT COUNT(*) FROM image_references",
            "SELECT COUNT(*) FROM blob_links",
            "SELECT COUNT(*) FROM blobs",
            "SELECT COUNT(*) FROM deleted_images",
        ] {
            assert_eq!(server.count(table).await, 0, "{table}");
        }
    }
}

#[tokio::test]
async fn what_a_deleted_repository_had_alone_is_collected() {
    for server in servers().await {
        let [web, other] = [
            server.repository("a/web").await,
            server.repository("a/other").await,
        ];
        let [own, shared] = [
            server.upload(&web, b"own").await,
            server.upload(&web, b"shared").await,
        ];
        server.push(&web, &[b"own", b"shared"]).await;
        server.push(&other, &[b"shared"]).await;
        let repositories = &server.registry.repositories;
        repositories.delete(&web, true).await.expect("deleted");
        let mut cleanup = repositories.cleanup();
        while cleanup
            .pass(server.clock.now())
            .await
            .expect("a pass")
            .again
        {}
        let survey = server.survey().await;
        assert_eq!((survey.blobs, survey.leased_blobs), (0, 1));
        assert_eq!(server.collect().await, 0);
        server.clock.advance(LEASE);
        assert_eq!(server.collect().await, 1);
        assert!(!server.is_stored(&own).await);
        assert!(server.is_stored(&shared).await);
    }
}

#[tokio::test]
async fn a_deletion_by_tag_as_in_ecr_takes_what_only_the_image_needed() {
    for server in servers().await {
        let web = server.repository("a/web").await;
        let blob = server.upload(&web, b"own").await;
        let image = server.push(&web, &[b"own"]).await;
        let tag = Reference::Tag("v1".parse::<Tag>().expect("a tag"));
        let id = web.id;
        let tagged = server.db.write(move |tx| {
            let found = crate::store::images::by_digest(tx, id, &image)?;
            let image = found.ok_or_else(|| wharfinger_db::Error::other("no image"))?;
            crate::store::tags::insert(
                tx,
                id,
                "v1",
                image.id,
                wharfinger_base::Timestamp::default(),
            )
        });
        tagged.await.expect("tagged");
        server.clock.advance(LEASE);
        let deleted = server.registry.images.delete_as_ecr(web.id, &tag);
        assert_eq!(deleted.await.expect("deleted").len(), 1);
        assert!(!server.has_link(web.id, b"own").await);
        server.collect().await;
        assert!(!server.is_stored(&blob).await);
    }
}

#[tokio::test]
async fn an_image_that_is_untagged_or_a_member_of_a_deleted_index_stays() {
    for server in servers().await {
        let web = server.repository("a/web").await;
        let blob = server.upload(&web, b"own").await;
        let member = server.push(&web, &[b"own"]).await;
        let kind = MANIFEST.replace("manifest", "index");
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[
                {{"mediaType":"{MANIFEST}","digest":"{member}","size":1}}]}}"#
        );
        let push = Push {
            manifest: Manifest::parse(index.as_bytes(), None).expect("an index"),
            digest: digest(index.as_bytes()),
            bytes: index.into(),
            tags: vec![],
            refuse_existing: false,
        };
        let index = server.registry.images.put(&web, push).await.expect("put");
        server.clock.advance(LEASE);
        server.delete(web.id, &index).await;
        server.collect().await;
        let member = Reference::Digest(member);
        let found = server.registry.images.head(web.id, &member);
        found.await.expect("there");
        assert!(server.has_link(web.id, b"own").await);
        assert!(server.is_stored(&blob).await);
    }
}

#[tokio::test]
async fn nothing_is_removed_while_a_backup_holds_collection() {
    for server in servers().await {
        let web = server.repository("a/web").await;
        let blob = server.upload(&web, b"layer").await;
        let image = server.push(&web, &[b"layer"]).await;
        let hold = server.registry.collection_hold(&Ids::default());
        hold.take().await.expect("taken");
        server.delete(web.id, &image).await;
        server.clock.advance(LEASE + MOMENT);
        server.collect().await;
        assert!(server.is_stored(&blob).await, "held");
        let rows = "SELECT COUNT(*) FROM blobs";
        assert_eq!(server.count(rows).await, 1, "the index still names it");

        // A collector that had taken it out of the index just before it was held, and stopped.
        let now = server.clock.now();
        let collector = &server.registry.collector;
        let condemned = collector.condemn(now).await.expect("condemned");
        assert_eq!(condemned.blobs.len(), 1);
        let removed = collector.remove(&condemned.blobs).await.expect("looked");
        assert_eq!(removed, 0);
        assert!(server.is_stored(&blob).await, "held");

        hold.release().await.expect("released");
        server.clock.advance(REMOVAL_IS_OVER);
        server.collect().await;
        assert!(!server.is_stored(&blob).await, "nothing holds it any more");
    }
}
