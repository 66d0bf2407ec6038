//! What both APIs share in their responses and resources.

use std::collections::BTreeMap;

use serde::Serialize;
use wharfinger_api_core::RequestScope;
use wharfinger_aws::{AccountId, Arn};
use wharfinger_base::Timestamp;
use wharfinger_iam::Resource;
use wharfinger_secrets::{Error, SecretsHome, StoredSecret};

/// The account and region of a request.
pub(super) fn home(scope: &RequestScope) -> SecretsHome {
    SecretsHome {
        account: scope.account,
        region: scope.region.clone(),
    }
}

/// A time as responses have it: seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Seconds(f64);

impl From<Timestamp> for Seconds {
    fn from(time: Timestamp) -> Self {
        Self(time.as_epoch_seconds())
    }
}

/// A resource as decisions see it, whether it exists or not.
#[derive(Clone, Debug)]
pub struct StoredResource {
    pub(super) account: AccountId,
    /// `None` for actions that policies allow on `*` only.
    pub(super) arn: Option<Arn>,
    pub(super) tags: Vec<(String, String)>,
    /// The secret, if it is one and exists.
    pub(super) secret: Option<StoredSecret>,
}

impl StoredResource {
    pub(super) fn of(
        home: &SecretsHome,
        arn: Option<Arn>,
        tags: Option<BTreeMap<String, String>>,
    ) -> Self {
        Self {
            account: home.account,
            arn,
            tags: tags.unwrap_or_default().into_iter().collect(),
            secret: None,
        }
    }

    /// The secret that the decision was about. What is done goes to this one, and not to another
    /// that has its name by now.
    ///
    /// # Errors
    /// [`Error::NoSuchSecret`].
    pub(super) fn secret(&self) -> Result<&StoredSecret, Error> {
        self.secret.as_ref().ok_or(Error::NoSuchSecret)
    }
}

impl Resource for StoredResource {
    fn arn(&self) -> Option<&Arn> {
        self.arn.as_ref()
    }

    fn account(&self) -> AccountId {
        self.account
    }

    fn tags(&self) -> &[(String, String)] {
        &self.tags
    }
}
