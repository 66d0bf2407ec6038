//! What an account sets for its whole registry, and templates for repositories.

use wharfinger_db::testing;

use super::*;
use crate::creation_templates::model::{AppliedFor, TemplateSettings};

const DENY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*",
    "Action":"ecr:*","Resource":"*"}]}"#;

/// A world on every engine.
async fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for db in testing::every_engine(MIGRATIONS) {
        worlds.push(World::on(db, true).await);
    }
    worlds
}

fn settings(world: &World) -> RegistrySettings {
    let signing = crate::signing::queue::SigningQueue::default();
    RegistrySettings::new(world.db.clone(), world.clock.clone(), signing)
}

fn templates(world: &World) -> CreationTemplates {
    CreationTemplates::new(world.db.clone(), world.clock.clone())
}

#[tokio::test]
async fn the_policy_of_a_registry_is_loaded_with_each_of_its_repositories_and_no_other() {
    for world in worlds().await {
        let (registry, settings) = (&world.registry, settings(&world));
        let other = RegistryId {
            region: "eu-west-1".parse().expect("a region"),
            ..registry.clone()
        };
        let policy = async |registry: &RegistryId, of: &str| {
            use wharfinger_iam::Resource as _;
            let loaded = world.repositories.load_resource(registry, &name(of)).await;
            let loaded = loaded.expect("loads");
            loaded
                .registry_policy()
                .map(|policy| policy.text().to_owned())
        };
        assert_eq!(policy(registry, "team/web").await, None);
        let missing = settings.delete_policy(registry).await;
        assert!(matches!(missing, Err(Error::NoRegistryPolicy { .. })));
        let put = settings.put_policy(registry, DENY.to_owned());
        put.await.expect("put");
        for (registry, of, expected) in [
            (registry, "team/web", Some(DENY)),
            (registry, "no/such", Some(DENY)),
            (&other, "team/web", None),
        ] {
            assert_eq!(policy(registry, of).await.as_deref(), expected, "{of}");
        }
        let whole = world.repositories.registry_policy(registry).await;
        assert_eq!(whole.expect("loads").expect("a policy").text(), DENY);
        let deleted = settings.delete_policy(registry).await;
        assert_eq!(deleted.expect("deleted"), DENY);
        assert_eq!(policy(registry, "team/web").await, None);
        let whole = world.repositories.registry_policy(registry).await;
        assert!(whole.expect("loads").is_none());
    }
}

