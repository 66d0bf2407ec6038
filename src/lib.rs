//! Wharfinger: an Amazon ECR and an Amazon ECS on your own machines.
//!
//! Modules are listed from the ground up; each may import only those above it in this list (`tests/tidy.rs` holds the table).

pub mod app;
pub mod aws;
pub mod background;
pub mod base;
pub mod blobs;
pub mod cli;
pub mod config;
pub mod db;
pub mod iam;
pub mod oci;
pub mod registry;
pub mod telemetry;
pub mod transport;
