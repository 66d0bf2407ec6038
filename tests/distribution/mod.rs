//! The Distribution API: what the official conformance suite omits, and what it would never send.

mod access;
mod bad_input;
mod blobs;
mod listings;
mod manifests;
mod tokens;
mod uploads;
