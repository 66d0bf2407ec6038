//! The stores under the registries: a local disk, or PostgreSQL and S3 (`--remote`).

use std::path::Path;

use anyhow::Context;
use url::Url;
use wharfinger_db::DatabaseConfig;

/// Where the registries under measurement keep their metadata and blobs.
pub(crate) enum Stores {
    /// SQLite and a folder.
    Local,
    /// An empty PostgreSQL database and an empty S3 bucket, which every registry shares.
    Remote(Remote),
}

/// Addresses and keys, as `tests/with_stores.py --durable` puts them into the environment.
pub(crate) struct Remote {
    database_url: String,
    blobs_url: String,
    endpoint: String,
    bucket: String,
    region: String,
    access_key: String,
    secret_key: String,
}

impl Stores {
    /// Our server's options for these stores.
    pub(crate) fn options(&self) -> Vec<String> {
        match self {
            Self::Local => Vec::new(),
            Self::Remote(remote) => ["--database", &remote.database_url, "--blobs"]
                .into_iter()
                .chain([remote.blobs_url.as_str()])
                .map(ToOwned::to_owned)
                .collect(),
        }
    }

    /// The index of the server whose data folder this is.
    pub(crate) fn database(&self, data: &Path) -> DatabaseConfig {
        match self {
            Self::Local => DatabaseConfig::sqlite(data.join("index.sqlite")),
            Self::Remote(remote) => DatabaseConfig::postgres(&remote.database_url),
        }
    }

    /// The `storage` section of distribution's configuration; `folder` is for the local disk.
    pub(crate) fn distribution_storage(&self, folder: &Path) -> String {
        match self {
            Self::Local => format!("  filesystem: {{rootdirectory: {}}}", folder.display()),
            Self::Remote(remote) => format!(
                "  s3: {{regionendpoint: \"{}\", region: {}, bucket: {}, rootdirectory: /peer, \
                 accesskey: {}, secretkey: {}, forcepathstyle: true, secure: false}}
  redirect: {{disable: true}}",
                remote.endpoint, remote.region, remote.bucket, remote.access_key, remote.secret_key
            ),
        }
    }

    pub(crate) fn are_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }
}

impl Remote {
    /// # Errors
    /// A missing variable, or a blob URL without bucket, endpoint or region.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let variable = |name: &str| {
            std::env::var(name).with_context(|| {
                format!("{name} is not set: run the benchmark by `make bench-remote`")
            })
        };
        let blobs_url = variable("WHARFINGER_TEST_S3_URL")?;
        let url = Url::parse(&blobs_url)?;
        let query = |name: &str| {
            url.query_pairs()
                .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
                .with_context(|| format!("the blob URL has no {name}"))
        };
        Ok(Self {
            database_url: variable("WHARFINGER_TEST_POSTGRES_URL")?,
            endpoint: query("endpoint")?,
            region: query("region")?,
            bucket: url
                .host_str()
                .context("the blob URL has no bucket")?
                .to_owned(),
            access_key: variable("WHARFINGER_S3_ACCESS_KEY_ID")?,
            secret_key: variable("WHARFINGER_S3_SECRET_ACCESS_KEY")?,
            blobs_url,
        })
    }
}
