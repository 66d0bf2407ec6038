//! Reads the log from its oldest event on, also while a server writes it.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use wharfinger_base::Timestamp;

use crate::event::Event;
use crate::segments::{Segment, modified_at, segments};

/// Longest line that is read, in bytes. Events are shorter.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// What a line holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Event(Box<Event>),
    /// No event: a line that a crash cut off, or one that somebody else wrote.
    Unreadable,
}

/// A position in the log.
pub struct Reader {
    folder: PathBuf,
    /// Files that only hold events from before are left out.
    since: Option<Timestamp>,
    current: Option<(Segment, BufReader<File>)>,
    /// A line without its end: it may be in the middle of being written.
    partial: Vec<u8>,
}

impl Reader {
    /// Starts at the oldest event, or at the oldest file that may hold an event from `since` on.
    ///
    /// # Errors
    /// The folder cannot be read. One that does not exist is empty.
    pub fn open(folder: &Path, since: Option<Timestamp>) -> io::Result<Self> {
        segments(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            since,
            current: None,
            partial: Vec::new(),
        })
    }

    /// The next entry; `None` at the end of what is written by now. A later call may find more. A
    /// last line without its end is left out.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        loop {
            if self.current.is_none() && !self.advance()? {
                return Ok(None);
            }
            if let Some(entry) = self.next_line()? {
                return Ok(Some(entry));
            }
            let had_partial = !self.partial.is_empty();
            if !self.advance()? {
                return Ok(None);
            }
            // A later file exists, so that nobody will end the line.
            if had_partial {
                self.partial.clear();
                return Ok(Some(Entry::Unreadable));
            }
        }
    }

    /// Opens the file after the current one; false where there is none.
    fn advance(&mut self) -> io::Result<bool> {
        for segment in segments(&self.folder)? {
            let is_later = match &self.current {
                Some((current, _)) => segment > *current,
                None => true,
            };
            if !is_later {
                continue;
            }
            let file = match File::open(&segment.path) {
                // The server deleted it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                file => file?,
            };
            let modified = fs::File::metadata(&file).map(|metadata| modified_at(&metadata))?;
            if self.since.is_some_and(|since| modified < since) {
                continue;
            }
            self.current = Some((segment, BufReader::new(file)));
            return Ok(true);
        }
        Ok(false)
    }

    /// The next whole line of the current file.
    fn next_line(&mut self) -> io::Result<Option<Entry>> {
        let Some((_, file)) = &mut self.current else {
            return Ok(None);
        };
        let most = MAX_LINE_BYTES.saturating_sub(self.partial.len() as u64);
        file.take(most).read_until(b'\n', &mut self.partial)?;
        let is_whole = self.partial.ends_with(b"\n");
        if !is_whole && (self.partial.len() as u64) < MAX_LINE_BYTES {
            return Ok(None);
        }
        let event = serde_json::from_slice(&self.partial);
        self.partial.clear();
        Ok(Some(event.map_or(Entry::Unreadable, Entry::Event)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn line(name: &str) -> Vec<u8> {
        let event = Event::new("iam.amazonaws.com", name, Timestamp::from_ms(0));
        event.line().expect("JSON")
    }

    fn append(path: &Path, text: &[u8]) {
        let file = File::options().create(true).append(true).open(path);
        file.expect("a file").write_all(text).expect("written");
    }

    fn read_all(reader: &mut Reader) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry().expect("read") {
            found.push(match entry {
                Entry::Event(event) => event.event_name,
                Entry::Unreadable => "?".to_owned(),
            });
        }
        found
    }

    #[test]
    fn events_are_read_in_order_while_they_are_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = folder.path().join("audit-0000000000001.jsonl");
        let second = folder.path().join("audit-0000000000002.jsonl");
        append(&folder.path().join("other.txt"), b"x");
        let mut reader = Reader::open(folder.path(), None).expect("opened");
        assert!(read_all(&mut reader).is_empty());
        append(&first, &line("A"));
        let cut = line("B");
        append(&first, &cut[..20]);
        assert_eq!(read_all(&mut reader), ["A"]);
        append(&first, &cut[20..]);
        assert_eq!(read_all(&mut reader), ["B"]);
        append(&first, b"{\"torn");
        append(&second, &line("C"));
        assert_eq!(read_all(&mut reader), ["?", "C"]);
        let mut again = Reader::open(folder.path(), None).expect("opened");
        assert_eq!(read_all(&mut again), ["A", "B", "?", "C"]);
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_an_ended_one_is_unreadable() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit-0000000000001.jsonl");
        append(&path, &line("A"));
        append(&path, b"{\"eventVersion\":");
        let read = || read_all(&mut Reader::open(folder.path(), None).expect("opened"));
        assert_eq!(read(), ["A"]);
        append(&path, b"\n");
        append(&path, &line("B"));
        assert_eq!(read(), ["A", "?", "B"]);
    }

    #[test]
    fn files_from_before_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit-0000000000001.jsonl");
        append(&path, &line("A"));
        let later = Timestamp::from_ms(i64::MAX);
        let mut reader = Reader::open(folder.path(), Some(later)).expect("opened");
        assert!(read_all(&mut reader).is_empty());
        let missing = folder.path().join("none");
        let mut reader = Reader::open(&missing, None).expect("an empty log");
        assert!(read_all(&mut reader).is_empty());
    }
}
