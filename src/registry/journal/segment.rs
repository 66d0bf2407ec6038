//! PURE: segments, the objects that the journal consists of.
//!
//! A segment is a line with its format, the number of the segment before it, number of records and
//! checksum, and a line of JSON for each record. Segments are named by their number, so that the
//! order of names is the order in which they count.

use sha2::{Digest as _, Sha256};

use crate::journal::record::Record;

/// The folder of segments.
pub(crate) const FOLDER: &str = "journal";

/// The record that says up to which number segments are not needed: all that the index had is in
/// those after it.
pub(crate) const NEEDED_AFTER: &str = "journal/needed-after";

/// Largest segment that is read: what the writer makes, and merged ones, which are larger.
pub(crate) const MAX_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// The first line.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    /// Its own number. Segments of earlier versions do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    /// See [`Segment`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merged_from: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rebuilt_from: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caught_up_from: Option<u64>,
    records: usize,
    /// SHA-256 of all that follows the line.
    sha256: String,
    /// SHA-256 of this line without this field. Segments of earlier versions do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line_sha256: Option<String>,
}

impl Header {
    /// The line, without its end.
    fn encode(mut self) -> Result<Vec<u8>, serde_json::Error> {
        self.line_sha256 = None;
        let checksum = hex::encode(Sha256::digest(serde_json::to_vec(&self)?));
        self.line_sha256 = Some(checksum);
        serde_json::to_vec(&self)
    }

    fn decode(line: &[u8]) -> Result<Self, SegmentError> {
        let damaged = SegmentError::Damaged;
        let newer = serde_json::from_slice::<Format>(line);
        let header = serde_json::from_slice::<Self>(line);
        let mut header = match (header, newer) {
            (Ok(header), _) => header,
            (Err(_), Ok(newer)) if newer.format > FORMAT => {
                return Err(SegmentError::Newer(newer.format));
            }
            _ => return Err(damaged("its first line is no header")),
        };
        if let Some(checksum) = header.line_sha256.take() {
            let bytes = serde_json::to_vec(&header);
            let bytes = bytes.map_err(|_| damaged("its first line is no header"))?;
            if hex::encode(Sha256::digest(bytes)) != checksum {
                return Err(damaged("the checksum of its first line is another one"));
            }
        }
        if !(OLDEST_FORMAT..=FORMAT).contains(&header.format) {
            return Err(SegmentError::Newer(header.format));
        }
        Ok(header)
    }
}

/// What headers of all formats have.
#[derive(serde::Deserialize)]
struct Format {
    format: u32,
}

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The number of the segment before it; 0 for the first one of an index. Segments of earlier
    /// versions do not have it.
    pub(crate) previous: Option<u64>,
    /// It was made of this segment and all after it up to its own number.
    pub(crate) merged_from: Option<u64>,
    /// A rebuild of all segments up to this one wrote it, and repositories have other numbers in
    /// it. It counts once those are not needed any more.
    pub(crate) rebuilt_from: Option<u64>,
    /// The same of another index, or an older copy, that was served instead: what was pushed there
    /// is in no other segment.
    pub(crate) caught_up_from: Option<u64>,
    /// In order.
    pub(crate) records: Vec<Record>,
}

const FORMAT: u32 = 3;
/// The oldest format that is read: it has fewer kinds of records.
const OLDEST_FORMAT: u32 = 1;

/// The content of [`NEEDED_AFTER`]: the number and its checksum.
pub(crate) fn encode_number(number: u64) -> String {
    let number = number.to_string();
    let checksum = hex::encode(Sha256::digest(&number));
    format!("{number} {checksum}")
}

/// The number of such a content; earlier versions wrote no checksum.
pub(crate) fn decode_number(content: &[u8]) -> Result<u64, SegmentError> {
    let damaged = || SegmentError::Damaged("it is no number with its checksum");
    let text = std::str::from_utf8(content).map_err(|_| damaged())?;
    let number = text
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    let number = number.ok_or_else(damaged)?;
    if text == encode_number(number) || text == number.to_string() {
        Ok(number)
    } else {
        Err(damaged())
    }
}

/// A segment that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("it has the format {0}, which a newer version of this program reads")]
    Newer(u32),
}

/// The name of the segment of this number.
pub(crate) fn name(number: u64) -> String {
    format!("{FOLDER}/{number:016x}")
}

/// The number in a segment's name; `None` for the name of anything else.
pub(crate) fn number(name: &str) -> Option<u64> {
    let (folder, text) = name.split_once('/')?;
    let is_ours = folder == FOLDER && text.len() == 16;
    is_ours
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
}

/// The bytes of the segment of this number.
///
/// # Errors
/// Where a record cannot be written as JSON.
pub(crate) fn encode(number: u64, segment: &Segment) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = Vec::new();
    for record in &segment.records {
        serde_json::to_writer(&mut body, record)?;
        body.push(b'\n');
    }
    let header = Header {
        format: FORMAT,
        number: Some(number),
        previous: segment.previous,
        merged_from: segment.merged_from,
        rebuilt_from: segment.rebuilt_from,
        caught_up_from: segment.caught_up_from,
        records: segment.records.len(),
        sha256: hex::encode(Sha256::digest(&body)),
        line_sha256: None,
    };
    let mut bytes = header.encode()?;
    bytes.push(b'\n');
    bytes.append(&mut body);
    Ok(bytes)
}

