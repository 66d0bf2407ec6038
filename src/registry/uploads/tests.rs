//! Uploads on a folder and on an object store in memory: bytes are counted truly, order is kept, a
//! digest is checked, and abandoned uploads end.

use bytes::Bytes;
use futures_util::stream;
use uuid::Uuid;
use wharfinger_base::Durability;
use wharfinger_blobs::{BlobsConfig, BodyError};
use wharfinger_oci::{Algorithm, Digest};

use super::*;
use crate::{MIGRATIONS, Registry, RegistryId, RepositorySettings};

pub(crate) struct TestServer {
    pub(crate) db: Db,
    pub(crate) blobs: BlobStore,
    pub(crate) clock: Clock,
    pub(crate) registry: Registry,
    pub(crate) repository: RepositoryId,
    folder: tempfile::TempDir,
}

/// A server with blobs in a folder, and one with objects.
async fn servers() -> [TestServer; 2] {
    [
        TestServer::new(true, Config::default()).await,
        TestServer::new(
            false,
            Config {
                several_replicas: true,
                ..Config::default()
            },
        )
        .await,
    ]
}

impl TestServer {
    async fn new(disk: bool, config: Config) -> Self {
        let db = Db::memory(MIGRATIONS).expect("an index");
        Self::over(db, disk, config).await
    }

    pub(crate) async fn over(db: Db, disk: bool, config: Config) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config_of_blobs = if disk {
            BlobsConfig::Disk {
                root: folder.path().to_owned(),
            }
        } else {
            BlobsConfig::Memory
        };
        let blobs = BlobStore::open(&config_of_blobs, Durability::Full, Ids::default())
            .await
            .expect("a blob store");
        let clock = Clock::manual(Clock::System.now());
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
            db,
            blobs,
            clock,
            registry,
            repository: repository.expect("created").id,
            folder,
        }
    }

    /// Another server on the same index and blobs, and with the same clock.
    pub(crate) fn another(&self) -> Registry {
        let config = Config {
            several_replicas: true,
            ..Config::default()
        };
        Registry::new(&self.db, &self.blobs, &self.clock, &Ids::default(), config)
    }

    pub(crate) async fn append(
        &self,
        id: Uuid,
        offset: Option<u64>,
        bytes: &[u8],
    ) -> Result<Upload, Error> {
        self.registry
            .uploads
            .append(self.repository, id, part(offset, bytes))
            .await
    }

    pub(crate) async fn finish(&self, id: Uuid, content: &[u8]) -> Result<Blob, Error> {
        let digest = Digest::of(Algorithm::Sha256, content);
        self.registry
            .uploads
            .finish(self.repository, id, &digest, part(None, b""))
            .await
    }

    pub(crate) async fn start(&self) -> Uuid {
        self.registry
            .uploads
            .start(self.repository, Algorithm::Sha256, "arn:aws:iam::1:user/x")
            .await
            .expect("started")
            .id
    }
}

pub(crate) fn part(offset: Option<u64>, bytes: &[u8]) -> Part<impl PartBody> {
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
    for server in servers().await {
        let id = server.start().await;
        assert_eq!(
            server
                .append(id, Some(0), b"hello ")
                .await
                .expect("taken")
                .size,
            6
        );
        for wrong in [0, 5, 7, u64::MAX] {
            let refused = server.append(id, Some(wrong), b"xx").await;
            assert!(
                matches!(refused, Err(Error::OutOfOrder { given, expected: 6 }) if given == wrong)
            );
        }
        assert_eq!(
            server
                .registry
                .uploads
                .status(server.repository, id)
                .await
                .expect("there")
                .size,
            6
        );
        assert_eq!(
            server.append(id, None, b"world").await.expect("taken").size,
            11
        );
        let blob = server.finish(id, b"hello world").await.expect("a blob");
        assert_eq!(blob.size, 11);
        assert_eq!(
            server
                .registry
                .content
                .get(server.repository, &blob.digest)
                .await
                .expect("linked"),
            blob
        );
        assert!(matches!(
            server.append(id, None, b"x").await,
            Err(Error::NoSuchUpload)
        ));
    }
}

