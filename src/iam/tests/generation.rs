//! Every operation that changes identities gives them another generation, and nothing else does.

use wharfinger_aws::Arn;

use super::*;
use crate::store::generation::generation;

const DOCUMENT: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:*",
    "Resource":"*"}}"#;
const READ_ONLY: &str = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly";
const ACCOUNT: AccountId = AccountId::DEV;

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// Operations in turn, each of which must change the generation.
struct Steps {
    db: Db,
    iam: Iam,
    last: i64,
}

impl Steps {
    async fn of(world: &World) -> Self {
        let (db, iam) = (world.db.clone(), world.open().await);
        let mut steps = Self { db, iam, last: 0 };
        steps.last = steps.now().await;
        steps
    }

    async fn now(&self) -> i64 {
        self.db.read(generation).await.expect("read")
    }

    async fn moved<T>(&mut self, what: &str, result: Result<T, Error>) -> T {
        let value = result.unwrap_or_else(|error| panic!("{what}: {error}"));
        let now = self.now().await;
        assert_ne!(now, self.last, "{what} left the generation");
        self.last = now;
        value
    }
}

#[tokio::test]
async fn every_change_of_users_and_keys_is_noticed() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let mut steps = Steps::of(&world).await;
        let users = steps.iam.users().clone();
        let made = steps.iam.bootstrap().await;
        steps.moved("bootstrap", made).await;
        let made = users.create(ACCOUNT, "ann", Vec::new()).await;
        let first = steps.moved("create", made).await.access_key_id;
        let policy = || PolicyAttachment::managed("AdministratorAccess").expect("a policy");
        let done = users.attach(ACCOUNT, "ann", policy()).await;
        steps.moved("attach", done).await;
        let done = users.detach(ACCOUNT, "ann", "AdministratorAccess").await;
        steps.moved("detach", done).await;
        let done = users.disable(ACCOUNT, "ann").await;
        steps.moved("disable", done).await;
        let done = users.enable(ACCOUNT, "ann").await;
        steps.moved("enable", done).await;
        let done = users.disable_key(ACCOUNT, &first).await;
        steps.moved("disable_key", done).await;
        let done = users.enable_key(ACCOUNT, &first).await;
        steps.moved("enable_key", done).await;
        let done = users.delete_key(ACCOUNT, &first).await;
        steps.moved("delete_key", done).await;
        let made = users.add_key(ACCOUNT, Some("ann")).await;
        steps.moved("add_key", made).await;
        let made = users.rotate_key(ACCOUNT, Some("ann")).await;
        let key = steps.moved("rotate_key", made).await.access_key_id;
        let made = users.add_owned_key(ACCOUNT, KeyOwner::Root).await;
        steps.moved("add_owned_key", made).await;
        let entities = steps.iam.entities().clone();
        let ann = entities.find(ACCOUNT, EntityKind::User, "ann").await;
        let ann = ann.expect("read").expect("a user").name;
        let owner = || KeyOwner::User(&ann);
        let done = users.set_key_disabled(ACCOUNT, owner(), &key, true).await;
        steps.moved("set_key_disabled", done).await;
        let done = users.remove_key(ACCOUNT, owner(), &key).await;
        steps.moved("remove_key", done).await;
        let done = users.delete(ACCOUNT, "ann").await;
        steps.moved("delete", done).await;
        let done = users.remove_everything(ACCOUNT).await;
        steps.moved("remove_everything", done).await;
    }
}

