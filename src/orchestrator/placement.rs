//! Which container instance a task is placed on, and which tasks are stopped first. PURE decisions
//! on snapshots of instances.
//!
//! A decision filters ([`refusal`]), ranks by the strategies ([`strategies`]) and takes one of the
//! best. [`ClusterNodes`] does so for many tasks of the same needs without looking at all instances
//! again.
//!
//! Source: ECS developer guide, "How Amazon ECS places tasks on container instances".

mod capacity_split;
mod index;
mod needs;
mod node;
mod query;
mod refusal;
mod scale_in;
mod strategies;
#[cfg(test)]
mod tests;

pub use capacity_split::next_provider;
pub use index::{ClusterNodes, Unplaced, Wanted};
pub(crate) use needs::size_of_text;
pub use needs::{LaunchKind, Needs};
pub use node::Node;
pub use query::{Expression, QueryError};
pub use refusal::Refusal;
pub(crate) use scale_in::{Occupied, scale_in_order};
pub(crate) use strategies::rename_host_field;
pub use strategies::{Strategies, StrategyError};
