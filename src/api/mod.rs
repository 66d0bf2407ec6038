//! The faces of the house.

pub mod context;
pub mod ecr;
pub mod gate;
pub mod gateway;
pub mod operation;
pub mod origin;
pub mod sts;
pub mod token;
pub mod v2;
