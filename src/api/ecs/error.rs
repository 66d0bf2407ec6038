//! The errors of the ECS API: every wire code of this API is here.
//!
//! Source: the ECS API reference; messages as clients and issues quote them.

use wharfinger_aws::{Family, Fault};
use wharfinger_orchestrator as orchestrator;
use wharfinger_orchestrator::identifiers::IdentifierError;

/// An error of an ECS operation. Errors of the orchestrator convert into it, so that operations use
/// `?`.
#[derive(Debug)]
pub struct Error(Box<Fault>);

impl Error {
    /// A fault of the server; its cause is in the log only.
    pub(super) fn internal(cause: impl std::error::Error) -> Self {
        Fault::internal(Family::Json).with_cause(&cause).into()
    }

    /// Whether the caller lacks a permission.
    pub(super) fn is_access_denied(&self) -> bool {
        self.0.code == "AccessDeniedException"
    }

    /// The same refusal as `InvalidParameterException`, for operations whose model has no
    /// `ResourceNotFoundException`.
    pub(super) fn into_invalid_parameter(self) -> Self {
        match self.0.code.as_ref() {
            "ResourceNotFoundException" => invalid_parameter(self.0.message),
            _ => self,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self(Box::new(fault))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        *error.0
    }
}

impl From<IdentifierError> for Error {
    fn from(error: IdentifierError) -> Self {
        orchestrator::Error::from(error).into()
    }
}

impl From<orchestrator::Error> for Error {
    fn from(error: orchestrator::Error) -> Self {
        use orchestrator::Error as E;
        let code = match &error {
            E::ClusterNotFound | E::ClusterInactive => "ClusterNotFoundException",
            E::ClusterContainsInstances => "ClusterContainsContainerInstancesException",
            E::ClusterContainsServices => "ClusterContainsServicesException",
            E::ClusterContainsTasks => "ClusterContainsTasksException",
            E::ServiceNotFound => "ServiceNotFoundException",
            E::ServiceNotActive => "ServiceNotActiveException",
            E::ServiceDeploymentNotFound => "ServiceDeploymentNotFoundException",
            E::Identifier(_) | E::InvalidParameter(_) => "InvalidParameterException",
            E::Client(_) => "ClientException",
            E::TargetNotFound(_) => "TargetNotFoundException",
            E::ResourceNotFound(_) => "ResourceNotFoundException",
            E::ResourceInUse(_) => "ResourceInUseException",
            E::LimitExceeded(_) => "LimitExceededException",
            E::AttributeLimitExceeded(_) => "AttributeLimitExceededException",
            E::PlatformUnknown(_) => "PlatformUnknownException",
            E::UnsupportedFeature(_) => "UnsupportedFeatureException",
            E::Conflict { resource_ids, .. } => {
                let fault = Fault::sender("ConflictException", error.to_string());
                return fault.with_field("resourceIds", resource_ids.clone()).into();
            }
            E::NotAllowed(_) | E::OtherRegistrant { .. } => {
                return Fault::access_denied(Family::Json, error.to_string()).into();
            }
            _ if error.is_unavailable() => {
                return Fault::unavailable(Family::Json).with_cause(&error).into();
            }
            E::Index(_) => return Fault::internal(Family::Json).with_cause(&error).into(),
        };
        Fault::sender(code, error.to_string()).into()
    }
}

/// A request that breaks a rule which only its operation can check.
pub(super) fn invalid_parameter(message: impl Into<String>) -> Error {
    Fault::sender("InvalidParameterException", message).into()
}

/// A request that ECS refuses by its general exception.
pub(super) fn client(message: impl Into<String>) -> Error {
    Fault::sender("ClientException", message).into()
}
