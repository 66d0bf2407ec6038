//! Repository names, tags and references, by the grammars of the Distribution specification
//! ("Pulling manifests") and of ECR.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, DigestError};

/// Why a text is not a valid name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error(
        "a repository name has 2 to 255 characters: lower-case letters and digits in groups joined \
         by '.', '_', '__', '-' or '/'"
    )]
    Repository,
    #[error(
        "a tag has 1 to 128 letters, digits, '_', '.' or '-', and does not begin with '.' or '-'"
    )]
    Tag,
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// A repository's name, such as `team/web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// Longest accepted name, in bytes: clients limit host and name together to 255, ECR the name
    /// to
    /// 256.
    pub const MAX_BYTES: usize = 255;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let sized = (2..=Self::MAX_BYTES).contains(&text.len());
        if sized && text.split('/').all(is_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Repository)
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alphanumeric(*first) || !alphanumeric(*last) {
        return false;
    }
    bytes
        .chunk_by(|a, b| alphanumeric(*a) == alphanumeric(*b))
        .all(|run| {
            alphanumeric(run[0])
                || matches!(run, b"." | b"_" | b"__")
                || run.iter().all(|byte| *byte == b'-')
        })
}

/// A tag, such as `latest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    pub const MAX_BYTES: usize = 128;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let bytes = text.as_bytes();
        let legal = bytes.first().is_some_and(|first| word(*first))
            && bytes.len() <= Self::MAX_BYTES
            && bytes
                .iter()
                .all(|byte| word(*byte) || matches!(byte, b'.' | b'-'));
        if legal {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Tag)
        }
    }
}

/// What follows `/manifests/`: a text with a colon is a digest, any other a tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    Tag(Tag),
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains(':') {
            Ok(Self::Digest(text.parse()?))
        } else {
            Ok(Self::Tag(text.parse()?))
        }
    }
}

impl<'de> Deserialize<'de> for RepositoryName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Serialize for RepositoryName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(formatter),
            Self::Digest(digest) => digest.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_by_the_grammar() {
        for good in [
            "web",
            "a/b",
            "a/manifests/tags",
            "a.b_c__d-e---f/0",
            "00",
            "a/b/c/d/e/f",
            &"a".repeat(255),
        ] {
            assert_eq!(
                good.parse::<RepositoryName>().map(|name| name.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "",
            "a",
            "A/b",
            "a//b",
            "/ab",
            "ab/",
            "a..b",
            "a___b",
            "a._b",
            "-ab",
            "ab-",
            "a/../b",
            "..",
            "a b",
            "a%2fb",
            "ä1",
            &"a".repeat(256),
        ] {
            assert_eq!(
                bad.parse::<RepositoryName>(),
                Err(NameError::Repository),
                "{bad}"
            );
        }
    }

    #[test]
    fn tags_by_the_grammar() {
        for good in ["latest", "v1.2.3-rc_1", "_x", "A", &"a".repeat(128)] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        for bad in ["", ".x", "-x", "a/b", "a b", "a:b", &"a".repeat(129)] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }

    /// The grammar in another form: one alphanumeric run, then separators and runs in turn.
    fn oracle(text: &str) -> bool {
        fn run(text: &str) -> Option<&str> {
            let rest =
                text.trim_start_matches(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
            (rest.len() < text.len()).then_some(rest)
        }
        fn component(text: &str) -> bool {
            let Some(mut rest) = run(text) else {
                return false;
            };
            while !rest.is_empty() {
                let after = if let Some(after) = rest
                    .strip_prefix("__")
                    .or_else(|| rest.strip_prefix('_'))
                    .or_else(|| rest.strip_prefix('.'))
                {
                    after
                } else {
                    let after = rest.trim_start_matches('-');
                    if after.len() == rest.len() {
                        return false;
                    }
                    after
                };
                match run(after) {
                    Some(next) => rest = next,
                    None => return false,
                }
            }
            true
        }
        (2..=255).contains(&text.len()) && text.split('/').all(component)
    }

    proptest! {
        #[test]
        fn names_agree_with_the_oracle(text in "[a-b0._/-]{0,9}") {
            prop_assert_eq!(text.parse::<RepositoryName>().is_ok(), oracle(&text), "{}", text);
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,300}") {
            let _ = text.parse::<RepositoryName>();
            let _ = text.parse::<Reference>();
        }
    }
}
