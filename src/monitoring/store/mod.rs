//! SQL of logs.

pub(super) mod groups;
pub(super) mod removals;
pub(super) mod segments;
pub(super) mod streams;
