//! The behaviour of every backend: a directory, objects in memory, and a bucket where
//! `WHARFINGER_TEST_S3_URL` names one.

pub(crate) mod support;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use wharfinger_base::{Durability, Ids, Secret, Timestamp};
use wharfinger_oci::{Algorithm, Digest};

use crate::store::MEMORY_PART;
use crate::tests::support::{LIMITS, body, digest, id, on_disk, pattern, push, read, recorded};
use crate::{
    AppendError, AppendLimits, BlobKey, BlobStore, BlobsConfig, Error, FinishError, S3Keys, Staged,
};

/// Tests all behaviours; `unit` is the size of a part.
async fn all_behaviours(store: BlobStore, unit: usize) {
    tokio::join!(
        grows_by_appends(&store, unit),
        keeps_what_is_said(&store, unit),
        goes_on_after_a_break(&store, unit)
    );
    tokio::join!(
        refuses_other_bytes(&store, unit),
        takes_both_algorithms(&store, unit),
        reads_ranges(&store, unit)
    );
    tokio::join!(
        stores_the_smallest(&store),
        shares_identical_blobs(&store, unit),
        forgets(&store, unit)
    );
    crate::records::tests::are_kept(&store).await;
    crate::copying::tests::are_copied(&store, unit).await;
    crate::listing::tests::are_listed(&store).await;
    crate::listing::tests::are_put_aside(&store).await;
    sweeps(&store, unit).await;
    keeps_its_first_identity(&store).await;
}

async fn keeps_its_first_identity(store: &BlobStore) {
    assert_eq!(store.identity().await.expect("read"), None);
    let (first, second) = (id(), id());
    assert_eq!(store.set_identity(first).await.expect("set"), first);
    if !store.has_keys_by_digest() {
        // Servers of one bucket may start at once.
        assert_eq!(store.set_identity(second).await.expect("known"), first);
    }
    assert_eq!(store.identity().await.expect("read"), Some(first));
}

async fn grows_by_appends(store: &BlobStore, unit: usize) {
    for (seed, lengths) in [
        vec![1, 2, 3],
        vec![unit],
        vec![unit - 1, 1, 1],
        vec![2 * unit + 5, unit / 2, 3 * unit],
        vec![unit, unit, unit],
    ]
    .into_iter()
    .enumerate()
    {
        let all = pattern(seed, lengths.iter().sum());
        let mut staged = store.begin(id(), Algorithm::Sha256);
        let mut at = 0;
        for length in lengths {
            let chunk = all.slice(at..at + length);
            let limits = AppendLimits {
                expected: Some(length as u64),
                ..LIMITS
            };
            assert_eq!(
                store
                    .append(&mut staged, body(&chunk, unit / 7 + 1), limits)
                    .await
                    .expect("appended"),
                length as u64
            );
            at += length;
            assert_eq!(staged.size(), at as u64);
            store.check(&staged).await.expect("there");
            staged = recorded(&staged);
        }
        let blob = store
            .finish(staged, &digest(&all), false)
            .await
            .expect("finished");
        assert_eq!(blob.size, all.len() as u64);
        assert_eq!(blob.key.as_str().parse(), Ok(blob.key.clone()));
        assert!(read(store, &blob, None).await == all);
    }
}

