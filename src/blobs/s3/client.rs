//! The S3 client: how the bucket is addressed and how long its requests may take.

use std::time::Duration;

use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};

use crate::config::S3Config;
use crate::error::Result;

/// How long a request may take until its response begins, the sending of its body included, and how
/// long a response body may be silent: a part of 16 MiB arrives at 280 KB/s or faster. There is no
/// limit for a whole response: a slow client reads a large blob for hours.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// Connects; no request is sent yet.
pub(crate) fn connect(config: &S3Config) -> Result<AmazonS3> {
    let builder = match &config.keys {
        Some(keys) => AmazonS3Builder::new()
            .with_access_key_id(&keys.access_key_id)
            .with_secret_access_key(keys.secret_access_key.reveal()),
        None => AmazonS3Builder::from_env(),
    };
    let mut builder = builder
        .with_bucket_name(&config.bucket)
        .with_virtual_hosted_style_request(false)
        .with_client_options(options(config));
    if let Some(region) = &config.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    Ok(builder.build()?)
}

/// Timeouts of every request to the bucket.
pub(crate) fn options(config: &S3Config) -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_read_timeout(READ_TIMEOUT)
        .with_allow_http(config.endpoint.is_some())
}
