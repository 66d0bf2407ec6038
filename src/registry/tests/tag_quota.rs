//! The quota of tags on one image, on every engine.

use wharfinger_db::testing;

use super::*;
use crate::model::MAX_TAGS_PER_IMAGE;

fn body(number: u8) -> String {
    image(&format!("layer {number}"), "")
}

/// The names of tags with these numbers.
fn names(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|number| format!("t{number:05}")).collect()
}

async fn put(world: &World, body: &str, numbers: std::ops::Range<u64>) -> Result<Digest, Error> {
    let names = names(numbers);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.put(body, &names).await
}

/// Tags the image without a check, as an older version did.
async fn overfill(world: &World, digest: Digest, numbers: std::ops::Range<u64>) {
    let (repository, now, names) = (world.repository.id, world.clock.now(), names(numbers));
    let write = world.db.write(move |tx| {
        let image = store::images::by_digest(tx, repository, &digest)?;
        let id = image.expect("the image").id;
        for name in &names {
            store::tags::insert(tx, repository, name, id, now)?;
        }
        Ok::<_, wharfinger_db::Error>(())
    });
    write.await.expect("tagged");
}

#[tokio::test]
async fn an_image_takes_as_many_tags_as_the_quota_and_no_more() {
    for db in testing::every_engine(MIGRATIONS) {
        let world = World::on(db, true).await;
        let (one, other) = (body(1), body(2));
        put(&world, &one, 0..MAX_TAGS_PER_IMAGE - 1)
            .await
            .expect("tagged");
        put(&world, &other, 5_000..5_002).await.expect("tagged");
        let two = put(&world, &one, 6_000..6_002).await;
        assert!(
            matches!(two, Err(Error::TooManyTags { limit: 1_000, .. })),
            "{two:?}"
        );
        assert_eq!(world.all_tags(5_000).await.len(), 1_001, "all or none");
        // A tag that moves counts on the image that it moves to.
        put(&world, &one, 5_000..5_001).await.expect("the last one");
        let moved = put(&world, &one, 5_001..5_002).await;
        assert!(matches!(moved, Err(Error::TooManyTags { .. })), "{moved:?}");
        put(&world, &one, 0..100).await.expect("nothing new");
        put(&world, &other, 0..1).await.expect("moved away");
        put(&world, &one, 5_001..5_002).await.expect("one is free");
        let new = put(&world, &body(3), 0..MAX_TAGS_PER_IMAGE + 1).await;
        assert!(matches!(new, Err(Error::TooManyTags { .. })), "{new:?}");
    }
}

#[tokio::test]
async fn an_image_with_more_tags_than_the_quota_can_be_pulled_pushed_and_deleted() {
    for db in testing::every_engine(MIGRATIONS) {
        let world = World::on(db, true).await;
        let id = world.repository.id;
        let (listed, silent) = (body(1), body(2));
        let (first, second) = (
            put(&world, &listed, 0..1).await.expect("tagged"),
            put(&world, &silent, 50_000..50_001).await.expect("tagged"),
        );
        overfill(&world, first, 1..2_500).await;
        overfill(&world, second, 50_001..52_001).await;
        put(&world, &listed, 7..8).await.expect("nothing new");
        let more = put(&world, &listed, 9_000..9_001).await;
        assert!(matches!(more, Err(Error::TooManyTags { .. })), "{more:?}");

        let one: Tag = "t00007".parse().expect("a tag");
        let reference = Reference::Tag(one.clone());
        let removed = world.images.delete_as_ecr(id, &reference);
        assert_eq!(removed.await.expect("removed"), [(first, Some(one))]);
        let reference = Reference::Digest(first);
        let removed = world.images.delete_as_ecr(id, &reference);
        let mut removed: Vec<String> = removed
            .await
            .expect("removed")
            .into_iter()
            .map(|(digest, tag)| {
                assert_eq!(digest, first);
                tag.expect("a tag").to_string()
            })
            .collect();
        removed.sort();
        let mut expected = names(0..2_500);
        expected.remove(7);
        assert!(removed == expected, "{}", removed.len());

        world
            .images
            .delete_manifest(id, &second)
            .await
            .expect("removed");
        assert!(world.all_tags(5_000).await.is_empty());
        for digest in [first, second] {
            let gone = world.images.head(id, &Reference::Digest(digest)).await;
            assert!(matches!(gone, Err(Error::NoSuchImage(_))), "{gone:?}");
        }
    }
}
