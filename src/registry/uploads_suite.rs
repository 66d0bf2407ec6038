//! Laws of uploads, on a folder and on an object store in memory: bytes are counted truly, order is
//! kept, a digest is checked, and what is abandoned goes.

use bytes::Bytes;
use futures_util::stream;
use uuid::Uuid;
use wharfinger_base::Durability;
use wharfinger_blobs::{BlobsConfig, BodyError};
use wharfinger_oci::{Algorithm, Digest};

use super::*;

struct World {
    clock: Clock,
    registry: Registry,
    repository: RepositoryId,
    folder: tempfile::TempDir,
}

/// A world on a folder, and one on objects.
async fn worlds() -> [World; 2] {
    [
        World::new(true, Config::default()).await,
        World::new(
            false,
            Config {
                several_replicas: true,
                ..Config::default()
            },
        )
        .await,
    ]
}

impl World {
    async fn new(disk: bool, config: Config) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = if disk {
            BlobsConfig::Disk {
                root: folder.path().to_owned(),
            }
        } else {
            BlobsConfig::Memory
        };
        let blobs = BlobStore::open(&place, Durability::Full, Ids::default())
            .await
            .expect("a blob store");
        let (db, clock) = (
            Db::memory(MIGRATIONS).expect("an index"),
            Clock::manual(Clock::System.now()),
        );
        let registry = Registry::new(&db, &blobs, &clock, &Ids::default(), config);
        let id = RegistryId {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        let repository = registry
            .repositories
            .create(
                &id,
                &"web/x".parse().expect("a name"),
                RepositorySettings::default(),
            )
            .await;
        Self {
            clock,
            registry,
            repository: repository.expect("created").id,
            folder,
        }
    }

    async fn append(&self, id: Uuid, offset: Option<u64>, bytes: &[u8]) -> Result<Upload, Error> {
        self.registry
            .uploads
            .append(self.repository, id, part(offset, bytes))
            .await
    }

    async fn finish(&self, id: Uuid, content: &[u8]) -> Result<Blob, Error> {
        let digest = Digest::of(Algorithm::Sha256, content);
        self.registry
            .uploads
            .finish(self.repository, id, &digest, part(None, b""))
            .await
    }

    async fn start(&self) -> Uuid {
        self.registry
            .uploads
            .start(self.repository, Algorithm::Sha256)
            .await
            .expect("started")
            .id
    }
}

fn part(offset: Option<u64>, bytes: &[u8]) -> Part<impl PartBody> {
    let pieces: Vec<Result<Bytes, BodyError>> = bytes
        .chunks(7)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    Part {
        body: stream::iter(pieces),
        offset,
        length: None,
    }
}

#[tokio::test]
async fn parts_in_order_become_a_blob_and_parts_out_of_order_change_nothing() {
    for world in worlds().await {
        let id = world.start().await;
        assert_eq!(
            world
                .append(id, Some(0), b"hello ")
                .await
                .expect("taken")
                .size,
            6
        );
        for wrong in [0, 5, 7, u64::MAX] {
            let refused = world.append(id, Some(wrong), b"xx").await;
            assert!(
                matches!(refused, Err(Error::OutOfOrder { given, expected: 6 }) if given == wrong)
            );
        }
        assert_eq!(
            world
                .registry
                .uploads
                .status(world.repository, id)
                .await
                .expect("there")
                .size,
            6
        );
        assert_eq!(
            world.append(id, None, b"world").await.expect("taken").size,
            11
        );
        let blob = world.finish(id, b"hello world").await.expect("a blob");
        assert_eq!(blob.size, 11);
        assert_eq!(
            world
                .registry
                .content
                .get(world.repository, &blob.digest)
                .await
                .expect("linked"),
            blob
        );
        assert!(matches!(
            world.append(id, None, b"x").await,
            Err(Error::NoSuchUpload)
        ));
    }
}

#[tokio::test]
async fn a_wrong_digest_ends_the_session_and_leaves_nothing() {
    for world in worlds().await {
        let id = world.start().await;
        world.append(id, None, b"content").await.expect("taken");
        assert!(matches!(
            world.finish(id, b"other").await,
            Err(Error::DigestMismatch(_))
        ));
        assert!(matches!(
            world.registry.uploads.status(world.repository, id).await,
            Err(Error::NoSuchUpload)
        ));
        let digest = Digest::of(Algorithm::Sha256, b"content");
        assert!(matches!(
            world.registry.content.get(world.repository, &digest).await,
            Err(Error::NoSuchBlob(_))
        ));
    }
}

#[tokio::test]
async fn a_sender_that_breaks_off_is_told_the_truth() {
    for world in worlds().await {
        let id = world.start().await;
        let pieces: Vec<Result<Bytes, BodyError>> =
            vec![Ok(Bytes::from_static(b"abc")), Err("gone".into())];
        let broken = Part {
            body: stream::iter(pieces),
            offset: None,
            length: None,
        };
        assert!(matches!(
            world
                .registry
                .uploads
                .append(world.repository, id, broken)
                .await,
            Err(Error::BodyEnded(_))
        ));
        let kept = world
            .registry
            .uploads
            .status(world.repository, id)
            .await
            .expect("there")
            .size;
        world
            .append(
                id,
                Some(kept),
                &b"abcdef"[usize::try_from(kept).expect("small")..],
            )
            .await
            .expect("goes on");
        world.finish(id, b"abcdef").await.expect("whole");
    }
}

