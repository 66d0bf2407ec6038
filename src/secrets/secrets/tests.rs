//! Secrets on each engine.

use wharfinger_db::testing::every_engine;
use wharfinger_iam::MasterKey;
use wharfinger_reconcile::Reconciler as _;

use super::*;

/// The operations on each engine, and their clock.
fn operations() -> Vec<(Secrets, Clock)> {
    let folder = tempfile::tempdir().expect("a folder");
    let ids = Ids::default();
    let master = MasterKey::open_or_create(&folder.path().join("key"), &ids).expect("a key");
    let engines = every_engine(crate::MIGRATIONS).into_iter();
    let engines = engines.map(|db| {
        let clock = Clock::manual(Timestamp::from_ms(1_000_000));
        let seal = SecretSeal::new(&master, ids.clone());
        let secrets = Secrets::new(db, clock.clone(), ids.clone(), seal);
        (secrets, clock)
    });
    engines.collect()
}

fn home() -> SecretsHome {
    SecretsHome {
        account: "123456789012".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
    }
}

fn named(text: &str) -> SecretRef {
    SecretRef::parse(&home(), text).expect("a name")
}

fn value(text: &str, token: Option<&str>) -> NewVersion {
    NewVersion {
        value: SecretValue::Text(Secret::new(text.to_owned())),
        token: token.map(str::to_owned),
        stages: None,
    }
}

async fn read(secrets: &Secrets, query: VersionQuery) -> Result<String> {
    match secrets.value(&named("db"), query).await?.2 {
        SecretValue::Text(text) => Ok(text.reveal().clone()),
        SecretValue::Binary(_) => panic!("a text was stored"),
    }
}

fn stage(stage: &str) -> VersionQuery {
    VersionQuery {
        id: None,
        stage: Some(stage.to_owned()),
    }
}

#[tokio::test]
async fn a_deleted_secret_goes_when_its_window_has_passed() {
    for (secrets, clock) in operations() {
        let details = SecretDetails::default();
        let made = secrets
            .create(&home(), "db", details, Some(value("one", None)))
            .await;
        made.expect("made");
        let window = Duration::from_hours(7 * 24);
        secrets
            .delete(&named("db"), Some(window))
            .await
            .expect("marked");
        let mut cleanup = secrets.cleanup();
        assert_eq!(cleanup.pass(clock.now()).await.expect("a pass").done, 0);
        clock.advance(window);
        assert_eq!(cleanup.pass(clock.now()).await.expect("a pass").done, 1);
        assert_eq!(cleanup.pass(clock.now()).await.expect("a pass").done, 0);
        let restored = secrets.restore(&named("db")).await;
        assert!(matches!(restored, Err(Error::NoSuchSecret)));
    }
}

#[tokio::test]
async fn a_new_value_becomes_the_current_one() {
    for (secrets, _) in operations() {
        let details = SecretDetails::default();
        let made = secrets
            .create(&home(), "db", details, Some(value("one", None)))
            .await;
        let (secret, version) = made.expect("made");
        assert_eq!(version.expect("a version").stages, ["AWSCURRENT"]);
        assert_eq!(
            read(&secrets, VersionQuery::default()).await.as_deref(),
            Ok("one")
        );
        let arn = secret.arn();
        secrets
            .put(&named(arn.as_str()), value("two", None))
            .await
            .expect("put");
        assert_eq!(
            read(&secrets, VersionQuery::default()).await.as_deref(),
            Ok("two")
        );
        assert_eq!(
            read(&secrets, stage("AWSPREVIOUS")).await.as_deref(),
            Ok("one")
        );
        let missing = read(&secrets, stage("blue")).await;
        assert_eq!(
            missing,
            Err(Error::NoSuchValue("staging label: blue".to_owned()))
        );
    }
}

