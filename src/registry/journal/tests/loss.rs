//! Journals of which something is lost or not written yet, and what keeps them whole.

use std::collections::BTreeSet;

use wharfinger_db::{Tx, params};

use super::*;

/// A server of a new index over a store.
fn empty(store: BlobStore) -> Server {
    let db = Db::memory(MIGRATIONS).expect("an index");
    Server::new(db, store, Clock::manual(Timestamp::from_ms(1_000_000)))
}

/// A rebuild that is told to goes on without what cannot be read.
#[tokio::test]
async fn a_damaged_segment_is_left_out_where_its_loss_is_accepted() {
    let mut server = empty(memory().await);
    for repository in 0..3 {
        server.apply(&Change::Create(repository)).await;
        server.flush().await;
    }
    let listed = segments(&server.store).await.expect("listed");
    let last = listed.last().expect("a segment").number;
    let name = &format!("journal/{last:016x}").parse().expect("a name");
    let content = server.store.record(name, 1 << 20).await.expect("read");
    let half = content.slice(..content.len() / 2);
    server.store.put_record(name, half).await.expect("put");
    let rebuilt = empty(server.store.clone());
    let refused = rebuilt.registry.rebuild().run(|_| ()).await;
    assert!(
        matches!(refused, Err(RebuildError::DamagedSegment(..))),
        "{refused:?}"
    );
    let accepting = rebuilt.registry.rebuild().accepting_loss(true);
    accepting.run(|_| ()).await.expect("made anew");
    let there = [0, 1, 2].map(|number| rebuilt.repository(number));
    let there = futures_util::future::join_all(there).await;
    let there: Vec<bool> = there.iter().map(Option::is_some).collect();
    assert_eq!(there, [true, true, false]);
}

/// Where the bytes of a blob are is a part of the record of each of its links.
#[tokio::test]
async fn a_blob_that_is_stored_elsewhere_is_noted_for_all_its_repositories() {
    for db in testing::every_engine(MIGRATIONS) {
        let clock = Clock::manual(Timestamp::from_ms(1_000_000));
        let mut server = Server::new(db, memory().await, clock);
        for number in 0..2 {
            server.apply(&Change::Create(number)).await;
            server.apply(&Change::Push(number, 0, None)).await;
        }
        server.flush().await;
        let digest = sha256(&blob_bytes(0));
        let other = server.repository(1).await.expect("a repository").id;
        let found = server.registry.content.get(other, &digest).await;
        let key = found.expect("a blob").key;
        server.store.quarantine(&key).await.expect("removed");
        // It gets another key.
        server.apply(&Change::Push(0, 0, None)).await;
        let found = server.registry.content.get(other, &digest).await;
        assert_ne!(found.expect("a blob").key, key);
        let entries = server.db.read(|tx| store::journal_entries::entries(tx, 10));
        let entries = entries.await.expect("read").into_iter();
        let noted = entries.map(|(_, subject)| subject);
        let is_link = |subject: &record::Subject| matches!(subject, record::Subject::Link(..));
        let noted: BTreeSet<record::Subject> = noted.filter(is_link).collect();
        let mut expected = BTreeSet::new();
        for number in 0..2 {
            let repository = server.repository(number).await.expect("a repository");
            expected.insert(record::Subject::Link(repository.id.0, digest));
        }
        assert_eq!(noted, expected);
    }
}

/// An index that was restored has content before it has a journal.
#[tokio::test]
async fn a_first_journal_that_is_not_whole_is_refused() {
    let mut server = empty(memory().await);
    server.apply(&Change::Create(0)).await;
    server.apply(&Change::Push(0, 1, Some(1))).await;
    // As a restored index: nothing waits, and everything is still to be written.
    let restored = server
        .db
        .write(|tx| tx.execute("DELETE FROM journal_entries", params![]));
    restored.await.expect("deleted");
    server.apply(&Change::Create(1)).await;
    let mut writer = writer(&server.registry, &Ids::default());
    assert!(writer.step().await.expect("written").again);
    let rebuild = || async {
        let rebuilt = empty(server.store.clone());
        let run = rebuilt.registry.rebuild().run(|_| ()).await;
        (run, rebuilt.shown().await)
    };
    let (refused, _) = rebuild().await;
    assert!(
        matches!(refused, Err(RebuildError::MissingSegment(1))),
        "{refused:?}"
    );
    writer.write_all().await.expect("written");
    let (made, shown) = rebuild().await;
    made.expect("made anew");
    assert_eq!(shown, server.shown().await);
}

