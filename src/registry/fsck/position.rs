//! PURE: where a check stands.

use serde::{Deserialize, Serialize};

/// What is looked at, in this order: a blob that is found to be missing is unlinked by a repair
/// before links and images are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    #[default]
    Blobs,
    ArchivedBlobs,
    Links,
    Images,
    Tags,
    Objects,
    ArchiveObjects,
    Journal,
}

impl Phase {
    /// The phase that follows; `None` after the last one.
    const fn next(self) -> Option<Self> {
        match self {
            Self::Blobs => Some(Self::ArchivedBlobs),
            Self::ArchivedBlobs => Some(Self::Links),
            Self::Links => Some(Self::Images),
            Self::Images => Some(Self::Tags),
            Self::Tags => Some(Self::Objects),
            Self::Objects => Some(Self::ArchiveObjects),
            Self::ArchiveObjects => Some(Self::Journal),
            Self::Journal => None,
        }
    }
}

/// After which row or object a check goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub phase: Phase,
    /// A row number, or the number of a segment.
    #[serde(default)]
    pub(super) number: i64,
    /// A digest in stored form.
    #[serde(default)]
    pub(super) bytes: Vec<u8>,
    /// A tag, or the key of an object.
    #[serde(default)]
    pub(super) text: String,
}

impl Position {
    /// Within a phase.
    pub(super) fn at(phase: Phase, number: i64, bytes: Vec<u8>, text: String) -> Self {
        Self {
            phase,
            number,
            bytes,
            text,
        }
    }

    /// The beginning of the phase after this one.
    pub(crate) fn after(phase: Phase) -> Option<Self> {
        phase.next().map(|phase| Self {
            phase,
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other_to_an_end_and_positions_can_be_stored() {
        let mut phases = vec![Position::default()];
        while let Some(next) = Position::after(phases.last().expect("one").phase) {
            assert!(!phases.contains(&next));
            phases.push(next);
        }
        assert_eq!(phases.len(), 8);
        let position = Position::at(Phase::Tags, 7, vec![1, 2], "v1".to_owned());
        let stored = serde_json::to_string(&position).expect("stored");
        assert_eq!(
            serde_json::from_str::<Position>(&stored).ok(),
            Some(position)
        );
    }
}
