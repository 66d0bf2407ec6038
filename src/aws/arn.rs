//! Accounts, regions and Amazon Resource Names.
//!
//! Source: AWS General Reference, "Amazon Resource Names".

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is no account id, region or ARN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    #[error("an account id has 12 digits")]
    Account,
    #[error("a region has 1 to 32 lower-case letters, digits and inner '-', as in us-east-1")]
    Region,
    #[error(
        "an ARN is written arn:partition:service:region:account:resource, in at most 2,048 bytes"
    )]
    Arn,
    #[error("the ARN of an object in Amazon S3 is written arn:aws:s3:::bucket/key")]
    S3Object,
}

/// An account: 12 digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId([u8; 12]);

impl AccountId {
    /// The account of requests that name none, under `--dev`.
    pub const DEV: Self = Self(*b"123456789012");

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The ARN that stands for the whole account, and for its root:
    /// `arn:aws:iam::123456789012:root`.
    #[must_use]
    pub fn root_arn(&self) -> Arn {
        Arn::new("aws", "iam", "", self.as_str(), "root")
    }
}

impl FromStr for AccountId {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let digits: [u8; 12] = text.as_bytes().try_into().map_err(|_| ArnError::Account)?;
        if digits.iter().all(u8::is_ascii_digit) {
            Ok(Self(digits))
        } else {
            Err(ArnError::Account)
        }
    }
}

/// A region, such as `us-east-1`. Any well-formed name is one: this is not Amazon's list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(Arc<str>);

impl Region {
    /// Longest name taken, in bytes: twice the longest that AWS has today.
    pub const MAX_BYTES: usize = 32;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition the region belongs to, by its prefix.
    #[must_use]
    pub fn partition(&self) -> &'static str {
        if self.0.starts_with("cn-") {
            "aws-cn"
        } else if self.0.starts_with("us-gov-") {
            "aws-us-gov"
        } else {
            "aws"
        }
    }
}

impl FromStr for Region {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let legal = text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let sized = (1..=Self::MAX_BYTES).contains(&text.len());
        if legal && sized && !text.starts_with('-') && !text.ends_with('-') {
            Ok(Self(text.into()))
        } else {
            Err(ArnError::Region)
        }
    }
}

/// An Amazon Resource Name. Kept as its text and the places of its colons, so that printing and
/// matching cost nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arn {
    text: String,
    /// Where each of the five separating colons stands.
    colons: [u16; 5],
}

impl Arn {
    /// Longest ARN taken, in bytes (the IAM API's own limit).
    pub const MAX_BYTES: usize = 2_048;

    /// Puts an ARN together. Parts come from types that hold no colon (`resource` may) and stay
    /// under [`Arn::MAX_BYTES`].
    #[must_use]
    pub fn new(
        partition: &str,
        service: &str,
        region: &str,
        account: &str,
        resource: &str,
    ) -> Self {
        let mut text = String::with_capacity(
            8 + partition.len() + service.len() + region.len() + account.len() + resource.len(),
        );
        text.push_str("arn");
        let mut colons = [0; 5];
        for (colon, part) in colons
            .iter_mut()
            .zip([partition, service, region, account, resource])
        {
            *colon = u16::try_from(text.len()).unwrap_or(u16::MAX);
            text.push(':');
            text.push_str(part);
        }
        Self { text, colons }
    }

    /// `arn:aws:ecr:<region>:<account>:repository/<name>`; the name may be a pattern.
    #[must_use]
    pub fn ecr_repository(region: &Region, account: &AccountId, name: &str) -> Self {
        let mut resource = String::with_capacity(11 + name.len());
        resource.push_str("repository/");
        resource.push_str(name);
        Self::new(
            region.partition(),
            "ecr",
            region.as_str(),
            account.as_str(),
            &resource,
        )
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn partition(&self) -> &str {
        self.part(0)
    }

    #[must_use]
    pub fn service(&self) -> &str {
        self.part(1)
    }

    /// The region's text; empty for a resource that belongs to none.
    #[must_use]
    pub fn region(&self) -> &str {
        self.part(2)
    }

    /// The account's text; empty, or `aws`, for a resource that belongs to none.
    #[must_use]
    pub fn account(&self) -> &str {
        self.part(3)
    }

    #[must_use]
    pub fn account_id(&self) -> Option<AccountId> {
        self.account().parse().ok()
    }

    /// All that follows the fifth colon: it may hold colons itself.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.part(4)
    }

    /// The name within `repository/<name>` of an ECR repository's ARN.
    #[must_use]
    pub fn repository_name(&self) -> Option<&str> {
        if self.service() == "ecr" {
            self.resource().strip_prefix("repository/")
        } else {
            None
        }
    }

    fn part(&self, at: usize) -> &str {
        let start = usize::from(self.colons[at]) + 1;
        let end = self
            .colons
            .get(at + 1)
            .map_or(self.text.len(), |colon| usize::from(*colon));
        self.text.get(start..end).unwrap_or_default()
    }
}

impl FromStr for Arn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        if text.len() > Self::MAX_BYTES {
            return Err(ArnError::Arn);
        }
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or(ArnError::Arn);
        let (prefix, partition, service, region, account, resource) =
            (next()?, next()?, next()?, next()?, next()?, next()?);
        if prefix != "arn" || partition.is_empty() || service.is_empty() || resource.is_empty() {
            return Err(ArnError::Arn);
        }
        Ok(Self::new(partition, service, region, account, resource))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.text)
    }
}

impl fmt::Debug for Arn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

macro_rules! as_text {
    ($($name:ty),*) => { $(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )* };
}
as_text!(AccountId, Region, Arn);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_found_and_printed_back() {
        let text = "arn:aws:ecr:us-east-1:123456789012:repository/team/web:x";
        let arn: Arn = text.parse().expect("an ARN");
        assert_eq!(arn.to_string(), text);
        assert_eq!(
            (arn.partition(), arn.service(), arn.region()),
            ("aws", "ecr", "us-east-1")
        );
        assert_eq!(
            (arn.account_id(), arn.repository_name()),
            (Some(AccountId::DEV), Some("team/web:x"))
        );
        for bad in [
            "",
            "arn",
            "arn:aws:ecr:us-east-1:123456789012",
            "urn:a:b:c:d:e",
            "arn::b:c:d:e",
            "arn:a::c:d:e",
            "arn:a:b:c:d:",
        ] {
            assert_eq!(bad.parse::<Arn>(), Err(ArnError::Arn), "{bad}");
        }
        let region: Region = "cn-north-1".parse().expect("a region");
        assert_eq!(
            Arn::ecr_repository(&region, &AccountId::DEV, "a/b").as_str(),
            "arn:aws-cn:ecr:cn-north-1:123456789012:repository/a/b"
        );
        assert_eq!(
            AccountId::DEV.root_arn().as_str(),
            "arn:aws:iam::123456789012:root"
        );
    }

    #[test]
    fn accounts_and_regions_are_strict() {
        for bad in [
            "",
            "12345678901",
            "1234567890123",
            "12345678901a",
            "１２３４",
        ] {
            assert!(bad.parse::<AccountId>().is_err(), "{bad}");
        }
        for bad in ["", "US-EAST-1", "-a", "a-", "a b", "a/b", &"a".repeat(33)] {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(text in "arn:[a-z:*]{0,20}|\\PC{0,60}") {
            if let Ok(arn) = text.parse::<Arn>() {
                prop_assert_eq!(arn.as_str(), text.as_str());
            }
        }
    }
}
