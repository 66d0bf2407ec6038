//! The project's rules that no compiler checks: layers, what may stand where, and how files read.
//!
//! Each test is one rule. A failure lists every place that breaks it as `file:line: what`.

#[path = "tidy/items.rs"]
mod items;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/modules.rs"]
mod modules;
#[path = "tidy/placement.rs"]
mod placement;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/text.rs"]
mod text;
#[path = "tidy/workspace.rs"]
mod workspace;
