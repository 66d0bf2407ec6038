//! Users, groups, policies and tags as the IAM API manages them, on every engine at hand.

use wharfinger_db::{DatabaseConfig, Upgrade, params};

use super::*;

const DENY: &str = r#"{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;
const READ_ONLY: &str = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly";

fn new_user(name: &str) -> NewEntity {
    NewEntity {
        path: "/build/".to_owned(),
        tags: vec![("Team".to_owned(), "red".to_owned())],
        ..NewEntity::new(EntityKind::User, name)
    }
}

/// What all kinds of entities have in common.
#[tokio::test]
async fn both_engines_keep_entities_and_tags_alike() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, account) = (world.open().await, AccountId::DEV);
        let entities = iam.entities();
        for kind in [
            EntityKind::User,
            EntityKind::Role,
            EntityKind::InstanceProfile,
        ] {
            let new = |name: &str| NewEntity {
                kind,
                role: (kind == EntityKind::Role)
                    .then(|| new_role("").role)
                    .flatten(),
                ..new_user(name)
            };
            let made = entities.create(account, new("ci")).await.expect("made");
            assert!(made.name.id.starts_with(kind.id_prefix()), "{made:?}");
            let found = entities.find(account, kind, "CI").await.expect("read");
            assert_eq!(found.as_ref(), Some(&made));
            let bounded = NewEntity {
                boundary: Some(READ_ONLY.to_owned()),
                ..new("CI")
            };
            let taken = entities.create(account, bounded).await;
            assert_eq!(taken, Err(exists(kind, "CI")));
            let tags = [("team", "blue"), ("k", "v")];
            let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned()));
            let tagged = entities.tag(account, &made.name, tags.to_vec()).await;
            tagged.expect("tagged");
            let untagged = entities.untag(account, &made.name, vec!["K".to_owned()]);
            untagged.await.expect("untagged");
            let renamed = entities.rename(account, &made.name, Some("Ci2".to_owned()), None);
            renamed.await.expect("renamed");
            let found = entities.find(account, kind, "ci2").await.expect("read");
            let found = found.expect("an entity");
            assert_eq!(found.arn, kind.arn(account, "/build/", "Ci2"));
            assert_eq!(found.tags, [("team".to_owned(), "blue".to_owned())]);
            let by_id = entities.find_by_id(account, &made.name.id).await;
            assert_eq!(by_id, Ok(Some(found.clone())));
            let listed = entities.list(account, kind, "/build", None, 1).await;
            assert_eq!(listed.expect("a page").items.len(), 1);
            let elsewhere = entities.list(account, kind, "/other/", None, 1).await;
            assert!(elsewhere.expect("a page").items.is_empty());
            let before = entities.remove(account, &made.name).await;
            assert_eq!(before, Err(missing(kind, "ci")), "the old name");
            entities.remove(account, &found.name).await.expect("gone");
            assert_eq!(entities.find(account, kind, "ci2").await, Ok(None));
        }
    }
}

/// The Kelvin sign is not the letter k, neither where tags are set nor where conditions read them.
#[tokio::test]
async fn keys_of_tags_differ_by_all_but_the_case_of_letters() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let entities = iam.entities();
    let made = entities
        .create(account, new_user("ci"))
        .await
        .expect("made");
    let tags = ["KEY", "\u{212A}ey", "key"].map(|key| (key.to_owned(), key.to_owned()));
    let tagged = entities.tag(account, &made.name, tags.to_vec()).await;
    tagged.expect("tagged");
    let untagged = entities.untag(account, &made.name, vec!["TEAM".to_owned()]);
    untagged.await.expect("untagged");
    let keys = async || {
        let found = entities.find(account, EntityKind::User, "ci").await;
        let tags = found.expect("read").expect("a user").tags;
        tags.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys().await, ["KEY", "key", "\u{212A}ey"]);
    let untagged = entities.untag(account, &made.name, vec!["Key".to_owned()]);
    untagged.await.expect("untagged");
    assert_eq!(keys().await, ["\u{212A}ey"]);
}

