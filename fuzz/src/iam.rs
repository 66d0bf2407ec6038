//! Policies and scopes, without the verbs and the store of their room.

#[path = "../../src/iam/condition.rs"]
pub mod condition;
#[path = "../../src/iam/context.rs"]
pub mod context;
#[path = "../../src/iam/error.rs"]
pub mod error;
#[path = "../../src/iam/evaluate.rs"]
pub mod evaluate;
#[path = "../../src/iam/key.rs"]
pub mod key;
#[path = "../../src/iam/pattern.rs"]
pub mod pattern;
#[path = "../../src/iam/policy.rs"]
pub mod policy;
#[path = "../../src/iam/principal.rs"]
pub mod principal;
#[path = "../../src/iam/scopes.rs"]
pub mod scopes;
#[path = "../../src/iam/strict_json.rs"]
pub mod strict_json;
