//! Why a connection is refused, in the form that agents read: an object whose only member is named
//! as the exception.

use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::json;
use wharfinger_api_core::response::{JSON, document};
use wharfinger_iam as iam;
use wharfinger_orchestrator as orchestrator;

/// A refused connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Credentials(iam::Error),
    #[error("{0}")]
    AccessDenied(String),
    #[error("Rate exceeded")]
    Throttled,
    #[error("Too many agents are connected.")]
    TooMany,
    /// Not a request for a websocket, or one without the members that it needs.
    #[error("{0}")]
    BadRequest(String),
    #[error("Cluster not found.")]
    NoSuchCluster,
    #[error("The container instance is not registered in the cluster.")]
    NoSuchInstance,
    /// The words are those by which agents know that they were deregistered.
    #[error("The container instance is inactive.")]
    InactiveInstance,
    #[error("internal error")]
    Index(orchestrator::Error),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Credentials(error) if error.is_unavailable() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Credentials(error) if error.is_internal() => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Credentials(_) | Self::AccessDenied(_) => StatusCode::FORBIDDEN,
            Self::Throttled => StatusCode::TOO_MANY_REQUESTS,
            Self::TooMany => StatusCode::SERVICE_UNAVAILABLE,
            Self::Index(error) if error.is_unavailable() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Index(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadRequest(_)
            | Self::NoSuchCluster
            | Self::NoSuchInstance
            | Self::InactiveInstance => StatusCode::BAD_REQUEST,
        }
    }

    /// The name of the exception.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Credentials(error) if error.is_unavailable() || error.is_internal() => {
                "ServerException"
            }
            Self::Credentials(_) => "UnrecognizedClientException",
            Self::AccessDenied(_) => "AccessDeniedException",
            Self::Throttled => "ThrottlingException",
            Self::TooMany | Self::Index(_) => "ServerException",
            Self::BadRequest(_) => "BadRequestException",
            Self::NoSuchCluster => "InvalidClusterException",
            Self::NoSuchInstance => "InvalidInstanceException",
            Self::InactiveInstance => "InactiveInstanceException",
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::Credentials(error) if error.is_internal() => "internal error".to_owned(),
            _ => self.to_string(),
        }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let body = json!({ self.code(): self.message() });
        document(self.status(), JSON, body.to_string())
    }
}

impl From<orchestrator::Error> for Refusal {
    fn from(error: orchestrator::Error) -> Self {
        match error {
            orchestrator::Error::ClusterNotFound | orchestrator::Error::ClusterInactive => {
                Self::NoSuchCluster
            }
            orchestrator::Error::Identifier(error) => Self::BadRequest(error.to_string()),
            error => Self::Index(error),
        }
    }
}
