//! One handle to each wing, and what all of them share: the state that every face is given.

use crate::base::{Clock, Ids};
use crate::config::Config;
use crate::db::Db;
use crate::iam::Iam;
use crate::registry::Registry;

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
