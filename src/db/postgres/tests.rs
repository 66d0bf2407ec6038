//! PostgreSQL that goes away, comes back, or takes no writes. Each test passes where
//! `WHARFINGER_TEST_POSTGRES_URL` names no server.

mod reads;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wharfinger_base::Secret;

use crate::postgres::worker::Connections;
use crate::testing::postgres_config;
use crate::tls::Connector;
use crate::{DatabaseConfig, Db, Error, OpenError, Result, Upgrade, params};

/// The test server's configuration with a change to its URL.
fn config_with(change: impl Fn(String) -> String, connections: usize) -> Option<DatabaseConfig> {
    let DatabaseConfig::Postgres { url, .. } = postgres_config()? else {
        return None;
    };
    Some(DatabaseConfig::Postgres {
        url: Secret::new(change(url.reveal().clone())),
        connections,
    })
}

/// Adds a server setting to the URL's options.
fn with_setting(setting: &'static str) -> impl Fn(String) -> String {
    move |url| url.replace("options=", &format!("options=-c{setting}%20"))
}

fn open(config: &DatabaseConfig) -> Result<Db, OpenError> {
    Db::open(config, &[], Upgrade::Apply)
}

async fn make_table(db: &Db) {
    let create = "CREATE TABLE things (name TEXT NOT NULL PRIMARY KEY)";
    let made = db.write(move |tx| tx.execute(create, params![]));
    made.await.expect("a table is made");
}

async fn insert(db: &Db, name: String) -> Result<u64> {
    let sql = "INSERT INTO things (name) VALUES (?1)";
    db.write(move |tx| tx.execute(sql, params![&name])).await
}

/// The names of all things, as soon as the database is there again.
async fn names(db: &Db) -> Vec<String> {
    let started = Instant::now();
    loop {
        let read = db.read(|tx| {
            tx.query("SELECT name FROM things", params![], |row| {
                Ok(row.text(0).to_owned())
            })
        });
        match read.await {
            Ok(names) => return names,
            Err(Error::Unavailable(_)) if started.elapsed() < Duration::from_secs(10) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn lost_connections_are_made_again() {
    let Some(config) = postgres_config() else {
        return;
    };
    let db = open(&config).expect("opens");
    make_table(&db).await;
    for number in 0..10 {
        let others = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
                      WHERE pid <> pg_backend_pid() AND application_name = \
                      current_setting('application_name')";
        db.write(|tx| tx.query_optional(others, params![], |row| Ok(row.integer(0))))
            .await
            .expect("ends the others");
        assert_eq!(insert(&db, format!("thing-{number}")).await, Ok(1));
    }
    assert_eq!(names(&db).await.len(), 10);
}

/// Else the locks of a host that lost its power stay for hours.
#[tokio::test]
async fn a_session_without_a_host_does_not_keep_its_locks() {
    let Some(config) = postgres_config() else {
        return;
    };
    let db = open(&config).expect("opens");
    let limit = db.read(|tx| {
        let sql = "SELECT current_setting('idle_in_transaction_session_timeout')";
        tx.query_optional(sql, params![], |row| Ok(row.text(0).to_owned()))
    });
    assert_eq!(limit.await.expect("read").as_deref(), Some("30s"));
}

#[tokio::test]
async fn a_session_that_takes_no_writes_is_replaced() {
    let Some(config) = config_with(|url| url, 1) else {
        return;
    };
    let db = open(&config).expect("opens");
    make_table(&db).await;
    // What a session meets whose server became a standby.
    let demote = db.read(|tx| tx.execute("SET default_transaction_read_only = on", params![]));
    demote.await.expect("sets");
    assert_eq!(insert(&db, "after".to_owned()).await, Ok(1));
    assert_eq!(db.check_ready().await, Ok(()));
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_not_opened() {
    let setting = with_setting("default_transaction_read_only%3Don");
    let Some(config) = config_with(setting, 1) else {
        return;
    };
    let refused = open(&config).expect_err("refuses");
    assert!(matches!(refused, OpenError::Connect(_)), "{refused}");
}

#[tokio::test]
async fn a_server_that_acknowledges_early_is_not_opened() {
    let Some(config) = config_with(with_setting("synchronous_commit%3Doff"), 1) else {
        return;
    };
    let refused = open(&config).expect_err("refuses");
    assert!(matches!(refused, OpenError::SynchronousCommit), "{refused}");
}

/// The setting of a role or database may change while a server runs.
#[test]
fn a_later_session_that_acknowledges_early_is_not_used() {
    let Some(DatabaseConfig::Postgres { url, .. }) =
        config_with(with_setting("synchronous_commit%3Doff"), 1)
    else {
        return;
    };
    let connector = Connector::from_url(url.reveal()).expect("a URL");
    match Connections::new(connector).connect() {
        Err(Error::Unavailable(why)) => assert!(why.contains("synchronous_commit=off"), "{why}"),
        other => panic!("{:?}", other.map(drop)),
    }
}

#[tokio::test]
async fn postgres_of_another_collation_is_refused() {
    let Ok(url) = std::env::var("WHARFINGER_TEST_POSTGRES_LINGUISTIC_URL") else {
        return;
    };
    let refused = open(&DatabaseConfig::postgres(url)).expect_err("refuses");
    assert!(matches!(refused, OpenError::Collation { .. }), "{refused}");
}

/// A proxy in front of the test server that can be cut.
struct Proxy {
    address: SocketAddr,
    up: watch::Sender<bool>,
}

impl Proxy {
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let up = watch::Sender::new(true);
        let mut state = up.subscribe();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if !*state.borrow_and_update() {
                    continue;
                }
                let (server, mut state) = (server.clone(), state.clone());
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.expect("the test server");
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = state.changed() => {}
                    }
                });
            }
        });
        Self { address, up }
    }

    /// Ends all connections; refuses new ones unless `up`.
    fn cut(&self, up: bool) {
        self.up.send_replace(up);
    }
}

