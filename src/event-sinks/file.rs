//! A file of JSON lines, which is renamed when it is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::{Delivery, SinkFailure};

/// How long writing a list of events takes at most on a disk that works.
pub(super) const LONGEST_WRITE: Duration = Duration::from_secs(30);
/// Bytes that are read at once to find the last line.
const TAIL_BYTES: u64 = 64 * 1024;

/// Where lines go, and how many are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSinkConfig {
    pub path: PathBuf,
    /// Size in bytes at which the file is renamed to `PATH.1`.
    pub max_bytes: u64,
    /// Renamed files that are kept: `PATH.1` is the newest.
    pub keep: u32,
    /// Whether lines are made durable before they count as delivered.
    pub sync: bool,
}

/// A file of JSON lines. It is opened for each list of events, so that other programs may rename
/// it.
pub struct FileSink(Arc<FileSinkConfig>);

impl FileSink {
    pub fn new(config: FileSinkConfig) -> Self {
        Self(Arc::new(config))
    }

    pub(super) async fn deliver(&self, events: Vec<String>) -> Delivery {
        let (config, count) = (Arc::clone(&self.0), events.len());
        let written = tokio::task::spawn_blocking(move || append(&config, &events)).await;
        match written.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(()) => Delivery {
                delivered: count,
                failure: None,
            },
            Err(error) => Delivery {
                delivered: 0,
                failure: Some(SinkFailure::Retry {
                    why: error.to_string(),
                    after: None,
                }),
            },
        }
    }
}

/// Appends the lines: all of them, or after a failure none.
fn append(config: &FileSinkConfig, lines: &[String]) -> io::Result<()> {
    let mut text = lines.join("\n");
    text.push('\n');
    let (mut file, mut bytes) = open(&config.path)?;
    if bytes > 0 && bytes + text.len() as u64 > config.max_bytes {
        drop(file);
        rename(config)?;
        (file, bytes) = open(&config.path)?;
    }
    let written = file.write_all(text.as_bytes()).and_then(|()| {
        if config.sync {
            file.sync_all()?;
            if bytes == 0 {
                sync_folder(&config.path)?;
            }
        }
        Ok(())
    });
    if written.is_err() {
        // The lines are written again: a part of them must not stay.
        let _ = file.set_len(bytes);
    }
    written
}

/// Opens the file and returns its length. A last line that a crash cut off goes: its event was not
/// recorded as delivered, and is written again.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.create(true).read(true).append(true).mode(0o600);
    let mut file = options.open(path)?;
    let length = file.metadata()?.len();
    let whole = end_of_lines(&mut file, length)?;
    if whole < length {
        file.set_len(whole)?;
    }
    Ok((file, whole))
}

/// The length of the file up to its last line end.
fn end_of_lines(file: &mut File, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        (&*file).take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Renames the file and the older ones; the oldest goes.
fn rename(config: &FileSinkConfig) -> io::Result<()> {
    if config.keep == 0 {
        return fs::remove_file(&config.path);
    }
    for number in (1..config.keep).rev() {
        match fs::rename(
            numbered(&config.path, number),
            numbered(&config.path, number + 1),
        ) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(&config.path, numbered(&config.path, 1))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path, max_bytes: u64, keep: u32) -> FileSinkConfig {
        FileSinkConfig {
            path: folder.join("events.jsonl"),
            max_bytes,
            keep,
            sync: true,
        }
    }

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn full_files_are_renamed_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path(), 8, 2);
        for line in ["1111", "2222", "33333", "4444"] {
            append(&config, &lines(&[line])).expect("appended");
        }
        let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        assert_eq!(read(config.path.clone()), "4444\n");
        assert_eq!(read(numbered(&config.path, 1)), "33333\n");
        assert_eq!(read(numbered(&config.path, 2)), "2222\n");
        assert!(!numbered(&config.path, 3).exists());
        append(&config, &lines(&["a longer line than fits", "b"])).expect("appended");
        assert_eq!(read(config.path), "a longer line than fits\nb\n");
    }

    #[test]
    fn a_line_that_was_cut_off_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path(), 1 << 20, 1);
        let long = "x".repeat(200_000);
        for (before, after) in [
            ("{\"a\":1}\n{\"b\":", "{\"a\":1}\nnew\n"),
            ("{\"b\":", "new\n"),
            (&format!("whole\n{long}"), "whole\nnew\n"),
            ("", "new\n"),
        ] {
            fs::write(&config.path, before).expect("written");
            append(&config, &lines(&["new"])).expect("appended");
            assert_eq!(fs::read_to_string(&config.path).expect("read"), after);
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_missing_is_a_reason_to_retry() {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = FileSink::new(config(&folder.path().join("none"), 100, 1));
        let delivery = sink.deliver(lines(&["a"])).await;
        assert_eq!(delivery.delivered, 0);
        assert!(matches!(delivery.failure, Some(SinkFailure::Retry { .. })));
    }
}
