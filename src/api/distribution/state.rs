//! What the handlers use, and what the configuration decides.

use std::sync::Arc;

use wharfinger_api_core::Names;
use wharfinger_audit::AuditLog;
use wharfinger_base::Clock;
use wharfinger_iam::Iam;
use wharfinger_registry::{PullThrough, Registry};
use wharfinger_telemetry::Metrics;

use crate::challenge::ChallengeScheme;

/// The choices that the API leaves to the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DistributionConfig {
    pub challenge: ChallengeScheme,
    /// A push creates the repository that it names, if the caller may create it.
    pub create_on_push: bool,
    /// A GET of a blob redirects to a signed URL of the blob store, where the store has such URLs.
    pub presigned_redirects: bool,
}

/// What the handlers use.
pub struct DistributionState {
    pub registry: Registry,
    pub pull_through: PullThrough,
    pub iam: Arc<Iam>,
    pub clock: Clock,
    pub names: Names,
    pub metrics: Arc<Metrics>,
    pub audit: AuditLog,
    pub config: DistributionConfig,
}
