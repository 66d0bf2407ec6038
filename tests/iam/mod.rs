//! The identity APIs: users, groups, keys and policies, who a caller is, and temporary credentials.

mod access_keys;
mod boundaries;
mod groups;
mod managed_policies;
mod policies;
mod sessions;
mod users;
