//! Reconcilers: work that repeats, each a pass over the stored state, run by period.

mod driver;
mod reconciler;

pub use driver::Driver;
pub use reconciler::{Pass, Reconciler};
