//! Users, access keys and the state of an index.

use wharfinger_base::Page;

use super::*;

#[tokio::test]
async fn users_are_kept_in_order() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let users = iam.users();
    for name in ["carl", "Ann", "bob"] {
        user(&iam, name, &["AdministratorAccess"]).await;
    }
    assert_eq!(
        users.create(account, "ANN", Vec::new()).await.err(),
        Some(exists(EntityKind::User, "ANN"))
    );
    for bad in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
        assert!(
            matches!(
                users.create(account, bad, Vec::new()).await,
                Err(Error::InvalidName(_))
            ),
            "{bad}"
        );
    }
    let names = |page: &Page<UserSummary>| {
        page.items
            .iter()
            .map(|user| user.name.clone())
            .collect::<Vec<_>>()
    };
    let page = users.list(account, None, 2).await.expect("a page");
    assert_eq!(
        (names(&page), page.next.as_deref()),
        (vec!["Ann".to_owned(), "bob".to_owned()], Some("bob"))
    );
    let rest = users
        .list(account, page.next.as_deref(), 2)
        .await
        .expect("a page");
    assert_eq!((names(&rest), rest.next), (vec!["carl".to_owned()], None));
    assert!(
        users
            .list("000000000001".parse().expect("an account"), None, 9)
            .await
            .expect("a page")
            .items
            .is_empty()
    );

    let ann = &page.items[0];
    assert_eq!(ann.arn.as_str(), "arn:aws:iam::123456789012:user/Ann");
    assert!(ann.id.starts_with("AIDA") && ann.id.len() == 21 && ann.disabled_at.is_none());
    assert_eq!(
        (ann.keys.len(), ann.policies.as_slice()),
        (1, &["AdministratorAccess".to_owned()][..])
    );
    for name in ["ann", "Ann"] {
        users.disable(account, name).await.expect("done");
    }
    assert!(
        users.list(account, None, 1).await.expect("a page").items[0]
            .disabled_at
            .is_some()
    );
    assert_eq!(
        users.disable(account, "dora").await,
        Err(missing(EntityKind::User, "dora"))
    );
    users.delete(account, "Ann").await.expect("done");
    assert_eq!(
        users.delete(account, "Ann").await,
        Err(missing(EntityKind::User, "Ann"))
    );
}

#[tokio::test]
async fn keys_and_policies_are_counted() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let users = iam.users();
    let first = user(&iam, "ci", &[]).await;
    let second = users.add_key(account, Some("ci")).await.expect("a key");
    assert!(signs_in(&iam, &first).await.is_ok() && signs_in(&iam, &second).await.is_ok());
    assert!(matches!(
        users.add_key(account, Some("ci")).await,
        Err(Error::LimitExceeded {
            limit: MAX_KEYS,
            ..
        })
    ));
    let third = users.rotate_key(account, Some("ci")).await.expect("a key");
    world.after(Duration::from_secs(1));
    assert_eq!(
        (
            signs_in(&iam, &first).await.err(),
            signs_in(&iam, &second).await.err()
        ),
        (Some(Error::UnknownKey), Some(Error::UnknownKey))
    );
    assert!(signs_in(&iam, &third).await.is_ok());
    assert!(
        signs_in(&iam, &users.rotate_key(account, None).await.expect("a key"))
            .await
            .is_ok(),
        "the root's too"
    );
    assert_eq!(
        users.delete_key(account, "AKIANONE").await,
        Err(Error::NoSuchKey("AKIANONE".into()))
    );
    let stranger = "000000000001".parse().expect("an account");
    assert!(
        users
            .delete_key(stranger, &third.access_key_id)
            .await
            .is_err(),
        "a key belongs to its account"
    );

    assert_eq!(
        PolicyAttachment::managed("Nothing").err(),
        Some(Error::NoSuchPolicy("Nothing".into()))
    );
    assert!(matches!(
        PolicyAttachment::inline("p", "{}"),
        Err(Error::Policy(_))
    ));
    let document = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:*",
        "Resource":"*"}}"#;
    let inline = |name: &str| PolicyAttachment::inline(name, document).expect("a policy");
    for at in 0..MAX_POLICIES {
        users
            .attach(account, "ci", inline(&format!("p{at}")))
            .await
            .expect("attached");
    }
    users
        .attach(account, "ci", inline("p0"))
        .await
        .expect("replaced");
    assert!(matches!(
        users.attach(account, "ci", inline("more")).await,
        Err(Error::LimitExceeded { .. })
    ));
    users.detach(account, "ci", "p0").await.expect("detached");
    assert_eq!(
        users.detach(account, "ci", "p0").await,
        Err(Error::NotAttached("p0".into()))
    );
    users
        .attach(
            account,
            "ci",
            PolicyAttachment::managed("arn:aws:iam::aws:policy/AdministratorAccess")
                .expect("by ARN"),
        )
        .await
        .expect("attached");
    users
        .detach(account, "ci", "AdministratorAccess")
        .await
        .expect("detached");
}

