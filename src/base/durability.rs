//! What an acknowledged write survives.

/// What the index and the blob store promise of a write that was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: everything is on the device before the response.
    #[default]
    Full,
    /// A crash of the process. The kernel holds the bytes and writes them when it likes, so a power
    /// cut may lose the last moments, never the index's consistency.
    Relaxed,
}
