//! Point reads that share transactions, and the numbers of their snapshots.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::task::{JoinError, JoinHandle};

use super::*;
use crate::Tx;

/// What a point read found: its snapshot's number and text, and when its transaction began.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    number: u64,
    snapshot: String,
    began: String,
}

fn look(tx: &mut Tx<'_>) -> Result<Found> {
    let number = tx.version().expect("a point read has a number");
    let sql = "SELECT pg_current_snapshot()::text, now()::text";
    let found = tx.query_optional(sql, params![], |row| {
        Ok(Found {
            number,
            snapshot: row.text(0).to_owned(),
            began: row.text(1).to_owned(),
        })
    })?;
    Ok(found.expect("one row"))
}

/// Keeps the only connection busy until the sender is used.
fn occupy(db: &Db) -> (mpsc::Sender<()>, JoinHandle<Result<()>>) {
    let (release, wait) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let db = db.clone();
    let occupied = tokio::spawn(async move {
        let scan = db.read(move |_| {
            let wait = wait.lock().expect("no panic");
            wait.recv().map_err(Error::other)
        });
        scan.await
    });
    (release, occupied)
}

fn spawn<T: Send + 'static>(
    db: &Db,
    work: impl Fn(&mut Tx<'_>) -> Result<T> + Send + 'static,
) -> JoinHandle<Result<T>> {
    let db = db.clone();
    tokio::spawn(async move { db.get(work).await })
}

/// Lets the tasks that were spawned submit their jobs.
async fn submitted() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_job_that_fails_or_panics_leaves_the_rest_of_its_batch_alone() {
    let Some(config) = config_with(|url| url, 1) else {
        return;
    };
    let db = open(&config).expect("opens");
    let (release, occupied) = occupy(&db);
    submitted().await;
    let first: Vec<_> = (0..3).map(|_| spawn(&db, look)).collect();
    let refusing = spawn(&db, |_| Err::<(), _>(Error::other("refused")));
    let panicking = spawn(&db, |_| -> Result<()> { panic!("a fault") });
    let second: Vec<_> = (0..3).map(|_| spawn(&db, look)).collect();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let failing = spawn(&db, move |tx| {
        counted.fetch_add(1, Ordering::SeqCst);
        tx.query("SELECT 1 / 0", params![], |_| Ok(()))
    });
    // A job that ignores the failure of its statement gets it nevertheless.
    let ignoring = spawn(&db, |tx| {
        let _ = tx.query("SELECT 1 FROM nothing", params![], |_| Ok(()));
        Ok(())
    });
    let third: Vec<_> = (0..3).map(|_| spawn(&db, look)).collect();
    submitted().await;
    release.send(()).expect("it waits");
    occupied.await.expect("runs").expect("reads");
    let mut found = Vec::new();
    for read in first.into_iter().chain(second).chain(third) {
        found.push(read.await.expect("runs").expect("reads"));
    }
    assert_eq!(refusing.await.expect("runs"), Err(Error::other("refused")));
    match panicking.await.expect("runs") {
        Err(Error::Other(why)) => assert!(why.contains("a fault"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        failing.await.expect("runs"),
        Err(Error::Other(why)) if why.contains("division by zero")
    ));
    assert!(matches!(
        ignoring.await.expect("runs"),
        Err(Error::Other(_))
    ));
    assert_eq!(runs.load(Ordering::SeqCst), 1, "its failure is final");
    assert!(found[..6].iter().all(|read| *read == found[0]));
    assert!(found[6..].iter().all(|read| *read == found[6]));
    assert_ne!(found[0].began, found[6].began);
}

#[tokio::test]
async fn a_session_lost_in_a_batch_costs_no_job_its_result() {
    let Some(config) = config_with(|url| url, 1) else {
        return;
    };
    let db = open(&config).expect("opens");
    let (release, occupied) = occupy(&db);
    submitted().await;
    let before: Vec<_> = (0..3).map(|_| spawn(&db, look)).collect();
    let first_run = AtomicBool::new(true);
    let ending = spawn(&db, move |tx| {
        if first_run.swap(false, Ordering::SeqCst) {
            let sql = "SELECT pg_terminate_backend(pg_backend_pid())";
            tx.query(sql, params![], |_| Ok(()))?;
        }
        look(tx)
    });
    let after: Vec<_> = (0..3).map(|_| spawn(&db, look)).collect();
    submitted().await;
    release.send(()).expect("it waits");
    occupied.await.expect("runs").expect("reads");
    let mut numbers = Vec::new();
    for read in before.into_iter().chain([ending]).chain(after) {
        numbers.push(read.await.expect("runs").expect("reads").number);
    }
    assert!(numbers[..3].iter().all(|number| *number == numbers[0]));
    assert!(
        numbers[3..].iter().all(|number| *number != numbers[0]),
        "a new connection begins a new epoch"
    );
}

/// Reads on both connections, each in a transaction at the same time.
async fn on_both(db: &Db) -> [Found; 2] {
    let begun = Arc::new(AtomicUsize::new(0));
    let read = || {
        let begun = Arc::clone(&begun);
        spawn(db, move |tx| {
            let found = look(tx)?;
            begun.fetch_add(1, Ordering::SeqCst);
            while begun.load(Ordering::SeqCst) < 2 {
                thread::yield_now();
            }
            Ok(found)
        })
    };
    let one = read();
    // Else one transaction may take both.
    while begun.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let two = read();
    let found = |read: Result<Result<Found>, JoinError>| read.expect("runs").expect("reads");
    [found(one.await), found(two.await)]
}

/// Other tests commit on the same server, so equal snapshots are a matter of a few tries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_have_the_same_number_exactly_if_nothing_was_committed_between() {
    let Some(config) = config_with(|url| url, 2) else {
        return;
    };
    let (db, other) = (open(&config).expect("opens"), open(&config).expect("opens"));
    make_table(&db).await;
    // From here on no connection is made.
    on_both(&db).await;
    let (mut equal, started) = (0, Instant::now());
    while equal < 5 {
        let [one, two] = on_both(&db).await;
        assert_eq!(one.number == two.number, one.snapshot == two.snapshot);
        equal += usize::from(one.number == two.number);
        assert!(started.elapsed() < Duration::from_secs(30));
        insert(&other, format!("thing-{equal}-{}", one.number))
            .await
            .expect("inserts");
        let later = on_both(&db).await;
        for found in later {
            assert!(![one.number, two.number].contains(&found.number));
        }
    }
}

