//! Parameters on each engine.

use wharfinger_base::Ids;
use wharfinger_db::testing::every_engine;
use wharfinger_iam::MasterKey;

use super::*;

/// The operations on each engine.
fn operations() -> Vec<Parameters> {
    let folder = tempfile::tempdir().expect("a folder");
    let ids = Ids::default();
    let master = MasterKey::open_or_create(&folder.path().join("key"), &ids).expect("a key");
    let engines = every_engine(crate::MIGRATIONS).into_iter();
    let engines = engines.map(|db| {
        let seal = SecretSeal::new(&master, ids.clone());
        Parameters::new(db, Clock::System, seal)
    });
    engines.collect()
}

fn home() -> SecretsHome {
    SecretsHome {
        account: "123456789012".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
    }
}

fn new(name: &str, value: &str) -> NewParameter {
    NewParameter {
        name: name.to_owned(),
        value: Secret::new(value.to_owned()),
        kind: Some(ParameterType::SecureString),
        description: None,
        key_id: None,
        allowed_pattern: None,
        tier: None,
        data_type: None,
        tags: BTreeMap::new(),
        overwrite: true,
        modified_by: "me".to_owned(),
    }
}

async fn read(parameters: &Parameters, text: &str) -> Result<String> {
    let name = ParameterRef::parse(&home(), text).expect("a name");
    let found = parameters.get(&name).await?;
    assert!(!found.sealed.windows(3).any(|part| part == b"one"));
    Ok(found.value.into_inner())
}

#[tokio::test]
async fn versions_count_up_and_stay_readable() {
    for parameters in operations() {
        let first = parameters.put(&home(), new("/db", "one")).await;
        assert_eq!(first, Ok((1, "Standard".to_owned())));
        let second = NewParameter {
            kind: None,
            ..new("/db", "two")
        };
        assert_eq!(
            parameters.put(&home(), second).await,
            Ok((2, "Standard".to_owned()))
        );
        assert_eq!(read(&parameters, "/db").await.as_deref(), Ok("two"));
        assert_eq!(read(&parameters, "/db:1").await.as_deref(), Ok("one"));
        for missing in ["/db:3", "/db:live"] {
            let found = read(&parameters, missing).await;
            assert!(
                matches!(found, Err(Error::NoSuchParameterVersion { .. })),
                "{missing}"
            );
        }
        let once = NewParameter {
            overwrite: false,
            ..new("/db", "three")
        };
        assert_eq!(
            parameters.put(&home(), once).await,
            Err(Error::ParameterExists)
        );
        let deleted = parameters
            .delete(&home(), vec!["/db".to_owned(), "/x".to_owned()])
            .await;
        assert_eq!(deleted, Ok(vec!["/db".to_owned()]));
        let found = read(&parameters, "/db").await;
        assert_eq!(found, Err(Error::NoSuchParameter("/db".to_owned())));
    }
}

#[tokio::test]
async fn the_last_100_versions_are_kept() {
    for parameters in operations() {
        for version in 1..=102 {
            let put = parameters
                .put(&home(), new("a", &version.to_string()))
                .await;
            assert_eq!(put.map(|(version, _)| version), Ok(version));
        }
        assert!(read(&parameters, "a:2").await.is_err());
        assert_eq!(read(&parameters, "a:3").await.as_deref(), Ok("3"));
        let name = ParameterRef::parse(&home(), "a").expect("a name");
        let page = parameters.history(&name, 100, 50).await.expect("a page");
        assert_eq!(page.items.len(), 2);
    }
}

#[tokio::test]
async fn a_parameter_is_found_by_its_arn_which_is_its_own() {
    for parameters in operations() {
        let taken = |name: &str| {
            let other = name.strip_prefix('/').unwrap_or("/db").to_owned();
            Err(Error::InvalidParameter(format!(
                "Parameter name: {name} has the same ARN as the parameter {other}."
            )))
        };
        for (name, same) in [("/db", "db"), ("db", "/db")] {
            let put = parameters.put(&home(), new(name, name)).await;
            assert_eq!(put.map(|put| put.0), Ok(1));
            let arn = ParameterRef::named(&home(), name).arn();
            assert_eq!(read(&parameters, arn.as_str()).await.as_deref(), Ok(name));
            assert!(read(&parameters, same).await.is_err());
            let whole = ParameterRef::parse(&home(), arn.as_str()).expect("an ARN");
            assert!(parameters.tags(&whole).await.expect("read").is_some());
            let history = parameters.history(&whole, 0, 9).await.expect("a page");
            assert_eq!(history.items.len(), 1);
            let refused = parameters.put(&home(), new(same, "x")).await;
            assert_eq!(refused.map(|put| put.0), taken(same));
            let deleted = parameters.delete(&home(), vec![name.to_owned()]).await;
            assert_eq!(deleted.map(|deleted| deleted.len()), Ok(1));
        }
    }
}

#[tokio::test]
async fn pages_hold_the_names_below_a_prefix() {
    for parameters in operations() {
        for name in ["/a/1", "/a/2/x", "/ab", "/b", "flat"] {
            parameters.put(&home(), new(name, "v")).await.expect("put");
        }
        let names = |prefix: &'static str, after: &'static str, limit| {
            let (parameters, home) = (parameters.clone(), home());
            async move {
                let page = parameters
                    .page(&home, prefix, after, limit)
                    .await
                    .expect("a page");
                let names = page.items.into_iter().map(|(one, _)| one.name);
                (names.collect::<Vec<_>>(), page.next)
            }
        };
        assert_eq!(names("/a/", "", 9).await.0, ["/a/1", "/a/2/x"]);
        assert_eq!(names("/", "", 9).await.0.len(), 4);
        assert_eq!(names("", "", 9).await.0.len(), 5);
        let (first, next) = names("", "", 2).await;
        assert_eq!(first, ["/a/1", "/a/2/x"]);
        assert_eq!(next.as_deref(), Some("/a/2/x"));
        assert_eq!(names("", "/a/2/x", 2).await.0, ["/ab", "/b"]);
    }
}

#[tokio::test]
async fn values_have_sizes_and_patterns() {
    for parameters in operations() {
        let refused = parameters.put(&home(), new("a", &"x".repeat(4097))).await;
        assert!(matches!(refused, Err(Error::InvalidParameter(_))));
        let advanced = NewParameter {
            tier: Some("Intelligent-Tiering".to_owned()),
            ..new("a", &"x".repeat(4097))
        };
        let put = parameters.put(&home(), advanced).await;
        assert_eq!(put, Ok((1, "Advanced".to_owned())));
        let pattern = |pattern: &str| NewParameter {
            allowed_pattern: Some(pattern.to_owned()),
            ..new("b", "abc")
        };
        assert!(parameters.put(&home(), pattern("^[a-c]+$")).await.is_ok());
        let refused = parameters.put(&home(), pattern("^d$")).await;
        assert_eq!(refused, Err(Error::PatternMismatch("^d$".to_owned())));
        let refused = parameters.put(&home(), pattern("(")).await;
        assert_eq!(refused, Err(Error::InvalidPattern("(".to_owned())));
    }
}
