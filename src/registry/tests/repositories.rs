//! Repositories and their policies: found, listed, replaced and deleted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use wharfinger_oci::Reference;
use wharfinger_reconcile::Reconciler as _;

use super::*;

#[tokio::test]
async fn repositories_are_unique_paged_and_guarded_while_they_hold_images() {
    let world = World::new(true).await;
    let again = world
        .repositories
        .create(
            &world.registry,
            &name("team/web"),
            RepositorySettings::default(),
        )
        .await;
    assert!(matches!(again, Err(Error::RepositoryExists { .. })));
    let elsewhere = RegistryId {
        region: "eu-west-1".parse().expect("a region"),
        ..world.registry.clone()
    };
    assert!(matches!(
        world.repositories.get(&elsewhere, &name("team/web")).await,
        Err(Error::NoSuchRepository { .. })
    ));
    for text in ["aa", "bb", "zz"] {
        world
            .repositories
            .create(&world.registry, &name(text), RepositorySettings::default())
            .await
            .expect("created");
    }
    let page = world
        .repositories
        .page(&world.registry, "aa", 2)
        .await
        .expect("a page");
    assert_eq!(
        page.items
            .iter()
            .map(|repository| repository.name.as_str())
            .collect::<Vec<_>>(),
        ["bb", "team/web"]
    );
    assert_eq!(page.next.as_deref(), Some("team/web"));
    world.put(&image("a", ""), &["v1"]).await.expect("put");
    assert!(matches!(
        world.repositories.delete(&world.repository, false).await,
        Err(Error::RepositoryNotEmpty { .. })
    ));
    world
        .repositories
        .delete(&world.repository, true)
        .await
        .expect("forced");
    assert!(matches!(
        world.put(&image("a", ""), &["v1"]).await,
        Err(Error::NoSuchRepository { .. })
    ));
}

#[tokio::test]
async fn a_policy_is_kept_to_the_letter_and_gone_when_deleted() {
    let world = World::new(true).await;
    let (registry, web) = (&world.registry, name("team/web"));
    assert!(matches!(
        world.repository.policy_text(),
        Err(Error::NoRepositoryPolicy { .. })
    ));
    assert!(matches!(
        world.repositories.delete_policy(&world.repository).await,
        Err(Error::NoRepositoryPolicy { .. })
    ));
    let text = r#"{ "Version":"2012-10-17", "Statement":[{"Effect":"Allow","Principal":"*",
        "Action":"ecr:*"}] }"#;
    let first = world
        .repositories
        .set_policy(&world.repository, text.to_owned())
        .await
        .expect("set");
    assert_eq!(first.policy.expect("compiled").text(), text);
    let other = text.replace("ecr:*", "ecr:BatchGetImage");
    world
        .repositories
        .set_policy(&world.repository, other.clone())
        .await
        .expect("set");
    let found = world.repositories.get(registry, &web).await.expect("found");
    assert_eq!(found.policy.expect("compiled").text(), other);
    world
        .repositories
        .set_policy(&world.repository, text.to_owned())
        .await
        .expect("set");
    assert_eq!(
        world
            .repositories
            .delete_policy(&world.repository)
            .await
            .expect("deleted"),
        text
    );
    let found = world.repositories.get(registry, &web).await.expect("found");
    assert!(found.policy.is_none());
}

#[tokio::test]
async fn a_deleted_repository_is_gone_at_once_and_cleaned_up_in_short_steps() {
    const IMAGES: usize = 300;
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World::on(db, true).await;
        for number in 0..IMAGES {
            let tag = format!("t{number}");
            let put = world.put(&image(&format!("s{number}"), ""), &[&tag]).await;
            put.expect("put");
        }
        world.link(layer("kept")).await;
        let (registry, web) = (&world.registry, name("team/web"));
        let deleted = world.repositories.delete(&world.repository, true).await;
        assert_eq!(deleted.expect("deleted").id, world.repository.id);
        assert!(
            world
                .repositories
                .find(registry, &web)
                .await
                .expect("reads")
                .is_none()
        );
        let again = world
            .repositories
            .create(registry, &web, RepositorySettings::default())
            .await
            .expect("the name is free");
        let tag = Reference::Tag(tag("t0"));
        assert!(matches!(
            world.images.head(again.id, &tag).await,
            Err(Error::NoSuchImage(_))
        ));
        let (mut steps, mut longest) = (0, Duration::ZERO);
        let mut cleanup = world.repositories.cleanup();
        loop {
            let started = std::time::Instant::now();
            let pass = cleanup.pass(world.clock.now()).await.expect("a step");
            // Half of the time is a pause.
            longest = longest.max(started.elapsed() / 2);
            steps += 1;
            if !pass.again {
                break;
            }
        }
        assert!(
            steps > 1 && longest < Duration::from_secs(1),
            "{steps} steps, {longest:?}"
        );
        let left = world.db.read(|tx| {
            let count = |row: &wharfinger_db::Row<'_>| Ok(row.integer(0));
            tx.query_optional(
                "SELECT (SELECT COUNT(*) FROM images) + (SELECT COUNT(*) FROM tags) + (SELECT \
                 COUNT(*) FROM image_references) + (SELECT COUNT(*) FROM manifests)
                 + (SELECT COUNT(*) FROM blob_links) + (SELECT COUNT(*) FROM deleted_repositories)",
                &[],
                count,
            )
        });
        assert_eq!(
            left.await.expect("counts"),
            Some(0),
            "{}",
            world.db.engine()
        );
    }
}