async fn set_counter(db: &Db, value: i64) -> Result<u64> {
    let sql = "INSERT INTO counters (id, value) VALUES (1, ?1)
               ON CONFLICT (id) DO UPDATE SET value = excluded.value";
    db.write(move |tx| tx.execute(sql, params![value])).await
}

fn counter(tx: &mut Tx<'_>) -> Result<i64> {
    let sql = "SELECT value FROM counters WHERE id = 1";
    let value = tx.query_optional(sql, params![], |row| Ok(row.integer(0)))?;
    Ok(value.unwrap_or_default())
}

/// Readers of two handles, a writer, and somebody who ends their sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_seen_by_every_later_read_while_sessions_are_lost() {
    const WRITES: i64 = 300;
    let Some(config) = config_with(|url| url, 3) else {
        return;
    };
    let (db, other) = (open(&config).expect("opens"), open(&config).expect("opens"));
    let create = "CREATE TABLE counters (id BIGINT NOT NULL PRIMARY KEY, value BIGINT NOT NULL)";
    let made = db.write(move |tx| tx.execute(create, params![]));
    made.await.expect("a table is made");
    let acknowledged = Arc::new(AtomicI64::new(0));
    let readers: Vec<_> = (0..12)
        .map(|number| {
            let db = if number % 2 == 0 { &db } else { &other }.clone();
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                let (mut seen, mut numbers) = (0, Vec::<(u64, i64)>::new());
                while acknowledged.load(Ordering::SeqCst) < WRITES {
                    let least = acknowledged.load(Ordering::SeqCst).max(seen);
                    let read = db.get(|tx| Ok::<_, Error>((tx.version(), counter(tx)?)));
                    match read.await {
                        Ok((version, value)) => {
                            assert!(value >= least, "{value} after {least}");
                            numbers.push((version.expect("a number"), value));
                            seen = value;
                        }
                        Err(Error::Unavailable(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                numbers
            })
        })
        .collect();
    for value in 1..=WRITES {
        if value % 30 == 0 {
            let all = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
                       WHERE pid <> pg_backend_pid() AND application_name = \
                       current_setting('application_name')";
            let ended = db.read(|tx| tx.query_optional(all, params![], |row| Ok(row.integer(0))));
            // Nobody else ends the session that this runs on.
            ended.await.expect("ends the others");
        }
        while let Err(error) = set_counter(&db, value).await {
            assert!(matches!(error, Error::Unavailable(_)), "{error}");
        }
        acknowledged.store(value, Ordering::SeqCst);
    }
    let mut numbers = Vec::new();
    for reader in readers {
        numbers.extend(reader.await.expect("reads"));
    }
    numbers.sort_unstable();
    numbers.dedup();
    for pair in numbers.windows(2) {
        assert!(pair[0].0 != pair[1].0, "one number, two states: {pair:?}");
    }
    assert!(!numbers.is_empty());
}

/// A server removes no row that a transaction may still read.
#[tokio::test]
async fn no_transaction_is_left_open_when_nothing_waits() {
    let Some(config) = config_with(|url| url, 2) else {
        return;
    };
    let db = open(&config).expect("opens");
    for _ in 0..20 {
        db.get(look).await.expect("reads");
        db.read(look).await.expect("reads");
    }
    let open_ones = "SELECT COUNT(*) FROM pg_stat_activity
                     WHERE pid <> pg_backend_pid() AND state <> 'idle' AND application_name = \
                     current_setting('application_name')";
    let started = Instant::now();
    loop {
        let count = db.get(|tx| tx.query_optional(open_ones, params![], |row| Ok(row.integer(0))));
        if count.await == Ok(Some(0)) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
