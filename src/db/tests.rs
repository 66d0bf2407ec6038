//! The same tests for both engines.

mod opening;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use wharfinger_base::Timestamp;

use super::*;
use crate::testing::{every_engine, postgres_config};

async fn with_table(db: &Db) {
    let create =
        "CREATE TABLE things (name TEXT NOT NULL PRIMARY KEY, amount BIGINT, content BYTEA)";
    db.write(move |tx| tx.execute(create, params![]))
        .await
        .expect("a table is made");
}

fn insert(tx: &mut Tx<'_>, name: &str, amount: i64) -> Result<u64> {
    tx.execute(
        "INSERT INTO things (name, amount) VALUES (?1, ?2)",
        params![name, amount],
    )
}

fn amount(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>> {
    tx.query_optional(
        "SELECT amount FROM things WHERE name = ?1",
        params![name],
        |row| Ok(row.integer(0)),
    )
}

async fn count(db: &Db) -> i64 {
    let counted = db
        .read(|tx| {
            tx.query_optional("SELECT COUNT(*) FROM things", params![], |row| {
                Ok(row.integer(0))
            })
        })
        .await;
    counted.expect("counts").expect("one row")
}

async fn fill(db: &Db, numbers: Range<i64>) {
    let write = db.write(move |tx| {
        numbers.clone().try_for_each(|number| {
            insert(tx, &format!("thing-{number:03}"), number % 5).map(|_| ())
        })
    });
    write.await.expect("fills");
}

#[tokio::test]
async fn a_write_is_seen_by_the_next_get_and_read() {
    for db in every_engine(&[]) {
        with_table(&db).await;
        for number in 0..50 {
            let name = format!("thing-{number}");
            let (inserted, got, read) = (name.clone(), name.clone(), name);
            assert_eq!(
                db.write(move |tx| insert(tx, &inserted, number)).await,
                Ok(1)
            );
            assert_eq!(db.get(move |tx| amount(tx, &got)).await, Ok(Some(number)));
            assert_eq!(db.read(move |tx| amount(tx, &read)).await, Ok(Some(number)));
        }
    }
}

#[tokio::test]
async fn nulls_blobs_and_text_come_back_as_they_went_in() {
    for db in every_engine(&[]) {
        with_table(&db).await;
        let bytes: Vec<u8> = (0..=255).collect();
        let stored = bytes.clone();
        let insert = "INSERT INTO things (name, amount, content) VALUES (?1, ?2, ?3)";
        let write = db.write(move |tx| {
            tx.execute(insert, params!["päth/ünïcode ?1", None::<i64>, &stored])?;
            tx.execute(
                insert,
                params![String::from("other"), i64::MIN, None::<&[u8]>],
            )?;
            tx.execute(
                insert,
                params!["third", Some(Timestamp::from_ms(7)), Some(&b""[..])],
            )
        });
        assert_eq!(write.await, Ok(1));
        let rows = db.read(|tx| {
            tx.query(
                "SELECT name, amount, content FROM things ORDER BY name",
                params![],
                |row| {
                    Ok((
                        row.text(0).to_owned(),
                        row.optional_integer(1),
                        row.optional_bytes(2).map(<[u8]>::to_vec),
                    ))
                },
            )
        });
        let expected = vec![
            ("other".to_owned(), Some(i64::MIN), None),
            ("päth/ünïcode ?1".to_owned(), None, Some(bytes)),
            ("third".to_owned(), Some(7), Some(Vec::new())),
        ];
        assert_eq!(rows.await, Ok::<_, Error>(expected));
    }
}

#[tokio::test]
async fn mistyped_columns_and_parameters_are_errors() {
    for db in every_engine(&[]) {
        with_table(&db).await;
        fill(&db, 0..1).await;
        let mistyped = db.get(|tx| {
            tx.query("SELECT name FROM things", params![], |row| {
                Ok(row.integer(0))
            })
        });
        assert!(
            matches!(mistyped.await, Err(Error::Other(_))),
            "{}",
            db.engine()
        );
        let null = db.get(|tx| {
            tx.query("SELECT content FROM things", params![], |row| {
                Ok(row.bytes(0).len())
            })
        });
        assert_eq!(null.await, Err(Error::Other("column 0 is NULL".to_owned())));
        let outside = db.get(|tx| {
            tx.query("SELECT name FROM things", params![], |row| {
                Ok(row.text(1).to_owned())
            })
        });
        assert!(matches!(outside.await, Err(Error::Other(_))));
        let too_few = db.get(|tx| {
            tx.query(
                "SELECT name FROM things WHERE name = ?1",
                params![],
                |row| Ok(row.text(0).to_owned()),
            )
        });
        assert!(matches!(too_few.await, Err(Error::Other(_))));
    }
}

#[tokio::test]
async fn upserts_and_returning_agree() {
    for db in every_engine(&[]) {
        with_table(&db).await;
        let sql = "INSERT INTO things (name, amount) VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET amount = things.amount + excluded.amount \
                   RETURNING amount";
        let add = |by: i64| {
            db.write(move |tx| tx.query_optional(sql, params!["sum", by], |row| Ok(row.integer(0))))
        };
        assert_eq!(add(3).await, Ok::<_, Error>(Some(3)));
        assert_eq!(add(4).await, Ok(Some(7)));
        let ignore =
            "INSERT INTO things (name, amount) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
        assert_eq!(
            db.write(move |tx| tx.execute(ignore, params!["sum", 1]))
                .await,
            Ok::<_, Error>(0)
        );
        assert_eq!(
            db.write(|tx| tx.execute(
                "UPDATE things SET amount = ?2 WHERE name = ?1",
                params!["sum", 9]
            ))
            .await,
            Ok::<_, Error>(1)
        );
        assert_eq!(db.get(|tx| amount(tx, "sum")).await, Ok(Some(9)));
        assert_eq!(
            db.write(|tx| tx.execute("DELETE FROM things WHERE name = ?1", params!["none"]))
                .await,
            Ok::<_, Error>(0)
        );
    }
}

#[tokio::test]
async fn keyset_pages_by_row_value_give_each_row_once_in_byte_order() {
    let sql = "SELECT amount, name FROM things WHERE (amount, name) > (?1, ?2) ORDER BY amount, \
        name LIMIT ?3";
    for db in every_engine(&[]) {
        with_table(&db).await;
        fill(&db, 0..100).await;
        let (mut seen, mut last) = (Vec::new(), (-1, String::new()));
        loop {
            let (number, name) = last.clone();
            let page = db.read(move |tx| {
                tx.query(sql, params![number, &name, 7], |row| {
                    Ok((row.integer(0), row.text(1).to_owned()))
                })
            });
            let page = page.await.unwrap_or_else(|error: Error| panic!("{error}"));
            let Some(end) = page.last() else { break };
            last = end.clone();
            seen.extend(page);
        }
        let mut expected: Vec<_> = (0..100)
            .map(|number| (number % 5, format!("thing-{number:03}")))
            .collect();
        expected.sort();
        assert_eq!(seen, expected);

        db.write(|tx| {
            ["B", "a", "Z", "a-b", "ab", "é"]
                .iter()
                .try_for_each(|name| insert(tx, name, 77).map(|_| ()))
        })
        .await
        .expect("inserts");
        let names = db.read(|tx| {
            tx.query(
                "SELECT name FROM things WHERE amount = 77 ORDER BY name",
                params![],
                |row| Ok(row.text(0).to_owned()),
            )
        });
        assert_eq!(
            names.await,
            Ok::<_, Error>(
                ["B", "Z", "a", "a-b", "ab", "é"]
                    .map(str::to_owned)
                    .to_vec()
            )
        );
    }
}

#[tokio::test]
async fn a_second_row_of_the_same_key_is_told_apart_and_loses_its_transaction() {
    for db in every_engine(&[]) {
        with_table(&db).await;
        fill(&db, 0..1).await;
        let twice = db.write(|tx| insert(tx, "new", 1).and_then(|_| insert(tx, "thing-000", 1)));
        assert_eq!(twice.await, Err(Error::Unique));
        let passed_over = db.write(|tx| {
            insert(tx, "new", 1)?;
            let _ = insert(tx, "thing-000", 1);
            Ok::<_, Error>("fine")
        });
        assert_eq!(passed_over.await, Err(Error::Unique), "{}", db.engine());
        assert_eq!(count(&db).await, 1);
    }
}

#[tokio::test]
async fn an_error_of_the_closure_itself_keeps_nothing() {
    #[derive(Debug, PartialEq)]
    enum Refused {
        ByRule,
        Index(Error),
    }
    impl From<Error> for Refused {
        fn from(error: Error) -> Self {
            Self::Index(error)
        }
    }
    for db in every_engine(&[]) {
        with_table(&db).await;
        let refused = db.write(|tx| {
            insert(tx, "new", 1)
                .map_err(Refused::from)
                .and(Err::<(), _>(Refused::ByRule))
        });
        assert_eq!(refused.await, Err(Refused::ByRule));
        assert_eq!(count(&db).await, 0);
        let failed = db
            .write(|tx| Ok::<_, Refused>(tx.execute("INSERT INTO nowhere VALUES (1)", params![])?));
        assert!(matches!(failed.await, Err(Refused::Index(Error::Other(_)))));
    }
}

#[tokio::test]
async fn a_panicking_closure_is_an_error_of_its_own_only() {
    for db in every_engine(&[]) {
        with_table(&db).await;
        let boom = |tx: &mut Tx<'_>| {
            insert(tx, "lost", 1)?;
            assert!(amount(tx, "lost")?.is_none(), "boom");
            Ok::<(), Error>(())
        };
        assert_eq!(
            db.write(boom).await,
            Err(Error::Other("a transaction panicked: boom".to_owned()))
        );
        let on_read = |_: &mut Tx<'_>| -> Result<()> { panic!("bang {}", 1) };
        assert_eq!(
            db.get(on_read).await,
            Err(Error::Other("a transaction panicked: bang 1".to_owned()))
        );
        assert_eq!(
            db.read(on_read).await,
            Err(Error::Other("a transaction panicked: bang 1".to_owned()))
        );
        fill(&db, 0..3).await;
        assert_eq!(count(&db).await, 3);
    }
}

