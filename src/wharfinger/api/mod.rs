//! The APIs.

mod clock;
mod reset;
pub mod routes;
