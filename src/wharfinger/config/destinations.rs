//! The tables `[[replication_destinations]]` of the config file: registries of other servers.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wharfinger_aws::{AccountId, Arn};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::RegistryId;
use wharfinger_registry_client::Endpoint;

use crate::config::problems::Problems;

/// Most destinations: as many as the rules of one registry may name (ECR user guide, "Private
/// image replication").
const MAX_DESTINATIONS: usize = 25;
const KEY: &str = "replication_destinations";

/// `[[replication_destinations]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationSettings {
    account: String,
    region: String,
    url: String,
    username: Option<String>,
    password_file: Option<String>,
    secret: Option<String>,
    repository_prefix: Option<String>,
    ca_file: Option<String>,
    #[serde(default)]
    delete: bool,
    source_accounts: Option<Vec<String>>,
}

/// A registry that another server holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationConfig {
    /// The account and region by which replication rules name it.
    pub registry: RegistryId,
    pub endpoint: Endpoint,
    pub sign_in: DestinationSignIn,
    /// What stands before the names of its repositories.
    pub repository_prefix: Option<RepositoryName>,
    /// A PEM file with authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether deletions are passed on.
    pub delete: bool,
    /// The accounts of this server whose rules may name it.
    pub source_accounts: Vec<AccountId>,
}

/// As whom this server signs in at a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationSignIn {
    Anonymous,
    PasswordFile {
        username: String,
        path: PathBuf,
    },
    /// A secret of this server, with the members that the pull-through cache reads.
    Secret(Arn),
}

/// The destinations. None where there are no tables. They are for the rules of `account`, unless
/// they name others.
pub(super) fn destinations(
    problems: &mut Problems,
    settings: Option<&[DestinationSettings]>,
    account: AccountId,
) -> Vec<DestinationConfig> {
    let settings = settings.unwrap_or_default().iter();
    let found: Vec<_> = settings
        .filter_map(|one| {
            let parsed = destination(one, account);
            parsed.map_err(|why| problems.add(KEY, why)).ok()
        })
        .collect();
    let registries: HashSet<_> = found.iter().map(|one| &one.registry).collect();
    if registries.len() < found.len() {
        problems.add(KEY, "two of them have the same account and region");
    }
    if found.len() > MAX_DESTINATIONS {
        problems.add(KEY, format!("there are more than {MAX_DESTINATIONS}"));
    }
    found
}

fn destination(
    settings: &DestinationSettings,
    own: AccountId,
) -> Result<DestinationConfig, String> {
    let (account, region) = (&settings.account, &settings.region);
    let registry = RegistryId {
        account: account
            .parse()
            .map_err(|_| format!("the account {account:?} is not 12 digits"))?,
        region: region
            .parse()
            .map_err(|_| format!("{region:?} is not the name of a region"))?,
    };
    // A URL may hold a password, so it is not quoted.
    let of = |why: String| format!("{account} in {region}: {why}");
    let endpoint = settings.url.parse().map_err(|why| of(format!("{why}")))?;
    let prefix = settings.repository_prefix.as_deref();
    let prefix = prefix.map(|prefix| prefix.trim_end_matches('/').parse());
    let prefix = prefix.transpose();
    let sources = settings.source_accounts.iter().flatten();
    let sources: Result<Vec<AccountId>, _> = sources.map(|one| one.parse()).collect();
    let mut source_accounts =
        sources.map_err(|_| of("an account of source_accounts is not 12 digits".to_owned()))?;
    if settings.source_accounts.is_none() {
        source_accounts.push(own);
    }
    Ok(DestinationConfig {
        registry,
        endpoint,
        sign_in: sign_in(settings).map_err(|why| of(why.to_owned()))?,
        repository_prefix: prefix.map_err(|why| of(format!("repository_prefix: {why}")))?,
        ca_file: settings.ca_file.as_ref().map(PathBuf::from),
        delete: settings.delete,
        source_accounts,
    })
}

