//! The identity APIs: users, groups, roles, instance profiles, keys and policies, who a caller is,
//! and temporary credentials.

mod access_keys;
mod account;
mod assume_role;
mod authorization_messages;
mod boundaries;
mod decisions;
mod federation;
mod groups;
mod instance_profiles;
mod managed_policies;
mod oidc_providers;
mod policies;
mod replacement;
mod roles;
mod service_roles;
mod sessions;
mod simulator;
mod user_credentials;
mod users;

/// The texts of the table of decisions.
#[path = "../../src/iam/evaluate/tests/written.rs"]
mod written;