#[tokio::test]
async fn repeated_requests_change_nothing() {
    for (secrets, _) in operations() {
        let token = "0".repeat(32);
        let (home, details) = (home(), SecretDetails::default());
        let version = value("one", Some(&token));
        let first = secrets
            .create(&home, "db", details.clone(), Some(version.clone()))
            .await;
        let again = secrets.create(&home, "db", details, Some(version)).await;
        assert!(first.is_ok());
        assert_eq!(again, first);
        let again = secrets
            .put(&named("db"), value("one", Some(&token)))
            .await
            .expect("put");
        assert_eq!(again.1.id, token);
        let other = secrets.put(&named("db"), value("two", Some(&token))).await;
        assert_eq!(other, Err(Error::VersionExists));
        let other = secrets
            .create(&home, "db", SecretDetails::default(), None)
            .await;
        assert_eq!(other, Err(Error::SecretExists("db".to_owned())));
    }
}

#[tokio::test]
async fn a_deleted_secret_can_be_restored_until_its_time_is_over() {
    for (secrets, clock) in operations() {
        let details = SecretDetails::default();
        let one = Some(value("one", None));
        let made = secrets.create(&home(), "db", details.clone(), one).await;
        made.expect("made");
        secrets
            .delete(&named("db"), Some(7 * DAY))
            .await
            .expect("marked");
        let refused = read(&secrets, VersionQuery::default()).await;
        assert_eq!(refused, Err(Error::SecretDeleted(MARKED)));
        let taken = secrets.create(&home(), "db", details.clone(), None).await;
        assert_eq!(taken, Err(Error::SecretDeleted(NAME_MARKED)));
        secrets.restore(&named("db")).await.expect("restored");
        assert_eq!(
            read(&secrets, VersionQuery::default()).await.as_deref(),
            Ok("one")
        );
        secrets
            .delete(&named("db"), Some(7 * DAY))
            .await
            .expect("marked");
        clock.advance(8 * DAY);
        assert_eq!(
            secrets.restore(&named("db")).await,
            Err(Error::NoSuchSecret)
        );
        let again = secrets
            .create(&home(), "db", details, None)
            .await
            .expect("made again");
        assert_eq!(secrets.versions(&again.0).await.as_deref(), Ok(&[][..]));
        secrets.delete(&named("db"), None).await.expect("deleted");
        assert_eq!(secrets.find(&named("db")).await, Ok(None));
    }
}

#[tokio::test]
async fn secrets_are_listed_by_age_both_ways() {
    for (secrets, clock) in operations() {
        for name in ["b", "a", "c"] {
            let made = secrets
                .create(&home(), name, SecretDetails::default(), None)
                .await;
            made.expect("made");
            clock.advance(Duration::from_secs(1));
        }
        for (descending, expected) in [(false, ["b", "a", "c"]), (true, ["c", "a", "b"])] {
            let (mut after, mut found) = (None, Vec::new());
            loop {
                let page = secrets
                    .page(&home(), after, descending, 2)
                    .await
                    .expect("a page");
                found.extend(page.items.into_iter().map(|secret| secret.name));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected);
        }
    }
}

/// What was allowed on a secret is not done to one that is made under its name in the meantime.
#[tokio::test]
async fn a_secret_that_was_found_is_not_its_successor() {
    for (secrets, _) in operations() {
        let make = async |text: &str| {
            let details = SecretDetails::default();
            let first = Some(value(text, None));
            let made = secrets.create(&home(), "db", details, first).await;
            made.expect("made").0
        };
        let first = make("one").await;
        let found = SecretRef::of(&first);
        assert!(secrets.value(&found, VersionQuery::default()).await.is_ok());
        secrets.delete(&found, None).await.expect("deleted");
        make("two").await;
        let gone = Error::NoSuchSecret;
        let read = secrets.value(&found, VersionQuery::default()).await;
        assert_eq!(read.err(), Some(gone.clone()));
        let put = secrets.put(&found, value("three", None)).await;
        assert_eq!(put.err(), Some(gone.clone()));
        let deleted = secrets.delete(&found, None).await;
        assert_eq!(deleted.err(), Some(gone));
        assert_eq!(secrets.versions(&first).await, Ok(Vec::new()));
    }
}