#[tokio::test]
async fn every_change_of_entities_is_noticed() {
    let world = World::new();
    let mut steps = Steps::of(&world).await;
    let entities = steps.iam.entities().clone();
    let new = |kind, name| NewEntity::new(kind, name);
    let made = entities.create(ACCOUNT, new(EntityKind::User, "ann")).await;
    let ann = steps.moved("create", made).await.name;
    let made = entities
        .create(ACCOUNT, new(EntityKind::Group, "dev"))
        .await;
    let dev = steps.moved("create", made).await.name;
    let made = entities.create(ACCOUNT, new_role("deploy")).await;
    let role = steps.moved("create", made).await.name;
    let made = new(EntityKind::InstanceProfile, "hosts");
    let made = entities.create(ACCOUNT, made).await;
    let hosts = steps.moved("create", made).await.name;

    let done = entities.add_member(ACCOUNT, &dev, "ann").await;
    steps.moved("add_member", done).await;
    let done = entities.remove_member(ACCOUNT, &dev, "ann").await;
    steps.moved("remove_member", done).await;
    let done = entities.add_role(ACCOUNT, &hosts, &role).await;
    steps.moved("add_role", done).await;
    let done = entities.remove_role(ACCOUNT, &hosts, "deploy").await;
    steps.moved("remove_role", done).await;

    for entity in [&ann, &dev, &role] {
        let (name, document) = ("own".to_owned(), DOCUMENT.to_owned());
        let done = entities.put_inline_policy(ACCOUNT, entity, name.clone(), document);
        steps.moved("put_inline_policy", done.await).await;
        let done = entities.delete_inline_policy(ACCOUNT, entity, name).await;
        steps.moved("delete_inline_policy", done).await;
        let done = entities.attach_policy(ACCOUNT, entity, READ_ONLY.to_owned());
        steps.moved("attach_policy", done.await).await;
        let done = entities.detach_policy(ACCOUNT, entity, READ_ONLY.to_owned());
        steps.moved("detach_policy", done.await).await;
    }
    for boundary in [Some(READ_ONLY.to_owned()), None] {
        let done = entities.set_boundary(ACCOUNT, &ann, boundary).await;
        steps.moved("set_boundary", done).await;
    }
    let done = entities.tag(ACCOUNT, &ann, vec![pair("team", "red")]).await;
    steps.moved("tag", done).await;
    let done = entities.untag(ACCOUNT, &ann, vec!["team".to_owned()]).await;
    steps.moved("untag", done).await;
    let change = RoleChange {
        description: Some("for CI".to_owned()),
        max_session: Some(Duration::from_hours(2)),
    };
    let done = entities.update_role(ACCOUNT, &role, change).await;
    steps.moved("update_role", done).await;
    let done = entities
        .set_trust_policy(ACCOUNT, &role, TRUST.to_owned())
        .await;
    steps.moved("set_trust_policy", done).await;
    let done = entities
        .rename(ACCOUNT, &ann, Some("eve".to_owned()), None)
        .await;
    steps.moved("rename", done).await;
    let done = entities.remove(ACCOUNT, &role).await;
    steps.moved("remove", done).await;
    let service = "ecs.amazonaws.com";
    let made = entities
        .create_service_role(ACCOUNT, service, None, None)
        .await;
    let linked = steps.moved("create_service_role", made).await.name;
    let done = entities.delete_service_role(ACCOUNT, &linked).await;
    steps.moved("delete_service_role", done).await;
}