#[tokio::test]
async fn reads_cannot_write() {
    for db in every_engine(&[]) {
        with_table(&db).await;
        assert!(db.get(|tx| insert(tx, "sly", 1)).await.is_err());
        assert!(db.read(|tx| insert(tx, "sly", 1)).await.is_err());
        assert_eq!(count(&db).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_increments_add_up_exactly() {
    const CALLERS: i64 = 16;
    const EACH: i64 = 10;
    for db in every_engine(&[]) {
        with_table(&db).await;
        db.write(|tx| insert(tx, "counter", 0))
            .await
            .expect("inserts");
        let runs = Arc::new(AtomicU32::new(0));
        let callers = (0..CALLERS).map(|_| {
            let (db, runs) = (db.clone(), Arc::clone(&runs));
            tokio::spawn(async move {
                for _ in 0..EACH {
                    let runs = Arc::clone(&runs);
                    let increment = db.write(move |tx| {
                        runs.fetch_add(1, Ordering::Relaxed);
                        let now = amount(tx, "counter")?.unwrap_or_default();
                        tx.execute(
                            "UPDATE things SET amount = ?1 WHERE name = ?2",
                            params![now + 1, "counter"],
                        )
                    });
                    assert_eq!(increment.await, Ok(1));
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.expect("runs");
        }
        assert_eq!(
            db.get(|tx| amount(tx, "counter")).await,
            Ok(Some(CALLERS * EACH)),
            "{}",
            db.engine()
        );
        let least = u32::try_from(CALLERS * EACH).expect("small");
        assert!(runs.load(Ordering::Relaxed) >= least);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failing_job_among_many_fails_alone() {
    for db in every_engine(&[]) {
        with_table(&db).await;
        let jobs = (0..200).map(|number: i64| {
            let db = db.clone();
            tokio::spawn(async move {
                db.write(move |tx| {
                    insert(tx, &format!("thing-{number}"), number)?;
                    match number % 10 {
                        3 => Err(Error::Other("by rule".to_owned())),
                        6 => panic!("by accident"),
                        9 => insert(tx, &format!("thing-{number}"), number).map(|_| ()),
                        _ => Ok(()),
                    }
                })
                .await
            })
        });
        let mut kept = 0;
        for (number, job) in jobs.collect::<Vec<_>>().into_iter().enumerate() {
            let result = job.await.expect("the job ends");
            assert_eq!(
                result.is_ok(),
                number % 10 % 3 != 0 || number % 10 == 0,
                "{number}: {result:?}"
            );
            kept += i64::from(result.is_ok());
        }
        assert_eq!((kept, count(&db).await), (140, 140));
    }
}

#[tokio::test]
async fn a_caller_that_leaves_gets_all_or_nothing() {
    for db in every_engine(&[]) {
        with_table(&db).await;
        for number in 0..50 {
            let write = db.write(move |tx| {
                insert(tx, &format!("a-{number}"), 1)?;
                insert(tx, &format!("b-{number}"), 1)
            });
            let _ = tokio::time::timeout(Duration::from_micros(50), write).await;
        }
        fill(&db, 0..1).await;
        assert_eq!(count(&db).await % 2, 1);
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_until_there_is_space_again() {
    let db = Db::memory(&[]).expect("opens");
    with_table(&db).await;
    // The engine's own bound stands in for the disk's.
    let bound = |pages: &'static str| db.write(move |tx| tx.query(pages, params![], |_| Ok(())));
    bound("PRAGMA max_page_count = 60").await.expect("bounds");
    let store = |name: String| {
        db.write(move |tx| {
            tx.execute(
                "INSERT INTO things (name, content) VALUES (?1, ?2)",
                params![&name, vec![7_u8; 20_000]],
            )
        })
    };
    let mut kept = 0;
    let refused = loop {
        match store(format!("thing-{kept}")).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 100, "the bound holds");
    };
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
    assert_eq!(count(&db).await, kept);
    bound("PRAGMA max_page_count = 100000")
        .await
        .expect("frees");
    store("after".to_owned()).await.expect("works again");
    assert_eq!(count(&db).await, kept + 1);
}
