//! Sessions of roles: what they may do, what they inherit, and when they end.

use super::*;
use crate::principal::RoleName;

const POLICY: &str = r#"{"Version": "2012-10-17", "Statement":
    {"Effect": "Allow", "Action": "ecr:Get*", "Resource": "*"}}"#;

fn new(name: &str) -> NewRoleSession {
    NewRoleSession {
        name: name.to_owned(),
        ..NewRoleSession::default()
    }
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// Creates the role `deploy` with these tags.
async fn role(iam: &Iam, tags: &[(&str, &str)]) -> EntityName {
    let role = NewEntity {
        tags: tags.iter().map(|(key, value)| pair(key, value)).collect(),
        ..new_role("deploy")
    };
    let made = iam.entities().create(AccountId::DEV, role).await;
    made.expect("a role").name
}

async fn target(iam: &Iam) -> TargetRole {
    let arn = "arn:aws:iam::123456789012:role/deploy";
    let role = iam
        .role_sessions()
        .role(&arn.parse().expect("an ARN"))
        .await;
    role.expect("read")
}

async fn assume(iam: &Iam, caller: &Caller, session: NewRoleSession) -> Result<AssumedRole, Error> {
    let role = target(iam).await;
    iam.role_sessions().assume(caller, &role, session).await
}

/// The caller that signs with the credentials of a session.
async fn caller_of(iam: &Iam, session: &NewSession) -> Result<Arc<Caller>, Error> {
    let (key, secret) = (&session.access_key_id, session.secret_access_key.reveal());
    let token = session.session_token.reveal();
    let signed = signed(iam, &headers_of_session(key, secret, Some(token))).await;
    signed.map(|signed| signed.caller)
}

async fn ann(iam: &Iam) -> Arc<Caller> {
    let key = user(iam, "ann", &[]).await;
    signs_in(iam, &key).await.expect("in").caller
}

#[tokio::test]
async fn a_session_has_the_roles_policies_and_its_own_limits() {
    let world = World::new();
    let iam = world.open().await;
    let role = role(&iam, &[("team", "red"), ("cost", "7")]).await;
    let full = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryFullAccess".to_owned();
    let attached = iam.entities().attach_policy(AccountId::DEV, &role, full);
    attached.await.expect("attached");
    let caller = ann(&iam).await;
    let read_only = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly";
    let session = NewRoleSession {
        policy: Some(POLICY.to_owned()),
        policy_arns: vec![read_only.to_owned()],
        tags: vec![pair("TEAM", "blue")],
        source_identity: Some("ann".to_owned()),
        ..new("run")
    };
    let assumed = assume(&iam, &caller, session).await.expect("assumed");
    let arn = "arn:aws:sts::123456789012:assumed-role/deploy/run";
    assert_eq!(assumed.arn.as_str(), arn);
    assert_eq!(assumed.id, format!("{}:run", role.id));
    assert!(assumed.packed_percent.is_some_and(|percent| percent < 20));
    let acting = caller_of(&iam, &assumed.session).await.expect("in");
    let name = RoleName {
        path: "/".to_owned(),
        name: "deploy".to_owned(),
        id: role.id.clone(),
    };
    let principal = Principal::AssumedRole {
        role: name,
        session_name: "run".to_owned(),
    };
    assert_eq!(acting.principal, principal);
    assert_eq!(acting.policies.policies.len(), 1);
    let limits = acting.session_policies.as_ref().expect("limits");
    assert_eq!(limits.policies.len(), 2);
    assert_eq!(acting.tags, [pair("cost", "7"), pair("TEAM", "blue")]);
    let key = ("aws:sourceidentity".to_owned(), vec!["ann".to_owned()]);
    assert_eq!(*acting.session_keys, [key]);
    assert_eq!(acting.issued_at, Some(Timestamp::from_ms(NOON)));
}

#[tokio::test]
async fn a_session_passes_on_what_is_transitive() {
    let world = World::new();
    let iam = world.open().await;
    role(&iam, &[]).await;
    let caller = ann(&iam).await;
    let session = NewRoleSession {
        tags: vec![pair("team", "red"), pair("cost", "7")],
        transitive_keys: vec!["Team".to_owned()],
        source_identity: Some("ann".to_owned()),
        ..new("first")
    };
    let first = assume(&iam, &caller, session).await.expect("assumed");
    let first = caller_of(&iam, &first.session).await.expect("in");
    let passed = inherited(&first);
    assert_eq!(passed.tags, [pair("team", "red")]);
    assert_eq!(inherited(&caller), Inherited::default());
    let second = assume(&iam, &first, new("second")).await.expect("assumed");
    assert_eq!(second.source_identity.as_deref(), Some("ann"));
    let second = caller_of(&iam, &second.session).await.expect("in");
    assert_eq!(second.tags, [pair("team", "red")]);
    assert_eq!(inherited(&second), passed, "and on to the next");
    for wrong in [
        NewRoleSession {
            tags: vec![pair("TEAM", "blue")],
            ..new("run")
        },
        NewRoleSession {
            source_identity: Some("eve".to_owned()),
            ..new("run")
        },
    ] {
        assert!(assume(&iam, &second, wrong).await.is_err());
    }
}

#[tokio::test]
async fn a_session_is_as_long_as_the_role_and_the_chain_allow() {
    let world = World::new();
    let iam = world.open().await;
    let role = role(&iam, &[]).await;
    let caller = ann(&iam).await;
    let lasting = |seconds| NewRoleSession {
        duration: Some(Duration::from_secs(seconds)),
        ..new("run")
    };
    let refused = assume(&iam, &caller, lasting(3_601)).await.err();
    assert_eq!(refused, Some(Error::SessionTooLong));
    let change = RoleChange {
        description: None,
        max_session: Some(Duration::from_hours(12)),
    };
    let changed = iam.entities().update_role(AccountId::DEV, &role, change);
    changed.await.expect("changed");
    world.after(Duration::from_secs(1));
    let long = assume(&iam, &caller, lasting(43_200))
        .await
        .expect("assumed");
    let left = long.session.expires_at.since(world.clock.now());
    assert_eq!(left, Duration::from_hours(12));
    let acting = caller_of(&iam, &long.session).await.expect("in");
    assert!(assume(&iam, &acting, lasting(3_600)).await.is_ok());
    let refused = assume(&iam, &acting, lasting(3_601)).await.err();
    assert_eq!(refused, Some(Error::ChainedSessionTooLong));
}

#[tokio::test]
async fn a_session_ends_with_its_role_and_follows_its_changes() {
    let world = World::new();
    let iam = world.open().await;
    let role = role(&iam, &[]).await;
    let caller = ann(&iam).await;
    let session = assume(&iam, &caller, new("run"))
        .await
        .expect("assumed")
        .session;
    let before = caller_of(&iam, &session).await.expect("in");
    assert!(before.boundary.is_none() && before.session_policies.is_none());
    let boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned();
    let entities = iam.entities();
    let set = entities.set_boundary(AccountId::DEV, &role, Some(boundary));
    set.await.expect("set");
    world.after(Duration::from_secs(1));
    let after = caller_of(&iam, &session).await.expect("in");
    assert!(after.boundary.is_some());
    let unset = entities.set_boundary(AccountId::DEV, &role, None);
    unset.await.expect("unset");
    entities.remove(AccountId::DEV, &role).await.expect("gone");
    world.after(Duration::from_secs(1));
    let refused = caller_of(&iam, &session).await.err();
    assert_eq!(refused, Some(Error::UnknownKey));
    let again = entities.create(AccountId::DEV, new_role("deploy")).await;
    again.expect("a role");
    world.after(Duration::from_secs(1));
    let refused = caller_of(&iam, &session).await.err();
    assert_eq!(refused, Some(Error::UnknownKey), "another role of the name");
}

#[tokio::test]
async fn a_deleted_session_policy_allows_nothing() {
    let world = World::new();
    let iam = world.open().await;
    role(&iam, &[]).await;
    let caller = ann(&iam).await;
    let account = AccountId::DEV;
    let policy = NewManagedPolicy {
        name: "Limit".to_owned(),
        path: "/".to_owned(),
        document: POLICY.to_owned(),
        description: None,
        tags: Vec::new(),
    };
    let policies = iam.managed_policies();
    let policy = policies.create(account, policy).await.expect("made");
    let session = NewRoleSession {
        policy_arns: vec![policy.arn.to_string()],
        ..new("run")
    };
    let session = assume(&iam, &caller, session)
        .await
        .expect("assumed")
        .session;
    let count = async || {
        let caller = caller_of(&iam, &session).await.expect("in");
        let limits = caller.session_policies.as_ref().expect("limits");
        limits.policies.len()
    };
    assert_eq!(count().await, 1);
    policies.delete(account, &policy).await.expect("gone");
    world.after(Duration::from_secs(1));
    assert_eq!(count().await, 0, "and the session stays limited");
    let missing = NewRoleSession {
        policy_arns: vec![policy.arn.to_string()],
        ..new("run")
    };
    let refused = assume(&iam, &caller, missing).await.err();
    assert_eq!(refused, Some(Error::NotAttachable(policy.arn.to_string())));
}

#[tokio::test]
async fn the_longest_session_still_signs_in_everywhere() {
    let world = World::new();
    let iam = world.open().await;
    role(&iam, &[]).await;
    let caller = ann(&iam).await;
    let session = NewRoleSession {
        min_token_bytes: 4_096,
        ..new("run")
    };
    let session = assume(&iam, &caller, session)
        .await
        .expect("assumed")
        .session;
    assert_eq!(session.session_token.reveal().len(), 4_096);
    assert_eq!(session.token_utilization(), 100);
    let acting = caller_of(&iam, &session).await.expect("in");
    let password = iam.password_for(&acting).expect("a password");
    let header = basic("AWS", password.token.reveal());
    let again = iam.authenticate_header(Some(&header)).await.expect("in");
    assert_eq!(again.arn(), acting.arn());
}

#[tokio::test]
async fn a_role_was_used_once_an_hour_in_the_index() {
    let world = World::new();
    let iam = world.open().await;
    let role = role(&iam, &[]).await;
    let caller = ann(&iam).await;
    let session = assume(&iam, &caller, new("run"))
        .await
        .expect("assumed")
        .session;
    caller_of(&iam, &session).await.expect("in");
    let id = role.id.clone();
    let last_use = async || {
        let found = iam.entities().find_by_id(AccountId::DEV, &id).await;
        found.expect("read")?.role?.last_use
    };
    let mut used = last_use().await;
    while used.is_none() {
        tokio::task::yield_now().await;
        used = last_use().await;
    }
    let expected = RoleUse {
        at: Timestamp::from_ms(NOON),
        region: "eu-west-1".to_owned(),
    };
    assert_eq!(used, Some(expected));
}
