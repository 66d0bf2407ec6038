//! Errors of the orchestrator's operations. The ECS API maps each to a code of its protocol; the
//! messages are ECS's where it has one.

use wharfinger_db as db;

use crate::identifiers::IdentifierError;
use crate::model::InstanceId;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("Cluster not found.")]
    ClusterNotFound,
    #[error("The referenced cluster was inactive.")]
    ClusterInactive,
    #[error("The Cluster cannot be deleted while Container Instances are active or draining.")]
    ClusterContainsInstances,
    #[error("The Cluster cannot be deleted while Services are active.")]
    ClusterContainsServices,
    #[error("The Cluster cannot be deleted while Tasks are active.")]
    ClusterContainsTasks,
    #[error("Service not found.")]
    ServiceNotFound,
    #[error("Service was not ACTIVE.")]
    ServiceNotActive,
    #[error("Service deployment not found.")]
    ServiceDeploymentNotFound,
    #[error(transparent)]
    Identifier(#[from] IdentifierError),
    /// A request that breaks a rule of its operation: `InvalidParameterException`. The text is
    /// ECS's.
    #[error("{0}")]
    InvalidParameter(String),
    /// A request that ECS refuses by its general exception, as it does where it names something
    /// that is not there or not in a fitting state: `ClientException`. The text is ECS's.
    #[error("{0}")]
    Client(String),
    /// What an attribute or the protection of a task shall be set on is not in the cluster.
    #[error("{0}")]
    TargetNotFound(String),
    /// A resource that is named by its ARN, for tags or protection, does not exist.
    #[error("{0}")]
    ResourceNotFound(String),
    #[error("{0}")]
    ResourceInUse(String),
    /// More of something than an account or cluster may have.
    #[error("{0}")]
    LimitExceeded(String),
    #[error("{0}")]
    AttributeLimitExceeded(String),
    #[error("{0}")]
    PlatformUnknown(String),
    #[error("{0}")]
    UnsupportedFeature(String),
    /// A client token that was used for another request.
    #[error("{message}")]
    Conflict {
        message: String,
        /// The ARNs of what the first request made.
        resource_ids: Vec<String>,
    },
    /// The caller may not do this to what the request names, whatever policies say.
    #[error("{0}")]
    NotAllowed(String),
    /// Only the principal that registered an instance may do this, or one that policies allow to
    /// administer its agent.
    #[error("{message}")]
    OtherRegistrant {
        instance: InstanceId,
        message: &'static str,
    },
    #[error("the index failed")]
    Index(#[from] db::Error),
}

impl Error {
    /// Whether the same request may succeed soon: the index is out of reach or overloaded.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Index(db::Error::Unavailable(_) | db::Error::Conflict)
        )
    }
}

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;
