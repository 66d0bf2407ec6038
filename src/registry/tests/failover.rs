//! A database server that lost its last commits and gives their row numbers to other images.

use wharfinger_db::{params, testing};

use super::*;

#[tokio::test]
async fn the_bytes_of_an_image_that_had_the_number_before_are_not_served() {
    for db in testing::every_engine(MIGRATIONS) {
        let loses_commits = db.engine() == "postgres";
        let world = World::on(db, true).await;
        let (lost, new) = (image("lost", ""), image("new", ""));
        world.put(&lost, &["latest"]).await.expect("put");
        let (repository, by_tag) = (world.repository.id, Reference::Tag(tag("latest")));
        let cached = world.images.get(repository, &by_tag).await.expect("found");
        assert_eq!(cached.bytes, lost);
        let (digest, bytes) = (Digest::of(Algorithm::Sha256, new.as_bytes()), new.clone());
        let write = world.db.write(move |tx| {
            tx.execute(
                "UPDATE images SET digest = ?1, manifest = ?2",
                params![digest.to_stored(), bytes.as_bytes()],
            )
        });
        write.await.expect("replaced");
        let by_digest = Reference::Digest(digest);
        // An index in a file does not go back in time: a tag is not checked there.
        let references = if loses_commits {
            vec![by_tag, by_digest]
        } else {
            vec![by_digest]
        };
        for reference in references {
            let found = world.images.get(repository, &reference).await;
            assert_eq!(found.expect("found").bytes, new, "{reference:?}");
        }
    }
}
