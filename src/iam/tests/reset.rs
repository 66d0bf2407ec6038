//! The reset of a development server.

use super::*;
use crate::managed_policies::NewManagedPolicy;

#[tokio::test]
async fn nothing_is_left_but_the_root() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let users = iam.users();
    let make = || async {
        user(&iam, "ci", &["AdministratorAccess"]).await;
        let group = NewEntity::new(EntityKind::Group, "builders");
        let group = iam.entities().create(account, group).await;
        group.expect("a group");
        let profile = NewEntity::new(EntityKind::InstanceProfile, "hosts");
        let profile = iam.entities().create(account, profile).await;
        let role = iam.entities().create(account, new_role("deploy")).await;
        let (profile, role) = (profile.expect("made"), role.expect("made"));
        let added = iam.entities().add_role(account, &profile.name, &role.name);
        added.await.expect("added");
        let provider = NewOidcProvider {
            url: "https://ci.example.com".to_owned(),
            client_ids: Vec::new(),
            thumbprints: Vec::new(),
            tags: Vec::new(),
        };
        let provider = iam.oidc_providers().create(account, provider);
        provider.await.expect("a provider");
        let policy = NewManagedPolicy {
            name: "Pull".to_owned(),
            path: "/".to_owned(),
            document: r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:*",
                "Resource":"*"}}"#
                .to_owned(),
            description: None,
            tags: Vec::new(),
        };
        let policy = iam.managed_policies().create(account, policy);
        policy.await.expect("a policy");
    };
    make().await;
    let root_keys = users.keys(account, None).await.expect("keys").len();
    users.remove_everything(account).await.expect("removed");
    let left = users.list(account, None, 10).await.expect("users");
    assert!(left.items.is_empty());
    for kind in EntityKind::ALL {
        let left = iam.entities().list(account, kind, "/", None, 10).await;
        assert!(left.expect("a page").items.is_empty(), "{kind:?}");
    }
    let kept = users.keys(account, None).await.expect("keys").len();
    assert_eq!(kept, root_keys);
    make().await;
}
