//! Makes folders and their entries durable; waiters on one folder share a flush.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Flushes folders, each by one thread at a time. A flush serves all who asked before it began.
/// Blocking.
#[derive(Debug, Default)]
pub(super) struct Folders {
    /// One entry for each folder of the fan-out: 512 of blobs, as many of manifests.
    known: Mutex<HashMap<PathBuf, Arc<Folder>>>,
}

#[derive(Debug, Default)]
struct Folder {
    state: Mutex<State>,
    flushed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    asked: u64,
    done: u64,
    running: bool,
}

impl Folders {
    /// Returns when every entry that was in the folder at the time of the call is on the disk.
    pub(super) fn flush(&self, path: &Path) -> io::Result<()> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .map(Arc::clone);
        let folder = match known {
            Some(folder) => folder,
            None => self.first(path)?,
        };
        folder.flush(|| File::open(path)?.sync_all())
    }

    /// An earlier process may have made the folder and died before its own entry was on the disk.
    fn first(&self, path: &Path) -> io::Result<Arc<Folder>> {
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            File::open(parent)?.sync_all()?;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(known.entry(path.to_owned()).or_default()))
    }

    /// Makes the folder and its missing parents, each durable in its own parent.
    pub(super) fn create(&self, path: &Path, durable: bool) -> io::Result<()> {
        match fs::create_dir(path) {
            Ok(()) => {}
            // Whoever made it may not have flushed it yet.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty())
                    .ok_or(error)?;
                self.create(parent, durable)?;
                match fs::create_dir(path) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
            Err(error) => return Err(error),
        }
        match path.parent() {
            Some(parent) if durable && !parent.as_os_str().is_empty() => self.flush(parent),
            _ => Ok(()),
        }
    }
}

impl Folder {
    fn flush(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked += 1;
        let mine = state.asked;
        while state.running {
            state = self
                .flushed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            if state.done >= mine {
                return Ok(());
            }
        }
        state.running = true;
        let covers = state.asked;
        drop(state);
        let result = sync();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running = false;
        if result.is_ok() {
            state.done = state.done.max(covers);
        }
        drop(state);
        self.flushed.notify_all();
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn those_who_wait_share_a_flush() {
        let folder = Folder::default();
        let flushes = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    folder.flush(|| {
                        thread::sleep(std::time::Duration::from_millis(20));
                        flushes.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    })
                });
            }
        });
        assert!(flushes.load(Ordering::SeqCst) <= 8, "{flushes:?}");
        let state = folder.state.lock().expect("no thread panicked");
        assert_eq!((state.asked, state.done), (32, 32));
    }

    #[test]
    fn a_failed_flush_answers_its_own_caller_only() {
        let folder = Folder::default();
        assert!(folder.flush(|| Err(io::ErrorKind::Other.into())).is_err());
        assert!(folder.flush(|| Ok(())).is_ok());
    }

    #[test]
    fn parents_are_made_on_the_way() {
        let root = tempfile::tempdir().expect("a folder");
        let folders = Folders::default();
        let deep = root.path().join("a/b/c");
        folders.create(&deep, true).expect("made");
        folders.create(&deep, true).expect("made again");
        assert!(deep.is_dir());
    }
}
