//! Objects of Amazon S3, as their ARNs name them.
//!
//! Source: Amazon S3 user guide, "General purpose bucket naming rules".

use std::str::FromStr;

use crate::arn::{Arn, ArnError};

/// An object in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Object {
    bucket: String,
    key: String,
}

impl S3Object {
    /// The name of the bucket. It is a valid part of a host's name, and cannot leave a path.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key, which may hold any character.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl FromStr for S3Object {
    type Err = ArnError;

    /// Reads `arn:aws:s3:::bucket/key`.
    fn from_str(text: &str) -> Result<Self, ArnError> {
        let arn: Arn = text.parse()?;
        let (bucket, key) = arn.resource().split_once('/').ok_or(ArnError::S3Object)?;
        let is_object =
            arn.service() == "s3" && arn.region().is_empty() && arn.account().is_empty();
        if !is_object || !is_bucket_name(bucket) || key.is_empty() {
            return Err(ArnError::S3Object);
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }
}

/// Whether a bucket may have this name.
fn is_bucket_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [name.bytes().next(), name.bytes().next_back()];
    (3..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| plain(byte) || b".-".contains(&byte))
        && ends.into_iter().flatten().all(plain)
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(name: &str) -> bool {
        format!("arn:aws:s3:::{name}/a/b.env")
            .parse::<S3Object>()
            .is_ok_and(|object| object.bucket() == name && object.key() == "a/b.env")
    }

    #[test]
    fn buckets_have_names_of_hosts() {
        for name in [
            "abc",
            "my-bucket",
            "logs.example.com",
            "1-2",
            &"a".repeat(63),
        ] {
            assert!(bucket(name), "{name}");
        }
        let long = "a".repeat(64);
        let wrong = [
            "ab",
            &long,
            ".abc",
            "abc.",
            "-abc",
            "abc-",
            "a..b",
            "Abc",
            "a_b",
            "a b",
            "ä-b",
            "",
            "evil.example#",
            "evil.example:443",
            "user@evil.example",
            "evil.example?x",
            "a%2fb",
            "..",
            "a\\b",
        ];
        for name in wrong {
            assert!(!bucket(name), "{name}");
        }
    }

    #[test]
    fn objects_belong_to_no_region_and_have_a_key() {
        let wrong = [
            "arn:aws:s3:us-east-1::abc/key",
            "arn:aws:s3::123456789012:abc/key",
            "arn:aws:sqs:::abc/key",
            "arn:aws:s3:::abc/",
            "arn:aws:s3:::abc",
            "abc/key",
        ];
        for text in wrong {
            assert!(text.parse::<S3Object>().is_err(), "{text}");
        }
        assert!("arn:aws-cn:s3:::abc/key".parse::<S3Object>().is_ok());
    }
}
