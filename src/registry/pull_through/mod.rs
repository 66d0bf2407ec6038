//! The pull-through cache: repositories whose images come from an upstream registry when somebody
//! pulls them.

pub(crate) mod rule;
mod rules;
pub(crate) mod secret;
pub(crate) mod upstream_kind;

pub use rule::{Prefix, PullThroughRule};
pub use rules::{NewPullThroughRule, PullThroughRules, UpstreamAccess};
pub use secret::{SecretError, UpstreamSecrets};
pub use upstream_kind::UpstreamKind;
