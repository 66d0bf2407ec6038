//! The identity APIs: users, groups, keys and policies, who a caller is, and temporary credentials.

mod access_keys;
mod groups;
mod policies;
mod sessions;
mod users;