#[tokio::test]
async fn every_change_of_policies_providers_and_accounts_is_noticed() {
    let world = World::new();
    let mut steps = Steps::of(&world).await;
    let policies = steps.iam.managed_policies().clone();
    let new = NewManagedPolicy {
        name: "Pull".to_owned(),
        path: "/".to_owned(),
        document: DOCUMENT.to_owned(),
        description: None,
        tags: Vec::new(),
    };
    let made = policies.create(ACCOUNT, new).await;
    let pull = steps.moved("create", made).await;
    let document = DOCUMENT.to_owned();
    let made = policies
        .create_version(ACCOUNT, &pull, document, false)
        .await;
    steps.moved("create_version", made).await;
    let done = policies.set_default_version(ACCOUNT, &pull, "v2").await;
    steps.moved("set_default_version", done).await;
    let done = policies.delete_version(ACCOUNT, &pull, "v1").await;
    steps.moved("delete_version", done).await;
    let done = policies
        .tag(ACCOUNT, &pull, vec![pair("team", "red")])
        .await;
    steps.moved("tag", done).await;
    let done = policies
        .untag(ACCOUNT, &pull, vec!["team".to_owned()])
        .await;
    steps.moved("untag", done).await;
    let done = policies.delete(ACCOUNT, &pull).await;
    steps.moved("delete", done).await;

    let providers = steps.iam.oidc_providers().clone();
    let new = NewOidcProvider {
        url: "https://ci.example.com".to_owned(),
        client_ids: Vec::new(),
        thumbprints: Vec::new(),
        tags: Vec::new(),
    };
    let made = providers.create(ACCOUNT, new).await;
    let arn: Arn = steps.moved("create", made).await.arn;
    let done = providers
        .add_client_id(ACCOUNT, &arn, "ci".to_owned())
        .await;
    steps.moved("add_client_id", done).await;
    let done = providers
        .remove_client_id(ACCOUNT, &arn, "ci".to_owned())
        .await;
    steps.moved("remove_client_id", done).await;
    let done = providers.set_thumbprints(ACCOUNT, &arn, vec!["f".repeat(40)]);
    steps.moved("set_thumbprints", done.await).await;
    let done = providers
        .tag(ACCOUNT, &arn, vec![pair("team", "red")])
        .await;
    steps.moved("tag", done).await;
    let done = providers
        .untag(ACCOUNT, &arn, vec!["team".to_owned()])
        .await;
    steps.moved("untag", done).await;
    let done = providers.delete(ACCOUNT, &arn).await;
    steps.moved("delete", done).await;

    let accounts = steps.iam.accounts().clone();
    let done = accounts.set_alias(ACCOUNT, "ports".to_owned()).await;
    steps.moved("set_alias", done).await;
    let done = accounts.remove_alias(ACCOUNT, "ports".to_owned()).await;
    steps.moved("remove_alias", done).await;
    let done = accounts.generate_credential_report(ACCOUNT).await;
    steps.moved("generate_credential_report", done).await;
}

/// Uses of keys are recorded all the time; they must not make servers read identities again.
#[tokio::test]
async fn a_recorded_use_and_a_refused_change_leave_the_generation() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let steps = Steps::of(&world).await;
        let key = user(&steps.iam, "ann", &[]).await;
        let before = steps.now().await;
        signs_in(&steps.iam, &key).await.expect("in");
        let users = steps.iam.users();
        let last_use = async || {
            let record = users.key_record(ACCOUNT, &key.access_key_id).await;
            record.expect("read").expect("a key").last_use
        };
        while last_use().await.is_none() {
            tokio::task::yield_now().await;
        }
        let refused = users.disable(ACCOUNT, "eve").await;
        assert_eq!(refused, Err(missing(EntityKind::User, "eve")));
        steps.iam.claim_index().await.expect("claimed");
        assert_eq!(steps.now().await, before);
    }
}

/// What is remembered is read again after a change of anything, and after a minute in any case.
#[tokio::test]
async fn identities_are_kept_until_something_changes() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ann", &[]).await;
    let identities = iam.authenticator.identities();
    let read = async || {
        let found = identities.get(&key.access_key_id).await;
        found.expect("read").expect("an identity")
    };
    let first = read().await;
    for _ in 0..59 {
        world.after(Duration::from_secs(1));
        assert!(Arc::ptr_eq(&first, &read().await));
    }
    world.after(Duration::from_secs(1));
    let second = read().await;
    assert!(!Arc::ptr_eq(&first, &second), "after a minute");
    user(&iam, "eve", &[]).await;
    assert!(Arc::ptr_eq(&second, &read().await), "within the second");
    world.after(Duration::from_secs(1));
    assert!(!Arc::ptr_eq(&second, &read().await), "after the change");
    let unknown = identities.get("AKIAUNKNOWN").await;
    assert!(unknown.expect("read").is_none());
}
