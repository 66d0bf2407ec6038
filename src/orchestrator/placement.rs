//! Which container instance a task is placed on, and which tasks are stopped first. PURE decisions
//! on snapshots of instances.
//!
//! A decision filters ([`refusal`]), ranks by the strategies ([`strategies`]) and takes one of the
//! best. [`ClusterNodes`] does so for many tasks of the same needs without looking at all instances
//! again.
//!
//! Source: ECS developer guide, "How Amazon ECS places tasks on container instances".

mod index;
mod needs;
mod node;
mod query;
mod refusal;
mod strategies;
#[cfg(test)]
mod tests;

pub use index::{ClusterNodes, Unplaced, Wanted};
pub use needs::{LaunchKind, Needs, reservation};
pub use node::Node;
pub use query::{Expression, QueryError};
pub use refusal::Refusal;
pub use strategies::{Strategies, StrategyError};
