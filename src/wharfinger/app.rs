//! One handle to each wing, and what all of them share: the state that every face is given.

use wharfinger_base::{Clock, Ids};
use wharfinger_db::Db;
use wharfinger_iam::Iam;
use wharfinger_registry::Registry;

use crate::config::Config;

/// The whole house, behind one `Arc`.
pub struct App {
    pub clock: Clock,
    pub ids: Ids,
    /// For readiness only: faces reach rows through the wings' verbs.
    pub db: Db,
    pub iam: Iam,
    pub registry: Registry,
    pub config: Config,
}
