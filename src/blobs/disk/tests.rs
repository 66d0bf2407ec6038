//! What only a disk can do to an upload: crash, lose bytes, run full, have a blob deleted while it
//! is read.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use wharfinger_base::{Durability, Ids};
use wharfinger_oci::Algorithm;

use crate::staging::BackendState;
use crate::tests::support::{LIMITS, body, digest, id, on_disk, pattern, push, read};
use crate::{AppendError, BlobKey, BlobStore, BlobsConfig, Error, FinishError, Staged, key};

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
    let blob = store
        .finish(staged, &digest(&all), false)
        .await
        .expect("finished");
    assert!(read(&store, &blob, None).await == all);
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
        store
            .finish(staged, &digest(&pattern(1, 2_000)), false)
            .await,
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
        staged.state = BackendState::Disk {
            boot: "an earlier one".to_owned(),
        };
    }
    // The length is right, the bytes never reached the disk.
    fs::write(staged_path(&folder, &holed), [0; 2_000]).expect("written");
    assert!(matches!(store.check(&holed).await, Err(Error::Lost)));
    assert!(matches!(
        store.finish(holed, &digest(&all[..2_000]), false).await,
        Err(FinishError::Store(Error::Lost))
    ));
    store
        .append(&mut sound, body(&all.slice(2_000..), 100), LIMITS)
        .await
        .expect("appended");
    store
        .finish(sound, &digest(&all), false)
        .await
        .expect("finished");
}

#[tokio::test]
async fn after_a_restart_the_bytes_are_read_back_from_the_device() {
    let (store, folder) = on_disk(Durability::Full).await;
    let all = pattern(1, 3_000_000);
    let sound = begun(&store, &all).await;
    let damaged = begun(&store, &all).await;
    // A failed write that was reported to the process before.
    let file = fs::File::options()
        .write(true)
        .open(staged_path(&folder, &damaged))
        .expect("there");
    file.write_all_at(&[0; 4_096], 1_048_576).expect("written");
    drop(store);
    let config = BlobsConfig::Disk {
        root: folder.path().join("data"),
    };
    let store = BlobStore::open(&config, Durability::Full, Ids::default())
        .await
        .expect("opened");
    for upload in [&sound, &damaged] {
        store.check(upload).await.expect("of the right length");
    }
    let blob = store
        .finish(sound, &digest(&all), false)
        .await
        .expect("finished");
    assert!(read(&store, &blob, None).await == all);
    let path = staged_path(&folder, &damaged);
    assert!(matches!(
        store.finish(damaged, &digest(&all), false).await,
        Err(FinishError::Store(Error::Lost))
    ));
    assert!(!path.exists());
}

#[tokio::test]
async fn an_upload_that_could_not_be_published_is_not_tried_again() {
    let (store, folder) = on_disk(Durability::Full).await;
    let all = pattern(1, 3_000);
    let staged = begun(&store, &all).await;
    // No file can be renamed over a directory.
    let target = folder
        .path()
        .join("data")
        .join(BlobKey::of_blob(&digest(&all)).as_str());
    fs::create_dir_all(&target).expect("created");
    let failed = store.finish(staged.clone(), &digest(&all), false).await;
    assert!(
        matches!(failed, Err(FinishError::Store(Error::Io(_)))),
        "{failed:?}"
    );
    assert!(matches!(store.check(&staged).await, Err(Error::Lost)));
    fs::remove_dir(&target).expect("removed");
    let again = store.finish(staged, &digest(&all), false).await;
    assert!(
        matches!(again, Err(FinishError::Store(Error::Lost))),
        "{again:?}"
    );
}