fn sign_in(settings: &DestinationSettings) -> Result<DestinationSignIn, &'static str> {
    let (username, file) = (&settings.username, &settings.password_file);
    match (username, file, &settings.secret) {
        (None, None, None) => Ok(DestinationSignIn::Anonymous),
        (Some(username), Some(_), None) if username.is_empty() || username.contains(':') => {
            Err("a username has a character at least, and no colon")
        }
        (Some(username), Some(path), None) => Ok(DestinationSignIn::PasswordFile {
            username: username.clone(),
            path: PathBuf::from(path),
        }),
        (None, None, Some(secret)) => {
            let arn: Option<Arn> = secret.parse().ok();
            let arn = arn.filter(|arn| arn.service() == "secretsmanager");
            let arn = arn.filter(|arn| arn.account_id().is_some());
            let arn = arn.ok_or("secret must be the ARN of a secret of Secrets Manager")?;
            Ok(DestinationSignIn::Secret(arn))
        }
        (Some(_), None, None) | (None, Some(_), None) => {
            Err("username and password_file belong together")
        }
        _ => Err("it has both a secret and a username or password_file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "account = \"210987654321\"\nregion = \"eu-west-1\"\n\
        url = \"https://r.example.com\"";

    fn parsed(table: &str) -> Result<DestinationConfig, String> {
        destination(&toml::from_str(table).expect("settings"), AccountId::DEV)
    }

    #[test]
    fn a_destination_is_for_the_configured_account_unless_it_names_others() {
        let found = parsed(PLAIN).expect("a destination");
        assert_eq!(found.source_accounts, [AccountId::DEV]);
        let named = format!("{PLAIN}\nsource_accounts = [\"111122223333\"]");
        let found = parsed(&named).expect("a destination").source_accounts;
        assert_eq!(found, ["111122223333".parse().expect("an account")]);
        let wrong = parsed(&format!("{PLAIN}\nsource_accounts = [\"me\"]"));
        assert!(wrong.is_err_and(|why| why.contains("source_accounts")));
    }

    #[test]
    fn a_destination_is_a_registry_at_a_url() {
        let found = parsed(PLAIN).expect("a destination");
        assert_eq!(found.endpoint.to_string(), "https://r.example.com");
        assert_eq!(found.sign_in, DestinationSignIn::Anonymous);
        assert!(!found.delete);
        let more = "username = \"me\"\npassword_file = \"/p\"\nrepository_prefix = \"a/b/\"\n\
            ca_file = \"/ca.pem\"\ndelete = true";
        let found = parsed(&format!("{PLAIN}\n{more}")).expect("a destination");
        let prefix = found.repository_prefix.as_ref().map(RepositoryName::as_str);
        assert_eq!(prefix, Some("a/b"));
        assert!(found.delete && found.ca_file.is_some());
        let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:ecr-pullthroughcache/b";
        let found = parsed(&format!("{PLAIN}\nsecret = \"{arn}\"")).expect("a destination");
        assert!(matches!(found.sign_in, DestinationSignIn::Secret(found) if found.as_str() == arn));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_url() {
        let with = |table: &str, expected: &str| {
            let why = parsed(table).expect_err(table);
            assert!(why.contains(expected), "{why}");
            assert!(!why.contains("hunter2"), "{why}");
        };
        with(&PLAIN.replace("210987654321", "21"), "12 digits");
        with(&PLAIN.replace("eu-west-1", "Europe"), "region");
        with(&PLAIN.replace("//r.", "//me:hunter2@r."), "http");
        for (more, expected) in [
            ("username = \"me\"", "belong together"),
            ("password_file = \"/p\"", "belong together"),
            ("username = \"m:e\"\npassword_file = \"/p\"", "no colon"),
            ("secret = \"arn:aws:s3:::hunter2\"", "Secrets Manager"),
            (
                "username = \"me\"\npassword_file = \"/p\"\nsecret = \"x\"",
                "both",
            ),
            ("repository_prefix = \"A\"", "repository_prefix"),
        ] {
            with(&format!("{PLAIN}\n{more}"), expected);
        }
        let unknown = toml::from_str::<DestinationSettings>(&format!("{PLAIN}\ntoken = \"x\""));
        assert!(unknown.is_err());
    }

    #[test]
    fn destinations_are_few_and_differ() {
        let one = |number: usize| -> DestinationSettings {
            let account = format!("{:012}", 100_000_000_000_usize + number);
            let table = PLAIN.replace("210987654321", &account);
            toml::from_str(&table).expect("settings")
        };
        let problems = |all: Vec<DestinationSettings>| {
            let mut problems = Problems::default();
            destinations(&mut problems, Some(&all), AccountId::DEV);
            let texts = problems.0.into_iter().map(|problem| problem.why);
            texts.collect::<Vec<_>>()
        };
        assert!(problems((0..25).map(one).collect()).is_empty());
        assert_eq!(
            problems((0..26).map(one).collect()),
            ["there are more than 25"]
        );
        let twice = problems(vec![one(1), one(1)]);
        assert_eq!(twice, ["two of them have the same account and region"]);
    }
}
