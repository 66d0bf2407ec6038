//! AWS vocabulary: ARNs, faults, protocols, signatures and the published limits of services. Knows
//! no resource of any domain.

mod arn;
mod common;
pub mod constraints;
mod fault;
pub mod json;
pub mod query;
mod s3;
pub mod sigv4;
pub mod xml;

pub use arn::{AccountId, Arn, ArnError, Region};
pub use common::Family;
pub use fault::{Fault, Side};
pub use s3::S3Object;