async fn keeps_what_is_said(store: &BlobStore, unit: usize) {
    let all = pattern(3, 3 * unit);
    let mut staged = store.begin(id(), Algorithm::Sha256);
    store
        .append(&mut staged, body(&all.slice(..100), 33), LIMITS)
        .await
        .expect("appended");

    let small = AppendLimits {
        max_bytes: 150,
        ..LIMITS
    };
    let refused = store.append(&mut staged, body(&all, 20), small).await;
    assert!(
        matches!(refused, Err(AppendError::TooLarge { limit: 150 })),
        "{refused:?}"
    );
    for expected in [49, 51] {
        let announced = AppendLimits {
            expected: Some(expected),
            ..LIMITS
        };
        let refused = store
            .append(&mut staged, body(&all.slice(100..150), 20), announced)
            .await;
        assert!(
            matches!(refused, Err(AppendError::Length { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(staged.size(), 100);

    let broken = body(&all.slice(100..200), 10).chain(stream::iter([Err(
        std::io::ErrorKind::ConnectionReset.into(),
    )]));
    assert!(matches!(
        store.append(&mut staged, broken, LIMITS).await,
        Err(AppendError::Body(_))
    ));
    assert_eq!(staged.size(), 200);
    let silent = body(&all.slice(200..300), 10).chain(stream::pending());
    let impatient = AppendLimits {
        idle_timeout: Duration::from_millis(30),
        ..LIMITS
    };
    assert!(matches!(
        store.append(&mut staged, silent, impatient).await,
        Err(AppendError::Idle(_))
    ));
    assert_eq!(staged.size(), 300);

    store
        .append(
            &mut staged,
            body(&all.slice(300..), 9_999),
            AppendLimits {
                last: true,
                ..LIMITS
            },
        )
        .await
        .expect("appended");
    let blob = store
        .finish(recorded(&staged), &digest(&all), false)
        .await
        .expect("finished");
    assert!(read(store, &blob, None).await == all);
}

async fn goes_on_after_a_break(store: &BlobStore, unit: usize) {
    for start in [100, unit, 2 * unit + 7] {
        let all = pattern(start, start + 2 * unit + 1);
        let mut staged = store.begin(id(), Algorithm::Sha256);
        store
            .append(&mut staged, body(&all.slice(..start), 4_001), LIMITS)
            .await
            .expect("appended");
        let before = recorded(&staged);
        // The request is dropped half way; another one finishes, but its outcome is never recorded.
        let hanging =
            body(&all.slice(start..start + unit / 2), unit / 60 + 1).chain(stream::pending());
        let dropped = tokio::time::timeout(
            Duration::from_millis(100),
            store.append(&mut staged, hanging, LIMITS),
        )
        .await;
        assert!(dropped.is_err());
        let mut lost = before.clone();
        retry_busy(store, &mut lost, &pattern(99, unit + 1)).await;
        let mut staged = before;
        retry_busy(store, &mut staged, &all.slice(start..)).await;
        let blob = store
            .finish(recorded(&staged), &digest(&all), false)
            .await
            .expect("finished");
        assert!(read(store, &blob, None).await == all);
    }
}

/// A dropped request's thread may hold the upload a moment longer.
async fn retry_busy(store: &BlobStore, staged: &mut Staged, bytes: &Bytes) {
    for _ in 0..200 {
        match store.append(staged, body(bytes, 50_003), LIMITS).await {
            Err(AppendError::Store(Error::Busy)) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            done => {
                assert_eq!(done.expect("appended"), bytes.len() as u64);
                return;
            }
        }
    }
    panic!("the upload stays busy");
}

async fn refuses_other_bytes(store: &BlobStore, unit: usize) {
    for length in [10, 2 * unit + 10] {
        let all = pattern(4, length);
        let mut staged = store.begin(id(), Algorithm::Sha256);
        store
            .append(&mut staged, body(&all, unit / 60 + 1), LIMITS)
            .await
            .expect("appended");
        let key = BlobKey::of_upload(staged.id());
        let refused = store.finish(staged.clone(), &digest(b"other"), false).await;
        assert!(
            matches!(&refused, Err(FinishError::DigestMismatch { actual })
                if *actual == digest(&all)),
            "{refused:?}"
        );
        assert!(matches!(
            store.open_blob(&key, all.len() as u64, None).await,
            Err(Error::NotFound)
        ));
        assert!(matches!(
            store
                .open_blob(&BlobKey::of_blob(&digest(b"other")), 5, None)
                .await,
            Err(Error::NotFound)
        ));
        store.abort(&staged, None).await.expect("aborted");
        let gone = store.finish(staged.clone(), &digest(&all), false).await;
        // The store in memory has no word of its own for an upload that it does not know.
        assert!(
            matches!(
                gone,
                Err(FinishError::Store(Error::Lost | Error::Objects(_)))
            ),
            "{gone:?}"
        );
        let gone = store
            .append(&mut staged, body(&all, unit / 60 + 1), LIMITS)
            .await;
        assert!(
            matches!(gone, Err(AppendError::Store(Error::Lost))),
            "{gone:?}"
        );
    }
}

async fn takes_both_algorithms(store: &BlobStore, unit: usize) {
    for length in [77, 2 * unit + 1] {
        let all = pattern(5, length);
        for (running, wanted) in [
            (Algorithm::Sha512, Algorithm::Sha512),
            (Algorithm::Sha256, Algorithm::Sha512),
            (Algorithm::Sha512, Algorithm::Sha256),
        ] {
            for right in [true, false] {
                let mut staged = store.begin(id(), running);
                store
                    .append(&mut staged, body(&all, unit / 50 + 1), LIMITS)
                    .await
                    .expect("appended");
                let requested = if right {
                    Digest::of(wanted, &all)
                } else {
                    Digest::of(wanted, b"other")
                };
                match store.finish(recorded(&staged), &requested, false).await {
                    Ok(blob) if right => assert!(read(store, &blob, None).await == all),
                    Err(FinishError::DigestMismatch { actual }) if !right => {
                        assert_eq!(actual, Digest::of(wanted, &all));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

async fn reads_ranges(store: &BlobStore, unit: usize) {
    let all = pattern(6, 2 * unit + 100);
    let size = all.len() as u64;
    let blob = push(store, &all).await;
    for range in [
        0..1,
        0..size,
        5..5,
        size - 1..size,
        size..size,
        100..unit as u64 + 100,
    ] {
        let at = usize::try_from(range.start).expect("small")
            ..usize::try_from(range.end).expect("small");
        assert!(
            read(store, &blob, Some(range.clone())).await == all.slice(at),
            "{range:?}"
        );
    }
    for range in [
        0..size + 1,
        size + 1..size + 2,
        size..size + 1,
        size + 1..size + 1,
    ] {
        let refused = store.open_blob(&blob.key, size, Some(range.clone())).await;
        assert!(
            matches!(refused, Err(Error::OutOfRange { size: told }) if told == size),
            "{range:?}: {refused:?}"
        );
    }
    for expected in [0, 1, size - 1, size + 1] {
        for range in [None, Some(0..expected.min(1))] {
            let refused = store.open_blob(&blob.key, expected, range.clone()).await;
            assert!(
                matches!(&refused, Err(Error::WrongLength { expected: told, actual })
                    if (*told, *actual) == (expected, size)),
                "{expected} {range:?}: {refused:?}"
            );
        }
    }
}

async fn stores_the_smallest(store: &BlobStore) {
    for bytes in [Bytes::new(), Bytes::from_static(b"{}")] {
        let unstarted = store.begin(id(), Algorithm::Sha256);
        if bytes.is_empty() {
            let blob = store
                .finish(recorded(&unstarted), &digest(b""), false)
                .await
                .expect("finished");
            assert!(read(store, &blob, None).await.is_empty());
        }
        let blob = push(store, &bytes).await;
        assert!(read(store, &blob, None).await == bytes);
    }
}

async fn shares_identical_blobs(store: &BlobStore, unit: usize) {
    let all = pattern(7, unit + 9);
    let pushes = (0..8).map(|_| push(store, &all));
    for blob in futures_util::future::join_all(pushes).await {
        assert!(read(store, &blob, None).await == all);
    }
}

async fn forgets(store: &BlobStore, unit: usize) {
    for length in [50, 2 * unit + 50] {
        let all = pattern(length + 8, length);
        let blob = push(store, &all).await;
        assert!(read(store, &blob, None).await == all);
        for _ in 0..2 {
            store.delete(&blob.key).await.expect("deleted");
            assert!(matches!(
                store.open_blob(&blob.key, blob.size, None).await,
                Err(Error::NotFound)
            ));
        }
        let mut staged = store.begin(id(), Algorithm::Sha256);
        store
            .append(&mut staged, body(&all, unit / 60 + 1), LIMITS)
            .await
            .expect("appended");
        store.abort(&staged, None).await.expect("aborted");
        let again = store.abort(&staged, None).await;
        assert!(
            matches!(again, Ok(()) | Err(Error::Objects(_))),
            "{again:?}"
        ); // in memory, as above
        assert!(matches!(
            store
                .append(&mut staged, body(&all, unit / 60 + 1), LIMITS)
                .await,
            Err(AppendError::Store(Error::Lost))
        ));
    }
}

async fn sweeps(store: &BlobStore, unit: usize) {
    let never = Timestamp::from_ms(0);
    let always = Timestamp::from_ms(i64::MAX);
    store
        .sweep_staging(always, usize::MAX)
        .await
        .expect("swept");
    for _ in 0..3 {
        let mut staged = store.begin(id(), Algorithm::Sha256);
        store
            .append(
                &mut staged,
                body(&pattern(9, unit + 9), unit / 60 + 1),
                LIMITS,
            )
            .await
            .expect("appended");
    }
    assert_eq!(
        store.sweep_staging(never, usize::MAX).await.expect("swept"),
        0
    );
    let (first, second) = if store.has_keys_by_digest() {
        (2, 1)
    } else {
        (0, 0)
    };
    assert_eq!(store.sweep_staging(always, 2).await.expect("swept"), first);
    assert_eq!(store.sweep_staging(always, 2).await.expect("swept"), second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_disk() {
    let (store, _folder) = on_disk(Durability::Full).await;
    all_behaviours(store, 300_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_disk_with_relaxed_durability() {
    let (store, _folder) = on_disk(Durability::Relaxed).await;
    all_behaviours(store, 70_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_objects_in_memory() {
    let store = BlobStore::open(&BlobsConfig::Memory, Durability::Full, Ids::default())
        .await
        .expect("opened");
    all_behaviours(store, usize::try_from(MEMORY_PART).expect("small")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_bucket() {
    let Ok(url) = std::env::var("WHARFINGER_TEST_S3_URL") else {
        return;
    };
    let access_key_id = std::env::var("WHARFINGER_S3_ACCESS_KEY_ID").ok();
    let keys = access_key_id.map(|access_key_id| S3Keys {
        access_key_id,
        secret_access_key: Secret::new(
            std::env::var("WHARFINGER_S3_SECRET_ACCESS_KEY").expect("the key's secret"),
        ),
    });
    let config = BlobsConfig::parse(&url, keys).expect("a bucket's URL");
    let (store, part) = BlobStore::open_bucket_for_test(&config)
        .await
        .expect("opened");
    let bytes = Bytes::from_static(b"from the bucket itself");
    let blob = push(&store, &bytes).await;
    let url = store
        .presign_get(&blob.key, Duration::from_mins(1))
        .await
        .expect("signed")
        .expect("S3 signs");
    assert_eq!(
        reqwest::get(url)
            .await
            .expect("a response")
            .bytes()
            .await
            .expect("read"),
        bytes
    );
    all_behaviours(store, part).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn however_a_blob_is_cut_it_comes_back(
        cuts in proptest::collection::vec((0_usize..150_000, 1_usize..50_000, any::<bool>()), 1..6),
        disk in any::<bool>(),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (on_disk, _folder) = on_disk(Durability::Relaxed).await;
            let in_memory = BlobStore::open(&BlobsConfig::Memory, Durability::Full, Ids::default());
            let store = if disk { on_disk } else { in_memory.await.expect("opened") };
            let all = pattern(cuts.len(), cuts.iter().map(|cut| cut.0).sum());
            let mut staged = store.begin(id(), Algorithm::Sha256);
            let mut at = 0;
            for (length, piece, breaks) in cuts {
                let chunk = all.slice(at..at + length);
                at += length;
                if breaks {
                    let reset = Err(std::io::ErrorKind::ConnectionReset.into());
                    let broken = body(&chunk, piece).chain(stream::iter([reset]));
                    let ended = store.append(&mut staged, broken, LIMITS).await;
                    assert!(matches!(ended, Err(AppendError::Body(_))));
                } else {
                    let appended = store.append(&mut staged, body(&chunk, piece), LIMITS).await;
                    appended.expect("appended");
                }
                assert_eq!(staged.size(), at as u64);
                staged = recorded(&staged);
            }
            let blob = store.finish(staged, &digest(&all), false).await.expect("finished");
            assert!(read(&store, &blob, None).await == all);
        });
    }
}
