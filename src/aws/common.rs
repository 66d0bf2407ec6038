//! Faults that every AWS service has, in the terms of both protocol families: JSON services and
//! Query services name the same fault differently.
//!
//! Source: the "Common errors" page of the service references, and the Smithy protocol
//! specifications.

use crate::fault::Fault;

/// The family of protocols that a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Json,
    Query,
}

impl Fault {
    /// A request without any signature.
    #[must_use]
    pub fn missing_authentication(family: Family) -> Self {
        match family {
            Family::Json => Self::sender(
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            ),
            Family::Query => Self::sender(
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            )
            .with_status(403),
        }
    }

    /// A key id that does not exist or is disabled.
    #[must_use]
    pub fn unknown_key(family: Family) -> Self {
        let message = "The security token included in the request is invalid.";
        match family {
            Family::Json => Self::sender("UnrecognizedClientException", message),
            Family::Query => Self::sender("InvalidClientTokenId", message).with_status(403),
        }
    }

    /// Temporary credentials after their end.
    #[must_use]
    pub fn expired_token(family: Family) -> Self {
        let message = "The security token included in the request is expired";
        match family {
            Family::Json => Self::sender("ExpiredTokenException", message),
            Family::Query => Self::sender("ExpiredToken", message).with_status(403),
        }
    }

    /// A caller without permission; `message` says by which kind of policy.
    pub fn access_denied(family: Family, message: impl Into<String>) -> Self {
        match family {
            Family::Json => Self::sender("AccessDeniedException", message),
            Family::Query => Self::sender("AccessDenied", message).with_status(403),
        }
    }

    /// An operation that the service does not have.
    #[must_use]
    pub fn unknown_operation(family: Family, name: &str) -> Self {
        let name: String = name.chars().take(128).collect();
        match family {
            Family::Json => Self::sender(
                "UnknownOperationException",
                format!("Unknown operation '{name}'"),
            ),
            Family::Query => {
                Self::sender("InvalidAction", format!("Could not find operation {name}"))
            }
        }
    }

    /// An operation of the service's model that means nothing on this server.
    #[must_use]
    pub fn unsupported_operation(name: &str) -> Self {
        Self::sender(
            "NotImplemented",
            format!("This server does not support the operation {name}"),
        )
        .with_status(501)
    }

    /// More requests than the rate limit allows.
    #[must_use]
    pub fn throttled(family: Family) -> Self {
        let code = match family {
            Family::Json => "ThrottlingException",
            Family::Query => "Throttling",
        };
        Self::sender(code, "Rate exceeded").with_status(429)
    }

    /// A body larger than the operation accepts.
    #[must_use]
    pub fn too_large(limit_bytes: usize) -> Self {
        Self::sender(
            "RequestEntityTooLargeException",
            format!("The request body is larger than the limit of {limit_bytes} bytes"),
        )
        .with_status(413)
    }

    /// A body that was not received whole.
    #[must_use]
    pub fn body_ended() -> Self {
        Self::sender(
            "RequestTimeoutException",
            "The request body did not arrive in time, or not whole",
        )
        .with_status(408)
    }

    /// An internal error; its cause is in the log only.
    #[must_use]
    pub fn internal(family: Family) -> Self {
        let message = "Internal error. Look for this request id in the server log.";
        match family {
            Family::Json => Self::receiver("ServerException", message),
            Family::Query => Self::receiver("InternalFailure", message),
        }
    }

    /// A server without capacity for the request.
    #[must_use]
    pub fn unavailable(family: Family) -> Self {
        let code = match family {
            Family::Json => "ServiceUnavailableException",
            Family::Query => "ServiceUnavailable",
        };
        Self::receiver(
            code,
            "The service is unable to handle the request now. Try again.",
        )
        .with_status(503)
    }
}
