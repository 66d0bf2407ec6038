//! Temporary credentials of users and roots, and what is issued to them.

use super::*;
use crate::tests::tokens::layer_grant;

/// Fifteen minutes, as long as a signature made at noon holds.
const SHORT: Duration = Duration::from_mins(15);

async fn uses(iam: &Iam, session: &NewSession) -> Result<Signed, Error> {
    let (key, secret) = (&session.access_key_id, session.secret_access_key.reveal());
    let token = session.session_token.reveal();
    signed(iam, &headers_of_session(key, secret, Some(token))).await
}

#[tokio::test]
async fn a_session_stands_for_its_user_until_it_ends() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &["AdministratorAccess"]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let session = iam
        .session_token(&caller, Some(SHORT), 0)
        .expect("a session");
    assert_eq!(session.expires_at, Timestamp::from_ms(NOON + 900_000));
    let again = uses(&iam, &session).await.expect("in").caller;
    assert_eq!(
        (again.arn(), again.user_id(), again.policies.policies.len()),
        (caller.arn(), caller.user_id(), 1)
    );
    assert_eq!(again.issued_at, Some(Timestamp::from_ms(NOON)));
    assert_eq!(
        again.access_key_id.as_deref(),
        Some(session.access_key_id.as_str())
    );
    assert_eq!(
        again.budget_id(),
        Some(caller.arn().as_str()),
        "all sessions share what one may use"
    );
    assert_eq!(
        iam.session_token(&again, None, 0).err(),
        Some(Error::SessionOfSession("GetSessionToken"))
    );
    let (most, rest) = (Duration::from_millis(899_999), Duration::from_millis(1));
    world.after(most);
    assert!(uses(&iam, &session).await.is_ok());
    world.after(rest);
    assert_eq!(
        uses(&iam, &session).await.err(),
        Some(Error::SessionExpired)
    );
}

#[tokio::test]
async fn key_secret_and_token_belong_together() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let issue = || iam.session_token(&caller, None, 0).expect("a session");
    let (session, other) = (issue(), issue());
    let (id, secret) = (
        session.access_key_id.as_str(),
        session.secret_access_key.reveal().as_str(),
    );
    let token = session.session_token.reveal().as_str();
    let changed = format!("B{}", &token[1..]);
    let lasting = (key.access_key_id.as_str(), key.secret_access_key.reveal());
    for (id, secret, token) in [
        (id, secret, None),
        (id, secret, Some(other.session_token.reveal().as_str())),
        (other.access_key_id.as_str(), secret, Some(token)),
        (lasting.0, lasting.1, Some(token)),
        (id, secret, Some(changed.as_str())),
        (id, secret, Some("")),
        (id, secret, Some("%")),
        (id, secret, Some(&"A".repeat(8_192))),
    ] {
        let headers = headers_of_session(id, secret, token);
        assert_eq!(
            signed(&iam, &headers).await.err(),
            Some(Error::UnknownKey),
            "{id} {token:?}"
        );
    }
    let forged = headers_of_session(id, lasting.1, Some(token));
    assert_eq!(
        signed(&iam, &forged).await.err(),
        Some(Error::Signature(SignatureError::Mismatch))
    );
    let elsewhere = World::new().open().await;
    assert_eq!(
        uses(&elsewhere, &session).await.err(),
        Some(Error::UnknownKey),
        "another master key"
    );
}

#[tokio::test]
async fn a_session_ends_with_its_user() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let session = iam.session_token(&caller, None, 0).expect("a session");
    assert!(uses(&iam, &session).await.is_ok());
    let users = iam.users();
    users.disable(AccountId::DEV, "ci").await.expect("disabled");
    world.after(Duration::from_secs(1));
    assert_eq!(uses(&iam, &session).await.err(), Some(Error::DisabledKey));
    users.enable(AccountId::DEV, "ci").await.expect("enabled");
    world.after(Duration::from_secs(1));
    assert!(uses(&iam, &session).await.is_ok());
    users.delete(AccountId::DEV, "ci").await.expect("deleted");
    user(&iam, "ci", &[]).await;
    world.after(Duration::from_secs(1));
    assert_eq!(
        uses(&iam, &session).await.err(),
        Some(Error::UnknownKey),
        "another user of the same name"
    );
}

#[tokio::test]
async fn sessions_of_users_last_twelve_hours_and_of_roots_one() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let user = signs_in(&iam, &key).await.expect("in").caller;
    let root = Caller::root(AccountId::DEV);
    let lasts = |caller: &Caller, wanted: Option<u64>| {
        let session = iam.session_token(caller, wanted.map(Duration::from_secs), 0);
        let session = session.expect("a session");
        session.expires_at.since(world.clock.now()).as_secs()
    };
    assert_eq!(lasts(&user, None), 43_200);
    assert_eq!(lasts(&user, Some(129_600)), 129_600);
    assert_eq!(lasts(&root, None), 3_600);
    assert_eq!(lasts(&root, Some(900)), 900);
    assert_eq!(lasts(&root, Some(129_600)), 3_600);
    let session = iam.session_token(&root, None, 0).expect("a session");
    let caller = uses(&iam, &session).await.expect("in").caller;
    assert_eq!(caller.principal, Principal::Root);
}

#[tokio::test]
async fn nothing_that_a_session_gets_lives_longer() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let session = iam
        .session_token(&caller, Some(SHORT), 0)
        .expect("a session");
    let caller = uses(&iam, &session).await.expect("in").caller;
    let end = session.expires_at;
    world.after(Duration::from_mins(12));
    let password = iam.password_for(&caller).expect("a password");
    let grant = tokens::registry_grant("repository:team/web:pull");
    let token = iam.registry_token(&caller, &grant).expect("a token");
    let ticket = iam.layer_ticket(&caller, &layer_grant()).expect("a ticket");
    for issued in [&password, &token, &ticket] {
        assert_eq!(issued.expires_at, end);
    }
    let password = basic("AWS", password.token.reveal());
    let (token, ticket) = (token.token.reveal(), ticket.token.reveal());
    let again = iam.authenticate_header(Some(&password)).await.expect("in");
    assert_eq!(again.arn(), caller.arn());
    let again = bearer(&iam, token).await.expect("in");
    assert_eq!(again.registry_grant.as_deref(), Some(&grant));
    let (again, _) = iam.verify_layer_ticket(ticket).await.expect("valid");
    assert_eq!(again.arn(), caller.arn());
    world.after(Duration::from_mins(3));
    assert_eq!(
        iam.authenticate_header(Some(&password)).await.err(),
        Some(Error::PasswordExpired)
    );
    assert_eq!(bearer(&iam, token).await.err(), Some(Error::TokenExpired));
    assert_eq!(
        iam.verify_layer_ticket(ticket).await.err(),
        Some(Error::InvalidTicket)
    );
}

#[tokio::test]
async fn every_key_id_names_its_account() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let session = iam.session_token(&caller, None, 0).expect("a session");
    for id in [&key.access_key_id, &session.access_key_id] {
        assert_eq!(iam.account_of_key(id).await, Ok(Some(AccountId::DEV)));
    }
    assert_eq!(iam.account_of_key("AKIAIOSFODNN7EXAMPLE").await, Ok(None));
}
