//! What pulls name, kept in memory from the second request on.

use super::*;
use crate::pull_cache::PullCache;

/// What the repository has of a manifest, through the cache.
async fn pull(world: &World, pulls: &PullCache, reference: &Reference) -> Arc<StoredManifest> {
    let (pulls, repository) = (pulls.clone(), world.repository.id);
    let target = PullTarget::Manifest(reference.clone());
    let read = world
        .db
        .get(move |tx| pulls.get(tx, repository, &target))
        .await;
    match read.expect("reads") {
        Pulled::Manifest(manifest) => manifest,
        other => panic!("{other:?} in place of a manifest"),
    }
}

#[tokio::test]
async fn a_manifest_is_kept_from_its_second_request_on() {
    let world = World::new(true).await;
    let pulls = PullCache::new(world.images.manifests.clone());
    let digest = world.put(&image("a", ""), &["v1"]).await.expect("pushed");
    let other = world.put(&image("b", ""), &["v2"]).await.expect("pushed");
    for (reference, expected) in [
        (Reference::Tag(tag("v1")), digest),
        (Reference::Digest(other), other),
    ] {
        let first = pull(&world, &pulls, &reference).await;
        let second = pull(&world, &pulls, &reference).await;
        let third = pull(&world, &pulls, &reference).await;
        assert_eq!(first.image.digest, expected);
        assert_eq!(first, second);
        assert!(!Arc::ptr_eq(&first, &second), "the first one is not kept");
        assert!(Arc::ptr_eq(&second, &third));
    }
}

#[tokio::test]
async fn a_target_that_is_missing_is_found_once_it_is_there() {
    let world = World::new(true).await;
    let pulls = PullCache::new(world.images.manifests.clone());
    let reference = Reference::Tag(tag("v1"));
    for _ in 0..3 {
        let (pulls, repository) = (pulls.clone(), world.repository.id);
        let target = PullTarget::Manifest(reference.clone());
        let read = world
            .db
            .get(move |tx| pulls.get(tx, repository, &target))
            .await;
        assert!(matches!(read, Ok(Pulled::Nothing)));
    }
    let digest = world.put(&image("a", ""), &["v1"]).await.expect("pushed");
    assert_eq!(pull(&world, &pulls, &reference).await.image.digest, digest);
    let moved = world.put(&image("b", ""), &["v1"]).await.expect("pushed");
    assert_eq!(pull(&world, &pulls, &reference).await.image.digest, moved);
}
