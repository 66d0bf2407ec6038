//! Time, randomness, pages and secrets: what every layer needs, without knowledge of a domain.

mod chain;
mod durability;
mod ids;
mod page;
mod secret;
mod time;

pub use chain::Chain;
pub use durability::Durability;
pub use ids::Ids;
pub use page::{Page, PageToken};
pub use secret::Secret;
pub use time::{Clock, Timestamp};