/// Reads the bytes of the segment of this number.
pub(crate) fn decode(number: u64, segment: &[u8]) -> Result<Segment, SegmentError> {
    let damaged = SegmentError::Damaged;
    let end = segment.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or_else(|| damaged("its first line has no end"))?;
    let header = Header::decode(&segment[..end])?;
    if header.number.is_some_and(|own| own != number) {
        return Err(damaged("it is another segment"));
    }
    let body = &segment[end + 1..];
    if hex::encode(Sha256::digest(body)) != header.sha256 {
        return Err(damaged("its checksum is another one"));
    }
    let lines = body.split(|byte| *byte == b'\n');
    let records: Vec<Record> = lines
        .filter(|line| !line.is_empty())
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()
        .map_err(|_| damaged("a record cannot be read"))?;
    if records.len() == header.records {
        Ok(Segment {
            previous: header.previous,
            merged_from: header.merged_from,
            rebuilt_from: header.rebuilt_from,
            caught_up_from: header.caught_up_from,
            records,
        })
    } else {
        Err(damaged("records are missing"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wharfinger_oci::{Algorithm, Digest};

    use super::*;
    use crate::journal::record::{ArchivedState, LinkState, State, Subject, TagState};

    fn records() -> Vec<Record> {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let link = State::Link(LinkState {
            size: 7,
            key: "blobs/sha256/ab/cd".to_owned(),
            archived: Some(ArchivedState {
                encoding: "zstd".to_owned(),
                stored_size: 5,
            }),
        });
        let tag = State::Tag(TagState {
            image: digest,
            tagged_at: 5,
        });
        vec![
            Record {
                subject: Subject::Link(1, digest),
                state: Some(link),
            },
            Record {
                subject: Subject::Tag(1, "v1".to_owned()),
                state: Some(tag),
            },
            Record {
                subject: Subject::Repository(2),
                state: None,
            },
        ]
    }

    #[test]
    fn numbers_come_back_from_names_in_order() {
        let names = [0, 1, 255, 256, u64::MAX].map(name);
        assert!(names.is_sorted());
        assert_eq!(number(&names[3]), Some(256));
        for other in [
            "journal/1",
            "other/0000000000000001",
            "journal/000000000000000g",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
    }

    /// As an earlier version wrote it, before there were lifecycle policies and archived images in
    /// the journal.
    #[test]
    fn a_segment_of_the_first_format_is_read() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let repository = r#"{"subject":{"repository":2},"state":{"repository":{"account":"1",
            "region":"us-east-1","name":"web","created_at":5,"mutability":"MUTABLE",
            "scan_on_push":false,"encryption":{"kind":"AES256","kms_key":null}}}}"#;
        let repository = repository.replace('\n', "");
        let link = format!("{{\"subject\":{{\"link\":[2,\"{digest}\"]}}}}");
        let body = format!("{repository}\n{link}\n");
        let checksum = hex::encode(Sha256::digest(&body));
        let segment = format!("{{\"format\":1,\"records\":2,\"sha256\":\"{checksum}\"}}\n{body}");
        let read = decode(1, segment.as_bytes()).expect("read");
        assert_eq!(read.previous, None);
        let records = read.records;
        assert_eq!(records[0].subject, Subject::Repository(2));
        assert_eq!(records[1].state, None);
    }

    #[test]
    fn a_number_has_a_checksum() {
        for number in [0, 7, u64::MAX] {
            let content = encode_number(number);
            assert_eq!(decode_number(content.as_bytes()), Ok(number));
            assert_eq!(decode_number(number.to_string().as_bytes()), Ok(number));
        }
        let other = encode_number(7).replacen('7', "8", 1);
        for damaged in [&other, "", "x", "+7", "7 ", "7 0", " 7"] {
            assert!(decode_number(damaged.as_bytes()).is_err(), "{damaged}");
        }
    }

    #[test]
    fn a_segment_holds_its_records() {
        for (previous, merged_from, rebuilt_from, records) in [
            (None, None, None, records()),
            (Some(7), Some(3), None, records()),
            (Some(0), None, Some(5), Vec::new()),
        ] {
            let segment = Segment {
                previous,
                merged_from,
                rebuilt_from,
                caught_up_from: rebuilt_from.map(|number| number + 1),
                records,
            };
            let encoded = encode(9, &segment).expect("encoded");
            assert!(matches!(decode(8, &encoded), Err(SegmentError::Damaged(_))));
            assert_eq!(decode(9, &encoded), Ok(segment));
        }
        for newer in [
            r#"{"format":4,"records":0,"sha256":""}"#,
            r#"{"format":4,"other":0}"#,
        ] {
            let newer = format!("{newer}\n");
            assert_eq!(decode(1, newer.as_bytes()), Err(SegmentError::Newer(4)));
        }
    }

    proptest! {
        #[test]
        fn a_damaged_segment_is_found_out(
            at in any::<prop::sample::Index>(),
            bit in 0..8,
            cut: bool,
        ) {
            let whole = Segment {
                previous: Some(7),
                merged_from: Some(3),
                rebuilt_from: Some(2),
                caught_up_from: Some(1),
                records: records(),
            };
            let mut segment = encode(7, &whole).expect("encoded");
            let at = at.index(segment.len());
            if cut {
                segment.truncate(at);
            } else {
                segment[at] ^= 1_u8 << bit;
            }
            // A letter of a checksum in upper case is none, and a format beyond ours is newer.
            let read = decode(7, &segment);
            prop_assert!(read.is_err() || read == Ok(whole), "{read:?}");
        }
    }
}
