//! The account and region that a request addresses.

use wharfinger_aws::{AccountId, Region};

/// The account and region whose resources a request addresses where it does not name others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestScope {
    pub account: AccountId,
    pub region: Region,
}
