//! How a connection to PostgreSQL is made: the URL's `sslmode`, and TLS through rustls.

use postgres::{Client, Config, NoTls};

use super::error::OpenError;

/// Makes connections from one URL.
pub(super) struct Connector {
    config: Config,
}

impl Connector {
    pub(super) fn from_url(url: &str) -> Result<Self, OpenError> {
        let config = url.parse::<Config>().map_err(|error| OpenError::Url(error.to_string()))?;
        Ok(Self { config })
    }

    pub(super) fn connect(&self) -> Result<Client, postgres::Error> {
        self.config.connect(NoTls)
    }
}
