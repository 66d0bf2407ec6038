//! Customer managed policies and permissions boundaries, as they come with a caller.

use super::*;

fn allowing(action: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}",
            "Resource":"*"}}]}}"#
    )
}

/// Creates a policy that allows one action; returns its ARN.
async fn policy(iam: &Iam, name: &str, action: &str) -> String {
    let new = NewManagedPolicy {
        name: name.to_owned(),
        path: "/ci/".to_owned(),
        document: allowing(action),
        description: None,
        tags: Vec::new(),
    };
    let made = iam.managed_policies().create(AccountId::DEV, new).await;
    made.expect("made").arn.to_string()
}

/// The policy of this ARN.
async fn found(iam: &Iam, arn: &str) -> ManagedPolicy {
    let found = iam.managed_policies().find(AccountId::DEV, arn).await;
    found.expect("read").expect("a policy").0
}

/// The documents of all policies of the key's owner.
async fn documents(iam: &Iam, key: &NewAccessKey) -> Vec<String> {
    let signed = signs_in(iam, key).await.expect("signed in");
    let policies = signed.caller.policies.policies.iter();
    policies
        .map(|named| named.policy.text().to_owned())
        .collect()
}

#[tokio::test]
async fn a_new_default_version_is_in_force_within_a_second() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let arn = policy(&iam, "Push", "ecr:PutImage").await;
    let key = user(&iam, "ci", &[arn.as_str()]).await;
    assert_eq!(documents(&iam, &key).await, [allowing("ecr:PutImage")]);
    let (policies, push) = (iam.managed_policies(), found(&iam, &arn).await);
    policies
        .create_version(account, &push, allowing("ecr:*"), false)
        .await
        .expect("made");
    world.after(Duration::from_secs(1));
    assert_eq!(documents(&iam, &key).await, [allowing("ecr:PutImage")]);
    policies
        .set_default_version(account, &push, "v2")
        .await
        .expect("set");
    world.after(Duration::from_secs(1));
    assert_eq!(documents(&iam, &key).await, [allowing("ecr:*")]);
    let refused = policies.delete(account, &push).await;
    assert!(matches!(refused, Err(Error::PolicyInUse(_))), "{refused:?}");
}

#[tokio::test]
async fn the_boundary_comes_with_the_caller() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let arn = policy(&iam, "Reading", "ecr:Get*").await;
    let key = user(&iam, "ci", &["AdministratorAccess"]).await;
    let signed = signs_in(&iam, &key).await.expect("signed in");
    let id = signed.caller.user_id();
    let user = iam.entities().find_by_id(account, id).await.expect("read");
    let name = &user.expect("a user").name;
    let bound = async |boundary: Option<&str>| {
        let boundary = boundary.map(ToOwned::to_owned);
        iam.entities().set_boundary(account, name, boundary).await
    };
    let missing = "arn:aws:iam::123456789012:policy/None";
    assert_eq!(
        bound(Some(missing)).await,
        Err(Error::NotAttachable(missing.to_owned()))
    );
    for (boundary, document) in [
        (Some(arn.as_str()), Some(allowing("ecr:Get*"))),
        (None, None),
    ] {
        bound(boundary).await.expect("set");
        world.after(Duration::from_secs(1));
        let signed = signs_in(&iam, &key).await.expect("signed in");
        let found = signed.caller.boundary.as_ref();
        let found = found.map(|named| named.policy.text().to_owned());
        assert_eq!(found, document);
    }
}

#[tokio::test]
async fn a_policy_of_another_account_is_none() {
    let world = World::new();
    let iam = world.open().await;
    let arn = policy(&iam, "Push", "ecr:PutImage").await;
    let stranger = "000000000001".parse().expect("an account");
    let policies = iam.managed_policies();
    let theirs = policies.find(stranger, &arn).await.expect("looked up");
    assert!(theirs.is_none());
    let push = found(&iam, &arn).await;
    assert_eq!(
        policies.delete(stranger, &push).await,
        Err(Error::NoSuchPolicy(arn.clone()))
    );
    let attachment = PolicyAttachment::managed(&arn).expect("an ARN");
    assert_eq!(
        iam.users()
            .create(stranger, "ci", vec![attachment])
            .await
            .err(),
        Some(Error::NotAttachable(arn))
    );
}

/// A change is made to the policy that the caller was authorised for, not to a successor.
#[tokio::test]
async fn a_successor_of_a_policy_is_another_one() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let arn = policy(&iam, "Push", "ecr:PutImage").await;
    let (policies, first) = (iam.managed_policies(), found(&iam, &arn).await);
    policies.delete(account, &first).await.expect("deleted");
    policy(&iam, "Push", "ecr:PutImage").await;
    let refused = Err(Error::NoSuchPolicy(arn));
    assert_eq!(policies.delete(account, &first).await, refused);
    let tagged = policies.tag(account, &first, Vec::new()).await;
    assert_eq!(tagged, refused);
}
