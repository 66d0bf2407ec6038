//! Backups of an index with blobs: complete, shared, checked, pruned, and restored step by step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use wharfinger_base::{Durability, Ids};
use wharfinger_blobs::{BlobKey, BlobStore, BlobsConfig};
use wharfinger_db::{CopyError, DatabaseConfig, Db, Migration, Upgrade, params};
use wharfinger_oci::{Algorithm, Digest};

use crate::backup_store::{BACKUPS, BackupStoreLock, part_name, record_name};
use crate::{
    ArchivedBytes, BackupError, BackupId, BackupManifest, BackupStore, Create, CreateProgress,
    OpenArchived, Prune, Restore, RestoreProgress, RestoredDatabase, Verify, VerifyProgress,
};

const MIGRATIONS: &[Migration] = &[Migration {
    name: "V0035__things",
    sql: "CREATE TABLE blobs (digest BYTEA NOT NULL PRIMARY KEY, size BIGINT NOT NULL,
              location TEXT NOT NULL, lease_until BIGINT NOT NULL DEFAULT 1,
              created_at BIGINT NOT NULL DEFAULT 1, archive_at BIGINT);
          CREATE TABLE archived_blobs (digest BYTEA NOT NULL PRIMARY KEY, size BIGINT NOT NULL,
              location TEXT NOT NULL, encoding TEXT NOT NULL, stored_size BIGINT NOT NULL,
              archived_at BIGINT NOT NULL);
          CREATE TABLE work_leases (name TEXT NOT NULL PRIMARY KEY);
          CREATE TABLE names (id {identity}, name TEXT NOT NULL);",
}];
const LOGS: &[Migration] = &[Migration {
    name: "V0019__logs",
    sql: "CREATE TABLE log_lines (line TEXT NOT NULL);",
}];

/// A server's data, and a store of backups.
struct World {
    folder: tempfile::TempDir,
    index: Db,
    logs: Db,
    blobs: BlobStore,
    /// What the archive has, by location: each byte less by one.
    archive: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    target: BackupStore,
}

async fn memory() -> BlobStore {
    let opened = BlobStore::open(&BlobsConfig::Memory, Durability::Full, Ids::default());
    opened.await.expect("a store")
}

async fn disk(folder: &tempfile::TempDir, name: &str) -> BlobStore {
    let root = folder.path().join(name);
    let config = BlobsConfig::Disk { root };
    let opened = BlobStore::open(&config, Durability::Relaxed, Ids::default());
    opened.await.expect("a store")
}

