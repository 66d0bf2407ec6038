//! Empty indexes for tests: SQLite always, PostgreSQL where `WHARFINGER_TEST_POSTGRES_URL` names a
//! server.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

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

/// Lets a future wait at its first poll, even if it is ready then: whoever runs futures in turns
/// gets the same turns again, whatever the threads of the index do meanwhile.
pub(crate) async fn in_two_polls<F: Future + Unpin>(mut future: F) -> F::Output {
    let (mut is_first, mut early) = (true, None);
    poll_fn(|context| {
        if let Some(output) = early.take() {
            return Poll::Ready(output);
        }
        let poll = Pin::new(&mut future).poll(context);
        if !std::mem::replace(&mut is_first, false) {
            return poll;
        }
        if let Poll::Ready(output) = poll {
            early = Some(output);
            context.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_future_that_is_ready_waits_once() {
        let mut future = std::pin::pin!(in_two_polls(std::future::ready(7)));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(future.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(future.poll(&mut context), Poll::Ready(7));
    }
}
