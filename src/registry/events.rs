//! Events of the registry: recorded in the transaction that causes them, and delivered to sinks as
//! the envelopes that Amazon `EventBridge` delivers.

mod action;
mod delivery;
mod envelope;
mod filter;
mod outbox;
mod retries;

pub use action::{FrequencyChange, ImageAction, RegistryEvent};
pub use delivery::{DeliverySettings, EventCounts, EventDelivery, EventRetention};
pub use filter::SinkFilter;
pub use outbox::EventOutbox;
pub use retries::Bounds;