#[tokio::test]
async fn a_wrong_digest_ends_the_session_and_leaves_nothing() {
    for server in servers().await {
        let id = server.start().await;
        server.append(id, None, b"content").await.expect("taken");
        assert!(matches!(
            server.finish(id, b"other").await,
            Err(Error::DigestMismatch(_))
        ));
        assert!(matches!(
            server.registry.uploads.status(server.repository, id).await,
            Err(Error::NoSuchUpload)
        ));
        let digest = Digest::of(Algorithm::Sha256, b"content");
        assert!(matches!(
            server
                .registry
                .content
                .get(server.repository, &digest)
                .await,
            Err(Error::NoSuchBlob(_))
        ));
    }
}

#[tokio::test]
async fn a_sender_that_breaks_off_is_told_the_truth() {
    for server in servers().await {
        let id = server.start().await;
        let pieces: Vec<Result<Bytes, BodyError>> =
            vec![Ok(Bytes::from_static(b"abc")), Err("gone".into())];
        let broken = Part {
            body: stream::iter(pieces),
            offset: None,
            length: None,
        };
        assert!(matches!(
            server
                .registry
                .uploads
                .append(server.repository, id, broken)
                .await,
            Err(Error::BodyEnded(_))
        ));
        let kept = server
            .registry
            .uploads
            .status(server.repository, id)
            .await
            .expect("there")
            .size;
        server
            .append(
                id,
                Some(kept),
                &b"abcdef"[usize::try_from(kept).expect("small")..],
            )
            .await
            .expect("goes on");
        server.finish(id, b"abcdef").await.expect("whole");
    }
}

#[tokio::test]
async fn another_repository_does_not_see_the_session() {
    for server in servers().await {
        let id = server.start().await;
        let elsewhere = RepositoryId(server.repository.0 + 1);
        assert!(matches!(
            server.registry.uploads.status(elsewhere, id).await,
            Err(Error::NoSuchUpload)
        ));
        assert!(matches!(
            server.registry.uploads.cancel(elsewhere, id).await,
            Err(Error::NoSuchUpload)
        ));
        server
            .registry
            .uploads
            .cancel(server.repository, id)
            .await
            .expect("its own");
        assert!(matches!(
            server.registry.uploads.cancel(server.repository, id).await,
            Err(Error::NoSuchUpload)
        ));
    }
}

