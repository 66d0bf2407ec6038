//! How requests name secrets. PURE.
//!
//! Source: Secrets Manager API reference, `GetSecretValue`, `CreateSecret`.

use wharfinger_aws::Arn;

use crate::error::Error;
use crate::model::{SecretsHome, StoredSecret};

/// The random characters at the end of an ARN.
pub(crate) const SUFFIX_CHARS: usize = 6;
const MAX_NAME: usize = 512;

/// A secret as a request names it: by its name, by its ARN, or by its ARN without the random end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// The names that it can have: an ARN does not say where its name ends.
    names: Vec<(String, Option<String>)>,
    home: SecretsHome,
}

impl SecretRef {
    /// Parses a name or an ARN.
    ///
    /// # Errors
    /// [`Error::NoSuchSecret`] for an ARN of another account, region or service.
    pub fn parse(home: &SecretsHome, text: &str) -> Result<Self, Error> {
        let home = home.clone();
        if !text.starts_with("arn:") {
            let names = vec![(text.to_owned(), None)];
            return Ok(Self { names, home });
        }
        let arn: Arn = text.parse().map_err(|_| Error::NoSuchSecret)?;
        let name = arn.resource().strip_prefix("secret:");
        let name = name.filter(|_| home.arn("secretsmanager", arn.resource()) == arn);
        let name = name.ok_or(Error::NoSuchSecret)?;
        let mut names = Vec::new();
        if let Some((start, end)) = name.rsplit_once('-')
            && end.len() == SUFFIX_CHARS
        {
            names.push((start.to_owned(), Some(end.to_owned())));
        }
        names.push((name.to_owned(), None));
        Ok(Self { names, home })
    }

    /// Names this secret and no other, not even one that is made again under its name.
    #[must_use]
    pub fn of(secret: &StoredSecret) -> Self {
        Self {
            names: vec![(secret.name.clone(), Some(secret.suffix.clone()))],
            home: secret.home.clone(),
        }
    }

    pub fn home(&self) -> &SecretsHome {
        &self.home
    }

    /// The names that the secret can have, the likeliest first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| name.as_str())
    }

    /// Whether the secret of one of [`SecretRef::names`] is the one that is meant.
    pub(crate) fn means(&self, secret: &StoredSecret) -> bool {
        self.names.iter().any(|(name, suffix)| {
            *name == secret.name
                && suffix
                    .as_ref()
                    .is_none_or(|suffix| *suffix == secret.suffix)
        })
    }

    /// The ARN that policies see of a secret that does not exist.
    pub fn shown_arn(&self) -> Arn {
        let (name, _) = self.names.last().cloned().unwrap_or_default();
        self.home.arn("secretsmanager", &format!("secret:{name}"))
    }
}

/// Checks the name of a new secret.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte);
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    let message = "Invalid name. Must be a valid name containing alphanumeric characters, or any \
                   of the following: -/_+=.@!";
    Err(Error::InvalidSecret(message.to_owned()))
}

#[cfg(test)]
mod tests {
    use wharfinger_base::Timestamp;

    use super::*;
    use crate::model::SecretDetails;

    fn home() -> SecretsHome {
        SecretsHome {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        }
    }

    fn secret(name: &str) -> StoredSecret {
        StoredSecret {
            home: home(),
            name: name.to_owned(),
            suffix: "a1B2c3".to_owned(),
            created_at: Timestamp::from_ms(0),
            deleted_at: None,
            details: SecretDetails::default(),
        }
    }

    #[test]
    fn secrets_are_named_in_three_ways() {
        for name in ["db", "prod/db", "db-a1B2c3", "db-user-x"] {
            let secret = secret(name);
            let whole = secret.arn().to_string();
            let partial = whole.strip_suffix("-a1B2c3").expect("the suffix");
            for text in [name, whole.as_str(), partial] {
                let found = SecretRef::parse(&home(), text).expect("a name");
                assert!(found.means(&secret), "{text}");
                assert!(found.names().any(|one| one == name), "{text}");
            }
        }
        let successor = StoredSecret {
            suffix: "d4E5f6".to_owned(),
            ..secret("db")
        };
        let found = SecretRef::of(&secret("db"));
        assert!(found.means(&secret("db")) && !found.means(&successor));
        let other = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-zzzzzz";
        assert!(
            !SecretRef::parse(&home(), other)
                .expect("a name")
                .means(&secret("db"))
        );
        for foreign in [
            "arn:aws:secretsmanager:us-east-1:999999999999:secret:db-a1B2c3",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-a1B2c3",
            "arn:aws:ssm:us-east-1:123456789012:parameter/db",
            "arn:",
        ] {
            assert_eq!(SecretRef::parse(&home(), foreign), Err(Error::NoSuchSecret));
        }
    }

    #[test]
    fn names_have_their_characters() {
        for good in ["a", "prod/db_1+=.@-", &"x".repeat(512)] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", "a b", "ä", &"x".repeat(513)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