/// Keys belong to the user that the caller was authorised for, not to a successor of its name.
#[tokio::test]
async fn keys_are_those_of_the_user_that_was_decided_about() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let (users, entities) = (iam.users(), iam.entities());
    let new = || NewEntity::new(EntityKind::User, "ci");
    let first = entities.create(account, new()).await.expect("a user").name;
    let owner = KeyOwner::User(&first);
    let key = users.add_owned_key(account, owner).await.expect("a key");
    let listed = users.owned_keys(account, owner).await.expect("keys");
    assert_eq!(listed[0].access_key_id, key.access_key_id);
    users.delete(account, "ci").await.expect("deleted");
    entities.create(account, new()).await.expect("a user");
    let theirs = users.add_key(account, Some("ci")).await.expect("a key");
    let gone = || missing(EntityKind::User, "ci");
    let added = users.add_owned_key(account, owner).await;
    assert_eq!(added.err(), Some(gone()));
    assert_eq!(users.owned_keys(account, owner).await, Err(gone()));
    let id = &theirs.access_key_id;
    let disabled = users.set_key_disabled(account, owner, id, true).await;
    assert_eq!(disabled, Err(gone()));
    let removed = users.remove_key(account, owner, id).await;
    assert_eq!(removed, Err(gone()));
    assert!(signs_in(&iam, &theirs).await.is_ok());
}

/// Creating a user does not count as the first start.
#[tokio::test]
async fn the_root_gets_a_key_whenever_it_has_none() {
    let world = World::new();
    let iam = world.open().await;
    user(&iam, "ci", &[]).await;
    let key = iam.bootstrap().await.expect("works").expect("a key");
    let users = iam.users();
    users
        .disable_key(AccountId::DEV, &key.access_key_id)
        .await
        .expect("disabled");
    assert!(iam.bootstrap().await.expect("works").is_none());
    users
        .delete_key(AccountId::DEV, &key.access_key_id)
        .await
        .expect("deleted");
    let next = iam.bootstrap().await.expect("works").expect("a key");
    let listed = users.keys(AccountId::DEV, None).await.expect("keys");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].access_key_id, next.access_key_id);
}

