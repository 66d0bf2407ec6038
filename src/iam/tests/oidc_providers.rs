//! OIDC providers in the index.

use super::*;

const URL: &str = "https://ci.example.com/jobs";

fn new(url: &str) -> NewOidcProvider {
    NewOidcProvider {
        url: url.to_owned(),
        client_ids: vec!["a".to_owned(), "b".to_owned(), "a".to_owned()],
        thumbprints: vec!["0123456789abcdefABCD0123456789abcdefabcd".to_owned()],
        tags: vec![("team".to_owned(), "red".to_owned())],
    }
}

#[tokio::test]
async fn both_engines_keep_providers_alike() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, account) = (world.open().await, AccountId::DEV);
        let providers = iam.oidc_providers();
        let made = providers.create(account, new(URL)).await.expect("made");
        let arn = made.arn.clone();
        let expected = "arn:aws:iam::123456789012:oidc-provider/ci.example.com/jobs";
        assert_eq!((arn.as_str(), made.url.as_str()), (expected, URL));
        assert_eq!(made.client_ids, ["a", "b"]);
        assert_eq!(
            providers.create(account, new(URL)).await.err(),
            Some(Error::ProviderExists(URL.to_owned()))
        );
        let found = async || providers.find(account, &arn).await.expect("read");
        assert_eq!(found().await, Some(made));
        let add = |id: &str| providers.add_client_id(account, &arn, id.to_owned());
        add("c").await.expect("added");
        add("c").await.expect("there");
        let removed = providers.remove_client_id(account, &arn, "a".to_owned());
        removed.await.expect("removed");
        let thumbprints = vec!["f".repeat(40)];
        let set = providers.set_thumbprints(account, &arn, thumbprints.clone());
        set.await.expect("set");
        let tag = ("TEAM".to_owned(), "blue".to_owned());
        let tagged = providers.tag(account, &arn, vec![tag.clone()]);
        tagged.await.expect("tagged");
        let now = found().await.expect("a provider");
        assert_eq!(now.client_ids, ["b", "c"]);
        assert_eq!((now.thumbprints, now.tags), (thumbprints, vec![tag]));
        let untagged = providers.untag(account, &arn, vec!["team".to_owned()]);
        untagged.await.expect("untagged");
        assert!(found().await.expect("a provider").tags.is_empty());
        let other = providers.create(account, new("https://a.example.com"));
        other.await.expect("made");
        let listed = providers.list(account).await.expect("a list");
        assert_eq!(listed.len(), 2);
        assert!(listed[0].as_str().ends_with("/a.example.com"));
        for _ in 0..2 {
            providers.delete(account, &arn).await.expect("gone");
        }
        assert_eq!(found().await, None);
        let missing = Error::NoSuchProvider(arn.to_string());
        assert_eq!(add("d").await.err(), Some(missing));
    }
}

#[tokio::test]
async fn what_no_provider_can_be_is_refused() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let providers = iam.oidc_providers();
    for url in [
        "",
        "ci.example.com",
        "https://",
        "https:///x",
        "http://ci.example.com",
        "https://ci.example.com?x=1",
        "https://user@ci.example.com",
        "https://ci.example.com/#x",
        "https://ci.example.com/*",
    ] {
        let refused = providers.create(account, new(url)).await.err();
        let expected = Error::InvalidProviderUrl(url.to_owned());
        assert_eq!(refused, Some(expected), "{url}");
    }
    let mut provider = new(URL);
    provider.thumbprints = vec!["g".repeat(40)];
    let refused = providers.create(account, provider.clone()).await.err();
    assert!(matches!(refused, Some(Error::InvalidThumbprint(_))));
    provider.thumbprints = vec!["a".repeat(40); 6];
    let refused = providers.create(account, provider.clone()).await.err();
    assert!(matches!(refused, Some(Error::Quota { limit: 5, .. })));
    provider.thumbprints.clear();
    provider.client_ids = (0..101).map(|id| id.to_string()).collect();
    let refused = providers.create(account, provider).await.err();
    assert!(matches!(refused, Some(Error::Quota { limit: 100, .. })));
    let dev = world.dev().await;
    let local = dev
        .oidc_providers()
        .create(account, new("http://localhost:1"));
    assert!(local.await.is_ok());
}

#[tokio::test]
async fn an_account_has_a_hundred_providers() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let providers = iam.oidc_providers();
    for number in 0..100 {
        let url = format!("https://{number}.example.com");
        providers.create(account, new(&url)).await.expect("made");
    }
    let refused = providers.create(account, new(URL)).await.err();
    assert!(matches!(refused, Some(Error::Quota { limit: 100, .. })));
    let elsewhere: AccountId = "210987654321".parse().expect("an account");
    assert!(providers.create(elsewhere, new(URL)).await.is_ok());
}
