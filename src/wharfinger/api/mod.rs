//! The faces of the house, and the one door before them.

pub mod context;
pub mod door;
mod drain;
pub mod ecr;
pub mod gate;
pub mod gateway;
pub mod health;
pub mod operation;
pub mod origin;
mod rate;
mod refusal;
mod request_log;
mod reset;
pub mod sts;
pub mod token;
pub mod v2;
