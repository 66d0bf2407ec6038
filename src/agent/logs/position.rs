//! How far the output of a container has been sent. PURE.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_base::Timestamp;

/// How far the output of a container has been sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Position {
    /// By the stream of the container: its times never go back, those of two streams may.
    streams: BTreeMap<Stream, Mark>,
}

/// Where a container writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// The last line that was sent: its time, and how many lines have this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// Nanoseconds since the epoch.
    ns: i64,
    lines: u32,
}

impl Position {
    /// Notes one more line.
    pub(super) fn advance(&mut self, stream: Stream, ns: i64) {
        let mark = self.streams.entry(stream).or_insert(Mark { ns, lines: 0 });
        if mark.ns == ns {
            mark.lines += 1;
        } else {
            *mark = Mark { ns, lines: 1 };
        }
    }

    /// The time from which the output is to be read again; `None` for all of it.
    pub(super) fn since(&self) -> Option<Timestamp> {
        let all = [Stream::Stdout, Stream::Stderr];
        let marks = all.map(|stream| self.streams.get(&stream).map(|mark| mark.ns));
        let [Some(one), Some(other)] = marks else {
            return None;
        };
        Some(Timestamp::from_ms(one.min(other) / 1_000_000))
    }

    /// Whether a line of this stream was sent already. Lines must be requested in order; `self`
    /// counts those of the mark's own time down.
    pub(super) fn skips(&mut self, stream: Stream, ns: i64) -> bool {
        let Some(mark) = self.streams.get_mut(&stream) else {
            return false;
        };
        if ns < mark.ns {
            return true;
        }
        if ns == mark.ns && mark.lines > 0 {
            mark.lines -= 1;
            return true;
        }
        self.streams.remove(&stream);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_were_sent_are_skipped_and_no_others() {
        let mut position = Position::default();
        for ns in [10, 20, 20] {
            position.advance(Stream::Stdout, ns);
        }
        position.advance(Stream::Stderr, 15);
        let mut reading = position.clone();
        let read = [10, 20, 20, 20, 30, 20].map(|ns| reading.skips(Stream::Stdout, ns));
        assert_eq!(read, [true, true, true, false, false, false]);
        let mut reading = position.clone();
        assert!(reading.skips(Stream::Stderr, 15));
        assert!(!reading.skips(Stream::Stderr, 15));
    }

    #[test]
    fn reading_begins_at_the_earlier_mark() {
        let mut position = Position::default();
        position.advance(Stream::Stdout, 5_000_000);
        assert_eq!(position.since(), None);
        position.advance(Stream::Stderr, 3_000_000);
        assert_eq!(position.since(), Some(Timestamp::from_ms(3)));
    }
}