/// An image whose manifest is damaged in the index does not spoil the journal of all the others.
#[tokio::test]
async fn a_damaged_manifest_keeps_its_whole_record_and_holds_up_nothing() {
    for damaged in [b"{}".as_slice(), &[0xff, 0]] {
        let mut server = empty(memory().await);
        server.apply(&Change::Create(0)).await;
        server.apply(&Change::Push(0, 0, Some(0))).await;
        server.flush().await;
        let whole = server.shown().await;
        let write = server.db.write(move |tx: &mut Tx<'_>| {
            tx.execute("UPDATE manifests SET bytes = ?1", params![damaged])?;
            let repository = tx.query("SELECT id FROM repositories", params![], |row| {
                Ok(crate::RepositoryId(row.integer(0)))
            })?;
            store::journal_entries::note_image(tx, repository[0], &sha256(&manifest(0)))
        });
        write.await.expect("damaged");
        server.flush().await;
        let rebuilt = empty(server.store.clone());
        let made = rebuilt.registry.rebuild().run(|_| ()).await;
        made.expect("made anew");
        assert_eq!(rebuilt.shown().await, whole);
    }
}

/// A rebuild that was killed while it wrote the journal of the new index, and whose index is lost,
/// leaves segments in which repositories have other numbers.
async fn kill_rebuild(store: &BlobStore) {
    let old = segments(store).await.expect("listed");
    let last = old.last().expect("a segment").number;
    let mut killed = empty(store.clone());
    for number in [2, 1, 0] {
        killed.apply(&Change::Create(number)).await;
    }
    let ended = killed
        .db
        .write(move |tx| store::rebuild::end(tx, last))
        .await;
    ended.expect("written");
    let mut writer = writer(&killed.registry, &Ids::default()).of_rebuild();
    // Makes entries of all rows, and writes some of them.
    writer.step().await.expect("begun");
    assert!(writer.step().await.expect("written").done > 0);
    let all = segments(store).await.expect("listed");
    assert!(all.len() > old.len(), "nothing was written");
}

async fn with_journal(store: BlobStore) -> Server {
    let mut server = empty(store);
    for number in 0..3 {
        server.apply(&Change::Create(number)).await;
        server.apply(&Change::Push(number, number, Some(0))).await;
    }
    server.flush().await;
    server
}

#[tokio::test]
async fn segments_of_a_rebuild_that_did_not_end_do_not_count() {
    let store = memory().await;
    let server = with_journal(store.clone()).await;
    let whole = server.shown().await;
    kill_rebuild(&store).await;
    kill_rebuild(&store).await;
    for _ in 0..2 {
        let rebuilt = empty(store.clone());
        let made = rebuilt.registry.rebuild().run(|_| ()).await;
        made.expect("made anew");
        assert_eq!(rebuilt.shown().await, whole);
    }
}

/// The index was found again, or a copy of it, and what is pushed since counts.
#[tokio::test]
async fn an_old_index_serves_after_a_rebuild_that_did_not_end() {
    let store = memory().await;
    let mut server = with_journal(store.clone()).await;
    let last = segments(&store).await.expect("listed").pop();
    let last = last.expect("a segment").number;
    // Killed before it wrote a segment.
    let killed = empty(store.clone());
    let ended = killed.db.write(move |tx| store::rebuild::end(tx, last));
    ended.await.expect("written");
    for killed_again in [false, true] {
        if killed_again {
            kill_rebuild(&store).await;
        }
        server.apply(&Change::Create(3)).await;
        server.apply(&Change::Push(3, 4, Some(1))).await;
        writer(&server.registry, &Ids::default())
            .write_all()
            .await
            .expect("written");
        let rebuilt = empty(store.clone());
        let made = rebuilt.registry.rebuild().run(|_| ()).await;
        made.expect("made anew");
        assert_eq!(rebuilt.shown().await, server.shown().await);
    }
}

/// Where the segments that it read are lost as well, nothing is left to make an index of.
#[tokio::test]
async fn a_journal_of_nothing_but_an_unfinished_rebuild_is_refused() {
    let store = memory().await;
    with_journal(store.clone()).await;
    let old = segments(&store).await.expect("listed");
    kill_rebuild(&store).await;
    for segment in &old {
        let name = format!("journal/{:016x}", segment.number);
        let name = name.parse().expect("a name");
        store.delete_record(&name).await.expect("deleted");
    }
    let last = old.last().expect("a segment").number;
    let rebuilt = empty(store);
    let refused = rebuilt.registry.rebuild().run(|_| ()).await;
    assert!(
        matches!(refused, Err(RebuildError::MissingSegment(number)) if number == last),
        "{refused:?}"
    );
}

const NEEDED_AFTER: &str = "journal/needed-after";

async fn rebuilt(store: &BlobStore, accept_loss: bool) -> (Result<Rebuilt, RebuildError>, Server) {
    let server = empty(store.clone());
    let rebuild = server.registry.rebuild().accepting_loss(accept_loss);
    (rebuild.run(|_| ()).await, server)
}