#[tokio::test]
async fn layer_parts_end_by_ecrs_rules() {
    for server in servers().await {
        let (uploads, repository) = (&server.registry.uploads, server.repository);
        let id = server.start().await;
        let right = Digest::of(Algorithm::Sha256, b"ab");
        assert!(matches!(
            uploads.complete_parts(repository, id, vec![right]).await,
            Err(Error::EmptyUpload)
        ));
        server.append(id, Some(0), b"a").await.expect("taken");
        server.append(id, Some(1), b"b").await.expect("taken");
        assert!(matches!(
            uploads.complete_parts(repository, id, vec![right]).await,
            Err(Error::PartTooSmall { .. })
        ));

        let id = server.start().await;
        server.append(id, Some(0), b"ab").await.expect("taken");
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
    for server in servers().await {
        let old = server.start().await;
        server.append(old, None, b"abc").await.expect("taken");
        server
            .clock
            .advance(Config::default().upload_expiry + Duration::from_secs(1));
        let young = server.start().await;
        assert_eq!(
            server.registry.uploads.sweep().await.expect("swept").ended,
            1
        );
        assert!(matches!(
            server.registry.uploads.status(server.repository, old).await,
            Err(Error::NoSuchUpload)
        ));
        assert!(
            server
                .registry
                .uploads
                .status(server.repository, young)
                .await
                .is_ok()
        );
    }
}

#[tokio::test]
async fn a_mount_links_without_bytes_and_an_unlink_is_the_repositorys_own() {
    for server in servers().await {
        let digest = Digest::of(Algorithm::Sha256, b"shared");
        let blob = server
            .registry
            .uploads
            .monolithic(server.repository, &digest, part(None, b"shared"))
            .await
            .expect("a blob");
        let id = RegistryId {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        let other = server
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
        let content = &server.registry.content;
        assert!(matches!(
            content.get(other, &digest).await,
            Err(Error::NoSuchBlob(_))
        ));
        assert!(matches!(
            content.mount(other, server.repository, &digest).await,
            Err(Error::NoSuchBlob(_))
        ));
        assert_eq!(
            content
                .mount(server.repository, other, &digest)
                .await
                .expect("mounted"),
            blob
        );
        content
            .unlink(server.repository, &digest)
            .await
            .expect("unlinked");
        assert!(matches!(
            content.unlink(server.repository, &digest).await,
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
    for server in servers().await {
        let digest = Digest::of(Algorithm::Sha256, b"the same");
        let pushes = (0..16).map(|_| {
            server
                .registry
                .uploads
                .monolithic(server.repository, &digest, part(None, b"the same"))
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
        assert!(server.registry.content.open(&blobs[0], None).await.is_ok());
    }
}

#[tokio::test]
async fn an_upload_whose_bytes_could_not_be_made_durable_is_not_tried_again() {
    let server = TestServer::new(true, Config::default()).await;
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let id = server.start().await;
    let appended = server.append(id, None, b"content").await;
    assert_eq!(appended.expect("appended").size, 7);
    // No file can be renamed over a directory.
    let hex = digest.hex();
    let target = server
        .folder
        .path()
        .join("blobs/sha256")
        .join(&hex[..2])
        .join(&hex);
    std::fs::create_dir_all(&target).expect("created");
    let finish = async || {
        let uploads = &server.registry.uploads;
        uploads
            .finish(server.repository, id, &digest, part(None, b""))
            .await
    };
    let failed = finish().await;
    assert!(matches!(failed, Err(Error::Blobs(_))), "{failed:?}");
    std::fs::remove_dir(&target).expect("removed");
    let status = server.registry.uploads.status(server.repository, id).await;
    assert!(matches!(status, Err(Error::NoSuchUpload)), "{status:?}");
    let again = finish().await;
    assert!(matches!(again, Err(Error::NoSuchUpload)), "{again:?}");
}

#[tokio::test]
async fn sweeps_go_on_until_every_idle_session_has_ended() {
    const SESSIONS: usize = 450;
    for server in servers().await {
        for _ in 0..SESSIONS {
            server.start().await;
        }
        server.clock.advance(Config::default().upload_expiry * 2);
        let mut ended = 0;
        loop {
            let swept = server.registry.uploads.sweep().await.expect("swept");
            ended += swept.ended;
            if !swept.more {
                break;
            }
        }
        assert_eq!(ended, SESSIONS);
    }
}

#[tokio::test]
async fn open_sessions_are_limited_in_all_and_for_each_caller() {
    let config = Config {
        max_open_uploads: 5,
        max_open_uploads_per_caller: 3,
        ..Config::default()
    };
    let server = TestServer::new(true, config).await;
    let start = async |owner| {
        let uploads = &server.registry.uploads;
        uploads
            .start(server.repository, Algorithm::Sha256, owner)
            .await
    };
    let mut first = Vec::new();
    for _ in 0..3 {
        first.push(start("a").await.expect("below the limit").id);
    }
    let refused = start("a").await;
    assert!(matches!(refused, Err(Error::TooManyUploads { limit: 3 })));
    for _ in 0..2 {
        start("b").await.expect("another caller");
    }
    let refused = start("c").await;
    assert!(matches!(refused, Err(Error::TooManyUploads { limit: 5 })));
    let uploads = &server.registry.uploads;
    let cancelled = uploads.cancel(server.repository, first[0]).await;
    cancelled.expect("its own");
    start("a").await.expect("one has ended");
}

#[tokio::test]
async fn a_publication_that_takes_long_holds_up_no_other_content() {
    for server in servers().await {
        let uploads = &server.registry.uploads;
        let _slow = uploads
            .publishing
            .hold(Digest::of(Algorithm::Sha256, b"slow"))
            .await;
        let push = async |digest: Digest| {
            let pushed = uploads.monolithic(server.repository, &digest, part(None, b"content"));
            tokio::time::timeout(Duration::from_secs(20), pushed)
                .await
                .expect("not held up")
        };
        let wrong = push(Digest::of(Algorithm::Sha256, b"other")).await;
        assert!(matches!(wrong, Err(Error::DigestMismatch(_))), "{wrong:?}");
        let good = push(Digest::of(Algorithm::Sha256, b"content")).await;
        good.expect("pushed");
    }
}
