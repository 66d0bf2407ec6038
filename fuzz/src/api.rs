//! The faces, of which only `/v2/` reads text that is worth fuzzing.

#[path = "v2.rs"]
pub mod v2;