/// A reader always sees one of the policies that were set, never the moment between two of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_policy_that_is_being_replaced_is_never_missing() {
    const SETTERS: usize = 3;
    const READS: usize = 4_000;
    let world = World::new(true).await;
    let (registry, web) = (world.registry.clone(), name("team/web"));
    let deny = |number: usize| {
        format!(
            r#"{{"Version":"2012-10-17","Id":"p{number}","Statement":[{{"Effect":"Deny",
                "Principal":"*","Action":"ecr:*"}}]}}"#
        )
    };
    let repositories = world.repositories.clone();
    repositories
        .set_policy(&world.repository, deny(0))
        .await
        .expect("set");
    let reading = Arc::new(AtomicBool::new(true));
    let setters: Vec<_> = (0..SETTERS)
        .map(|setter| {
            let (repositories, reading) = (repositories.clone(), Arc::clone(&reading));
            let repository = world.repository.clone();
            tokio::spawn(async move {
                let mut number = setter;
                while reading.load(Ordering::Relaxed) {
                    let set = repositories.set_policy(&repository, deny(number)).await;
                    set.expect("set");
                    number += SETTERS;
                }
                number
            })
        })
        .collect();
    for _ in 0..READS {
        let found = repositories.get(&registry, &web).await.expect("found");
        assert!(found.policy.is_some(), "every text denies");
    }
    reading.store(false, Ordering::Relaxed);
    for setter in setters {
        assert!(setter.await.expect("runs") > SETTERS, "policies were set");
    }
}

#[tokio::test]
async fn a_policy_whose_text_is_missing_permits_nothing() {
    let world = World::new(true).await;
    let (registry, web) = (&world.registry, name("team/web"));
    let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*",
        "Action":"ecr:*"}]}"#;
    world
        .repositories
        .set_policy(&world.repository, text.to_owned())
        .await
        .expect("set");
    let damage = world
        .db
        .write(|tx| tx.execute("DELETE FROM repository_policies", &[]).map(drop));
    damage.await.expect("removed");
    assert!(matches!(
        world.repositories.find(registry, &web).await,
        Err(Error::Index(_))
    ));
    assert!(matches!(
        world.repositories.page(registry, "", 10).await,
        Err(Error::Index(_))
    ));
}

#[tokio::test]
async fn an_operation_on_a_deleted_repository_leaves_the_next_of_its_name_alone() {
    let world = World::new(true).await;
    let (repositories, old) = (&world.repositories, &world.repository);
    let (registry, web) = (&world.registry, name("team/web"));
    let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*",
        "Action":"ecr:*"}]}"#;
    repositories.delete(old, false).await.expect("deleted");
    let settings = RepositorySettings::default();
    let new = repositories.create(registry, &web, settings).await;
    let new = new.expect("made again");
    let set = repositories.set_policy(&new, text.to_owned()).await;
    let before = set.expect("set");

    let immutable = TagMutability {
        mode: MutabilityMode::Immutable,
        exclusions: Vec::new(),
    };
    let tags = BTreeMap::from([("team".to_owned(), "web".to_owned())]);
    let outcomes = [
        repositories.delete(old, true).await.map(drop),
        repositories.set_mutability(old, immutable).await.map(drop),
        repositories.set_scan_on_push(old, true).await.map(drop),
        repositories
            .set_policy(old, text.to_owned())
            .await
            .map(drop),
        repositories.delete_policy(old).await.map(drop),
        repositories
            .set_tags(old, tags, Vec::new(), 50)
            .await
            .map(drop),
    ];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(Error::NoSuchRepository { .. })));
    }
    let after = repositories.get(registry, &web).await.expect("found");
    assert_eq!((after.id, &after.settings), (new.id, &before.settings));
    assert_eq!(after.policy.expect("a policy").text(), text);
}
