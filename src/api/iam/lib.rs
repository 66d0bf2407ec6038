//! The identity APIs: AWS STS.

pub mod sts;
