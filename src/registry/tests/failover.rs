//! A database server that lost its last commits and gives their row numbers to other rows.

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
            tx.execute("UPDATE images SET digest = ?1", params![digest.to_stored()])?;
            tx.execute("UPDATE manifests SET bytes = ?1", params![bytes.as_bytes()])
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

#[tokio::test]
async fn the_policy_that_had_the_number_before_does_not_decide() {
    for db in testing::every_engine(MIGRATIONS) {
        let world = World::on(db, true).await;
        let load = || async {
            let web = name("team/web");
            let loaded = world.repositories.load_resource(&world.registry, &web);
            let loaded = loaded.await.expect("loads");
            let policy = loaded.repository().expect("found").policy.clone();
            policy.expect("a policy").text().to_owned()
        };
        let (lost, new) = (of_everyone("Allow"), of_everyone("Deny"));
        let set = world
            .repositories
            .set_policy(&world.repository, lost.clone());
        set.await.expect("set");
        assert_eq!(load().await, lost);
        let text = new.clone();
        let write = world.db.write(move |tx| {
            tx.execute(
                "UPDATE repository_policies SET text = ?1, set_at = set_at + 1",
                params![&text],
            )
        });
        write.await.expect("replaced");
        assert_eq!(load().await, new);
    }
}

fn of_everyone(effect: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}","Principal":"*",
            "Action":"ecr:*"}}]}}"#
    )
}
