//! Roles and instance profiles: who may assume a role, what its sessions get, and to whom policies
//! give something when a role was deleted.

use super::*;

fn trusting(principal: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole",
            "Principal":{{"AWS":"{principal}"}}}}]}}"#
    )
}

fn inline(action: &str) -> String {
    format!(r#"{{"Statement":{{"Effect":"Allow","Action":"{action}","Resource":"*"}}}}"#)
}

#[tokio::test]
async fn both_engines_keep_roles_alike() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, account) = (world.open().await, AccountId::DEV);
        let entities = iam.entities();
        let role = entities.create(account, new_role("deploy")).await;
        let role = role.expect("a role");
        let settings = role.role.as_ref().expect("settings");
        assert_eq!(settings.trust_policy, TRUST);
        assert_eq!(settings.max_session, Duration::from_hours(1));
        let change = RoleChange {
            description: Some("for CI".to_owned()),
            max_session: Some(Duration::from_hours(12)),
        };
        let changed = entities.update_role(account, &role.name, change).await;
        let changed = changed.expect("changed").role.expect("settings");
        assert_eq!(changed.description.as_deref(), Some("for CI"));
        user(&iam, "ann", &[]).await;
        let ann = trusting("arn:aws:iam::123456789012:user/ann");
        let set = entities.set_trust_policy(account, &role.name, ann.clone());
        set.await.expect("set");
        let found = entities.find(account, EntityKind::Role, "Deploy").await;
        let found = found.expect("read").expect("a role").role.expect("set");
        assert_eq!(
            (found.trust_policy, found.max_session),
            (ann, Duration::from_hours(12))
        );
        let last_use = RoleUse {
            at: Timestamp::from_ms(NOON),
            region: "eu-west-1".to_owned(),
        };
        let (id, used) = (role.name.id.clone(), last_use.clone());
        let written = world
            .db
            .write(move |tx| store::roles::record_use(tx, &id, &used, Timestamp::from_ms(NOON)));
        written.await.expect("written");
        let listed = entities.list(account, EntityKind::Role, "/", None, 9).await;
        let listed = listed.expect("a page").items.remove(0).role.expect("set");
        assert_eq!(listed.last_use, Some(last_use));
        entities.remove(account, &role.name).await.expect("gone");
    }
}

#[tokio::test]
async fn a_profile_has_one_role() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, account) = (world.open().await, AccountId::DEV);
        let entities = iam.entities();
        let profile = NewEntity::new(EntityKind::InstanceProfile, "hosts");
        let profile = entities.create(account, profile).await.expect("made");
        let mut roles = Vec::new();
        for name in ["a", "b"] {
            let role = entities.create(account, new_role(name)).await;
            roles.push(role.expect("a role").name);
        }
        let added = entities.add_role(account, &profile.name, &roles[0]).await;
        added.expect("added");
        for role in &roles {
            let refused = entities.add_role(account, &profile.name, role).await;
            let quota = "InstanceSessionsPerInstanceProfile";
            assert_eq!(refused, Err(Error::Quota { quota, limit: 1 }));
        }
        let held = entities.roles_of_profiles(account, std::slice::from_ref(&profile));
        let held = held.await.expect("read").remove(0).expect("a role");
        assert_eq!(held.name, roles[0]);
        let profiles = entities.profiles_of(account, &roles[0], None, 9).await;
        assert_eq!(profiles.expect("a page").items[0].name, profile.name);
        for used in [&profile.name, &roles[0]] {
            let refused = entities.remove(account, used).await;
            let first = "remove roles from instance profile";
            assert_eq!(refused, Err(Error::DeleteConflict(first)));
        }
        let refused = entities.remove_role(account, &profile.name, "b");
        assert!(matches!(refused.await, Err(Error::NotInProfile { .. })));
        let removed = entities.remove_role(account, &profile.name, "A");
        removed.await.expect("removed");
        for unused in [&profile.name, &roles[0]] {
            entities.remove(account, unused).await.expect("gone");
        }
    }
}

#[tokio::test]
async fn a_trust_policy_names_principals_that_exist_and_actions_of_sts() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let role = |trust: &str| NewEntity {
        role: Some(NewRole {
            trust_policy: trust.to_owned(),
            description: None,
            max_session: None,
        }),
        ..NewEntity::new(EntityKind::Role, "deploy")
    };
    let nobody = "arn:aws:iam::123456789012:user/nobody";
    let too_long = format!("{}{}", trusting("*"), " ".repeat(20));
    let too_long = too_long.replace("sts:AssumeRole", &"sts:AssumeRole".repeat(150));
    for (trust, expected) in [
        (
            trusting(nobody),
            Error::Policy(PolicyError::PrincipalNotFound(nobody.to_owned())),
        ),
        (
            trusting("*").replace("sts:AssumeRole", "ecr:*"),
            Error::Policy(PolicyError::NotAssumeRole),
        ),
        (
            trusting("*").replace("\"Effect\"", "\"Resource\":\"*\",\"Effect\""),
            Error::Policy(PolicyError::NotAllowed {
                element: "Resource".to_owned(),
            }),
        ),
        (
            too_long,
            Error::Quota {
                quota: "ACLSizePerRole",
                limit: 2_048,
            },
        ),
    ] {
        let refused = iam.entities().create(account, role(&trust)).await;
        assert_eq!(refused, Err(expected), "{trust}");
    }
}

