//! Empty indexes for tests: SQLite always, PostgreSQL where `WHARFINGER_TEST_POSTGRES_URL` names a
//! server.

use postgres::NoTls;
use wharfinger_base::Ids;

use crate::{DatabaseConfig, Db, Migration, Upgrade};

/// An empty index on every engine that is available.
///
/// # Panics
/// Where an engine does not open.
pub fn every_engine(migrations: &[Migration]) -> Vec<Db> {
    let mut indexes = vec![Db::memory(migrations).expect("a temporary index opens")];
    indexes.extend(postgres_config().map(|config| {
        Db::open(&config, migrations, Upgrade::Apply).expect("the test server opens")
    }));
    indexes
}

/// A schema of its own on the test server, if there is one.
///
/// # Panics
/// Where the test server does not respond.
pub fn postgres_config() -> Option<DatabaseConfig> {
    let url = std::env::var("WHARFINGER_TEST_POSTGRES_URL").ok()?;
    let schema = format!("test_{}", Ids::default().uuid().simple());
    let separator = if url.contains('?') { '&' } else { '?' };
    let url_of_schema =
        format!("{url}{separator}options=-csearch_path%3D{schema}&application_name={schema}");
    let create = move || {
        let mut client = postgres::Client::connect(&url, NoTls).expect("the test server responds");
        client
            .batch_execute(&format!("CREATE SCHEMA {schema}"))
            .expect("a schema is made");
    };
    // The blocking client must not run on a runtime's thread.
    std::thread::spawn(create).join().expect("a schema is made");
    Some(DatabaseConfig::postgres(url_of_schema))
}
