//! The websockets of container agents: ACS brings tasks, TCS takes figures and health.
//!
//! `DiscoverPollEndpoint` of the ECS API names both endpoints; agents add `/ws`. Everything before
//! the upgrade is an ordinary request: its signature is verified, policies decide, and the instance
//! must be registered by the caller, so that nobody unproven holds a connection.

mod acs;
mod connect;
mod connected_instance;
mod credentials;
mod error;
mod limits;
mod permission;
mod resource;
mod socket;
mod tcs;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::sync::watch;
use wharfinger_audit::AuditLog;
use wharfinger_aws::Region;
use wharfinger_base::{Clock, Ids};
use wharfinger_ecs_protocol::{ACS_PATH, TCS_PATH};
use wharfinger_iam::Iam;
use wharfinger_orchestrator::payload::Registries;
use wharfinger_orchestrator::{AgentSessions, Orchestrator, TaskCredentials};

use crate::connect::{connect_acs, connect_tcs};
use crate::limits::SessionLimits;

/// The names of the operations, for metrics and logs.
pub const OPERATIONS: [&str; 2] = [connect::POLL, connect::START_TELEMETRY];

/// The handles that the connections of agents use.
pub struct AgentState {
    orchestrator: Orchestrator,
    iam: Arc<Iam>,
    clock: Clock,
    ids: Ids,
    audit: AuditLog,
    credentials: TaskCredentials,
    registries: Registries,
    limits: SessionLimits,
    telemetry_sessions: AgentSessions,
    /// The region of requests without a signature, under `--dev`.
    default_region: Region,
    stop: watch::Sender<bool>,
}

impl AgentState {
    #[must_use]
    pub fn new(
        orchestrator: Orchestrator,
        iam: Arc<Iam>,
        (clock, ids): (Clock, Ids),
        audit: AuditLog,
        (default_region, registries): (Region, Registries),
    ) -> Self {
        Self {
            credentials: TaskCredentials::new(Arc::clone(&iam), clock.clone()),
            orchestrator,
            iam,
            clock,
            ids,
            audit,
            limits: SessionLimits::default(),
            telemetry_sessions: AgentSessions::default(),
            default_region,
            registries,
            stop: watch::Sender::new(false),
        }
    }

    /// Ends all connections: agents connect again, to another server or to this one after its
    /// restart.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// The routes of both websockets.
pub fn routes(state: Arc<AgentState>) -> Router {
    Router::new()
        .route(&format!("{ACS_PATH}/ws"), get(connect_acs))
        .route(&format!("{TCS_PATH}/ws"), get(connect_tcs))
        .with_state(state)
}
