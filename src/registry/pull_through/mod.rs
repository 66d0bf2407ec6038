//! The pull-through cache: repositories whose images come from an upstream registry when somebody
//! pulls them.

mod blob_import;
mod flights;
mod image_import;
pub(crate) mod import_error;
pub(crate) mod imported_tag;
mod layer_import;
mod loops;
mod permits;
mod refresh;
mod refusals;
pub(crate) mod rule;
mod rules;
pub(crate) mod secret;
mod service;
pub(crate) mod upstream_kind;

pub use import_error::ImportError;
pub use layer_import::ImportedLayer;
pub use rule::{Prefix, PullThroughRule};
pub use rules::{NewPullThroughRule, PullThroughRules, UpstreamAccess, UpstreamSignIn};
pub use secret::{SecretError, UpstreamSecrets};
pub use service::{PullThrough, UpstreamSource};
pub use upstream_kind::UpstreamKind;
