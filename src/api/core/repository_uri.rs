//! The template of repository URIs.

use std::fmt;
use std::str::FromStr;

use wharfinger_aws::{AccountId, Region};

/// The part of a repository URI before `/NAME`, with the placeholders `{account}` and `{region}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryUri(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryUriError {
    #[error("it is empty")]
    Empty,
    #[error("it must not begin with a scheme: docker takes HOST[:PORT][/PATH]")]
    Scheme,
    #[error("`{{{0}}}` is no placeholder; {{account}} and {{region}} are")]
    Placeholder(String),
    #[error("a brace is not closed")]
    Brace,
    #[error(
        "it may hold letters, digits and -._:[]/ besides placeholders, and no slash at its end"
    )]
    Character,
}

impl RepositoryUri {
    /// The URI of a repository, as `DescribeRepositories` returns it and as docker takes it.
    #[must_use]
    pub fn of(&self, account: &AccountId, region: &Region, name: &str) -> String {
        format!("{}/{name}", self.registry(account, region))
    }

    /// The registry's part of the URI, without a repository name.
    #[must_use]
    pub fn registry(&self, account: &AccountId, region: &Region) -> String {
        self.0
            .replace("{account}", account.as_str())
            .replace("{region}", region.as_str())
    }
}

impl fmt::Display for RepositoryUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for RepositoryUri {
    type Err = RepositoryUriError;

    fn from_str(text: &str) -> Result<Self, RepositoryUriError> {
        if text.is_empty() {
            return Err(RepositoryUriError::Empty);
        }
        if text.contains("://") {
            return Err(RepositoryUriError::Scheme);
        }
        let mut rest = text;
        let mut plain = String::new();
        while let Some((before, after)) = rest.split_once('{') {
            let (placeholder, after) = after.split_once('}').ok_or(RepositoryUriError::Brace)?;
            if !matches!(placeholder, "account" | "region") {
                return Err(RepositoryUriError::Placeholder(placeholder.to_owned()));
            }
            plain.push_str(before);
            plain.push('x');
            rest = after;
        }
        plain.push_str(rest);
        let allowed =
            |character: char| character.is_ascii_alphanumeric() || "-._:[]/".contains(character);
        if plain.ends_with('/') || plain.starts_with('/') || !plain.chars().all(allowed) {
            return Err(RepositoryUriError::Character);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn placeholders_are_filled_in() {
        let template: RepositoryUri = "{account}.dkr.ecr.{region}.example.com:8443/team"
            .parse()
            .expect("a template");
        let (account, region) = (AccountId::DEV, "eu-west-1".parse().expect("a region"));
        assert_eq!(
            template.of(&account, &region, "web/api"),
            "123456789012.dkr.ecr.eu-west-1.example.com:8443/team/web/api"
        );
    }

    #[test]
    fn templates_that_docker_does_not_accept_are_errors() {
        use RepositoryUriError as E;
        for (text, why) in [
            ("", E::Empty),
            ("http://localhost:4566", E::Scheme),
            ("localhost:4566/", E::Character),
            ("/x", E::Character),
            ("a b", E::Character),
            ("{name}.x", E::Placeholder("name".into())),
            ("{account", E::Brace),
            ("a}b", E::Character),
        ] {
            assert_eq!(text.parse::<RepositoryUri>(), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_cleanly(text in "\\PC{0,40}") {
            if let Ok(template) = text.parse::<RepositoryUri>() {
                let registry = template.registry(&AccountId::DEV, &"r".parse().expect("a region"));
                let untouched = registry.contains(['{', '}', ' ']);
                prop_assert!(!untouched, "{}", registry);
            }
        }
    }
}