#[tokio::test]
async fn another_repository_does_not_see_the_session() {
    for world in worlds().await {
        let id = world.start().await;
        let elsewhere = RepositoryId(world.repository.0 + 1);
        assert!(matches!(
            world.registry.uploads.status(elsewhere, id).await,
            Err(Error::NoSuchUpload)
        ));
        assert!(matches!(
            world.registry.uploads.cancel(elsewhere, id).await,
            Err(Error::NoSuchUpload)
        ));
        world
            .registry
            .uploads
            .cancel(world.repository, id)
            .await
            .expect("its own");
        assert!(matches!(
            world.registry.uploads.cancel(world.repository, id).await,
            Err(Error::NoSuchUpload)
        ));
    }
}

#[tokio::test]
async fn layer_parts_end_by_ecrs_rules() {
    for world in worlds().await {
        let (uploads, repository) = (&world.registry.uploads, world.repository);
        let id = world.start().await;
        let right = Digest::of(Algorithm::Sha256, b"ab");
        assert!(matches!(
            uploads.complete_parts(repository, id, vec![right]).await,
            Err(Error::EmptyUpload)
        ));
        world.append(id, Some(0), b"a").await.expect("taken");
        world.append(id, Some(1), b"b").await.expect("taken");
        assert!(matches!(
            uploads.complete_parts(repository, id, vec![right]).await,
            Err(Error::PartTooSmall { .. })
        ));

        let id = world.start().await;
        world.append(id, Some(0), b"ab").await.expect("taken");
        let wrong = Digest::of(Algorithm::Sha256, b"zz");
        assert!(matches!(
            uploads.complete_parts(repository, id, vec![wrong]).await,
            Err(Error::DigestMismatch(_))
        ));
        let blob = uploads
            .complete_parts(repository, id, vec![wrong, right])
            .await
            .expect("the session stayed");
        assert_eq!(blob.digest, right);
    }
}

#[tokio::test]
async fn idle_sessions_end_and_busy_ones_stay() {
    for world in worlds().await {
        let old = world.start().await;
        world.append(old, None, b"abc").await.expect("taken");
        world
            .clock
            .advance(Config::default().upload_expiry + Duration::from_secs(1));
        let young = world.start().await;
        assert_eq!(world.registry.uploads.sweep().await.expect("swept").0, 1);
        assert!(matches!(
            world.registry.uploads.status(world.repository, old).await,
            Err(Error::NoSuchUpload)
        ));
        assert!(
            world
                .registry
                .uploads
                .status(world.repository, young)
                .await
                .is_ok()
        );
    }
}

#[tokio::test]
async fn a_mount_links_without_bytes_and_an_unlink_is_the_repositorys_own() {
    for world in worlds().await {
        let digest = Digest::of(Algorithm::Sha256, b"shared");
        let blob = world
            .registry
            .uploads
            .monolithic(world.repository, &digest, part(None, b"shared"))
            .await
            .expect("a blob");
        let id = RegistryId {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        let other = world
            .registry
            .repositories
            .create(
                &id,
                &"other".parse().expect("a name"),
                RepositorySettings::default(),
            )
            .await
            .expect("made")
            .id;
        let content = &world.registry.content;
        assert!(matches!(
            content.get(other, &digest).await,
            Err(Error::NoSuchBlob(_))
        ));
        assert!(matches!(
            content.mount(other, world.repository, &digest).await,
            Err(Error::NoSuchBlob(_))
        ));
        assert_eq!(
            content
                .mount(world.repository, other, &digest)
                .await
                .expect("mounted"),
            blob
        );
        content
            .unlink(world.repository, &digest)
            .await
            .expect("unlinked");
        assert!(matches!(
            content.unlink(world.repository, &digest).await,
            Err(Error::NoSuchBlob(_))
        ));
        assert_eq!(
            content
                .get_and_keep(other, &digest)
                .await
                .expect("still there")
                .size,
            6
        );
        assert!(content.open(&blob, None).await.is_ok());
    }
}

#[tokio::test]
async fn many_finish_the_same_content_at_once() {
    for world in worlds().await {
        let digest = Digest::of(Algorithm::Sha256, b"the same");
        let pushes = (0..16).map(|_| {
            world
                .registry
                .uploads
                .monolithic(world.repository, &digest, part(None, b"the same"))
        });
        let blobs: Vec<_> = futures_util::future::join_all(pushes)
            .await
            .into_iter()
            .map(|blob| blob.expect("every one succeeds"))
            .collect();
        assert!(
            blobs.iter().all(|blob| blob.key == blobs[0].key),
            "one copy counts"
        );
        assert!(world.registry.content.open(&blobs[0], None).await.is_ok());
    }
}

#[tokio::test]
async fn an_upload_whose_bytes_could_not_be_made_durable_is_not_tried_again() {
    let world = World::new(true, Config::default()).await;
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let id = world.start().await;
    let appended = world.append(id, None, b"content").await;
    assert_eq!(appended.expect("appended").size, 7);
    // No file can be renamed over a directory.
    let hex = digest.hex();
    let target = world
        .folder
        .path()
        .join("blobs/sha256")
        .join(&hex[..2])
        .join(&hex);
    std::fs::create_dir_all(&target).expect("created");
    let finish = async || {
        let uploads = &world.registry.uploads;
        uploads
            .finish(world.repository, id, &digest, part(None, b""))
            .await
    };
    let failed = finish().await;
    assert!(matches!(failed, Err(Error::Blobs(_))), "{failed:?}");
    std::fs::remove_dir(&target).expect("removed");
    let status = world.registry.uploads.status(world.repository, id).await;
    assert!(matches!(status, Err(Error::NoSuchUpload)), "{status:?}");
    let again = finish().await;
    assert!(matches!(again, Err(Error::NoSuchUpload)), "{again:?}");
}
