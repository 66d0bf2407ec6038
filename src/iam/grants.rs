//! What tokens give access to.

use wharfinger_aws::{AccountId, Region};
use wharfinger_oci::{Digest, RepositoryName};

use crate::scopes::TokenScopes;

/// The one layer that a download URL gives access to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerGrant {
    pub account: AccountId,
    pub region: Region,
    pub repository: RepositoryName,
    pub digest: Digest,
}

/// What a Bearer token of `/token` is limited to: scopes within one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryGrant {
    pub account: AccountId,
    pub region: Region,
    pub scopes: TokenScopes,
}
