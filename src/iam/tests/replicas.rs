//! Two servers on one index: what one of them changes of roles, groups and policies, the other one
//! decides by within a second.

use super::*;

const ACCOUNT: AccountId = AccountId::DEV;
const SECOND: Duration = Duration::from_secs(1);
const READ_ONLY: &str = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly";

fn allowing(action: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}",
            "Resource":"*"}}]}}"#
    )
}

/// The names of the policies of the caller, with those to whom they are attached.
fn names(caller: &Caller) -> Vec<String> {
    let policies = caller.policies.policies.iter();
    let name = |named: &NamedPolicy| {
        let owner = named.owner.as_deref().unwrap_or_default();
        format!("{owner} {}", named.name)
    };
    policies.map(name).collect()
}

fn texts(caller: &Caller) -> Vec<String> {
    let policies = caller.policies.policies.iter();
    policies
        .map(|named| named.policy.text().to_owned())
        .collect()
}

#[tokio::test]
async fn a_change_of_groups_counts_on_every_server() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, other) = (world.open().await, world.open().await);
        let key = user(&iam, "ann", &[]).await;
        let changes = other.entities();
        let group = NewEntity::new(EntityKind::Group, "dev");
        let group = changes.create(ACCOUNT, group).await.expect("made").name;
        let attached = changes.attach_policy(ACCOUNT, &group, READ_ONLY.to_owned());
        attached.await.expect("attached");
        let seen = async || {
            let before = signs_in(&iam, &key).await.expect("in").caller;
            let unchanged = names(&before);
            world.after(SECOND);
            let after = signs_in(&iam, &key).await.expect("in").caller;
            (unchanged, names(&after))
        };
        assert_eq!(seen().await, (vec![], vec![]));
        let of_group = |name: &str| format!("group/dev {name}");
        let added = changes.add_member(ACCOUNT, &group, "ann").await;
        added.expect("added");
        assert_eq!(seen().await, (vec![], vec![of_group(READ_ONLY)]));
        let document = allowing("ecr:*");
        let put = changes.put_inline_policy(ACCOUNT, &group, "own".to_owned(), document);
        put.await.expect("put");
        let detached = changes.detach_policy(ACCOUNT, &group, READ_ONLY.to_owned());
        detached.await.expect("detached");
        let expected = (vec![of_group(READ_ONLY)], vec![of_group("own")]);
        assert_eq!(seen().await, expected);
        let renamed = changes.rename(ACCOUNT, &group, Some("ops".to_owned()), None);
        renamed.await.expect("renamed");
        let ops = vec!["group/ops own".to_owned()];
        assert_eq!(seen().await, (vec![of_group("own")], ops.clone()));
        let group = EntityName {
            name: "ops".to_owned(),
            ..group
        };
        let removed = changes.remove_member(ACCOUNT, &group, "ann").await;
        removed.expect("removed");
        assert_eq!(seen().await, (ops, vec![]));
    }
}

#[tokio::test]
async fn a_change_of_policies_counts_on_every_server() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, other) = (world.open().await, world.open().await);
        let policies = other.managed_policies();
        let new = NewManagedPolicy {
            name: "Push".to_owned(),
            path: "/".to_owned(),
            document: allowing("ecr:PutImage"),
            description: None,
            tags: Vec::new(),
        };
        let push = policies.create(ACCOUNT, new).await.expect("made");
        let arn = push.arn.to_string();
        let key = user(&iam, "ann", &[&arn]).await;
        let caller = async || signs_in(&iam, &key).await.expect("in").caller;
        assert_eq!(texts(&*caller().await), [allowing("ecr:PutImage")]);

        let made = policies.create_version(ACCOUNT, &push, allowing("ecr:Get*"), true);
        made.await.expect("a version");
        world.after(SECOND);
        assert_eq!(texts(&*caller().await), [allowing("ecr:Get*")]);
        let set = policies.set_default_version(ACCOUNT, &push, "v1").await;
        set.expect("set");
        world.after(SECOND);
        assert_eq!(texts(&*caller().await), [allowing("ecr:PutImage")]);

        let changes = other.entities();
        let ann = changes.find(ACCOUNT, EntityKind::User, "ann").await;
        let ann = ann.expect("read").expect("a user").name;
        let boundary = |caller: &Caller| {
            let boundary = caller.boundary.as_ref();
            boundary.map(|named| named.policy.text().to_owned())
        };
        assert_eq!(boundary(&*caller().await), None);
        let set = changes.set_boundary(ACCOUNT, &ann, Some(arn.clone())).await;
        set.expect("set");
        let tag = ("team".to_owned(), "red".to_owned());
        let tagged = changes.tag(ACCOUNT, &ann, vec![tag.clone()]).await;
        tagged.expect("tagged");
        world.after(SECOND);
        let now = caller().await;
        assert_eq!(boundary(&now), Some(allowing("ecr:PutImage")));
        assert_eq!(now.tags, [tag]);
        let made = policies.create_version(ACCOUNT, &push, allowing("ecr:List*"), true);
        made.await.expect("a version");
        world.after(SECOND);
        let now = caller().await;
        assert_eq!(boundary(&now), Some(allowing("ecr:List*")));
        let detached = changes.detach_policy(ACCOUNT, &ann, arn).await;
        detached.expect("detached");
        world.after(SECOND);
        assert!(texts(&*caller().await).is_empty());
    }
}

