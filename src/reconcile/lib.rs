//! Work that repeats: reconcilers, each a pass over the state, driven by a period and by wakes.

mod driver;
mod reconciler;

pub use driver::{Driver, Waker};
pub use reconciler::{Pass, Reconciler};
