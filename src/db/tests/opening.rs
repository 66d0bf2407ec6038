//! Opening an index: migrations, readiness and the locks of servers.

use super::*;

#[tokio::test]
async fn an_index_is_opened_again_and_one_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("index.sqlite3");
    for config in [Some(DatabaseConfig::sqlite(&path)), postgres_config()]
        .into_iter()
        .flatten()
    {
        let db = Db::open(&config, &[], Upgrade::Apply).expect("opens");
        with_table(&db).await;
        drop(db);
        let db = Db::open(&config, &[], Upgrade::Apply).expect("opens again");
        fill(&db, 0..2).await;
        let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
                     SELECT 9999, 'from_the_future', applied_on, checksum FROM \
                     refinery_schema_history WHERE version = 1";
        assert_eq!(
            db.write(move |tx| tx.execute(newer, params![])).await,
            Ok::<_, Error>(1)
        );
        drop(db);
        let before = std::fs::read(&path).expect("reads");
        let refused = Db::open(&config, &[], Upgrade::Apply).expect_err("refuses");
        assert!(
            matches!(
                &refused,
                OpenError::NewerVersion { version: 9999, name, .. } if name == "from_the_future"
            ),
            "{refused}"
        );
        assert!(refused.to_string().contains("newer version"));
        assert_eq!(std::fs::read(&path).expect("reads"), before);
    }
}

#[tokio::test]
async fn a_command_does_not_migrate_an_index_of_an_older_version() {
    const LATER: &[Migration] = &[Migration {
        name: "V9000__later",
        sql: "CREATE TABLE later (id BIGINT NOT NULL PRIMARY KEY)",
    }];
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = DatabaseConfig::sqlite(folder.path().join("index.sqlite3"));
    for config in [Some(sqlite), postgres_config()].into_iter().flatten() {
        // A new index may be made by a command.
        let running = Db::open(&config, &[], Upgrade::Refuse).expect("a new index");
        let refused = Db::open(&config, LATER, Upgrade::Refuse).expect_err("refuses");
        assert!(matches!(refused, OpenError::OlderVersion), "{refused}");
        with_table(&running).await;
        Db::open(&config, LATER, Upgrade::Apply).expect("migrates");
        Db::open(&config, LATER, Upgrade::Refuse).expect("is up to date");
    }
}

#[tokio::test]
async fn readiness_is_a_write() {
    for db in every_engine(&[]) {
        assert_eq!(db.check_ready().await, Ok(()));
        let read = db.read(|tx| {
            let sql = "SELECT checked_at FROM readiness WHERE id = 1";
            tx.query_optional(sql, params![], |row| Ok(row.integer(0)))
        });
        assert_eq!(read.await, Ok::<_, Error>(Some(1)));
    }
    let db = Db::memory(&[]).expect("opens");
    let stop = db.write(|tx| tx.query("PRAGMA query_only = ON", params![], |_| Ok(())));
    stop.await.expect("sets");
    assert!(db.check_ready().await.is_err());
}

#[tokio::test]
async fn two_processes_may_open_and_migrate_the_same_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = DatabaseConfig::sqlite(folder.path().join("index.sqlite3"));
    let openers: Vec<_> = (0..4)
        .map(|_| config.clone())
        .map(|config| std::thread::spawn(move || Db::open(&config, &[], Upgrade::Apply)))
        .collect();
    let opened: Vec<Db> = openers
        .into_iter()
        .map(|opener| opener.join().expect("runs").expect("opens"))
        .collect();
    with_table(&opened[0]).await;
    for (number, db) in (0..).zip(opened.iter().cycle().take(40)) {
        fill(db, number..number + 1).await;
    }
    assert_eq!(count(&opened[3]).await, 40);
}

