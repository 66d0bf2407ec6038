//! PURE: the manifest of a backup, and its name.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wharfinger_base::Timestamp;

/// The format that this program writes. In format 1, the oldest, no backup had archived blobs, and
/// programs that know only that one would take them for blobs that no backup needs.
pub(crate) const FORMAT: u32 = 2;

/// The table of blobs.
pub(crate) const BLOBS: &str = "blobs";
/// The table of blobs in the archive. A restore makes rows of [`BLOBS`] from its rows.
pub(crate) const ARCHIVED: &str = "archived_blobs";

/// Characters of the random end of a name.
const RANDOM_CHARACTERS: usize = 8;

/// The name of a backup: when it began, and random characters, such as
/// `20261126t203017123z-1a2b3c4d`. Names sort by time, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(String);

/// A text that names no backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a backup")]
pub struct InvalidBackupId;

impl BackupId {
    /// A name of `begun_at`; `random` are eight letters and digits.
    pub(crate) fn new(begun_at: Timestamp, random: &str) -> Result<Self, InvalidBackupId> {
        // 2026-11-26T20:30:17Z, or with a fraction
        let text = begun_at.to_rfc3339();
        let seconds = text.split(['.', 'Z']).next().unwrap_or_default();
        let compact: String = seconds.chars().filter(|c| !"-:".contains(*c)).collect();
        let ms = begun_at.as_ms().rem_euclid(1_000);
        format!("{}{ms:03}z-{random}", compact.to_lowercase()).parse()
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BackupId {
    type Err = InvalidBackupId;

    fn from_str(text: &str) -> Result<Self, InvalidBackupId> {
        let of = |text: &str, is: fn(&u8) -> bool, length: usize| {
            text.len() == length && text.bytes().all(|byte| is(&byte))
        };
        let digits = |text, length| of(text, u8::is_ascii_digit, length);
        let sound = text.split_once('-').is_some_and(|(time, random)| {
            let time = time.strip_suffix('z').and_then(|time| time.split_once('t'));
            let random_is = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            time.is_some_and(|(date, time)| digits(date, 8) && digits(time, 9))
                && of(random, random_is, RANDOM_CHARACTERS)
        });
        if sound {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidBackupId)
        }
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a backup holds. It is written when everything else is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupManifest {
    pub format: u32,
    /// Milliseconds since the epoch. The rows are of a later moment.
    pub begun_at: i64,
    pub ended_at: i64,
    /// The version of the program that made it, for people.
    pub program: String,
    /// `sqlite` or `postgres`.
    pub engine: String,
    /// Number of the last migration of the index.
    pub migration: i64,
    /// The name of the master key that secrets are sealed under; it says nothing about the key.
    pub master_key: String,
    /// The key itself is in the backup.
    pub has_key: bool,
    /// The parts of rows, numbered from 1.
    pub parts: Vec<PartEntry>,
    /// The last number that each table gave to a row.
    pub counters: BTreeMap<String, i64>,
    pub rows: u64,
    pub blobs: u64,
    pub blob_bytes: u64,
}

/// One part of the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartEntry {
    pub table: String,
    pub rows: u64,
    pub sha256: String,
}

impl BackupManifest {
    /// The numbers of the parts with rows of a table, in order.
    pub(crate) fn parts_of(&self, table: &str) -> Vec<u64> {
        let numbered = (1..).zip(&self.parts);
        let ours = numbered.filter(|(_, part)| part.table == table);
        ours.map(|(number, _)| number).collect()
    }

    /// Whether the part is the first one with rows for the table that a restore puts its rows into.
    pub(crate) fn is_first(&self, part: u64) -> bool {
        let Some(before) = part.checked_sub(1).and_then(|n| usize::try_from(n).ok()) else {
            return false;
        };
        let Some(entry) = self.parts.get(before) else {
            return false;
        };
        let table = restored_table(&entry.table);
        !self.parts[..before]
            .iter()
            .any(|earlier| restored_table(&earlier.table) == table)
    }
}

/// The table that a restore puts the rows of a table into.
fn restored_table(table: &str) -> &str {
    if table == ARCHIVED { BLOBS } else { table }
}

/// A manifest as it is stored.
pub(crate) fn to_bytes(manifest: &BackupManifest) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(manifest)
}

/// Reads a stored manifest, or says what is wrong with it.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<BackupManifest, String> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let format: Format = serde_json::from_slice(bytes).map_err(|_| "it is damaged".to_owned())?;
    if !(1..=FORMAT).contains(&format.format) {
        let format = format.format;
        return Err(format!(
            "it has the format {format}, which a newer version of this program reads"
        ));
    }
    serde_json::from_slice(bytes).map_err(|_| "it is damaged".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_time_and_sort_by_it() {
        let id = |ms| BackupId::new(Timestamp::from_ms(ms), "1a2b3c4d").expect("a name");
        assert_eq!(
            id(1_795_724_217_123).as_str(),
            "20261126t201657123z-1a2b3c4d"
        );
        assert!(id(0) < id(1) && id(999) < id(1_000) && id(1_000) < id(1_795_724_217_000));
        assert_eq!(id(0).as_str().parse(), Ok(id(0)));
        for text in [
            "",
            "20261126t203017123z",
            "20261126t203017123z-1a2b3c4",
            "20261126t203017123z-1A2b3c4d",
            "2026112t203017123z-1a2b3c4d",
            "20261126t203017123z-1a2b3c/d",
            "../../etc/passwd",
        ] {
            assert_eq!(text.parse::<BackupId>(), Err(InvalidBackupId), "{text}");
        }
    }

    #[test]
    fn parts_know_their_tables() {
        let entry = |table: &str| PartEntry {
            table: table.to_owned(),
            rows: 1,
            sha256: String::new(),
        };
        let manifest = BackupManifest {
            format: FORMAT,
            begun_at: 1,
            ended_at: 2,
            program: "0".to_owned(),
            engine: "sqlite".to_owned(),
            migration: 34,
            master_key: "k".to_owned(),
            has_key: false,
            parts: ["a", "a", "b", "c", "c"].map(entry).to_vec(),
            counters: BTreeMap::new(),
            rows: 5,
            blobs: 0,
            blob_bytes: 0,
        };
        assert_eq!(manifest.parts_of("c"), [4, 5]);
        let first: Vec<u64> = (1..=5).filter(|part| manifest.is_first(*part)).collect();
        assert_eq!(first, [1, 3, 4]);
        assert!(!manifest.is_first(0) && !manifest.is_first(6));
        let bytes = to_bytes(&manifest).expect("written");
        assert_eq!(from_bytes(&bytes).as_ref(), Ok(&manifest));
        assert_eq!(from_bytes(b"{"), Err("it is damaged".to_owned()));
        assert_eq!(
            from_bytes(b"{\"format\":1}"),
            Err("it is damaged".to_owned())
        );
        assert!(
            from_bytes(b"{\"format\":3}")
                .expect_err("newer")
                .contains('3')
        );
        // Rows of archived blobs are restored beside those of the others.
        let manifest = BackupManifest {
            format: 1,
            parts: [ARCHIVED, ARCHIVED, BLOBS, BLOBS, "c"].map(entry).to_vec(),
            ..manifest
        };
        let first: Vec<u64> = (1..=5).filter(|part| manifest.is_first(*part)).collect();
        assert_eq!(first, [1, 5]);
        let bytes = to_bytes(&manifest).expect("written");
        assert_eq!(from_bytes(&bytes), Ok(manifest), "of an older program");
    }
}