/// An older index has other numbers for repositories than one that was made anew.
#[tokio::test]
async fn what_another_index_wrote_does_not_count_before_it_is_whole() {
    let store = memory().await;
    let mut old = with_journal(store.clone()).await;
    // The rebuild gives numbers in another order.
    old.apply(&Change::Delete(0)).await;
    old.apply(&Change::Create(0)).await;
    old.flush().await;
    let (made, _) = rebuilt(&store, false).await;
    made.expect("made anew");
    let (_, made) = rebuilt(&store, false).await;
    let whole = made.shown().await;
    // The older index is served instead, and its server is killed.
    old.apply(&Change::Push(1, 5, Some(1))).await;
    let mut writer = writer(&old.registry, &Ids::default());
    assert!(writer.step().await.expect("written").done > 0);
    let (refused, _) = rebuilt(&store, false).await;
    assert!(
        matches!(refused, Err(RebuildError::OtherIndex(_))),
        "{refused:?}"
    );
    let (made, server) = rebuilt(&store, true).await;
    made.expect("made anew");
    assert_eq!(server.shown().await, whole);
}

#[tokio::test]
async fn what_a_whole_rebuild_wrote_counts_without_the_number_of_what_is_needed() {
    let store = memory().await;
    let server = with_journal(store.clone()).await;
    let whole = server.shown().await;
    let (made, _) = rebuilt(&store, false).await;
    made.expect("made anew");
    let name = NEEDED_AFTER.parse().expect("a name");
    store.delete_record(&name).await.expect("deleted");
    let (refused, _) = rebuilt(&store, false).await;
    assert!(
        matches!(refused, Err(RebuildError::MissingSegment(_))),
        "{refused:?}"
    );
    let (made, server) = rebuilt(&store, true).await;
    made.expect("made anew");
    assert_eq!(server.shown().await, whole);
}

#[tokio::test]
async fn a_damaged_number_of_what_is_needed_is_told() {
    let store = memory().await;
    with_journal(store.clone()).await;
    let (made, server) = rebuilt(&store, false).await;
    made.expect("made anew");
    let whole = server.shown().await;
    let name = NEEDED_AFTER.parse().expect("a name");
    let content = store.record(&name, 1024).await.expect("read");
    // One digit of the number is another one.
    let damaged = Bytes::from([b"9", &content[1..]].concat());
    let put = store.put_record(&name, damaged.clone());
    put.await.expect("put");
    let (refused, _) = rebuilt(&store, false).await;
    assert!(
        matches!(refused, Err(RebuildError::DamagedNeededAfter)),
        "{refused:?}"
    );
    let (made, counted) = rebuilt(&store, true).await;
    made.expect("made anew");
    assert_eq!(counted.shown().await, whole);
    store.put_record(&name, damaged).await.expect("put");
    // The index that is there writes all anew.
    let mut next = writer(&server.registry, &Ids::default());
    next.write_all().await.expect("written");
    let (made, again) = rebuilt(&store, false).await;
    made.expect("made anew");
    assert_eq!(again.shown().await, whole);
}

/// An older index without repositories wrote the number, and no segment.
#[tokio::test]
async fn a_new_index_writes_after_the_number_of_what_is_needed() {
    let store = memory().await;
    let number = Bytes::from_static(b"9");
    let name = NEEDED_AFTER.parse().expect("a name");
    store.put_record(&name, number).await.expect("put");
    let mut begun = empty(store.clone());
    begun.apply(&Change::Create(0)).await;
    begun.apply(&Change::Push(0, 0, Some(0))).await;
    let mut first = writer(&begun.registry, &Ids::default());
    assert!(first.step().await.expect("written").done > 0);
    let (refused, _) = rebuilt(&store, false).await;
    assert!(
        matches!(refused, Err(RebuildError::OtherIndex(_))),
        "a part of a journal is none: {refused:?}"
    );
    for segment in store.records("journal").await.expect("listed") {
        if segment.name != name {
            store.delete_record(&segment.name).await.expect("deleted");
        }
    }
    let server = with_journal(store.clone()).await;
    let (made, again) = rebuilt(&store, false).await;
    made.expect("made anew");
    assert_eq!(again.shown().await, server.shown().await);
}

#[tokio::test]
async fn a_rebuild_does_not_write_over_what_another_index_wrote() {
    let store = memory().await;
    let mut server = with_journal(store.clone()).await;
    let last = segments(&store).await.expect("listed").pop();
    let last = last.expect("a segment").number;
    let interrupted = empty(store.clone());
    let ended = interrupted.db.write(move |tx| {
        store::rebuild::end(tx, last)?;
        // It was killed after it had taken the number of a segment.
        tx.execute("UPDATE journal SET number = number + 1", params![])
    });
    ended.await.expect("written");
    server.apply(&Change::Create(3)).await;
    server.flush().await;
    let run = interrupted.registry.rebuild().run(|_| ()).await;
    assert!(matches!(run, Err(RebuildError::Overtaken)), "{run:?}");
    let (made, again) = rebuilt(&store, false).await;
    made.expect("made anew");
    assert_eq!(again.shown().await, server.shown().await);
}