#[tokio::test]
async fn a_pull_by_an_excluded_principal_is_not_recorded() {
    for world in worlds().await {
        let settings = settings(&world);
        let scanner = "arn:aws:iam::123456789012:role/scanner";
        let added = settings.add_exclusion(&world.registry, scanner).await;
        assert_eq!(added.expect("added"), world.clock.now());
        let twice = settings.add_exclusion(&world.registry, scanner).await;
        assert!(matches!(twice, Err(Error::ExclusionExists { .. })));
        let (one, two) = (image("a", ""), image("b", ""));
        let one = world.put(&one, &[]).await.expect("put");
        let two = world.put(&two, &[]).await.expect("put");
        let head = async |digest: Digest| {
            let reference = Reference::Digest(digest);
            let found = world.images.head(world.repository.id, &reference).await;
            found.expect("found")
        };
        let puller = |arn: &str| Puller {
            registry: world.registry.clone(),
            principal: arn.parse().expect("an ARN"),
        };
        let (first, second) = (head(one).await, head(two).await);
        world.images.note_pull(&first, || puller(scanner));
        world.images.note_pull(&second, || puller(scanner));
        let ann = "arn:aws:iam::123456789012:user/ann";
        world.images.note_pull(&second, || puller(ann));
        while head(two).await.pulled_at.is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(head(one).await.pulled_at, None);
        let removed = settings.remove_exclusion(&world.registry, scanner);
        removed.await.expect("removed");
        let again = settings.remove_exclusion(&world.registry, scanner).await;
        assert!(matches!(again, Err(Error::NoSuchExclusion { .. })));
        world.images.note_pull(&first, || puller(scanner));
        while head(one).await.pulled_at.is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn template(prefix: &str, applied_for: &[AppliedFor], tag: &str) -> TemplateSettings {
    TemplateSettings {
        tags: [("template".to_owned(), tag.to_owned())].into(),
        applied_for: applied_for.to_vec(),
        ..TemplateSettings::new(prefix.to_owned())
    }
}

#[tokio::test]
async fn the_most_specific_template_for_the_purpose_makes_the_repository() {
    use AppliedFor::{CreateOnPush, PullThroughCache, Replication};
    for world in worlds().await {
        let (registry, templates) = (&world.registry, templates(&world));
        let denied = TemplateSettings {
            repository_policy: Some(repository_cache::deny(7)),
            mutability: TagMutability {
                mode: MutabilityMode::Immutable,
                exclusions: Vec::new(),
            },
            ..template("prod/team/", &[CreateOnPush], "team")
        };
        for settings in [
            template("prod", &[CreateOnPush, Replication], "prod"),
            template("ROOT", &[PullThroughCache], "root"),
            denied,
        ] {
            let created = templates.create(registry, settings).await;
            created.expect("created");
        }
        let twice = templates.create(registry, template("prod/team", &[CreateOnPush], ""));
        assert!(matches!(twice.await, Err(Error::TemplateExists { .. })));
        for (repository, purpose, expected) in [
            ("prod/team/a", CreateOnPush, Some("team")),
            ("prod/team/b", Replication, Some("prod")),
            ("prod/team/c", PullThroughCache, Some("root")),
            ("prod/other", CreateOnPush, Some("prod")),
            ("other", Replication, None),
        ] {
            let created = world
                .repositories
                .create_from_template(registry, &name(repository), purpose)
                .await
                .expect("created");
            let tag = created.settings.tags.get("template").map(String::as_str);
            assert_eq!(tag, expected, "{repository}");
        }
        let made = world.repositories.get(registry, &name("prod/team/a")).await;
        let made = made.expect("found");
        assert_eq!(made.settings.mutability.mode, MutabilityMode::Immutable);
        assert_eq!(
            made.policy_text().expect("a policy"),
            repository_cache::deny(7)
        );
        for refused in ["prod", "other"] {
            let refused = name(refused);
            let create = world
                .repositories
                .create_from_template(registry, &refused, CreateOnPush);
            let error = create.await.expect_err("no template, or it exists");
            match refused.as_str() {
                "other" => assert!(matches!(error, Error::RepositoryExists { .. })),
                _ => assert!(matches!(error, Error::NoSuchRepository { .. })),
            }
        }
    }
}

#[tokio::test]
async fn templates_are_changed_listed_and_deleted() {
    for world in worlds().await {
        let (registry, templates) = (&world.registry, templates(&world));
        for prefix in ["b", "a/", "ROOT"] {
            let settings = template(prefix, &[AppliedFor::Replication], prefix);
            templates.create(registry, settings).await.expect("created");
        }
        let page = templates.page(registry, "", 2).await.expect("a page");
        let prefixes: Vec<_> = page.items.iter().map(|one| &*one.settings.prefix).collect();
        assert_eq!(prefixes, ["ROOT", "a/"]);
        let next = page.next.expect("more");
        let page = templates.page(registry, &next, 2).await.expect("a page");
        assert_eq!(page.items[0].settings.prefix, "b");
        assert!(page.next.is_none());
        world.clock.advance(Duration::from_mins(1));
        let changed = templates
            .update(registry, "a", |settings| {
                settings.description = Some("changed".to_owned());
                Ok::<_, ()>(())
            })
            .await;
        let changed = changed.expect("found").expect("accepted");
        assert!(changed.updated_at > changed.created_at);
        let refused = templates.update(registry, "a", |settings| {
            settings.description = None;
            Err("refused")
        });
        assert_eq!(refused.await.expect("found"), Err("refused"));
        let deleted = templates.delete(registry, "a").await.expect("deleted");
        assert_eq!(deleted.settings.description.as_deref(), Some("changed"));
        let again = templates.delete(registry, "a").await;
        assert!(matches!(again, Err(Error::NoSuchTemplate { .. })));
    }
}