/// A user created under the name of a deleted one is another principal.
#[tokio::test]
async fn policies_name_users_by_their_unique_ids() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let iam = world.open().await;
        let users = iam.users();
        let policy = |principal: &str| {
            format!(
                r#"{{"Statement":{{"Effect":"Allow","Action":"ecr:*",
                    "Principal":{{"AWS":"{principal}"}}}}}}"#
            )
        };
        let by_name = policy("arn:aws:iam::123456789012:user/ci");
        let missing = iam.bind_principals(&by_name).await.expect_err("no user");
        assert!(
            missing.to_string().contains("Principal not found"),
            "{missing}"
        );
        let key = user(&iam, "ci", &[]).await;
        let caller = signs_in(&iam, &key).await.expect("in").caller;
        let stored = iam.bind_principals(&by_name).await.expect("bound");
        assert_eq!(stored, policy(caller.user_id()));
        assert_eq!(iam.show_principals(&stored).await.as_ref(), Ok(&by_name));
        let other_case = policy("arn:aws:iam::123456789012:user/CI");
        assert!(iam.bind_principals(&other_case).await.is_err());

        users.delete(AccountId::DEV, "ci").await.expect("deleted");
        let next = user(&iam, "ci", &[]).await;
        let successor = signs_in(&iam, &next).await.expect("in").caller;
        assert_eq!(iam.show_principals(&stored).await.as_ref(), Ok(&stored));
        let compiled = Policy::parse(&stored, Grammar::Repository).expect("a policy");
        let allows = |caller: &Caller| {
            let request = AccessRequest {
                caller,
                action: "ecr:PutImage",
                resource: None,
                resource_account: AccountId::DEV,
                context: ConditionContext::default(),
                budget: &EvaluationBudget::default(),
            };
            evaluate(&request, &PolicySet::of(caller, Some(&compiled))).is_allow()
        };
        assert!(allows(&caller) && !allows(&successor));
        for unbound in [
            "*",
            "123456789012",
            "arn:aws:sts::123456789012:federated-user/r",
        ] {
            let unbound = policy(unbound);
            assert_eq!(iam.bind_principals(&unbound).await.as_ref(), Ok(&unbound));
        }
    }
}

#[tokio::test]
async fn a_development_server_takes_no_index_that_was_served_without() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (dev, production) = (world.dev().await, world.open().await);
        dev.claim_index().await.expect("a new index");
        user(&dev, "ci", &[]).await;
        dev.claim_index().await.expect("a development index");
        production.claim_index().await.expect("taken over");
        assert_eq!(dev.claim_index().await, Err(Error::NotDevIndex));
        production.claim_index().await.expect("again");
    }
    let world = World::new();
    user(&world.open().await, "ci", &[]).await;
    let claimed = world.dev().await.claim_index().await;
    assert_eq!(claimed, Err(Error::NotDevIndex), "an index with keys");
}

/// Every statement of the store, on every engine at hand.
#[tokio::test]
async fn both_engines_keep_users_alike() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, account) = (world.dev().await, AccountId::DEV);
        let (checked, users) = (world.open().await, iam.users());
        let root = iam.bootstrap().await.expect("works").expect("a key");
        assert!(iam.bootstrap().await.expect("works").is_none());
        let key = user(&iam, "ci", &["AdministratorAccess"]).await;
        assert!(users.create(account, "CI", Vec::new()).await.is_err());
        let inline = r#"{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;
        users
            .attach(
                account,
                "ci",
                PolicyAttachment::inline("no", inline).expect("a policy"),
            )
            .await
            .expect("attached");
        users
            .attach(
                account,
                "ci",
                PolicyAttachment::inline("no", inline).expect("a policy"),
            )
            .await
            .expect("replaced");
        let caller = signs_in(&checked, &key).await.expect("in").caller;
        assert_eq!(
            caller
                .policies
                .policies
                .iter()
                .map(|named| &*named.name)
                .collect::<Vec<_>>(),
            ["no", "arn:aws:iam::aws:policy/AdministratorAccess"]
        );
        assert!(signs_in(&checked, &root).await.is_ok());
        users.detach(account, "ci", "no").await.expect("detached");
        users.add_key(account, Some("ci")).await.expect("a key");
        users
            .disable_key(account, &key.access_key_id)
            .await
            .expect("disabled");
        users.disable(account, "ci").await.expect("disabled");
        let listed = users.list(account, None, 9).await.expect("a page").items;
        assert_eq!(
            (listed.len(), listed[0].keys.len(), listed[0].policies.len()),
            (1, 2, 1)
        );
        assert!(
            listed[0].disabled_at.is_some()
                && listed[0]
                    .keys
                    .iter()
                    .any(|listed| listed.disabled_at.is_some())
        );
        users.enable(account, "ci").await.expect("enabled");
        users.rotate_key(account, Some("ci")).await.expect("a key");
        assert_eq!(
            users.delete_key(account, &key.access_key_id).await,
            Err(Error::NoSuchKey(key.access_key_id))
        );
        users.delete(account, "ci").await.expect("deleted");
    }
}
