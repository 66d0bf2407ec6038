//! The parsers of network input, compiled from the project's own files without the floors above them.
//!
//! Arrows in the house point down only, so its lowest rooms stand here by themselves, under the same paths (`crate::oci`, …).

#![allow(dead_code, unused_imports, reason = "a room is here whole, and only its parsers are used")]

pub mod api;
pub mod db;
pub mod iam;

#[path = "../../src/aws/mod.rs"]
pub mod aws;
#[path = "../../src/base/mod.rs"]
pub mod base;
#[path = "../../src/oci/mod.rs"]
pub mod oci;
