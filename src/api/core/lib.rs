//! What every API shares: the HTTP service with its middleware, the request context, the
//! authorizer, the AWS gateway with its `Service` and `Operation` traits, and response helpers.
//! Knows no service and no domain.

mod audit_record;
mod audit_trail;
mod authorization_message;
mod authorizer;
mod aws_errors;
mod body_budget;
mod browser_guard;
mod gateway;
mod health;
mod http_service;
mod middleware;
mod mounted;
mod names;
mod observation;
mod operation_kind;
mod origin;
mod rate_limit;
mod repository_uri;
mod request_context;
mod request_log;
pub mod response;
mod scope;
mod service;
mod service_error;

pub use audit_trail::{AuditTrail, AuditedRequest};
pub use authorizer::{AccessDenied, Authorizer, RequestFacts};
pub use body_budget::{ReceiveBodyError, ReceivedBody};
pub use gateway::Gateway;
pub use health::{ReadinessCheck, health_routes};
pub use http_service::{HttpService, HttpServiceBuilder, HttpServiceConfig};
pub use mounted::MountedService;
pub use names::Names;
pub use observation::{ObservedBody, ResponseInfo};
pub use origin::Origin;
pub use rate_limit::RateLimitConfig;
pub use repository_uri::{RepositoryUri, RepositoryUriError};
pub use request_context::RequestContext;
pub use scope::RequestScope;
pub use service::{
    Call, Context, Demand, ErrorOf, Operation, OperationEntry, ResourceIdOf, Service, ServiceModel,
};
pub use service_error::{ErrorFormat, PlainErrors, ServiceError};
