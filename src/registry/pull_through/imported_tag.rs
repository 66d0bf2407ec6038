//! Tags that came from upstream registries, and when they are looked at again. PURE.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_oci::Digest;

/// An imported tag, as the index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImportedTag {
    pub(crate) digest: Digest,
    pub(crate) checked_at: Timestamp,
}

/// When the tag, which names `current`, is to be looked at again; `None` where it is never: nobody
/// imported it, or somebody has pushed it since.
pub(super) fn next_look(
    imported: Option<ImportedTag>,
    current: Digest,
    refresh_after: Duration,
) -> Option<Timestamp> {
    let imported = imported.filter(|imported| imported.digest == current)?;
    Some(imported.checked_at.plus(refresh_after))
}

#[cfg(test)]
mod tests {
    use wharfinger_oci::Algorithm;

    use super::*;

    #[test]
    fn only_imported_tags_that_nobody_pushed_are_looked_at() {
        let of = |text: &str| Digest::of(Algorithm::Sha256, text.as_bytes());
        let day = Duration::from_hours(24);
        let imported = ImportedTag {
            digest: of("a"),
            checked_at: Timestamp::from_ms(1_000),
        };
        let tomorrow = Timestamp::from_ms(1_000).plus(day);
        assert_eq!(next_look(Some(imported), of("a"), day), Some(tomorrow));
        assert_eq!(next_look(Some(imported), of("b"), day), None);
        assert_eq!(next_look(None, of("a"), day), None);
    }
}
