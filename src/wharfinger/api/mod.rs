//! The APIs.

pub mod gate;
mod reset;
pub mod routes;
pub mod token;
pub mod v2;
