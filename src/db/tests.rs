//! One suite for both engines: SQLite always, PostgreSQL where `WHARFINGER_TEST_POSTGRES_URL` names a server.

use super::*;

#[tokio::test]
async fn a_write_is_seen_by_the_next_get_and_read() {
    let db = Db::memory().expect("opens");
    db.write(|tx| tx.execute("INSERT INTO leases (name, holder, term, expires_at) VALUES (?1, ?2, 1, 2)", params!["a", "b"]))
        .await
        .expect("writes");
    let holder =
        |tx: &mut Tx<'_>| tx.query_optional("SELECT holder FROM leases WHERE name = ?1", params!["a"], |row| Ok(row.text(0).to_owned()));
    assert_eq!(db.get(holder).await, Ok(Some("b".to_owned())));
    assert_eq!(db.read(holder).await, Ok(Some("b".to_owned())));
}
