//! The files of the log: events are appended to the newest; the oldest are deleted when all are
//! larger, or older, than the configuration allows.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wharfinger_base::Timestamp;

/// A file's part of the whole size, so that little is lost when the oldest is deleted.
const SEGMENTS: u64 = 16;
/// Least size of a file, in bytes.
const MIN_SEGMENT_BYTES: u64 = 64 * 1024;
/// Names are `audit-` and the time of the first event in milliseconds, 13 digits until the year
/// 2286, so that their order is that of the times.
const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// The files of a folder, of which the newest is written.
pub(super) struct Segments {
    folder: PathBuf,
    max_bytes: u64,
    max_age: Duration,
    current: Option<Current>,
}

/// The file that events are appended to.
struct Current {
    file: File,
    started_at: Timestamp,
    bytes: u64,
}

/// A file of the folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    pub(super) started_at: Timestamp,
    pub(super) path: PathBuf,
}

impl Segments {
    /// Makes the folder, for its owner only, and continues its newest file.
    pub(super) fn open(folder: &Path, max_bytes: u64, max_age: Duration) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let current = match segments(folder)?.pop() {
            Some(newest) => Some(Current::open(&newest)?),
            None => None,
        };
        Ok(Self {
            folder: folder.to_owned(),
            max_bytes,
            max_age,
            current,
        })
    }

    fn segment_bytes(&self) -> u64 {
        (self.max_bytes / SEGMENTS).max(MIN_SEGMENT_BYTES)
    }

    /// Appends whole lines.
    pub(super) fn append(&mut self, lines: &[u8], now: Timestamp) -> io::Result<()> {
        let added = lines.len() as u64;
        let limit = self.segment_bytes();
        let longest = self.max_age / u32::try_from(SEGMENTS).unwrap_or(u32::MAX);
        let fits = |current: &Current| {
            current.bytes + added <= limit && now.since(current.started_at) <= longest
        };
        if !self.current.as_ref().is_some_and(fits) {
            self.start(now)?;
        }
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let written = current.file.write_all(lines);
        if written.is_err() {
            // A part of the lines may be there: the next ones begin with a line end of their own.
            self.current = None;
        } else {
            current.bytes += added;
        }
        written
    }

    /// Begins a file, and deletes the oldest ones so that all fit with it.
    fn start(&mut self, now: Timestamp) -> io::Result<()> {
        self.sync()?;
        self.current = None;
        self.prune(now)?;
        let mut started_at = now;
        if let Some(newest) = segments(&self.folder)?.pop() {
            // After the clock was set back, too, names stay in the order of writing.
            let next = newest.started_at.plus(Duration::from_millis(1));
            started_at = started_at.max(next);
        }
        let name = format!("{PREFIX}{:013}{SUFFIX}", started_at.as_ms());
        self.current = Some(Current::open(&Segment {
            started_at,
            path: self.folder.join(name),
        })?);
        Ok(())
    }

    /// Deletes the files that are too old, and the oldest ones until one more fits.
    /// The file that is written stays.
    pub(super) fn prune(&mut self, now: Timestamp) -> io::Result<()> {
        let mut kept = segments(&self.folder)?;
        if self.current.is_some() {
            kept.pop();
        }
        let mut left = Vec::new();
        let mut total = self.segment_bytes();
        for segment in kept.into_iter().rev() {
            let metadata = fs::metadata(&segment.path)?;
            let modified = modified_at(&metadata);
            total += metadata.len();
            if total > self.max_bytes || now.since(modified) > self.max_age {
                fs::remove_file(&segment.path)?;
            } else {
                left.push(segment);
            }
        }
        Ok(())
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match &self.current {
            Some(current) => current.file.sync_data(),
            None => Ok(()),
        }
    }
}

