//! Signing of images that are pushed: the rules of a registry, the keys, what is to be signed, and
//! the reconciler that signs.

pub(super) mod bundle;
pub(super) mod keys;
pub(super) mod model;
pub(super) mod queue;
pub(super) mod reconciler;
pub(super) mod rules;
