//! Wharfinger: an Amazon ECR and an Amazon ECS on your own machines.
//!
//! Modules are listed from the ground up, a floor to a group; each may import only those of floors above it in this list
//! (`tests/tidy.rs` holds the table).

pub mod base;
pub mod oci;

pub mod aws;
pub mod blobs;
pub mod db;
pub mod telemetry;
pub mod transport;

pub mod background;
pub mod iam;

pub mod registry;

pub mod config;

pub mod app;

pub mod api;

pub mod server;

pub mod cli;
