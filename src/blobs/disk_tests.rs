//! What only a disk can do to an upload: crash, lose bytes, run full, be read while a blob goes.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use wharfinger_oci::Algorithm;

use crate::staging::Place;
use crate::suite::{LIMITS, body, digest, id, on_disk, pattern, push, read};
use crate::{AppendError, BlobStore, Durability, Error, FinishError, Staged, key};

fn staged_path(folder: &tempfile::TempDir, staged: &Staged) -> PathBuf {
    folder.path().join("data").join(key::staged(staged.id()))
}

async fn begun(store: &BlobStore, bytes: &Bytes) -> Staged {
    let mut staged = store.begin(id(), Algorithm::Sha256);
    store
        .append(&mut staged, body(bytes, 777), LIMITS)
        .await
        .expect("appended");
    staged
}

#[tokio::test]
async fn bytes_beyond_what_is_recorded_are_cut_off() {
    let (store, folder) = on_disk(Durability::Full).await;
    let all = pattern(1, 5_000);
    let mut staged = begun(&store, &all.slice(..2_000)).await;
    let path = staged_path(&folder, &staged);
    fs::write(&path, [&all[..2_000], b"never recorded"].concat()).expect("written");
    store.check(&staged).await.expect("there");
    store
        .append(&mut staged, body(&all.slice(2_000..), 100), LIMITS)
        .await
        .expect("appended");
    let blob = store.finish(staged, &digest(&all)).await.expect("finished");
    assert!(read(&store, &blob.key, None).await == all);
    assert!(!path.exists());
}

#[tokio::test]
async fn bytes_that_are_gone_are_told() {
    let (store, folder) = on_disk(Durability::Full).await;
    let mut staged = begun(&store, &pattern(1, 2_000)).await;
    fs::File::options()
        .write(true)
        .open(staged_path(&folder, &staged))
        .expect("there")
        .set_len(1_999)
        .expect("cut");
    assert!(matches!(store.check(&staged).await, Err(Error::Lost)));
    assert!(matches!(
        store
            .append(&mut staged, body(&pattern(1, 5), 5), LIMITS)
            .await,
        Err(AppendError::Store(Error::Lost))
    ));
    assert!(matches!(
        store.finish(staged, &digest(&pattern(1, 2_000))).await,
        Err(FinishError::Store(Error::Lost))
    ));
}

#[tokio::test]
async fn after_another_boot_the_bytes_are_looked_at_once() {
    let (store, folder) = on_disk(Durability::Full).await;
    let all = pattern(1, 3_000);
    let mut sound = begun(&store, &all.slice(..2_000)).await;
    let mut holed = begun(&store, &all.slice(..2_000)).await;
    for staged in [&mut sound, &mut holed] {
        staged.place = Place::Disk {
            boot: "an earlier one".to_owned(),
        };
    }
    // The length is right, the bytes never reached the disk.
    fs::write(staged_path(&folder, &holed), [0; 2_000]).expect("written");
    assert!(matches!(store.check(&holed).await, Err(Error::Lost)));
    assert!(matches!(
        store.finish(holed, &digest(&all[..2_000])).await,
        Err(FinishError::Store(Error::Lost))
    ));
    store
        .append(&mut sound, body(&all.slice(2_000..), 100), LIMITS)
        .await
        .expect("appended");
    store.finish(sound, &digest(&all)).await.expect("finished");
}

#[tokio::test]
async fn a_full_disk_is_told_and_keeps_nothing() {
    let (store, folder) = on_disk(Durability::Full).await;
    let mut staged = store.begin(id(), Algorithm::Sha256);
    std::os::unix::fs::symlink("/dev/full", staged_path(&folder, &staged)).expect("linked");
    for length in [10, 3_000_000] {
        let refused = store
            .append(&mut staged, body(&pattern(2, length), 60_000), LIMITS)
            .await;
        assert!(
            matches!(refused, Err(AppendError::Store(Error::NoSpace))),
            "{refused:?}"
        );
        assert_eq!(staged.size(), 0);
    }
}

#[tokio::test]
async fn two_requests_do_not_write_one_upload() {
    let (store, _folder) = on_disk(Durability::Full).await;
    let mut staged = begun(&store, &pattern(1, 100)).await;
    let (mut first, mut second) = (staged.clone(), staged.clone());
    let slow = body(&pattern(3, 50), 10).chain(stream::once(async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        Ok(Bytes::from_static(b"end"))
    }));
    let (one, two) = tokio::join!(store.append(&mut first, slow, LIMITS), async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        store
            .append(&mut second, body(&pattern(4, 50), 10), LIMITS)
            .await
    });
    assert_eq!(one.expect("appended"), 53);
    assert!(matches!(two, Err(AppendError::Store(Error::Busy))));
    store
        .append(&mut staged, body(&pattern(5, 5), 5), LIMITS)
        .await
        .expect("free again");
}

#[tokio::test]
async fn a_blob_being_read_outlives_its_deletion_and_a_new_one_is_seen() {
    let (store, folder) = on_disk(Durability::Full).await;
    let all = pattern(6, 50_000);
    let blob = push(&store, &all).await;
    let path = folder.path().join("data").join(blob.key.as_str());
    let reader = store.open_blob(&blob.key, None).await.expect("there");
    store.delete(&blob.key).await.expect("deleted");
    assert!(!path.exists());
    assert!(reader.read_to_end(1 << 20).await.expect("still readable") == all);
    // A damaged copy of another length is replaced, and readers see the new one.
    fs::write(&path, b"damaged").expect("written");
    assert_eq!(read(&store, &blob.key, None).await, "damaged");
    push(&store, &all).await;
    assert!(read(&store, &blob.key, None).await == all);
}

#[tokio::test]
async fn a_file_is_handed_out_whole_for_the_kernel_to_send() {
    let (store, _folder) = on_disk(Durability::Full).await;
    let blob = push(&store, &pattern(7, 1_000)).await;
    let (file, range) = store
        .open_blob(&blob.key, Some(10..20))
        .await
        .expect("there")
        .into_file()
        .expect("a file");
    assert_eq!(
        (file.metadata().expect("open").len(), range),
        (1_000, 10..20)
    );
}
