//! The audit log: who changed what, and who was refused, as JSON lines in the form of `CloudTrail`
//! events, in files of bounded size and age.
//!
//! [`AuditLog`] takes events and writes them in the background; [`Reader`] reads them, also beside
//! a server that writes. Each server writes to a folder of its own.

mod event;
mod failures;
mod log;
mod reader;
mod segments;

pub use event::{
    AdditionalData, DecisionRecord, Event, Outcome, ResourceName, SessionContext, SessionIssuer,
    UserIdentity,
};
pub use log::{AuditConfig, AuditLog};
pub use reader::{Entry, Reader};
