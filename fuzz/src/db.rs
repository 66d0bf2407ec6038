//! The database's error alone: an access error may carry one.

#[path = "../../src/db/error.rs"]
mod error;

pub use error::Error;
