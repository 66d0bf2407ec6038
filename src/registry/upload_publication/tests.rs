//! Two servers on one index and one object store: whoever has lost an upload changes nothing.

use std::time::Duration;

use wharfinger_db::Db;
use wharfinger_oci::{Algorithm, Digest};

use crate::error::Error;
use crate::uploads::tests::{TestServer, part};
use crate::{Config, MIGRATIONS, Registry};

/// Longer than a claim lasts.
const CLAIM_IS_OVER: Duration = Duration::from_secs(31);

async fn shared() -> TestServer {
    let config = Config {
        several_replicas: true,
        ..Config::default()
    };
    let db = Db::memory(MIGRATIONS).expect("an index");
    TestServer::over(db, false, config).await
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

async fn read(registry: &Registry, server: &TestServer, content: &[u8]) -> Vec<u8> {
    let blob = registry
        .content
        .get(server.repository, &digest(content))
        .await
        .expect("linked");
    let reader = registry.content.open(&blob, None).await.expect("stored");
    reader.read_to_end(1 << 20).await.expect("read").to_vec()
}

#[tokio::test]
async fn a_cancel_that_lost_its_claim_removes_nothing_of_the_blob_that_another_server_made() {
    let server = shared().await;
    let other = server.another();
    // One part, and several: the store in memory has parts of 64 KiB.
    for content in [b"content".to_vec(), vec![7; 200_000]] {
        let id = server.start().await;
        server.append(id, None, &content).await.expect("appended");
        let uploads = &server.registry.uploads;
        let slow = uploads.claims.claim(server.repository, id).await;
        let slow = slow.expect("claimed");
        server.clock.advance(CLAIM_IS_OVER);
        let finished = other
            .uploads
            .finish(server.repository, id, &digest(&content), part(None, b""))
            .await;
        finished.expect("201");
        let late = uploads.end(slow).await;
        assert!(matches!(late, Err(Error::NoSuchUpload)), "{late:?}");
        assert_eq!(read(&server.registry, &server, &content).await, content);
        assert_eq!(read(&other, &server, &content).await, content);
    }
}

#[tokio::test]
async fn a_server_that_lost_its_claim_publishes_nothing() {
    let server = shared().await;
    let other = server.another();
    for content in [b"content".to_vec(), vec![7; 200_000]] {
        let id = server.start().await;
        server.append(id, None, &content).await.expect("appended");
        let uploads = &server.registry.uploads;
        let slow = uploads.claims.claim(server.repository, id).await;
        let slow = slow.expect("claimed");
        let busy = other
            .uploads
            .claims
            .look(server.repository, id, Duration::ZERO);
        assert!(busy.await.is_ok(), "a status does not need the claim");
        server.clock.advance(CLAIM_IS_OVER);
        let cancelled = other.uploads.cancel(server.repository, id).await;
        cancelled.expect("the claim is over");
        let late = uploads.publish(slow, digest(&content)).await;
        assert!(late.is_err(), "{late:?}");
        let found = server
            .registry
            .content
            .get(server.repository, &digest(&content))
            .await;
        assert!(matches!(found, Err(Error::NoSuchBlob(_))));
    }
}

#[tokio::test]
async fn a_request_that_lost_its_claim_neither_ends_nor_publishes_what_another_one_works_on() {
    let server = shared().await;
    let other = server.another();
    for content in [b"content".to_vec(), vec![7; 200_000]] {
        let id = server.start().await;
        server.append(id, None, &content).await.expect("appended");
        let uploads = &server.registry.uploads;
        let mut lost = Vec::new();
        for _ in 0..2 {
            let claim = uploads.claims.claim(server.repository, id).await;
            lost.push(claim.expect("claimed"));
            server.clock.advance(CLAIM_IS_OVER);
        }
        let claim = other.uploads.claims.claim(server.repository, id).await;
        let claim = claim.expect("claimed");
        let ended = uploads.end(lost.remove(0)).await;
        assert!(matches!(ended, Err(Error::NoSuchUpload)), "{ended:?}");
        // A digest of the other algorithm, so that the bytes themselves can be published once more.
        let sha512 = Digest::of(Algorithm::Sha512, &content);
        let published = uploads.publish(lost.remove(0), sha512).await;
        assert!(published.is_err(), "{published:?}");
        let found = other.content.get(server.repository, &sha512).await;
        assert!(matches!(found, Err(Error::NoSuchBlob(_))));
        let published = other.uploads.publish(claim, digest(&content)).await;
        published.expect("201");
        assert_eq!(read(&other, &server, &content).await, content);
    }
}

#[tokio::test]
async fn a_claimed_session_is_neither_swept_nor_given_to_another_request() {
    let server = shared().await;
    let other = server.another();
    let id = server.start().await;
    let claim = server.registry.uploads.claims.claim(server.repository, id);
    let claim = claim.await.expect("claimed");
    let taken = tokio::time::timeout(
        Duration::from_millis(200),
        other.uploads.claims.claim(server.repository, id),
    );
    assert!(taken.await.is_err(), "it waits");
    let saved = server.registry.uploads.claims.save(claim).await;
    saved.expect("its own");
    let claim = other.uploads.claims.claim(server.repository, id).await;
    let claim = claim.expect("given back");
    assert!(!claim.session.unclean);
    server.clock.advance(CLAIM_IS_OVER);
    let next = server.registry.uploads.claims.claim(server.repository, id);
    assert!(next.await.expect("it is over").session.unclean);
}

#[tokio::test]
async fn a_stored_blob_that_is_gone_is_replaced_by_the_next_upload() {
    let server = shared().await;
    let content = b"the same content";
    let push = async || {
        let uploads = &server.registry.uploads;
        uploads
            .monolithic(server.repository, &digest(content), part(None, content))
            .await
    };
    let first = push().await.expect("pushed");
    let again = push().await.expect("pushed");
    assert_eq!(again.key, first.key, "the first copy counts");
    server.blobs.delete(&first.key).await.expect("deleted");
    let repaired = push().await.expect("pushed");
    assert_ne!(repaired.key, first.key);
    assert_eq!(read(&server.registry, &server, content).await, content);
}

#[tokio::test]
async fn a_file_that_a_crash_left_without_a_row_goes_with_its_session() {
    let config = Config::default();
    let expiry = config.upload_expiry;
    let db = Db::memory(MIGRATIONS).expect("an index");
    let server = TestServer::over(db, true, config).await;
    let content = b"renamed, not recorded";
    let digest = digest(content);
    let id = server.start().await;
    server.append(id, None, content).await.expect("appended");
    {
        let uploads = &server.registry.uploads;
        let mut claim = uploads
            .claims
            .claim(server.repository, id)
            .await
            .expect("claimed");
        // As far as a publication comes before its last transaction.
        uploads
            .record_digest(&mut claim, digest)
            .await
            .expect("recorded");
        let staged = crate::uploads::staged(&claim.session).expect("a state");
        let stored = server.blobs.finish(staged, &digest, false).await;
        stored.expect("renamed");
    }
    let key = server.blobs.key_of(&digest).expect("a folder has one");
    let size = content.len() as u64;
    assert!(server.blobs.has(&key, size).await.expect("looked"));
    server.clock.advance(2 * expiry);
    assert_eq!(
        server.registry.uploads.sweep().await.expect("swept").ended,
        1
    );
    assert!(!server.blobs.has(&key, size).await.expect("looked"));
}

#[tokio::test]
async fn a_digest_stays_locked_while_a_commit_about_its_upload_is_in_doubt() {
    let server = shared().await;
    let (id, digest) = (server.start().await, digest(b"content"));
    let uploads = &server.registry.uploads;
    // The transaction that was given up: it is still under way.
    let (proceed, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let db = server.db.clone();
    let in_doubt = tokio::spawn(async move {
        let work = move |_: &mut wharfinger_db::Tx<'_>| {
            let wait = wait.lock().expect("locked");
            wait.recv_timeout(Duration::from_secs(20)).expect("told");
            Ok::<_, wharfinger_db::Error>(())
        };
        db.write(work).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let held = uploads.publishing.hold(digest).await;
    uploads.release_when_settled(held, id);
    let waiting = uploads.publishing.hold(digest);
    let early = tokio::time::timeout(Duration::from_millis(300), waiting).await;
    assert!(early.is_err(), "it may yet be committed");
    proceed.send(()).expect("sent");
    in_doubt.await.expect("a task").expect("committed");
    let waiting = uploads.publishing.hold(digest);
    let released = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    assert!(released.is_ok());
}