/// Group policies are part of the member's identity policies, read with them in one snapshot.
#[tokio::test]
async fn members_have_the_policies_of_their_groups() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, account) = (world.open().await, AccountId::DEV);
        let entities = iam.entities();
        let key = user(&iam, "ci", &["AdministratorAccess"]).await;
        let new = |name: &str| NewEntity::new(EntityKind::Group, name);
        let group = entities.create(account, new("Dev")).await;
        let group = group.expect("a group").name;
        let again = entities.create(account, new("dev")).await;
        assert_eq!(again, Err(exists(EntityKind::Group, "dev")));
        let put = entities.put_inline_policy(account, &group, "no".into(), DENY.into());
        put.await.expect("set");
        let attached = entities.attach_policy(account, &group, READ_ONLY.into());
        attached.await.expect("attached");
        let added = entities.add_member(account, &group, "CI").await;
        added.expect("added");
        let policies = signs_in(&iam, &key).await.expect("in").caller;
        let names: Vec<_> = policies
            .policies
            .policies
            .iter()
            .map(|named| (named.owner.as_deref(), &*named.name))
            .collect();
        assert_eq!(
            names,
            [
                (
                    Some("user/ci"),
                    "arn:aws:iam::aws:policy/AdministratorAccess"
                ),
                (Some("group/Dev"), "no"),
                (Some("group/Dev"), READ_ONLY)
            ]
        );
        let members = entities.members(account, &group, None, 9).await;
        let members = members.expect("a page").items;
        assert_eq!(members[0].name.name, "ci");
        let groups = entities.groups_of(account, &members[0].name).await;
        assert_eq!(groups.expect("groups")[0].name, group);
        let refused = entities.remove(account, &group).await;
        assert!(matches!(refused, Err(Error::DeleteConflict(_))));
        let removed = entities.remove_member(account, &group, "ci").await;
        removed.expect("removed");
        let detached = entities.detach_policy(account, &group, READ_ONLY.into());
        detached.await.expect("detached");
        let deleted = entities.delete_inline_policy(account, &group, "no".into());
        deleted.await.expect("deleted");
        let renamed = entities.rename(account, &group, None, Some("/b/".to_owned()));
        renamed.await.expect("renamed");
        let moved = EntityName {
            path: "/b/".to_owned(),
            ..group
        };
        entities.remove(account, &moved).await.expect("gone");
    }
}

#[tokio::test]
async fn a_key_is_used_once_an_hour_in_the_index() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, account) = (world.open().await, AccountId::DEV);
        let key = user(&iam, "ci", &[]).await;
        let users = iam.users();
        let last_use = async || {
            let record = users.key_record(account, &key.access_key_id).await;
            record.expect("read").expect("a key").last_use
        };
        assert_eq!(last_use().await, None);
        signs_in(&iam, &key).await.expect("in");
        let mut used = last_use().await;
        while used.is_none() {
            tokio::task::yield_now().await;
            used = last_use().await;
        }
        let used = used.expect("a use");
        let expected = ("eu-west-1", "ecr", Timestamp::from_ms(NOON));
        assert_eq!(
            (used.region.as_str(), used.service.as_str(), used.at),
            expected
        );
        let early = KeyUse {
            at: Timestamp::from_ms(NOON + 1),
            ..used.clone()
        };
        let id = key.access_key_id.clone();
        let written = world.db.write(move |tx| {
            store::access_keys::record_use(tx, &id, &early, Timestamp::from_ms(NOON))
        });
        written.await.expect("written");
        assert_eq!(last_use().await, Some(used));
    }
}

/// Users made by an older version stay, and their policies with them.
#[tokio::test]
async fn policies_of_an_older_index_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = DatabaseConfig::sqlite(folder.path().join("index.db"));
    let older = Db::open(&config, &MIGRATIONS[..3], Upgrade::Apply).expect("an older index");
    older
        .write(|tx| {
            // No older version had the engines' table of restores.
            tx.execute("DROP TABLE restore", params![])?;
            let history = "DELETE FROM refinery_schema_history WHERE version = 34";
            tx.execute(history, params![])?;
            let sql = "INSERT INTO user_policies
                (account, user_id, kind, name, document, attached_at)
                VALUES ('123456789012', 'AIDA1', ?1, ?2, ?3, 0)";
            tx.execute(sql, params!["managed", "AdministratorAccess", None::<&str>])?;
            tx.execute(sql, params!["inline", "no", Some(DENY)])?;
            let sql = "INSERT INTO users
                (account, folded_name, name, path, user_id, created_at, disabled_at)
                VALUES ('123456789012', 'ann', 'Ann', '/a/', 'AIDA1', 1, 2)";
            tx.execute(sql, params![])
        })
        .await
        .expect("written");
    drop(older);
    let db = Db::open(&config, MIGRATIONS, Upgrade::Apply).expect("migrated");
    let held = db
        .read(|tx| store::policies::of_owner(tx, AccountId::DEV, "AIDA1"))
        .await
        .expect("read");
    let held: Vec<_> = held
        .iter()
        .map(|policy| (policy.name.as_str(), policy.document.as_deref()))
        .collect();
    let managed = "arn:aws:iam::aws:policy/AdministratorAccess";
    assert_eq!(held, [("no", Some(DENY)), (managed, None)]);
    let kept = db
        .read(|tx| store::entities::find(tx, AccountId::DEV, EntityKind::User, "ANN"))
        .await
        .expect("read")
        .expect("a user");
    assert_eq!(kept.name.arn(AccountId::DEV).resource(), "user/a/Ann");
    let times = (Some(kept.created_at), kept.disabled_at);
    let expected = [1, 2].map(|at| Some(Timestamp::from_ms(at)));
    assert_eq!(times, expected.into());
}
