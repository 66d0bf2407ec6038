//! Passwords, Bearer tokens and tickets.

use super::*;

#[tokio::test]
async fn a_password_lasts_twelve_hours() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let password = iam.password_for(&caller).expect("a password");
    let text = password.token.reveal();
    assert!(!text.contains([':', ' ', '\n']) && text.len() < 4_096);
    assert_eq!(
        password.expires_at,
        Timestamp::from_ms(NOON + 12 * 3_600_000)
    );

    let header = basic("AWS", text);
    let again = iam.authenticate_header(Some(&header)).await.expect("in");
    assert_eq!(
        (again.arn(), &again.access_key_id),
        (caller.arn(), &caller.access_key_id)
    );
    assert!(again.registry_grant.is_none());
    assert!(iam.authenticate_basic("AWS", text).await.is_ok());
    for (user, password) in [
        ("aws", text.as_str()),
        ("ci", text),
        ("AWS", ""),
        ("AWS", &text[1..]),
        ("AWS", key.secret_access_key.reveal()),
    ] {
        assert_eq!(
            iam.authenticate_basic(user, password).await.err(),
            Some(Error::BadCredentials),
            "{user}"
        );
    }
    assert_eq!(
        bearer(&iam, text).await.err(),
        Some(Error::BadCredentials),
        "a password is no Bearer token"
    );
    for bad in [
        "",
        "Basic",
        "Basic %",
        "Basic QVdT",
        "Digest x",
        "Bearer ",
        &"x".repeat(100_000),
    ] {
        assert_eq!(
            iam.authenticate_header(Some(bad)).await.err(),
            Some(Error::BadCredentials),
            "{}",
            &bad[..bad.len().min(20)]
        );
    }
    assert_eq!(
        iam.authenticate_header(None).await.err(),
        Some(Error::MissingCredentials)
    );

    let elsewhere = World::new();
    elsewhere.clock.advance(Duration::ZERO);
    assert_eq!(
        elsewhere
            .open()
            .await
            .authenticate_header(Some(&header))
            .await
            .err(),
        Some(Error::BadCredentials)
    );

    world.after(Duration::from_hours(12) - Duration::from_millis(1));
    assert!(iam.authenticate_header(Some(&header)).await.is_ok());
    world.after(Duration::from_millis(1));
    let expired = iam
        .authenticate_header(Some(&header))
        .await
        .expect_err("expired");
    assert_eq!(
        expired.to_string(),
        "Your authorization token has expired. Reauthenticate and try again."
    );
}

#[tokio::test]
async fn a_bearer_token_carries_its_scopes() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let grant = registry_grant("repository:team/web:pull,push");
    let token = iam.registry_token(&caller, &grant).expect("a token");
    assert_eq!(
        token.expires_at.since(token.issued_at),
        Duration::from_mins(5)
    );
    let header = format!("Bearer {}", token.token.reveal());
    for _ in 0..2 {
        let again = iam.authenticate_header(Some(&header)).await.expect("in");
        assert_eq!(
            (again.arn(), again.registry_grant.as_deref()),
            (caller.arn(), Some(&grant))
        );
    }
    assert_eq!(
        iam.authenticate_basic("AWS", token.token.reveal())
            .await
            .err(),
        Some(Error::BadCredentials)
    );
    world.after(Duration::from_mins(5));
    assert_eq!(
        iam.authenticate_header(Some(&header)).await.err(),
        Some(Error::TokenExpired)
    );
}

pub(super) fn registry_grant(scopes: &str) -> RegistryGrant {
    RegistryGrant {
        account: AccountId::DEV,
        region: "us-east-1".parse().expect("a region"),
        scopes: TokenScopes::parse(scopes).expect("few scopes"),
    }
}

#[tokio::test]
async fn a_token_that_would_not_be_accepted_is_not_issued() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let mut issued = 0;
    for count in 1..=TokenScopes::MAX {
        let scopes: Vec<_> = (0..count)
            .map(|n| {
                format!(
                    "repository:{}:pull,push,delete",
                    format!("r{n:02}").repeat(85)
                )
            })
            .collect();
        match iam.registry_token(&caller, &registry_grant(&scopes.join(" "))) {
            Ok(token) => {
                bearer(&iam, token.token.reveal())
                    .await
                    .expect("an issued token is accepted");
                issued += 1;
            }
            Err(error) => assert_eq!(error, Error::TokenTooLong, "{count} scopes"),
        }
    }
    assert!((10..TokenScopes::MAX).contains(&issued), "{issued} tokens");
}

pub(super) fn layer_grant() -> LayerGrant {
    LayerGrant {
        account: AccountId::DEV,
        region: "us-east-1".parse().expect("a region"),
        repository: "team/web".parse().expect("a name"),
        digest: format!("sha256:{}", "ab".repeat(32))
            .parse()
            .expect("a digest"),
    }
}

#[tokio::test]
async fn a_ticket_names_its_issuer_and_one_layer_for_an_hour() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let ticket = iam
        .layer_ticket(&caller, &layer_grant())
        .expect("a ticket")
        .token;
    let (issuer, grant) = iam
        .verify_layer_ticket(ticket.reveal())
        .await
        .expect("valid");
    assert_eq!((issuer.arn(), grant), (caller.arn(), layer_grant()));
    assert_eq!(
        iam.verify_layer_ticket(&ticket.reveal()[1..]).await.err(),
        Some(Error::InvalidTicket)
    );
    assert_eq!(
        bearer(&iam, ticket.reveal()).await.err(),
        Some(Error::BadCredentials)
    );
    world.after(Duration::from_hours(1));
    assert_eq!(
        iam.verify_layer_ticket(ticket.reveal()).await.err(),
        Some(Error::InvalidTicket)
    );
}

#[tokio::test]
async fn a_ticket_ends_with_its_issuer() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let ticket = iam
        .layer_ticket(&caller, &layer_grant())
        .expect("a ticket")
        .token;
    iam.users()
        .delete(AccountId::DEV, "ci")
        .await
        .expect("deleted");
    // Identities are cached for a second.
    world.after(Duration::from_secs(2));
    assert_eq!(
        iam.verify_layer_ticket(ticket.reveal()).await.err(),
        Some(Error::InvalidTicket)
    );
}
