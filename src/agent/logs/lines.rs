//! The lines of a container's output, put together from what the runtime sends. PURE.

use std::collections::BTreeMap;

use regex::Regex;

use crate::logs::position::{Position, Stream};
use crate::runtime::LogPiece;

/// Longest line in bytes: the largest event that CloudWatch Logs takes. Longer ones are divided.
const MAX_LINE_BYTES: usize = 256 * 1024 - 26;

/// An event: a line with its time, a part of a long one, or several lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) stream: Stream,
    /// Nanoseconds since the epoch, as the runtime noted it.
    pub(super) ns: i64,
    pub(super) text: String,
    /// The times of the lines that end with it: none for a part before the last.
    pub(super) ends: Vec<i64>,
}

/// Puts lines together, and leaves out those that were sent already.
pub(super) struct Lines {
    sent: Position,
    open: BTreeMap<Stream, (i64, Vec<u8>)>,
    /// What the first line of an event matches, where events have several.
    first_line: Option<Regex>,
    /// Events that further lines may belong to.
    held: BTreeMap<Stream, Line>,
}

impl Lines {
    /// Begins after `sent`.
    pub(super) const fn new(sent: Position, first_line: Option<Regex>) -> Self {
        Self {
            sent,
            open: BTreeMap::new(),
            first_line,
            held: BTreeMap::new(),
        }
    }

    /// Whether there are events that further lines may belong to.
    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Gives up waiting for further lines of events.
    pub(super) fn release(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.held).into_values().collect()
    }

    /// Takes a piece: one message of the container after its time, with a newline unless the
    /// runtime divided a long line; or several lines, where the container has a terminal.
    pub(super) fn push(&mut self, piece: &LogPiece) -> Vec<Line> {
        let stream = if piece.is_stderr {
            Stream::Stderr
        } else {
            Stream::Stdout
        };
        let mut found = Vec::new();
        for part in piece.bytes.split_inclusive(|byte| *byte == b'\n') {
            let (ns, text) = timed(part);
            let open = self.open.entry(stream).or_insert((0, Vec::new()));
            if let Some(ns) = ns.filter(|_| open.1.is_empty()) {
                open.0 = ns;
            }
            open.1.extend_from_slice(text);
            if part.ends_with(b"\n") || open.1.len() >= MAX_LINE_BYTES {
                found.extend(self.close(stream));
            }
        }
        found
    }

    /// Lines without an end, when the container has ended.
    pub(super) fn rest(&mut self) -> Vec<Line> {
        let streams: Vec<Stream> = self.open.keys().copied().collect();
        let lines = streams.into_iter().flat_map(|stream| self.close(stream));
        let mut lines: Vec<Line> = lines.collect();
        lines.extend(self.release());
        lines
    }

    /// The line that is open, in parts of the largest size.
    fn close(&mut self, stream: Stream) -> Vec<Line> {
        let Some((ns, bytes)) = self.open.remove(&stream) else {
            return Vec::new();
        };
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(['\n', '\r']);
        // Empty lines are no events.
        if text.is_empty() {
            let held = self.held.get_mut(&stream);
            if let Some(held) = held.filter(|held| held.text.len() < MAX_LINE_BYTES) {
                held.text.push('\n');
            }
            return Vec::new();
        }
        if self.sent.skips(stream, ns) {
            return Vec::new();
        }
        let mut lines = Vec::new();
        if let Some(first_line) = &self.first_line {
            let begins = first_line.is_match(text);
            match self.held.get_mut(&stream) {
                Some(held) if !begins && held.text.len() + text.len() < MAX_LINE_BYTES => {
                    held.text.push('\n');
                    held.text.push_str(text);
                    held.ends.push(ns);
                    return lines;
                }
                _ => lines.extend(self.held.remove(&stream)),
            }
            if text.len() <= MAX_LINE_BYTES {
                let event = Line {
                    stream,
                    ns,
                    text: text.to_owned(),
                    ends: vec![ns],
                };
                self.held.insert(stream, event);
                return lines;
            }
        }
        let mut rest = text;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(boundary(rest));
            lines.push(Line {
                stream,
                ns,
                text: part.to_owned(),
                ends: if after.is_empty() {
                    vec![ns]
                } else {
                    Vec::new()
                },
            });
            rest = after;
        }
        lines
    }
}

/// Where a text is divided: at most the largest size, between characters.
fn boundary(text: &str) -> usize {
    if text.len() <= MAX_LINE_BYTES {
        return text.len();
    }
    (1..=MAX_LINE_BYTES)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len())
}

/// The time before a message, and the message.
fn timed(part: &[u8]) -> (Option<i64>, &[u8]) {
    let space = part.iter().position(|byte| *byte == b' ');
    let Some(space) = space else {
        // Docker leaves the space out after the time of an empty message.
        let time = parse(part.trim_ascii_end());
        return if time.is_some() {
            (time, b"")
        } else {
            (None, part)
        };
    };
    match parse(&part[..space]) {
        Some(ns) => (Some(ns), &part[space + 1..]),
        None => (None, part),
    }
}

