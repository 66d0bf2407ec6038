//! The identity APIs: users, groups, keys and policies, who a caller is, and temporary credentials.

mod access_keys;
mod assume_role;
mod boundaries;
mod groups;
mod managed_policies;
mod oidc_providers;
mod policies;
mod sessions;
mod users;