impl World {
    /// With everything in folders, or with objects.
    async fn new(objects: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |name: &str, migrations| {
            let config = DatabaseConfig::sqlite(folder.path().join(name));
            Db::open(&config, migrations, Upgrade::Apply).expect("an index")
        };
        let (index, logs) = (open("index", MIGRATIONS), open("logs", LOGS));
        let (blobs, target) = if objects {
            (memory().await, memory().await)
        } else {
            (disk(&folder, "blobs").await, disk(&folder, "target").await)
        };
        Self {
            index,
            logs,
            blobs,
            archive: Arc::default(),
            target: BackupStore::new(target),
            folder,
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Stores a blob and a row for it.
    async fn push(&self, content: &[u8]) -> Digest {
        let (digest, other) = (Digest::of(Algorithm::Sha256, content), memory().await);
        let key = BlobKey::of_blob(&digest);
        let limits = wharfinger_blobs::AppendLimits {
            max_bytes: 1 << 30,
            idle_timeout: std::time::Duration::from_secs(9),
            expected: None,
            last: true,
        };
        let mut staged = other.begin(Ids::default().uuid(), Algorithm::Sha256);
        let pieces: Vec<_> = content.chunks(50_000).map(Bytes::copy_from_slice).collect();
        let body = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
        other
            .append(&mut staged, body, limits)
            .await
            .expect("appended");
        let stored = other.finish(staged, &digest, false).await.expect("stored");
        let reader = other
            .open_blob(&stored.key, stored.size, None)
            .await
            .expect("opened");
        let copied = self.blobs.copy_blob(reader, &digest, Ids::default().uuid());
        copied.await.expect("copied");
        let size = i64::try_from(content.len()).expect("small");
        let inserted = self.index.write(move |tx| {
            tx.execute(
                "INSERT INTO blobs (digest, size, location) VALUES (?1, ?2, ?3)",
                params![digest.to_stored(), size, key.as_str()],
            )?;
            tx.execute(
                "INSERT INTO names (name) VALUES (?1)",
                params![digest.to_string()],
            )
        });
        inserted.await.expect("inserted");
        digest
    }

    /// Puts a blob into the archive and a row for it.
    async fn archive(&self, content: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, content);
        let (key, size) = (format!("blobs/{}/x", digest.hex()), content.len());
        let encoded = content.iter().map(|byte| byte.wrapping_sub(1)).collect();
        let archive = &self.archive;
        archive
            .lock()
            .expect("not poisoned")
            .insert(key.clone(), encoded);
        let inserted = self.index.write(move |tx| {
            tx.execute(
                "INSERT INTO archived_blobs VALUES (?1, ?2, ?3, 'less', ?2, 5)",
                params![
                    digest.to_stored(),
                    i64::try_from(size).unwrap_or(0),
                    key.as_str()
                ],
            )
        });
        inserted.await.expect("inserted");
        digest
    }

    /// How a backup reads the archive.
    fn opener(&self) -> OpenArchived {
        let archive = Arc::clone(&self.archive);
        Box::new(move |bytes: ArchivedBytes| {
            assert_eq!(bytes.encoding, "less");
            let archive = archive.lock().expect("not poisoned");
            let found = archive.get(bytes.location.as_str()).cloned();
            let opened = found.ok_or(wharfinger_blobs::Error::NotFound).map(|found| {
                assert_eq!(found.len() as u64, bytes.stored_size);
                let decoded: Vec<u8> = found.iter().map(|byte| byte.wrapping_add(1)).collect();
                let pieces: Vec<_> = decoded.chunks(50_000).map(Bytes::copy_from_slice).collect();
                let pieces = pieces.into_iter().map(Ok);
                Box::pin(futures_util::stream::iter(pieces)) as wharfinger_blobs::BlobBytes
            });
            Box::pin(std::future::ready(opened))
        })
    }

    async fn forget(&self, digest: Digest) {
        let removed = self.index.write(move |tx| {
            for sql in [
                "DELETE FROM blobs WHERE digest = ?1",
                "DELETE FROM archived_blobs WHERE digest = ?1",
            ] {
                tx.execute(sql, params![digest.to_stored()])?;
            }
            Ok::<_, wharfinger_db::Error>(())
        });
        removed.await.expect("removed");
    }

    async fn backup(&self) -> Result<(BackupId, BackupManifest, u64), BackupError> {
        let lock = self.target.lock(&Ids::default()).await?;
        let made = self.backup_with(lock.clone()).await;
        lock.release().await.expect("released");
        made
    }

    async fn backup_with(
        &self,
        lock: BackupStoreLock,
    ) -> Result<(BackupId, BackupManifest, u64), BackupError> {
        let create = Create {
            target: self.target.clone(),
            lock,
            blobs: self.blobs.clone(),
            archive: self.opener(),
            databases: ["index", "logs"]
                .map(|name| DatabaseConfig::sqlite(self.path(name)))
                .into(),
            master_key: ("k1".to_owned(), Some(b"secret".to_vec())),
            program: "1".to_owned(),
            ids: Ids::default(),
        };
        let progress = CreateProgress::default();
        let (id, manifest) = create.run(&progress).await?;
        assert_eq!(progress.rows(), manifest.rows);
        assert_eq!(progress.blobs(), manifest.blobs);
        Ok((id, manifest, progress.copied()))
    }

    async fn faults(&self, id: &BackupId, manifest: &BackupManifest) -> Vec<String> {
        self.verify(id, manifest, false).await
    }

    async fn verify(&self, id: &BackupId, manifest: &BackupManifest, repair: bool) -> Vec<String> {
        let (lines, progress) = (Mutex::new(Vec::new()), VerifyProgress::default());
        let verify = Verify {
            target: self.target.clone(),
            repair,
        };
        let told = |line| lines.lock().expect("not poisoned").push(line);
        let run = verify.run(id, manifest, &progress, &told);
        run.await.expect("verified");
        let lines = lines.into_inner().expect("not poisoned");
        assert_eq!(progress.found(), lines.len() as u64);
        lines
    }

    async fn restore(&self, name: &str, blobs: &BlobStore) -> Restore {
        let destination = |name: String, migrations: &[Migration]| RestoredDatabase {
            database: DatabaseConfig::sqlite(self.path(&name)),
            migrations: migrations.to_vec(),
        };
        Restore {
            source: self.target.clone(),
            blobs: blobs.clone(),
            archive: memory().await,
            destinations: vec![
                destination(format!("{name}-index"), MIGRATIONS),
                destination(format!("{name}-logs"), LOGS),
            ],
            ids: Ids::default(),
        }
    }

    async fn empty_store(&self, name: &str) -> BlobStore {
        if self.blobs.has_keys_by_digest() {
            disk(&self.folder, name).await
        } else {
            memory().await
        }
    }
}

async fn count(db: &Db, sql: &'static str) -> i64 {
    let count = db.read(move |tx| tx.query_optional(sql, &[], |row| Ok(row.integer(0))));
    count.await.expect("read").expect("a row")
}

/// Content that is more than one part of the store in memory.
fn large() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_share_blobs_and_come_back_whole() {
    for objects in [false, true] {
        let world = World::new(objects).await;
        let (one, two) = (world.push(b"one").await, world.push(&large()).await);
        let line = "INSERT INTO log_lines (line) VALUES ('hello')";
        world
            .logs
            .write(move |tx| tx.execute(line, &[]))
            .await
            .expect("logged");
        let lease = "INSERT INTO work_leases (name) VALUES ('x')";
        world
            .index
            .write(move |tx| tx.execute(lease, &[]))
            .await
            .expect("leased");

        let (first, manifest, copied) = world.backup().await.expect("made");
        assert_eq!((copied, manifest.blobs), (2, 2));
        assert_eq!(manifest.blob_bytes, 3 + large().len() as u64);
        assert_eq!(world.faults(&first, &manifest).await, Vec::<String>::new());
        world.forget(one).await;
        let three = world.push(b"three").await;
        let (second, latest, copied) = world.backup().await.expect("made");
        assert_eq!((copied, latest.blobs), (1, 2), "only what is new");
        assert_eq!(
            world.target.backups().await.expect("listed"),
            [first.clone(), second.clone()]
        );
        assert_eq!(world.target.choose(None).await.expect("chosen"), second);
        assert_eq!(world.target.key(&second).await.expect("read"), b"secret");

        let store = world.empty_store("restored").await;
        let restore = world.restore("restored", &store).await;
        let progress = RestoreProgress::default();
        restore
            .run(&first, &manifest, &progress)
            .await
            .expect("restored");
        assert_eq!((progress.blobs(), progress.rows()), (2, manifest.rows));
        let open = |name: &str, migrations| {
            let config = DatabaseConfig::sqlite(world.path(name));
            Db::open(&config, migrations, Upgrade::Apply).expect("opened")
        };
        let index = open("restored-index", MIGRATIONS);
        assert_eq!(count(&index, "SELECT COUNT(*) FROM names").await, 2);
        assert_eq!(count(&index, "SELECT COUNT(*) FROM work_leases").await, 0);
        let logs = open("restored-logs", LOGS);
        assert_eq!(count(&logs, "SELECT COUNT(*) FROM log_lines").await, 1);
        for (digest, size) in [(one, 3), (two, large().len() as u64)] {
            let key = BlobKey::of_blob(&digest);
            assert!(store.has_content(&key, size, &digest).await.expect("read"));
        }
        let again = restore.run(&first, &manifest, &progress).await;
        assert!(
            matches!(again, Err(BackupError::StoreNotEmpty)),
            "{again:?}"
        );

        let prune = Prune {
            target: world.target.clone(),
            keep: 1,
        };
        let pruned = prune.run(|_| {}).await.expect("pruned");
        assert_eq!((pruned.backups, pruned.blobs, pruned.bytes), (1, 1, 3));
        assert_eq!(
            world.target.backups().await.expect("listed"),
            std::slice::from_ref(&second)
        );
        assert_eq!(world.faults(&second, &latest).await, Vec::<String>::new());
        let key = BlobKey::of_blob(&three);
        assert!(world.target.store.has(&key, 5).await.expect("looked"));
        let missing = world.target.manifest(&first).await;
        assert!(
            matches!(missing, Err(BackupError::NoSuchBackup(_))),
            "{missing:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_lock_was_taken_does_not_count() {
    let world = World::new(true).await;
    world.push(b"content").await;
    let lock = world.target.lock(&Ids::default()).await.expect("locked");
    lock.release().await.expect("released");
    let other = world.target.lock(&Ids::default()).await.expect("locked");
    let made = world.backup_with(lock).await;
    assert!(matches!(made, Err(BackupError::LockLost)), "{made:?}");
    other.release().await.expect("released");
    assert_eq!(world.target.backups().await.expect("listed"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_pruned_while_what_stays_is_damaged() {
    let world = World::new(false).await;
    world.push(b"content").await;
    let (first, manifest, _) = world.backup().await.expect("made");
    let (second, latest, _) = world.backup().await.expect("made");
    let both = [first.clone(), second.clone()];
    let prune = Prune {
        target: world.target.clone(),
        keep: 1,
    };
    let names = [
        record_name(BACKUPS, second.as_str()).expect("a name"),
        part_name(&second, latest.parts.len() as u64).expect("a name"),
    ];
    for name in names {
        let store = &world.target.store;
        let whole = store.record(&name, 1 << 20).await.expect("read");
        let cut = whole.slice(..whole.len() / 2);
        store.put_record(&name, cut).await.expect("damaged");
        let refused = prune.run(|_| {}).await;
        assert!(refused.is_err(), "{name}: {refused:?}");
        assert_eq!(world.target.backups().await.expect("listed"), both);
        assert_eq!(world.faults(&first, &manifest).await, Vec::<String>::new());
        store.put_record(&name, whole).await.expect("mended");
    }
    prune.run(|_| {}).await.expect("pruned");
    assert_eq!(world.target.backups().await.expect("listed"), [second]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_backup_was_copying_is_removed() {
    let world = World::new(false).await;
    world.push(b"content").await;
    let staged = world.path("target/uploads/6f2c1c9e-2f0b-4a52-9a8e-0d7a1b2c3d4e");
    std::fs::write(&staged, b"half").expect("written");
    world.backup().await.expect("made");
    assert!(!staged.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_put_aside_and_copied_anew() {
    let world = World::new(false).await;
    let digest = world.push(b"content").await;
    let (first, manifest, _) = world.backup().await.expect("made");
    let key = BlobKey::of_blob(&digest);
    let blob = world.path("target").join(key.as_str());
    std::fs::write(&blob, b"CONTENT").expect("damaged");
    let (_, _, copied) = world.backup().await.expect("made");
    assert_eq!(copied, 0, "its size is right, and more is not read");
    assert_eq!(world.verify(&first, &manifest, true).await.len(), 1);
    assert!(!blob.exists());
    let (_, _, copied) = world.backup().await.expect("made");
    assert_eq!(copied, 1);
    assert_eq!(world.faults(&first, &manifest).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_and_never_restored() {
    let world = World::new(false).await;
    let digest = world.push(b"content").await;
    let (id, manifest, _) = world.backup().await.expect("made");
    let blob = world
        .path("target")
        .join(BlobKey::of_blob(&digest).as_str());
    std::fs::write(&blob, b"CONTENT").expect("damaged");
    let faults = world.faults(&id, &manifest).await;
    assert_eq!(faults, [format!("blob {digest}: missing or damaged")]);
    let store = world.empty_store("restored").await;
    let restore = world.restore("restored", &store).await;
    let refused = restore
        .run(&id, &manifest, &RestoreProgress::default())
        .await;
    assert!(
        matches!(&refused, Err(BackupError::Blob { digest: named, .. }) if *named == digest),
        "{refused:?}"
    );
    // Half a restore is not served.
    let index = DatabaseConfig::sqlite(world.path("restored-index"));
    assert!(Db::open(&index, MIGRATIONS, Upgrade::Apply).is_err());

    std::fs::write(&blob, b"content").expect("mended");
    let part = manifest
        .parts
        .iter()
        .position(|part| part.table == "names")
        .expect("a part");
    let name = part_name(&id, part as u64 + 1).expect("a name");
    let whole = world
        .target
        .store
        .record(&name, 1 << 20)
        .await
        .expect("read");
    let cut = whole.slice(..whole.len() - 1);
    world
        .target
        .store
        .put_record(&name, cut)
        .await
        .expect("cut");
    let faults = world.faults(&id, &manifest).await;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].contains("its checksum is another one"),
        "{faults:?}"
    );
    let refused = restore
        .run(&id, &manifest, &RestoreProgress::default())
        .await;
    assert!(
        matches!(refused, Err(BackupError::Part { .. })),
        "{refused:?}"
    );

    // What was interrupted goes on once the backup is whole.
    world
        .target
        .store
        .put_record(&name, whole)
        .await
        .expect("mended");
    restore
        .run(&id, &manifest, &RestoreProgress::default())
        .await
        .expect("restored");
    let restored = Db::open(&index, MIGRATIONS, Upgrade::Apply).expect("opened");
    assert_eq!(count(&restored, "SELECT COUNT(*) FROM names").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_refuses_what_is_in_use_and_what_is_newer() {
    let world = World::new(false).await;
    world.push(b"content").await;
    let (id, manifest, _) = world.backup().await.expect("made");
    let newer = BackupManifest {
        migration: 36,
        ..manifest.clone()
    };
    let (empty, progress) = (world.empty_store("empty").await, RestoreProgress::default());
    let refused = world
        .restore("newer", &empty)
        .await
        .run(&id, &newer, &progress)
        .await;
    assert!(
        matches!(refused, Err(BackupError::Newer { known: 35, .. })),
        "{refused:?}"
    );
    assert!(!world.path("newer-index").exists());
    let refused = world
        .restore("used", &world.blobs)
        .await
        .run(&id, &manifest, &progress)
        .await;
    assert!(
        matches!(refused, Err(BackupError::StoreNotEmpty)),
        "{refused:?}"
    );
    let mut into_used = world.restore("used", &empty).await;
    into_used.destinations[0].database = DatabaseConfig::sqlite(world.path("index"));
    let refused = into_used.run(&id, &manifest, &progress).await;
    assert!(
        matches!(&refused, Err(BackupError::Rows(CopyError::NotEmpty { .. }))),
        "{refused:?}"
    );
    assert_eq!(count(&world.index, "SELECT COUNT(*) FROM names").await, 1);

    // Another server's logs are not those of the backup, however often it is tried.
    let line = "INSERT INTO log_lines (line) VALUES ('of another server')";
    let logged = world.logs.write(move |tx| tx.execute(line, &[]));
    logged.await.expect("logged");
    let mut beside_used = world.restore("beside", &empty).await;
    beside_used.destinations[1].database = DatabaseConfig::sqlite(world.path("logs"));
    for attempt in 1..=2 {
        let refused = beside_used.run(&id, &manifest, &progress).await;
        assert!(
            matches!(&refused, Err(BackupError::Rows(CopyError::NotEmpty { .. }))),
            "attempt {attempt}: {refused:?}"
        );
        assert!(!world.path("beside-index").exists(), "nothing is changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_backup_does_not_count_and_goes() {
    let world = World::new(false).await;
    let digest = world.push(b"content").await;
    let (id, ..) = world.backup().await.expect("made");
    // As after a crash before the manifest was written.
    let target = &world.target;
    target.put_mark("started", &id).await.expect("marked");
    let manifest = record_name(BACKUPS, id.as_str()).expect("a name");
    target
        .store
        .delete_record(&manifest)
        .await
        .expect("removed");
    let none = target.choose(None).await;
    assert!(matches!(none, Err(BackupError::NoBackup)), "{none:?}");
    let (second, _, copied) = world.backup().await.expect("made");
    assert_eq!(copied, 0, "its blobs are used");
    assert_eq!(target.backups().await.expect("listed"), [second]);
    let first_part = part_name(&id, 1).expect("a name");
    assert!(
        target.store.record(&first_part, 1 << 20).await.is_err(),
        "its rows are gone"
    );

    // A blob that the server has lost.
    world
        .blobs
        .delete(&BlobKey::of_blob(&digest))
        .await
        .expect("removed");
    target
        .store
        .delete(&BlobKey::of_blob(&digest))
        .await
        .expect("removed");
    let failed = world.backup().await;
    assert!(
        matches!(&failed, Err(BackupError::MissingBlob { digest: named }) if *named == digest),
        "{failed:?}"
    );
    let elsewhere = BackupStore::new(world.blobs.clone());
    world
        .blobs
        .set_identity(Ids::default().uuid())
        .await
        .expect("set");
    let refused = elsewhere.mark().await;
    assert!(
        matches!(refused, Err(BackupError::NotABackupStore)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_bucket_is_written_by_one_command_at_a_time() {
    let target = BackupStore::new(memory().await);
    let first = target.lock(&Ids::default()).await.expect("locked");
    let ids = Ids::default();
    let second = tokio::select! {
        second = target.lock(&ids) => second,
        () = async {
            loop {
                first.renew().await.expect("renewed");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        } => panic!("it goes on"),
    };
    assert!(matches!(second, Err(BackupError::Locked(_))), "{second:?}");
    first.release().await.expect("released");
    let second = target.lock(&Ids::default()).await.expect("free again");
    let lost = first.renew().await;
    assert!(matches!(lost, Err(BackupError::LockLost)), "{lost:?}");
    first.release().await.expect("not its own");
    second.renew().await.expect("still held");
}

const LATER: Migration = Migration {
    name: "V0036__colours",
    sql: "ALTER TABLE blobs ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';",
};

#[tokio::test(flavor = "multi_thread")]
async fn archived_blobs_come_back_among_the_others() {
    for objects in [false, true] {
        let world = World::new(objects).await;
        let plain = world.push(b"plain").await;
        let (gone, kept) = (world.archive(b"gone").await, world.archive(&large()).await);
        let (_, manifest, copied) = world.backup().await.expect("made");
        assert_eq!((copied, manifest.blobs), (3, 3));
        assert_eq!(manifest.blob_bytes, 9 + large().len() as u64);

        world.forget(gone).await;
        let (id, manifest, copied) = world.backup().await.expect("made");
        assert_eq!((copied, manifest.blobs), (0, 2));
        assert_eq!(world.faults(&id, &manifest).await, Vec::<String>::new());
        let target = world.target.clone();
        let pruned = Prune { target, keep: 1 }.run(|_| {}).await.expect("pruned");
        assert_eq!((pruned.backups, pruned.blobs, pruned.bytes), (1, 1, 4));
        assert_eq!(world.faults(&id, &manifest).await, Vec::<String>::new());

        let store = world.empty_store("restored").await;
        let mut restore = world.restore("restored", &store).await;
        // A newer program.
        let migrations = [MIGRATIONS, &[LATER]].concat();
        restore.destinations[0].migrations.clone_from(&migrations);
        let progress = RestoreProgress::default();
        let run = restore.run(&id, &manifest, &progress);
        run.await.expect("restored");
        assert_eq!((progress.blobs(), progress.rows()), (2, manifest.rows));
        for (digest, size) in [(plain, 5), (kept, large().len() as u64)] {
            let key = BlobKey::of_blob(&digest);
            assert!(store.has_content(&key, size, &digest).await.expect("read"));
        }
        let config = DatabaseConfig::sqlite(world.path("restored-index"));
        let index = Db::open(&config, &migrations, Upgrade::Apply).expect("opened");
        for (sql, expected) in [
            ("SELECT COUNT(*) FROM archived_blobs", 0),
            ("SELECT COUNT(*) FROM blobs WHERE colour = 'red'", 2),
            ("SELECT COUNT(*) FROM blobs WHERE archive_at IS NULL", 1),
            ("SELECT size FROM blobs WHERE archive_at = 0", 800_000),
            ("SELECT lease_until FROM blobs WHERE archive_at = 0", 0),
        ] {
            assert_eq!(count(&index, sql).await, expected, "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_and_a_used_one_are_refused() {
    let world = World::new(false).await;
    let digest = world.archive(b"content").await;
    let (id, manifest, _) = world.backup().await.expect("made");
    let (empty, progress) = (world.empty_store("empty").await, RestoreProgress::default());
    let mut restore = world.restore("new", &empty).await;
    let identity = Ids::default().uuid();
    restore.archive.set_identity(identity).await.expect("set");
    let refused = restore.run(&id, &manifest, &progress).await;
    assert!(
        matches!(refused, Err(BackupError::ArchiveNotEmpty)),
        "{refused:?}"
    );
    assert!(!world.path("new-index").exists());
    restore.archive = memory().await;
    let done = restore.run(&id, &manifest, &progress).await;
    done.expect("restored");

    let key = BlobKey::of_blob(&digest);
    let delete = async || world.target.store.delete(&key).await.expect("removed");
    delete().await;
    for bytes in world.archive.lock().expect("not poisoned").values_mut() {
        bytes[0] = 0;
    }
    let failed = world.backup().await;
    assert!(
        matches!(&failed, Err(BackupError::Blob { digest: named, .. }) if *named == digest),
        "{failed:?}"
    );
    world.archive.lock().expect("not poisoned").clear();
    let failed = world.backup().await;
    assert!(
        matches!(&failed, Err(BackupError::MissingBlob { digest: named }) if *named == digest),
        "{failed:?}"
    );
}