#[test]
fn one_server_holds_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = DatabaseConfig::sqlite(folder.path().join("index.sqlite3"));
    let held = ServingLock::acquire(folder.path(), &config, Serving::Beside).expect("free");
    let second = ServingLock::acquire(folder.path(), &config, Serving::Beside);
    assert!(matches!(second, Err(ServingError::Folder(path)) if path == folder.path()));
    drop(held);
    ServingLock::acquire(folder.path(), &config, Serving::Beside).expect("free again");
    assert!(matches!(
        ServingLock::acquire(&folder.path().join("none"), &config, Serving::Beside),
        Err(ServingError::File { .. })
    ));
}

#[test]
fn one_server_holds_an_index_whatever_its_data_folder() {
    let shared = tempfile::tempdir().expect("a folder");
    let other = tempfile::tempdir().expect("a folder");
    let index = shared.path().join("index.sqlite3");
    let held = ServingLock::acquire(
        shared.path(),
        &DatabaseConfig::sqlite(&index),
        Serving::Beside,
    )
    .expect("free");
    let refused = |path: &std::path::Path| {
        let second =
            ServingLock::acquire(other.path(), &DatabaseConfig::sqlite(path), Serving::Beside);
        matches!(second, Err(ServingError::Index(_)))
    };
    assert!(refused(&index), "before the index is made");
    std::fs::write(&index, "").expect("writes");
    let link = other.path().join("link.sqlite3");
    std::os::unix::fs::symlink(&index, &link).expect("links");
    assert!(refused(&index) && refused(&link));
    drop(held);
    ServingLock::acquire(
        other.path(),
        &DatabaseConfig::sqlite(&link),
        Serving::Beside,
    )
    .expect("free");
}

/// The last connection that is closed copies the write-ahead log back and removes it. Two that are
/// closed at one time would leave it, and a copy of the index file alone would lack its end.
#[tokio::test]
async fn a_closed_index_is_one_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("index.sqlite3");
    let config = DatabaseConfig::sqlite(&path);
    for round in 0..40 {
        let db = Db::open(&config, &[], Upgrade::Apply).expect("opens");
        if round == 0 {
            with_table(&db).await;
        }
        fill(&db, round * 2..round * 2 + 2).await;
        let found = db.get(|tx| amount(tx, "thing-000")).await;
        assert_eq!(found, Ok(Some(0)));
        drop(db);
        assert!(!folder.path().join("index.sqlite3-wal").exists(), "{round}");
    }
}

#[tokio::test]
async fn a_command_has_an_index_alone_or_not_at_all() {
    let Some(config) = postgres_config() else {
        return;
    };
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let take = |n: usize, serving| ServingLock::acquire(folders[n].path(), &config, serving);
    let first = take(0, Serving::Beside).expect("free");
    let second = take(1, Serving::Beside).expect("several servers");
    drop(first);
    let refused = take(2, Serving::Alone);
    assert!(
        matches!(refused, Err(ServingError::Database)),
        "{refused:?}"
    );
    drop(second);
    let alone = take(2, Serving::Alone).expect("free");
    let refused = take(0, Serving::Beside);
    assert!(matches!(refused, Err(ServingError::Alone)), "{refused:?}");
    let refused = take(1, Serving::Alone);
    assert!(
        matches!(refused, Err(ServingError::Database)),
        "{refused:?}"
    );

    // What a process that was killed has held is released moments later.
    let released = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(500));
        drop(alone);
    });
    let alone = take(1, Serving::Alone).expect("released meanwhile");
    released.join().expect("dropped");

    // The command notices that its connection has gone, before a server may come.
    let db = Db::open(&config, &[], Upgrade::Apply).expect("opens");
    let ended = db.read(|tx| {
        tx.query(
            "SELECT CAST(COUNT(pg_terminate_backend(pid)) AS BIGINT) FROM pg_locks
             WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND pid <> pg_backend_pid()
             AND objid = CAST(hashtext(current_schema()) AS oid)",
            &[],
            |row| Ok(row.integer(0)),
        )
    });
    assert_eq!(ended.await, Ok::<_, Error>(vec![1]));
    let lost = tokio::time::timeout(std::time::Duration::from_secs(20), alone.lost());
    lost.await.expect("noticed");
}
