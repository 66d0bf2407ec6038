//! The identity APIs: AWS IAM and AWS STS.

pub mod iam;
pub mod sts;
