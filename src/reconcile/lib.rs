//! Reconcilers: work that repeats, each a pass over the stored state, run by period and wake-up.

mod driver;
mod reconciler;
mod wake;

pub use driver::Driver;
pub use reconciler::{Pass, Reconciler};
pub use wake::Wake;