/// What a role's sessions get is at most a second old, and ends with the role.
#[tokio::test]
async fn sessions_of_a_role_see_changes_within_a_second() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let entities = iam.entities();
    let role = entities.create(account, new_role("deploy")).await;
    let role = role.expect("a role").name;
    let seal = Arc::new(Seal::new(&world.master, Ids::default()));
    let db = IdentityDb::new(world.db.clone(), Ids::default());
    let identities = Identities::new(db, seal, world.clock.clone());
    let documents = async || {
        let owner = identities.owner(account, &role.id).await.expect("read");
        let caller = owner?.caller(Some("run"));
        assert_eq!(caller.user_id(), format!("{}:run", role.id));
        let policies = caller.policies.policies.iter();
        let texts = policies.map(|named| named.policy.text().to_owned());
        Some(texts.collect::<Vec<_>>())
    };
    assert_eq!(documents().await, Some(Vec::new()));
    let put = entities.put_inline_policy(account, &role, "p".into(), inline("ecr:*"));
    put.await.expect("set");
    world.after(Duration::from_secs(1));
    assert_eq!(documents().await, Some(vec![inline("ecr:*")]));
    let owner = identities.role(account, "Deploy").await.expect("read");
    let owner = owner.expect("a role");
    let assumable = owner.role().expect("a role");
    assert_eq!(assumable.trust_policy.text(), TRUST);
    assert_eq!(assumable.max_session, Duration::from_hours(1));
    assert_eq!(assumable.name.id, role.id);
    let deleted = entities.delete_inline_policy(account, &role, "p".into());
    deleted.await.expect("deleted");
    entities.remove(account, &role).await.expect("gone");
    world.after(Duration::from_secs(1));
    assert_eq!(documents().await, None);
}

/// Policies name roles and their sessions by unique ids: a role created under the name of a deleted
/// one is another principal.
#[tokio::test]
async fn policies_name_roles_by_their_unique_ids() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, account) = (world.open().await, AccountId::DEV);
        let entities = iam.entities();
        let by_arn = trusting("arn:aws:iam::123456789012:role/deploy");
        let session = trusting("arn:aws:sts::123456789012:assumed-role/deploy/run");
        for policy in [&by_arn, &session] {
            let missing = iam.bind_principals(policy).await.expect_err("no role");
            assert!(matches!(
                missing,
                Error::Policy(PolicyError::PrincipalNotFound(_))
            ));
        }
        let role = entities.create(account, new_role("deploy")).await;
        let role = role.expect("a role").name;
        let bound = trusting(&role.id);
        let bound_session = trusting(&format!("{}:run", role.id));
        for (policy, expected) in [(&by_arn, &bound), (&session, &bound_session)] {
            assert_eq!(iam.bind_principals(policy).await.as_ref(), Ok(expected));
            assert_eq!(iam.show_principals(expected).await.as_ref(), Ok(policy));
        }
        entities.remove(account, &role).await.expect("gone");
        let successor = entities.create(account, new_role("deploy")).await;
        let successor = successor.expect("a role").name;
        let sessions = |name: &EntityName, session: &str| {
            let role = RoleName {
                path: name.path.clone(),
                name: name.name.clone(),
                id: name.id.clone(),
            };
            let session_name = session.to_owned();
            let principal = Principal::AssumedRole { role, session_name };
            Caller::new(account, principal, Arc::default())
        };
        for (stored, allowed) in [(&bound, [true, true]), (&bound_session, [true, false])] {
            assert_eq!(iam.show_principals(stored).await.as_ref(), Ok(stored));
            let again = iam.bind_principals(stored).await;
            assert!(again.is_err(), "the id of a deleted role: {again:?}");
            let text = stored.replace("sts:AssumeRole", "ecr:PutImage");
            let compiled = Policy::parse(&text, Grammar::Repository).expect("a policy");
            let allows = |caller: &Caller| {
                let request = AccessRequest {
                    caller,
                    action: "ecr:PutImage",
                    resource: None,
                    resource_account: account,
                    context: ConditionContext::default(),
                    budget: &EvaluationBudget::default(),
                };
                evaluate(&request, &PolicySet::of(caller, Some(&compiled))).is_allow()
            };
            let by = |name| ["run", "other"].map(|session| allows(&sessions(name, session)));
            assert_eq!(by(&role), allowed);
            assert_eq!(by(&successor), [false, false]);
        }
    }
}
