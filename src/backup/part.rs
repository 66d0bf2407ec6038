//! Parts, the compressed records that hold the rows of one table each.
//!
//! The text of a part is a line of JSON with table and columns, and one for each row: an array with
//! integers, texts, nulls, and objects `{"b": "<Base64>"}` for bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wharfinger_db::{RowBatch, Value};

/// Largest text of a part. An export makes parts of some megabytes; one row may have as much again.
const MAX_TEXT_BYTES: usize = 256 * 1024 * 1024;

/// Largest stored part.
pub(crate) const MAX_PART_BYTES: u64 = 256 * 1024 * 1024;

/// Level of compression: rows are mostly JSON, and the export should not wait for it.
const LEVEL: i32 = 3;

#[derive(Serialize, Deserialize)]
struct Header {
    table: String,
    columns: Vec<String>,
}

/// A value as JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Bytes { b: String },
}

/// Why a part cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    #[error("it is missing")]
    Missing,
    #[error("its checksum is another one")]
    Checksum,
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("it cannot be compressed")]
    Compression,
}

/// A part as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    /// Of the bytes, in hexadecimal digits.
    pub(crate) sha256: String,
}

pub(crate) fn encode(batch: &RowBatch) -> Result<Encoded, PartError> {
    let header = Header {
        table: batch.table.clone(),
        columns: batch.columns.clone(),
    };
    let unwritable = |_| PartError::Damaged("a row is no JSON");
    let mut text = serde_json::to_vec(&header).map_err(unwritable)?;
    for row in &batch.rows {
        let cells: Vec<Cell> = row.iter().map(cell).collect();
        text.push(b'\n');
        serde_json::to_writer(&mut text, &cells).map_err(unwritable)?;
    }
    let bytes = zstd::bulk::compress(&text, LEVEL).map_err(|_| PartError::Compression)?;
    let sha256 = checksum(&bytes);
    Ok(Encoded { bytes, sha256 })
}

/// The rows of a part with this checksum.
pub(crate) fn decode(bytes: &[u8], sha256: &str) -> Result<RowBatch, PartError> {
    if checksum(bytes) != sha256 {
        return Err(PartError::Checksum);
    }
    let damaged = PartError::Damaged;
    let mut text = Vec::new();
    let decoder = zstd::stream::Decoder::new(bytes).map_err(|_| damaged("it is not compressed"))?;
    let mut limited = std::io::Read::take(decoder, MAX_TEXT_BYTES as u64 + 1);
    std::io::Read::read_to_end(&mut limited, &mut text)
        .map_err(|_| damaged("it is not compressed"))?;
    if text.len() > MAX_TEXT_BYTES {
        return Err(damaged("it is too long"));
    }
    let mut lines = text.split(|byte| *byte == b'\n');
    let header = lines.next().unwrap_or_default();
    let header: Header =
        serde_json::from_slice(header).map_err(|_| damaged("its first line is no header"))?;
    let mut rows = Vec::new();
    for line in lines {
        let cells: Vec<Cell> =
            serde_json::from_slice(line).map_err(|_| damaged("a row cannot be read"))?;
        if cells.len() != header.columns.len() {
            return Err(damaged("a row has another number of columns"));
        }
        rows.push(cells.into_iter().map(value).collect::<Result<_, _>>()?);
    }
    Ok(RowBatch {
        table: header.table,
        columns: header.columns,
        rows,
    })
}

fn checksum(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn cell(value: &Value<'_>) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Integer(integer) => Cell::Integer(*integer),
        Value::Text(text) => Cell::Text(text.to_string()),
        Value::Bytes(bytes) => Cell::Bytes {
            b: STANDARD.encode(bytes),
        },
    }
}

fn value(cell: Cell) -> Result<Value<'static>, PartError> {
    Ok(match cell {
        Cell::Null => Value::Null,
        Cell::Integer(integer) => Value::Integer(integer),
        Cell::Text(text) => Value::from(text),
        Cell::Bytes { b } => {
            let bytes = STANDARD.decode(b);
            Value::from(bytes.map_err(|_| PartError::Damaged("bytes are no Base64"))?)
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            any::<Vec<u8>>().prop_map(Value::from),
        ]
    }

    proptest! {
        #[test]
        fn rows_come_back(rows in prop::collection::vec(prop::collection::vec(values(), 3), 0..9)) {
            let batch = RowBatch {
                table: "things".to_owned(),
                columns: ["a", "b", "c"].map(str::to_owned).to_vec(),
                rows,
            };
            let part = encode(&batch).expect("encoded");
            prop_assert_eq!(decode(&part.bytes, &part.sha256), Ok(batch));
        }

        #[test]
        fn a_damaged_part_is_found_out(at in any::<prop::sample::Index>(), bit in 0..8, cut: bool) {
            let batch = RowBatch {
                table: "things".to_owned(),
                columns: vec!["a".to_owned()],
                rows: vec![vec![Value::from(7)]],
            };
            let Encoded { mut bytes, sha256 } = encode(&batch).expect("encoded");
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 1_u8 << bit;
            }
            prop_assert_eq!(decode(&bytes, &sha256), Err(PartError::Checksum));
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for text in [
            "",
            "{}",
            "{\"table\":\"t\",\"columns\":[\"a\"]}\n[1,2]",
            "{\"table\":\"t\",\"columns\":[\"a\"]}\n[{\"b\":\"?\"}]",
            "{\"table\":\"t\",\"columns\":[\"a\"]}\n[1.5]",
            "{\"table\":\"t\",\"columns\":[\"a\"]}\n",
        ] {
            let bytes = zstd::bulk::compress(text.as_bytes(), LEVEL).expect("compressed");
            let read = decode(&bytes, &checksum(&bytes));
            assert!(
                matches!(read, Err(PartError::Damaged(_))),
                "{text}: {read:?}"
            );
        }
        let plain = decode(b"plain", &checksum(b"plain"));
        assert!(matches!(plain, Err(PartError::Damaged(_))), "{plain:?}");
    }
}
