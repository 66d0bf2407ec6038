//! Identity and access: who calls, what they may do, and the credentials that prove it.

mod condition;
mod context;
mod error;
mod evaluate;
mod key;
mod pattern;
mod policy;
mod principal;
mod scopes;
mod strict_json;

pub use context::{AccessRequest, ConditionContext};
pub use error::PolicyError;
pub use evaluate::{Decision, Grant, Ground, PolicyKind, PolicySet, Refusal, evaluate};
pub use policy::{Effect, Grammar, Policy};
pub use principal::{Caller, IdentityPolicies, NamedPolicy, Principal, UserName};
pub use scopes::{Scope, ScopeError, Target, TokenScopes, Verb, Verbs};
