//! AWS Secrets Manager, and the parameters of AWS Systems Manager: what tasks get secrets from.

pub mod parameter_store;
pub mod secrets_manager;
mod views;