#[tokio::test]
async fn a_change_of_roles_counts_on_every_server() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, other) = (world.open().await, world.open().await);
        let key = user(&iam, "ann", &[]).await;
        let ann = signs_in(&iam, &key).await.expect("in").caller;
        let changes = other.entities();
        let role = changes.create(ACCOUNT, new_role("deploy")).await;
        let role = role.expect("a role").name;
        let limit = NewManagedPolicy {
            name: "Limit".to_owned(),
            path: "/".to_owned(),
            document: allowing("ecr:*"),
            description: None,
            tags: Vec::new(),
        };
        let limit = other.managed_policies().create(ACCOUNT, limit).await;
        let limit = limit.expect("made");

        let arn = role_arn(&role);
        let target = iam.role_sessions().role(&arn).await.expect("read");
        let session = NewRoleSession {
            name: "run".to_owned(),
            policy_arns: vec![limit.arn.to_string()],
            ..NewRoleSession::default()
        };
        let assumed = iam.role_sessions().assume(&ann, &target, session).await;
        let session = assumed.expect("assumed").session;
        let caller = async || {
            let secret = session.secret_access_key.reveal();
            let token = Some(session.session_token.reveal().as_str());
            let headers = headers_of_session(&session.access_key_id, secret, token);
            signed(&iam, &headers).await.map(|signed| signed.caller)
        };
        assert!(names(&caller().await.expect("in")).is_empty());

        let attached = changes.attach_policy(ACCOUNT, &role, READ_ONLY.to_owned());
        attached.await.expect("attached");
        let boundary = Some(limit.arn.to_string());
        let set = changes.set_boundary(ACCOUNT, &role, boundary).await;
        set.expect("set");
        world.after(SECOND);
        let now = caller().await.expect("in");
        assert_eq!(names(&now), [format!("role/deploy {READ_ONLY}")]);
        assert!(now.boundary.is_some());

        // The managed session policies are those of now as well.
        let narrower = allowing("ecr:List*");
        let policies = other.managed_policies();
        let made = policies.create_version(ACCOUNT, &limit, narrower.clone(), true);
        made.await.expect("a version");
        world.after(SECOND);
        let now = caller().await.expect("in");
        let limits = now.session_policies.as_ref().expect("limits");
        assert_eq!(limits.policies[0].policy.text(), narrower);

        let trust = TRUST.replace("123456789012", "000000000001");
        let set = changes
            .set_trust_policy(ACCOUNT, &role, trust.clone())
            .await;
        set.expect("set");
        world.after(SECOND);
        let target = iam.role_sessions().role(&arn).await.expect("read");
        assert!(matches!(
            target.trust_policy(),
            TrustPolicy::Of(policy) if policy.text() == trust
        ));

        let detached = changes.detach_policy(ACCOUNT, &role, READ_ONLY.to_owned());
        detached.await.expect("detached");
        changes.remove(ACCOUNT, &role).await.expect("gone");
        world.after(SECOND);
        assert_eq!(caller().await.err(), Some(Error::UnknownKey));
        let target = iam.role_sessions().role(&arn).await.expect("read");
        assert!(matches!(target.trust_policy(), TrustPolicy::Missing));
    }
}

fn role_arn(role: &EntityName) -> wharfinger_aws::Arn {
    EntityKind::Role.arn(ACCOUNT, &role.path, &role.name)
}
