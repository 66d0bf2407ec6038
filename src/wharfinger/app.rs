//! The application: the handles that the APIs share.

use std::sync::Arc;

use wharfinger_api_ecr as ecr;
use wharfinger_api_iam::iam;
use wharfinger_audit::AuditLog;
use wharfinger_base::{Clock, Ids};
use wharfinger_db::Db;
use wharfinger_iam::Iam;
use wharfinger_registry::Registry;

use crate::config::Config;

/// The handles of one server. Each API gets those that it needs.
pub struct App {
    pub clock: Clock,
    pub ids: Ids,
    /// For readiness only: APIs reach rows through the services of the domains.
    pub db: Db,
    pub iam: Arc<Iam>,
    pub registry: Registry,
    /// Off except in a server.
    pub audit: AuditLog,
    pub config: Config,
}

impl App {
    pub(super) fn ecr_state(&self) -> ecr::State {
        ecr::State {
            registry: self.registry.clone(),
            iam: Arc::clone(&self.iam),
            names: Arc::new(self.config.names.clone()),
            presigned_downloads: self.config.distribution.presigned_redirects,
        }
    }

    pub(super) fn iam_state(&self) -> iam::State {
        iam::State {
            iam: Arc::clone(&self.iam),
        }
    }
}
