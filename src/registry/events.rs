//! Events of the registry: recorded in the transaction that causes them, and delivered to sinks as
//! the envelopes that Amazon `EventBridge` delivers.

mod action;
mod envelope;
mod filter;
mod outbox;

pub use action::{FrequencyChange, ImageAction, RegistryEvent};
pub use filter::SinkFilter;
pub use outbox::EventOutbox;
