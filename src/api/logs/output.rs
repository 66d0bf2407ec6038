//! The output of operations that return nothing.

use serde::Serialize;

/// An empty object.
#[derive(Debug, Serialize)]
pub(super) struct Nothing {}
