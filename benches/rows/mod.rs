//! The rows of the table, in its order.

pub(crate) mod api;
pub(crate) mod cache;
pub(crate) mod crowd;
pub(crate) mod deletion;
pub(crate) mod download;
pub(crate) mod gc;
pub(crate) mod identities;
pub(crate) mod lifecycle;
pub(crate) mod lists;
pub(crate) mod manifests;
pub(crate) mod push;
pub(crate) mod replicas;
pub(crate) mod sessions;
pub(crate) mod small;
pub(crate) mod start;
