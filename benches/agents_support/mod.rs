//! What simulated agents are made of.

pub(crate) mod api;
pub(crate) mod simulated;
