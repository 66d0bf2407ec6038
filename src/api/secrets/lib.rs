//! AWS Secrets Manager, and the parameters of AWS Systems Manager.
