//! The bytes of a segment: its events one after the other. PURE.

/// An event inside of a segment, which knows its stream and its first number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) ingested_at: i64,
    pub(crate) message: String,
}

/// Longest time between the first and the last event of a batch, and so of a segment.
pub(crate) const MAX_SPAN_MS: i64 = 24 * 60 * 60 * 1000;

/// Bytes of an event besides its message.
const HEADER_BYTES: usize = 8 + 8 + 4;

/// Bytes that an event takes.
pub(crate) fn encoded_len(message: &str) -> usize {
    HEADER_BYTES + message.len()
}

/// Appends an event.
pub(crate) fn append(data: &mut Vec<u8>, entry: &Entry) {
    data.extend_from_slice(&entry.at.to_be_bytes());
    data.extend_from_slice(&entry.ingested_at.to_be_bytes());
    let length = u32::try_from(entry.message.len()).unwrap_or(u32::MAX);
    data.extend_from_slice(&length.to_be_bytes());
    data.extend_from_slice(entry.message.as_bytes());
}

/// The events of a segment; `None` where the bytes are damaged.
pub(crate) fn decode(mut data: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while !data.is_empty() {
        let (at, rest) = data.split_first_chunk::<8>()?;
        let (ingested_at, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (message, rest) = rest.split_at_checked(length)?;
        entries.push(Entry {
            at: i64::from_be_bytes(*at),
            ingested_at: i64::from_be_bytes(*ingested_at),
            message: String::from_utf8(message.to_vec()).ok()?,
        });
        data = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_appended_is_read(
            events in proptest::collection::vec((any::<i64>(), any::<i64>(), ".*"), 0..8),
        ) {
            let entries: Vec<Entry> = events
                .into_iter()
                .map(|(at, ingested_at, message)| Entry { at, ingested_at, message })
                .collect();
            let mut data = Vec::new();
            for entry in &entries {
                append(&mut data, entry);
            }
            let length: usize = entries.iter().map(|entry| encoded_len(&entry.message)).sum();
            prop_assert_eq!(data.len(), length);
            prop_assert_eq!(decode(&data), Some(entries));
        }

        #[test]
        fn no_bytes_make_it_panic(data in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&data);
        }
    }

    #[test]
    fn a_cut_segment_is_damaged() {
        let mut data = Vec::new();
        append(
            &mut data,
            &Entry {
                at: 1,
                ingested_at: 2,
                message: "three".to_owned(),
            },
        );
        assert_eq!(decode(&data[..data.len() - 1]), None);
    }
}
