//! A bucket that fails: what is read goes on, and what is written leaves nothing unknown.

mod faulty_store;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use faulty_store::FaultyStore;
use futures_util::{StreamExt, stream};
use wharfinger_base::Ids;
use wharfinger_oci::{Algorithm, Digest};

use super::*;
use crate::tests::support::{LIMITS, body, digest, id, pattern};

const PART_BYTES: usize = 128 * 1024;

fn bucket() -> (Arc<FaultyStore>, Objects) {
    let store = Arc::new(FaultyStore::default());
    let objects = Objects::over(
        Arc::clone(&store) as _,
        Arc::clone(&store) as _,
        PART_BYTES as u64,
        Ids::default(),
    );
    (store, objects)
}

async fn append(objects: &Objects, staged: &mut Staged, bytes: &Bytes) -> Result<u64, AppendError> {
    let pieces = body(bytes, 10_007).boxed();
    objects.append(staged, pieces, LIMITS).await
}

async fn read(objects: &Objects, key: &BlobKey) -> Result<Bytes> {
    objects
        .open_blob(key, None)
        .await?
        .read_to_end(1 << 30)
        .await
}

async fn push(objects: &Objects, bytes: &Bytes) -> BlobKey {
    let mut staged = objects.begin(id(), Algorithm::Sha256);
    append(objects, &mut staged, bytes).await.expect("appended");
    let blob = objects.finish(&staged, &digest(bytes), false).await;
    blob.expect("finished").key
}

#[tokio::test(start_paused = true)]
async fn a_read_goes_on_as_long_as_bytes_come_between_failures() {
    let (store, objects) = bucket();
    let all = pattern(1, 30 * 60_000);
    let key = push(&objects, &all).await;
    // More failures in all than a read takes in a row.
    store.break_bodies(25, 60_000);
    assert!(read(&objects, &key).await.expect("read") == all);
    store.hang_bodies(3, 60_000);
    assert!(read(&objects, &key).await.expect("read") == all);
    // The bytes are hashed again for the other algorithm.
    let mut staged = objects.begin(id(), Algorithm::Sha256);
    append(&objects, &mut staged, &all).await.expect("appended");
    store.break_bodies(25, 60_000);
    let other = Digest::of(Algorithm::Sha512, &all);
    objects
        .finish(&staged, &other, false)
        .await
        .expect("finished");
    store.break_bodies(usize::MAX, 0);
    assert!(read(&objects, &key).await.is_err());
}

#[tokio::test]
async fn a_body_longer_than_announced_leaves_nothing_unknown() {
    let (store, objects) = bucket();
    // An announced size makes parts of a MiB at least.
    let all = pattern(2, 3 * 1024 * 1024);
    let mut staged = objects.begin(id(), Algorithm::Sha256);
    let announced = AppendLimits {
        expected: Some(all.len() as u64 - 1),
        ..LIMITS
    };
    for _ in 0..3 {
        let pieces = body(&all, 10_007).boxed();
        let refused = objects.append(&mut staged, pieces, announced).await;
        assert!(matches!(refused, Err(AppendError::Length { .. })));
        assert_eq!(staged.size(), 0);
    }
    assert_eq!(store.open_multiparts(), 1, "one, which the state names");
    let staged = Staged::from_bytes(&staged.to_bytes()).expect("its own bytes");
    objects.abort(&staged, None).await.expect("aborted");
    assert_eq!((store.open_multiparts(), store.objects().await), (0, 0));
}

#[tokio::test]
async fn an_upload_goes_on_after_a_failure_in_the_middle_of_a_part() {
    let first = pattern(3, 2 * PART_BYTES + 1_000);
    let second = pattern(4, 3 * PART_BYTES);
    let whole: Bytes = [first.clone(), second.clone()].concat().into();
    // Whether the client gives the second part up, or sends it again.
    for content in [&first, &whole] {
        let (store, objects) = bucket();
        let mut staged = objects.begin(id(), Algorithm::Sha256);
        append(&objects, &mut staged, &first)
            .await
            .expect("appended");
        // The first part of this append takes the number of the unfinished one.
        store.fail_parts_after(1);
        let failed = append(&objects, &mut staged, &second).await;
        assert!(matches!(failed, Err(AppendError::Store(_))), "{failed:?}");
        assert_eq!(staged.size(), first.len() as u64);
        store.fail_parts_after(usize::MAX);
        if content.len() > first.len() {
            append(&objects, &mut staged, &second).await.expect("again");
        }
        let blob = objects.finish(&staged, &digest(content), true).await;
        let key = blob.expect("finished").key;
        assert!(read(&objects, &key).await.expect("read") == *content);
        objects
            .abort(&staged, Some(&key))
            .await
            .expect("cleaned up");
        assert_eq!((store.open_multiparts(), store.objects().await), (0, 1));
    }
}

#[tokio::test]
async fn a_finish_whose_response_was_lost_can_be_repeated() {
    let (store, objects) = bucket();
    let all = pattern(5, 2 * PART_BYTES + 1_000);
    let mut staged = objects.begin(id(), Algorithm::Sha256);
    append(&objects, &mut staged, &all).await.expect("appended");
    store.lose_next_completion();
    let lost = objects.finish(&staged, &digest(&all), false).await;
    let key = lost
        .expect("the object is there: it is read and compared")
        .key;
    assert!(read(&objects, &key).await.expect("read") == all);
    let again = objects.finish(&staged, &digest(&all), true).await;
    assert_eq!(again.expect("the same").key, key);
}

#[tokio::test(start_paused = true)]
async fn slow_senders_do_not_keep_others_waiting() {
    const SLOW: usize = 24;
    let (store, objects) = bucket();
    let (store, objects) = (store, Arc::new(objects));
    let start = pattern(6, 70_000);
    let (done, _) = tokio::sync::broadcast::channel::<()>(1);
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..SLOW {
        let (objects, start) = (Arc::clone(&objects), start.clone());
        let mut done = done.subscribe();
        slow.spawn(async move {
            let rest = stream::once(async move {
                let _ = done.recv().await;
                Ok(Bytes::from_static(b"the end"))
            });
            let mut staged = objects.begin(id(), Algorithm::Sha256);
            let limits = AppendLimits {
                idle_timeout: Duration::from_hours(1),
                ..LIMITS
            };
            let pieces = body(&start, 10_007).chain(rest).boxed();
            let taken = objects.append(&mut staged, pieces, limits).await;
            assert_eq!(taken.expect("taken"), start.len() as u64 + 7);
            let content = [&start[..], b"the end"].concat();
            let blob = objects.finish(&staged, &digest(&content), false).await;
            blob.expect("finished")
        });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = tokio::time::Instant::now();
    push(&objects, &Bytes::from_static(b"small")).await;
    assert!(started.elapsed() < Duration::from_millis(100));
    push(&objects, &pattern(7, 4 * PART_BYTES)).await;
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    done.send(()).expect("they wait");
    while let Some(blob) = slow.join_next().await {
        blob.expect("no panic");
    }
    assert_eq!(store.open_multiparts(), 0);
}