impl Current {
    /// Opens a file, new or not. A last line that a crash cut off is ended, so that it does not
    /// spoil the next one.
    fn open(segment: &Segment) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .mode(0o600)
            .open(&segment.path)?;
        let mut bytes = file.metadata()?.len();
        if bytes > 0 {
            let mut last = [0_u8; 1];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                bytes += 1;
            }
        }
        Ok(Self {
            file,
            started_at: segment.started_at,
            bytes,
        })
    }
}

/// The time of the last change; the epoch where the file system does not tell.
pub(super) fn modified_at(metadata: &fs::Metadata) -> Timestamp {
    let since_epoch = metadata
        .modified()
        .ok()
        .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    Timestamp::from_ms(0).plus(since_epoch.unwrap_or_default())
}

/// The files of a folder, the oldest first; none where there is no folder.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<Segment>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let ms = name.and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        if let Some(ms) = ms.and_then(|ms| ms.parse().ok()) {
            found.push(Segment {
                started_at: Timestamp::from_ms(ms),
                path,
            });
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_ms(1_700_000_000_000 + seconds * 1_000)
    }

    fn total(folder: &Path) -> u64 {
        let found = segments(folder).expect("a folder");
        let sizes = found
            .iter()
            .map(|one| fs::metadata(&one.path).expect("a file").len());
        sizes.sum()
    }

    #[test]
    fn the_oldest_files_are_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("audit");
        let max = 2 * 1024 * 1024;
        let mut log = Segments::open(&folder, max, DAY).expect("opened");
        let line = [b'x'; 1_023];
        let lines = [&line[..], b"\n"].concat();
        for second in 0..4_000 {
            log.append(&lines, at(second)).expect("appended");
        }
        let (found, total) = (segments(&folder).expect("a folder"), total(&folder));
        assert!(total <= max && total > max / 2, "{total}");
        assert!(found.len() > 8, "{}", found.len());
        let newest = fs::read(&found[found.len() - 1].path).expect("a file");
        assert!(newest.ends_with(b"x\n"));
        for (path, mode) in [(&folder, 0o700), (&found[0].path, 0o600)] {
            let found = fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(found & 0o777, mode, "{}", path.display());
        }
    }

    #[test]
    fn files_older_than_the_configuration_are_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = Segments::open(folder.path(), 1 << 30, DAY).expect("opened");
        let modified = |path: &Path| modified_at(&fs::metadata(path).expect("a file"));
        log.append(b"1\n", at(0)).expect("appended");
        log.append(b"2\n", at(7_200)).expect("appended");
        let found = segments(folder.path()).expect("a folder");
        assert_eq!(found.len(), 2, "a file has a sixteenth of the age");
        let now = modified(&found[1].path);
        log.prune(now.plus(DAY / 2)).expect("pruned");
        assert_eq!(segments(folder.path()).expect("a folder").len(), 2);
        log.prune(now.plus(DAY + DAY)).expect("pruned");
        assert_eq!(segments(folder.path()).expect("a folder"), found[1..]);
    }

    #[test]
    fn a_line_that_was_cut_off_is_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Segments::open(folder.path(), 1 << 30, DAY).expect("opened");
        open()
            .append(b"{\"a\":1}\n{\"b\":", at(0))
            .expect("appended");
        open().append(b"{\"c\":3}\n", at(1)).expect("appended");
        let found = segments(folder.path()).expect("a folder");
        assert_eq!(found.len(), 1);
        let text = fs::read_to_string(&found[0].path).expect("a file");
        assert_eq!(text, "{\"a\":1}\n{\"b\":\n{\"c\":3}\n");
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_the_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = Segments::open(folder.path(), 1 << 20, DAY).expect("opened");
        let lines = vec![b'x'; 60 * 1024];
        log.append(&lines, at(10)).expect("appended");
        log.append(&lines, at(0)).expect("appended");
        let found = segments(folder.path()).expect("a folder");
        let starts: Vec<_> = found.iter().map(|one| one.started_at).collect();
        assert_eq!(starts, [at(10), at(10).plus(Duration::from_millis(1))]);
    }
}
