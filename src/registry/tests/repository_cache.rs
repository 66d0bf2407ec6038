//! Repositories that are cached for one state of the index.

use super::*;
use crate::repository_cache::RepositoryLookup;

#[tokio::test]
async fn a_change_is_seen_by_the_next_load() {
    let world = World::new(true).await;
    let (registry, web) = (&world.registry, name("team/web"));
    let load = || async { world.repositories.load_resource(registry, &web).await };
    let first = load().await.expect("loads");
    let again = load().await.expect("loads");
    assert!(Arc::ptr_eq(&first, &again), "nothing was committed between");
    let text = deny(1);
    let set = world
        .repositories
        .set_policy(&world.repository, text.clone());
    set.await.expect("set");
    let changed = load().await.expect("loads");
    let policy = changed.repository().expect("found").policy.as_ref();
    assert_eq!(policy.expect("set").text(), text);
    let delete = world.repositories.delete(&world.repository, true);
    delete.await.expect("deleted");
    assert!(load().await.expect("loads").repository().is_err());
}

/// Image `n` is pushed after policy `n` was set. A reader that sees the image must see this policy
/// or a later one, also where it has the repository in its cache.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cached_policy_is_never_older_than_the_image_that_is_read_with_it() {
    const ROUNDS: usize = 200;
    let world = World::new(true).await;
    let key = RepositoryLookup::of(&world.registry, &name("team/web"));
    let id = world.repository.id;
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (db, key) = (world.db.clone(), key.clone());
            let resources = world.repositories.resources.clone();
            tokio::spawn(async move {
                let mut newest = 0;
                while newest < ROUNDS {
                    let (resources, key) = (resources.clone(), key.clone());
                    let read = db.get(move |tx| {
                        let resource = resources.get(tx, &key)?.expect("it exists");
                        // The tag moves to each new image.
                        let image = crate::store::images::by_tag(tx, id, "newest")?;
                        Ok::<_, Error>((resource, image))
                    });
                    let (resource, image) = read.await.expect("reads");
                    let policy = &resource.repository().expect("it exists").policy;
                    let policy = policy.as_ref().map_or(0, |policy| number_of(policy.text()));
                    let image = image.and_then(|image| image.artifact_type);
                    let image = image.map_or(0, |kind| number_of(&kind));
                    assert!(policy >= image, "image {image} under policy {policy}");
                    newest = image.max(newest);
                }
            })
        })
        .collect();
    for number in 1..=ROUNDS {
        let set = world
            .repositories
            .set_policy(&world.repository, deny(number));
        set.await.expect("set");
        let more = format!(r#","artifactType":"application/n{number}n""#);
        let manifest = image("a", &more);
        world.put(&manifest, &["newest"]).await.expect("pushed");
    }
    for reader in readers {
        reader.await.expect("no reader finds an old policy");
    }
}

pub(super) fn deny(number: usize) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Id":"n{number}n","Statement":[{{"Effect":"Deny",
            "Principal":"*","Action":"ecr:*"}}]}}"#
    )
}

/// The number between two letters n.
pub(super) fn number_of(text: &str) -> usize {
    let mut parts = text.split('n').filter_map(|part| part.parse().ok());
    parts.next().expect("a number")
}
