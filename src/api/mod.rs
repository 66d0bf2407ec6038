//! The faces of the house.

pub mod gate;
pub mod origin;
pub mod token;
pub mod v2;
