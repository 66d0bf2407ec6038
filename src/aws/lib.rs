//! The words of the AWS wire: ARNs, faults, protocols, signatures and a service's published limits.
//! Knows no resource of any wing.

mod arn;
mod common;
pub mod constraints;
mod fault;
pub mod json;
pub mod query;
pub mod sigv4;
pub mod xml;

pub use arn::{AccountId, Arn, ArnError, Region};
pub use common::Family;
pub use fault::{Fault, Side};
