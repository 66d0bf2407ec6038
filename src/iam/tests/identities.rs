//! Users, groups, policies and tags as the IAM API manages them, on every engine at hand.

use wharfinger_db::{DatabaseConfig, Upgrade, params};

use super::*;

const DENY: &str = r#"{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;
const READ_ONLY: &str = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly";

fn new_user(name: &str) -> NewUser {
    NewUser {
        name: name.to_owned(),
        path: "/build/".to_owned(),
        boundary: None,
        tags: vec![("Team".to_owned(), "red".to_owned())],
    }
}

#[tokio::test]
async fn both_engines_keep_users_and_tags_alike() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, account) = (world.open().await, AccountId::DEV);
        let users = iam.users();
        let made = users.create_user(account, new_user("ci")).await;
        let made = made.expect("a user");
        let found = users.find_user(account, "CI").await.expect("read");
        assert_eq!(found.as_ref(), Some(&made));
        let bounded = NewUser {
            boundary: Some(READ_ONLY.to_owned()),
            ..new_user("CI")
        };
        let taken = users.create_user(account, bounded).await;
        assert_eq!(taken, Err(Error::UserExists("CI".into())));
        let tags = [("team", "blue"), ("k", "v")];
        let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let tagged = users.tag_user(account, &made.name, tags.to_vec()).await;
        tagged.expect("tagged");
        let untagged = users.untag_user(account, &made.name, vec!["K".to_owned()]);
        untagged.await.expect("untagged");
        let renamed = users.rename_user(account, &made.name, Some("Ci2".to_owned()), None);
        renamed.await.expect("renamed");
        let found = users.find_user(account, "ci2").await.expect("read");
        let found = found.expect("a user");
        assert_eq!(
            found.arn.as_str(),
            "arn:aws:iam::123456789012:user/build/Ci2"
        );
        assert_eq!(found.tags, [("team".to_owned(), "blue".to_owned())]);
        let listed = users.list_users(account, "/build", None, 1).await;
        assert_eq!(listed.expect("a page").items.len(), 1);
        let elsewhere = users.list_users(account, "/other/", None, 1).await;
        assert!(elsewhere.expect("a page").items.is_empty());
        let before = users.remove_user(account, &made.name).await;
        assert_eq!(before, Err(Error::NoSuchUser("ci".into())), "the old name");
        users.remove_user(account, &found.name).await.expect("gone");
        assert_eq!(users.find_user(account, "ci2").await, Ok(None));
    }
}

/// Group policies are part of the member's identity policies, read with them in one snapshot.
#[tokio::test]
async fn members_have_the_policies_of_their_groups() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, account) = (world.open().await, AccountId::DEV);
        let users = iam.users();
        let key = user(&iam, "ci", &["AdministratorAccess"]).await;
        let group = users.create_group(account, "Dev".into(), "/".into()).await;
        let group = group.expect("a group").name;
        let again = users.create_group(account, "dev".into(), "/".into()).await;
        assert_eq!(again, Err(Error::GroupExists("dev".into())));
        let owner = PolicyOwner::Group(group.clone());
        let put = users.put_inline_policy(account, owner.clone(), "no".into(), DENY.into());
        put.await.expect("set");
        let attached = users.attach_policy(account, owner.clone(), READ_ONLY.into());
        attached.await.expect("attached");
        users
            .add_member(account, &group, "CI")
            .await
            .expect("added");
        let policies = signs_in(&iam, &key).await.expect("in").caller;
        let names: Vec<_> = policies
            .policies
            .policies
            .iter()
            .map(|named| &*named.name)
            .collect();
        assert_eq!(
            names,
            [
                "AdministratorAccess",
                "no",
                "AmazonEC2ContainerRegistryReadOnly"
            ]
        );
        let members = users
            .members(account, &group, None, 9)
            .await
            .expect("a page");
        assert_eq!(members.items[0].name.name, "ci");
        let groups = users.groups_of(account, &members.items[0].name).await;
        assert_eq!(groups.expect("groups")[0].name, group);
        let listed = users.list_groups(account, "/", None, 9).await;
        assert_eq!(listed.expect("a page").items.len(), 1);
        assert!(matches!(
            users.remove_group(account, &group).await,
            Err(Error::DeleteConflict(_))
        ));
        users
            .remove_member(account, &group, "ci")
            .await
            .expect("removed");
        let detached = users.detach_policy(account, owner.clone(), READ_ONLY.into());
        detached.await.expect("detached");
        let deleted = users.delete_inline_policy(account, owner, "no".into());
        deleted.await.expect("deleted");
        let renamed = users.rename_group(account, &group, None, Some("/b/".to_owned()));
        renamed.await.expect("renamed");
        users.remove_group(account, &group).await.expect("gone");
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

/// The policies of users made by an older version stay with them.
#[tokio::test]
async fn policies_of_an_older_index_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = DatabaseConfig::sqlite(folder.path().join("index.db"));
    let older = Db::open(&config, &MIGRATIONS[..3], Upgrade::Apply).expect("an older index");
    older
        .write(|tx| {
            let sql = "INSERT INTO user_policies
                (account, user_id, kind, name, document, attached_at)
                VALUES ('123456789012', 'AIDA1', ?1, ?2, ?3, 0)";
            tx.execute(sql, params!["managed", "AdministratorAccess", None::<&str>])?;
            tx.execute(sql, params!["inline", "no", Some(DENY)])
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
}
