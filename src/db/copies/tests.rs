//! Rows come back from a copy on every engine, and half an import is not opened.

use super::*;
use crate::error::OpenError;
use crate::value::Value;
use crate::{Db, Upgrade, testing};

const MIGRATIONS: &[Migration] = &[Migration {
    name: "V0002__things",
    sql: "CREATE TABLE things (id {identity}, name TEXT NOT NULL, bytes BYTEA, count BIGINT);
          CREATE TABLE left_out (id BIGINT NOT NULL PRIMARY KEY);
          CREATE TABLE settings (name TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL);
          INSERT INTO settings (name, value) VALUES ('a', 1), ('b', 2);",
}];

const SELECTION: Selection<'static> = Selection {
    left_out: &["left_out", "readiness"],
    sorted: &[("things", "name")],
    batch_bytes: 100,
};

const VERSION: i64 = 34;

/// An empty file, and an empty schema where there is a server.
fn databases(folder: &tempfile::TempDir, name: &str) -> Vec<DatabaseConfig> {
    let file = DatabaseConfig::sqlite(folder.path().join(name));
    std::iter::once(file)
        .chain(testing::postgres_config())
        .collect()
}

async fn fill(db: &Db) {
    let filled = db.write(|tx| {
        for n in 0..20_i64 {
            let bytes = (n % 3 > 0).then(|| vec![u8::try_from(n).unwrap_or(0); 7]);
            tx.execute(
                "INSERT INTO things (name, bytes, count) VALUES (?1, ?2, ?3)",
                crate::params![format!("ü{:02}", 99 - n), bytes, n - 5],
            )?;
        }
        tx.execute("DELETE FROM things WHERE id = 20", &[])?;
        tx.execute("INSERT INTO left_out (id) VALUES (1)", &[])?;
        tx.execute("UPDATE settings SET value = 9 WHERE name = 'a'", &[])?;
        tx.execute("DELETE FROM settings WHERE name = 'b'", &[])
    });
    filled.await.expect("filled");
}

fn exported(database: &DatabaseConfig) -> (Vec<RowBatch>, Exported) {
    let database = database.clone();
    // The blocking client must not run on a runtime's thread.
    let export = std::thread::spawn(move || {
        let mut batches = Vec::new();
        let done = export_rows(&database, SELECTION, &mut |batch| {
            batches.push(batch);
            true
        });
        (batches, done.expect("exported"))
    });
    export.join().expect("exported")
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().expect("no panic"))
}

async fn names(db: &Db) -> Vec<(i64, String)> {
    let read = db.read(|tx| {
        tx.query("SELECT id, name FROM things ORDER BY id", &[], |row| {
            Ok((row.integer(0), row.text(1).to_owned()))
        })
    });
    read.await.expect("read")
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_back_on_either_engine() {
    let folder = tempfile::tempdir().expect("a folder");
    for (n, source) in databases(&folder, "source").into_iter().enumerate() {
        let db = Db::open(&source, MIGRATIONS, Upgrade::Apply).expect("opened");
        fill(&db).await;
        let (batches, found) = exported(&source);
        assert_eq!(found.version, VERSION);
        assert_eq!(found.counters.get("things"), Some(&20));
        let tables: Vec<&str> = batches.iter().map(|batch| batch.table.as_str()).collect();
        assert!(
            tables.len() > 3,
            "things are more than one batch: {tables:?}"
        );
        assert!(!tables.contains(&"left_out"));
        let sorted: Vec<_> = batches
            .iter()
            .filter(|batch| batch.table == "things")
            .flat_map(|batch| batch.rows.iter().map(|row| row[1].clone()))
            .collect();
        assert_eq!(sorted.len(), 19);
        assert_eq!(sorted[0], Value::from("ü81"), "in the order of names");

        for target in databases(&folder, &format!("target-{n}")) {
            let begin = || RowImport::begin(&target, MIGRATIONS, VERSION, "b1");
            // Each batch by an import of its own, as after interruptions.
            for upto in 1..=batches.len() {
                on_a_thread(|| {
                    let mut import = begin().expect("begun");
                    assert_eq!(import.part(), upto as u64 - 1);
                    import_all(&mut import, &batches[..upto]);
                });
                let refused = Db::open(&target, MIGRATIONS, Upgrade::Apply);
                assert!(
                    matches!(refused, Err(OpenError::Restoring(_))),
                    "{refused:?}"
                );
            }
            let other = on_a_thread(|| {
                RowImport::begin(&target, MIGRATIONS, VERSION, "b2")
                    .err()
                    .expect("refused")
            });
            assert!(matches!(other, CopyError::Other { .. }), "{other}");
            on_a_thread(|| begin().expect("begun").finish(&found.counters)).expect("finished");

            let copy = Db::open(&target, MIGRATIONS, Upgrade::Apply).expect("opened");
            assert_eq!(names(&copy).await, names(&db).await);
            let (again, counters) = exported(&target);
            assert_eq!((again, counters), (batches.clone(), found.clone()));
            let insert = "INSERT INTO things (name) VALUES ('new')";
            let inserted = copy.write(move |tx| tx.execute(insert, &[]));
            inserted.await.expect("inserted");
            let last = names(&copy).await.pop().expect("rows");
            assert_eq!(last, (21, "new".to_owned()), "no number is given twice");
            let refused = on_a_thread(|| begin().err().expect("not empty"));
            assert!(matches!(refused, CopyError::NotEmpty { .. }), "{refused}");
        }
    }
}

/// Imports the batches, numbered from 1.
fn import_all(import: &mut RowImport, batches: &[RowBatch]) {
    let mut last = String::new();
    for (part, batch) in (1..).zip(batches) {
        let first = batch.table != last;
        last.clone_from(&batch.table);
        assert!(import.has_table(&batch.table));
        import.import(part, batch, first).expect("imported");
    }
    assert_eq!(import.part(), batches.len() as u64);
}

#[test]
fn an_export_stops_with_its_receiver() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = DatabaseConfig::sqlite(folder.path().join("index"));
    drop(Db::open(&database, MIGRATIONS, Upgrade::Apply).expect("opened"));
    let stopped = export_rows(&database, SELECTION, &mut |_| false);
    assert!(matches!(stopped, Err(CopyError::Stopped)), "{stopped:?}");
}

#[test]
fn the_newest_migration_may_be_one_of_the_engine() {
    assert!(newest_migration(&[]).expect("known") >= VERSION);
    let later = Migration {
        name: "V2000__later",
        sql: "CREATE TABLE later (id BIGINT NOT NULL PRIMARY KEY)",
    };
    assert_eq!(newest_migration(&[later]).expect("known"), 2_000);
}
