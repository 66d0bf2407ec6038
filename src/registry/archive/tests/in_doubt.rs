//! Writes to the archive whose commit is in doubt, and those of a server that was suspended.

use std::time::Duration;

use super::{LEASE, MINUTE, World, digest, text, worlds};
use crate::archive::Encoding;
use crate::lifecycle::StorageClass;
use crate::model::{ArchivedBlob, Blob};
use crate::store::archive::{self as store, ArchiveWrite};

/// A layer of an archived image, which the archive has already and the index does not: the blob,
/// what it becomes, and the write.
async fn half_moved(world: &mut World, layer: &[u8]) -> (Blob, ArchivedBlob, ArchiveWrite) {
    let web = world.repository("web").await;
    let image = world.push(&web, &[layer]).await;
    world.set(&web, image, StorageClass::Archive).await;
    world.server.clock.advance(LEASE + MINUTE);
    assert!(world.mover.hold().await.expect("held"));
    let blob = world.registry.content.get(web.id, &digest(layer)).await;
    let blob = blob.expect("a blob");
    let (write, key) = world.write(layer, true).await;
    let archived = ArchivedBlob {
        digest: blob.digest,
        size: blob.size,
        key: key.expect("stored"),
        encoding: Encoding::Identity,
        stored_size: blob.size,
    };
    (blob, archived, write)
}

/// As where a server goes on that was suspended.
#[tokio::test]
async fn a_write_that_was_ended_does_not_become_an_archived_blob() {
    for ended in [false, true] {
        for mut world in worlds(true).await {
            let layer = text(1);
            let (blob, archived, mut write) = half_moved(&mut world, &layer).await;
            if ended {
                let cleaned = world.mover.clean_up(&write).await;
                cleaned.expect("ended");
            }
            let replaced = world.mover.replace(&blob, archived, &mut write).await;
            assert_eq!(replaced.expect("no error"), !ended);
            assert_eq!(world.archived(&layer).await.is_some(), !ended);
        }
    }
}

#[tokio::test]
async fn an_object_stays_that_a_commit_in_doubt_names() {
    for mut world in worlds(true).await {
        let layer = text(1);
        let (blob, archived, write) = half_moved(&mut world, &layer).await;
        let now = world.server.clock.now();
        let (proceed, wait) = std::sync::mpsc::channel::<()>();
        let (wait, recorded) = (std::sync::Mutex::new(wait), write.clone());
        let db = world.server.db.clone();
        let in_doubt = tokio::spawn(async move {
            let work = move |tx: &mut wharfinger_db::Tx<'_>| {
                assert!(store::locate_write(tx, &recorded)?);
                // Nothing more is sent where it is run again.
                let wait = wait.lock().expect("locked");
                let _ = wait.recv_timeout(Duration::from_secs(20));
                store::replace(tx, &blob, &archived, now, now.plus(MINUTE))
            };
            db.write(work).await
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let told = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            proceed.send(()).expect("sent");
        });
        let _ = world.mover.clean_up(&write).await;
        told.await.expect("a task");
        in_doubt.await.expect("a task").expect("committed");
        assert!(world.archived(&layer).await.is_some());
        assert_eq!(World::objects(&world.archive).await, 1);
    }
}
