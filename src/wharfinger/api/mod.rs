//! The APIs.

pub mod context;
pub mod ecr;
pub mod gate;
pub mod gateway;
pub mod operation;
mod reset;
pub mod routes;
pub mod sts;
pub mod token;
pub mod v2;
