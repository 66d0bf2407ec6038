//! The unique ids of entities and policies.

use wharfinger_base::Ids;

/// Base 32, as the ids of AWS.
pub(super) const ID_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A new unique id: its prefix and 17 random characters, 85 bits.
pub(super) fn unique_id(ids: &Ids, prefix: &str) -> String {
    format!("{prefix}{}", ids.text(ID_ALPHABET, 17))
}
