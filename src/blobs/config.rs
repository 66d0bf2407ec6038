//! Where blobs are stored.

use std::path::PathBuf;

use url::Url;
use wharfinger_base::Secret;

use crate::error::ConfigError;

/// Where blobs are stored.
#[derive(Clone, Debug)]
pub enum BlobsConfig {
    /// A folder; made where it is missing.
    Disk { root: PathBuf },
    /// A bucket of Amazon S3 or of a server that speaks its protocol.
    S3(S3Config),
    /// Nowhere: gone with the process. For tests.
    Memory,
}

/// A bucket, and how to reach it.
#[derive(Clone, Debug)]
pub struct S3Config {
    pub bucket: String,
    /// Prepended to every key; no slash at either end; may be empty.
    pub prefix: String,
    /// URL of the server; `None` is Amazon's own for the region. `http` is allowed.
    pub endpoint: Option<String>,
    /// `None`: what `AWS_REGION` says, else us-east-1.
    pub region: Option<String>,
    /// `None`: the usual AWS chain (environment, web identity, container, instance metadata).
    pub keys: Option<S3Keys>,
}

/// A key that may write to the bucket.
#[derive(Clone, Debug)]
pub struct S3Keys {
    pub access_key_id: String,
    pub secret_access_key: Secret<String>,
}

impl BlobsConfig {
    /// A store for archived blobs within this one: the folder `archive`, or the same bucket with
    /// `archive` at the end of the prefix. Neither store lists what the other one has.
    #[must_use]
    pub fn archive_within(&self) -> Self {
        match self {
            Self::Disk { root } => Self::Disk {
                root: root.join("archive"),
            },
            Self::S3(s3) => Self::S3(S3Config {
                prefix: format!("{}/archive", s3.prefix)
                    .trim_start_matches('/')
                    .to_owned(),
                ..s3.clone()
            }),
            Self::Memory => Self::Memory,
        }
    }

    /// Reads a folder's path or `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`. `keys` are kept for
    /// the bucket.
    pub fn parse(text: &str, keys: Option<S3Keys>) -> Result<Self, ConfigError> {
        let refuse = |why| ConfigError::Url { why };
        if !text.contains("://") {
            return if text.is_empty() {
                Err(refuse("it is empty"))
            } else {
                Ok(Self::Disk {
                    root: PathBuf::from(text),
                })
            };
        }
        let url = Url::parse(text).map_err(|_| refuse("it is not a URL"))?;
        if url.scheme() != "s3" {
            return Err(refuse("the scheme is not s3"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.port().is_some() {
            return Err(refuse("keys and ports are not allowed in the URL"));
        }
        let bucket = url
            .host_str()
            .filter(|bucket| !bucket.is_empty())
            .ok_or_else(|| refuse("the bucket is missing"))?;
        let mut config = S3Config {
            bucket: bucket.to_owned(),
            prefix: url.path().trim_matches('/').to_owned(),
            endpoint: None,
            region: None,
            keys,
        };
        for (name, value) in url.query_pairs() {
            match &*name {
                "endpoint" => config.endpoint = Some(endpoint(&value).map_err(refuse)?),
                "region" => config.region = Some(value.into_owned()),
                _ => return Err(refuse("it has a parameter other than endpoint and region")),
            }
        }
        Ok(Self::S3(config))
    }
}

/// Checks the URL of an S3 server. It is logged, so it must not hold a password.
fn endpoint(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or("the endpoint is not an http or https URL")?;
    if url.username().is_empty() && url.password().is_none() {
        Ok(text.to_owned())
    } else {
        Err("keys and passwords are not allowed in the endpoint")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_read_from_its_url() {
        let config = BlobsConfig::parse(
            "s3://images/a/b/?endpoint=http://127.0.0.1:9000&region=eu-west-1",
            None,
        );
        let Ok(BlobsConfig::S3(config)) = config else {
            panic!("{config:?}")
        };
        assert_eq!(
            (config.bucket.as_str(), config.prefix.as_str()),
            ("images", "a/b")
        );
        assert_eq!(
            (config.endpoint.as_deref(), config.region.as_deref()),
            (Some("http://127.0.0.1:9000"), Some("eu-west-1"))
        );
        let Ok(BlobsConfig::S3(S3Config { prefix, .. })) = BlobsConfig::parse("s3://images", None)
        else {
            panic!("a bucket without a prefix");
        };
        assert!(prefix.is_empty());
        assert!(matches!(
            BlobsConfig::parse("/var/lib/blobs", None),
            Ok(BlobsConfig::Disk { .. })
        ));
    }

    #[test]
    fn an_archive_is_a_store_of_its_own_within_the_other_one() {
        for (given, expected) in [("s3://images/a", "a/archive"), ("s3://images", "archive")] {
            let config = BlobsConfig::parse(given, None).expect("a bucket");
            let BlobsConfig::S3(archive) = config.archive_within() else {
                panic!("a bucket");
            };
            assert_eq!(
                (archive.bucket.as_str(), archive.prefix.as_str()),
                ("images", expected)
            );
        }
        let folder = BlobsConfig::parse("/var/blobs", None).expect("a folder");
        let BlobsConfig::Disk { root } = folder.archive_within() else {
            panic!("a folder");
        };
        assert_eq!(root, PathBuf::from("/var/blobs/archive"));
    }

    #[test]
    fn a_text_that_names_no_store_is_refused() {
        for text in [
            "",
            "gs://b",
            "s3://",
            "s3://key:secret@b/",
            "s3://b?endpoint=ftp://x",
            "s3://b?endpoint=http://key:secret@x",
            "s3://b?regoin=x",
            "s3://b:99/",
        ] {
            let error = BlobsConfig::parse(text, None).expect_err(text).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