fn parse(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let time: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(is_stderr: bool, text: &str) -> LogPiece {
        LogPiece {
            is_stderr,
            bytes: text.as_bytes().to_vec().into(),
        }
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn divided_lines_are_put_together_by_stream() {
        let mut lines = Lines::new(Position::default(), None);
        let time = "2026-01-01T00:00:00.000000001Z";
        assert!(
            lines
                .push(&piece(false, &format!("{time} one ")))
                .is_empty()
        );
        let other = lines.push(&piece(true, &format!("{time} error\n")));
        assert_eq!(texts(&other), ["error"]);
        let whole = lines.push(&piece(false, &format!("{time} two\r\n")));
        assert_eq!(texts(&whole), ["one two"]);
        assert_eq!(whole[0].ns % 1_000, 1);
        assert!(lines.push(&piece(false, &format!("{time} \n"))).is_empty());
        assert!(lines.push(&piece(false, &format!("{time} end"))).is_empty());
        assert_eq!(texts(&lines.rest()), ["end"]);
    }

    #[test]
    fn a_terminal_sends_several_lines_at_once() {
        let mut lines = Lines::new(Position::default(), None);
        let time = "2026-01-01T00:00:00Z";
        let found = lines.push(&piece(false, &format!("{time} a\r\n{time} b\r\n")));
        assert_eq!(texts(&found), ["a", "b"]);
    }

    #[test]
    fn long_lines_are_divided_between_characters() {
        let mut lines = Lines::new(Position::default(), None);
        let text = "ä".repeat(MAX_LINE_BYTES);
        let line = format!("2026-01-01T00:00:00Z {text}\n");
        let found = lines.push(&piece(false, &line));
        assert!(found.len() >= 2);
        assert!(found.iter().all(|line| line.text.len() <= MAX_LINE_BYTES));
        assert_eq!(
            found
                .iter()
                .map(|line| line.text.as_str())
                .collect::<String>(),
            text
        );
    }

    #[test]
    fn reading_again_gives_what_was_not_sent() {
        let output: Vec<_> = (0..5)
            .map(|second| {
                piece(
                    false,
                    &format!("2026-01-01T00:00:0{second}Z line {second}\n"),
                )
            })
            .collect();
        let mut position = Position::default();
        let mut first = Lines::new(position.clone(), None);
        for piece in &output[..3] {
            for line in first.push(piece) {
                position.advance(line.stream, line.ns);
            }
        }
        let mut again = Lines::new(position, None);
        let found: Vec<_> = output.iter().flat_map(|piece| again.push(piece)).collect();
        assert_eq!(texts(&found), ["line 3", "line 4"]);
    }

    fn times(second: u32, text: &str) -> LogPiece {
        piece(false, &format!("2026-01-01T00:00:0{second}Z {text}\n"))
    }

    fn events(lines: &mut Lines, output: &[(u32, &str)]) -> Vec<Line> {
        let pieces = output.iter().map(|(second, text)| times(*second, text));
        let mut found: Vec<Line> = pieces.flat_map(|piece| lines.push(&piece)).collect();
        found.extend(lines.rest());
        found
    }

    const TRACE: [(u32, &str); 6] = [
        (0, "ERROR a"),
        (1, "  at b"),
        (2, ""),
        (3, "  at c"),
        (4, "INFO d"),
        (5, "INFO e"),
    ];

    #[test]
    fn lines_belong_to_the_event_before_them() {
        let pattern = Regex::new("^[A-Z]").expect("a pattern");
        let mut lines = Lines::new(Position::default(), Some(pattern));
        let found = events(&mut lines, &TRACE);
        let expected = ["ERROR a\n  at b\n\n  at c", "INFO d", "INFO e"];
        assert_eq!(texts(&found), expected);
        assert_eq!(found[0].ends.len(), 3);
        assert!(!lines.is_holding());
    }

    #[test]
    fn an_event_that_was_sent_is_not_sent_again() {
        let pattern = Regex::new("^[A-Z]").expect("a pattern");
        let mut position = Position::default();
        let mut lines = Lines::new(position.clone(), Some(pattern.clone()));
        let found = events(&mut lines, &TRACE);
        for ns in &found[0].ends {
            position.advance(found[0].stream, *ns);
        }
        let mut again = Lines::new(position, Some(pattern));
        let found = events(&mut again, &TRACE);
        assert_eq!(texts(&found), ["INFO d", "INFO e"]);
    }

    #[test]
    fn an_event_is_released_and_has_a_largest_size() {
        let pattern = Regex::new("^[A-Z]").expect("a pattern");
        let mut lines = Lines::new(Position::default(), Some(pattern));
        assert!(lines.push(&times(0, "ERROR a")).is_empty());
        assert!(lines.is_holding());
        assert_eq!(texts(&lines.release()), ["ERROR a"]);
        let half = "x".repeat(MAX_LINE_BYTES / 2);
        let found = events(&mut lines, &[(1, &half), (2, &half), (3, &half)]);
        assert!(found.len() >= 2);
        assert!(found.iter().all(|line| line.text.len() <= MAX_LINE_BYTES));
    }
}
