//! The APIs.

mod reset;
pub mod routes;
