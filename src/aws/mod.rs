//! The words of the AWS wire: ARNs, faults, protocols, signatures and a service's published limits. Knows no resource of any wing.

mod arn;

pub use arn::{AccountId, Arn, ArnError, Region, wildcard_match};