/// An index behind a proxy.
async fn proxied(connections: usize) -> Option<(Db, Proxy)> {
    let url = std::env::var("WHARFINGER_TEST_POSTGRES_URL").ok()?;
    let authority = url.split("://").nth(1)?.split('/').next()?;
    let server = authority.rsplit('@').next()?.to_owned();
    let proxy = Proxy::start(server.clone()).await;
    let address = proxy.address.to_string();
    let config = config_with(|url| url.replace(&server, &address), connections)?;
    let opening = tokio::task::spawn_blocking(move || open(&config));
    let db = opening.await.expect("runs").expect("opens");
    make_table(&db).await;
    Some((db, proxy))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_an_error_in_bounded_time_until_it_is_back() {
    let Some((db, proxy)) = proxied(2).await else {
        return;
    };
    proxy.cut(false);
    let started = Instant::now();
    for number in 0..20 {
        let refused = insert(&db, format!("lost-{number}")).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    }
    assert!(matches!(db.check_ready().await, Err(Error::Unavailable(_))));
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
    proxy.cut(true);
    let returned = Instant::now();
    while insert(&db, "back".to_owned()).await.is_err() {
        assert!(returned.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(names(&db).await, ["back"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_cut_is_kept() {
    const WRITERS: usize = 6;
    const WRITES: usize = 40;
    let Some((db, proxy)) = proxied(4).await else {
        return;
    };
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut kept = Vec::new();
                for number in 0..WRITES {
                    let name = format!("{writer}-{number}");
                    if insert(&db, name.clone()).await.is_ok() {
                        kept.push(name);
                    }
                }
                kept
            })
        })
        .collect();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(60)).await;
        proxy.cut(true);
    }
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.expect("runs"));
    }
    let stored = names(&db).await;
    assert!(!acknowledged.is_empty());
    for name in acknowledged {
        assert!(stored.contains(&name), "{name}");
    }
}