#[tokio::test]
async fn a_full_disk_keeps_nothing() {
    let (store, folder) = on_disk(Durability::Full).await;
    for length in [10, 3_000_000] {
        let mut staged = store.begin(id(), Algorithm::Sha256);
        let path = staged_path(&folder, &staged);
        std::os::unix::fs::symlink("/dev/full", &path).expect("linked");
        let refused = store
            .append(&mut staged, body(&pattern(2, length), 60_000), LIMITS)
            .await;
        assert!(
            matches!(refused, Err(AppendError::Store(Error::NoSpace))),
            "{refused:?}"
        );
        assert_eq!(staged.size(), 0);
        assert!(!path.is_symlink());
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
async fn a_blob_that_is_being_read_can_be_deleted() {
    let (store, folder) = on_disk(Durability::Full).await;
    let all = pattern(6, 50_000);
    let blob = push(&store, &all).await;
    let path = folder.path().join("data").join(blob.key.as_str());
    let opened = store.open_blob(&blob.key, blob.size, None).await;
    let reader = opened.expect("there");
    store.delete(&blob.key).await.expect("deleted");
    assert!(!path.exists());
    assert!(reader.read_to_end(1 << 20).await.expect("still readable") == all);
}

#[tokio::test]
async fn a_damaged_blob_is_repaired_by_pushing_it_again() {
    let (store, folder) = on_disk(Durability::Full).await;
    let all = pattern(6, 50_000);
    let blob = push(&store, &all).await;
    let path = folder.path().join("data").join(blob.key.as_str());
    for length in [50_000, 7, 50_001] {
        let damage = vec![0; length];
        fs::write(&path, damage).expect("written");
        // A reader keeps the damaged file open.
        let _ = store.open_blob(&blob.key, blob.size, None).await;
        push(&store, &all).await;
        assert!(read(&store, &blob, None).await == all);
    }
}

#[tokio::test]
async fn a_file_of_another_length_is_an_error_also_while_it_is_open() {
    let (store, folder) = on_disk(Durability::Full).await;
    let blob = push(&store, &pattern(8, 1_000)).await;
    let path = folder.path().join("data").join(blob.key.as_str());
    read(&store, &blob, None).await;
    for length in [999, 1_001] {
        let file = fs::File::options().write(true).open(&path).expect("there");
        file.set_len(length).expect("cut");
        for range in [None, Some(0..10)] {
            let refused = store.open_blob(&blob.key, blob.size, range).await;
            let Err(Error::WrongLength { expected, actual }) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!((expected, actual), (1_000, length));
        }
    }
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_read_ends_the_body_with_an_error() {
    let (store, folder) = on_disk(Durability::Full).await;
    let blob = push(&store, &pattern(9, 100_000)).await;
    let path = folder.path().join("data").join(blob.key.as_str());
    let opened = store.open_blob(&blob.key, blob.size, None).await;
    let reader = opened.expect("there");
    let file = fs::File::options().write(true).open(&path).expect("there");
    file.set_len(50_000).expect("cut");
    assert!(reader.read_to_end(1 << 20).await.is_err());
}

#[tokio::test]
async fn a_file_with_a_second_name_is_lost_to_its_upload() {
    let (store, folder) = on_disk(Durability::Full).await;
    let mut staged = begun(&store, &pattern(1, 100)).await;
    // What a crash leaves of a rename where the filesystem keeps only half of it.
    let published = folder.path().join("data/blobs/sha256/published");
    fs::hard_link(staged_path(&folder, &staged), &published).expect("linked");
    let refused = store
        .append(&mut staged, body(&pattern(2, 100), 10), LIMITS)
        .await;
    assert!(matches!(refused, Err(AppendError::Store(Error::Lost))));
    assert!(fs::read(&published).expect("there") == pattern(1, 100));
}

#[tokio::test]
async fn a_file_is_handed_out_whole_for_the_kernel_to_send() {
    let (store, _folder) = on_disk(Durability::Full).await;
    let blob = push(&store, &pattern(7, 1_000)).await;
    let opened = store.open_blob(&blob.key, blob.size, Some(10..20)).await;
    let (file, range) = opened.expect("there").into_file().expect("a file");
    assert_eq!(
        (file.metadata().expect("open").len(), range),
        (1_000, 10..20)
    );
}

#[tokio::test]
async fn an_identity_that_is_none_is_refused() {
    let (store, folder) = on_disk(Durability::Full).await;
    let path = folder.path().join("data").join(key::IDENTITY);
    for text in ["", "the production store", &"1".repeat(1_000)] {
        fs::write(&path, text).expect("written");
        assert!(store.identity().await.is_err(), "{text}");
    }
    let known = id();
    fs::write(&path, format!(" {known}\r\n")).expect("written");
    assert_eq!(store.identity().await.expect("read"), Some(known));
}
