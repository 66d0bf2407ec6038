//! Makes directories and makes their entries durable; callers that wait for one directory share a
//! flush.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The directories of the store, each opened once. Blocking.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    /// One entry for each directory of the fan-out: 512, and the few above them.
    open: Mutex<HashMap<PathBuf, Arc<Folder>>>,
    /// One directory is created at a time, so that nobody uses one whose flush may still fail.
    creating: Mutex<()>,
}

/// A directory that stays open, so that the kernel reports to it every failed write of an entry.
#[derive(Debug)]
pub(crate) struct Folder {
    file: File,
    state: Mutex<State>,
    flushed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    requested: u64,
    done: u64,
    /// Flushes that failed. The kernel reports a failed write once and then takes the entry for
    /// written, so a later flush that succeeds proves nothing for entries made before the failure.
    failures: u64,
    running: bool,
}

/// Taken before an entry is made; its flush fails if any flush has failed since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    failures: u64,
}

impl Folders {
    /// The directory, created where it is missing and durable in its parents.
    pub(crate) fn get_or_create(&self, path: &Path, durable: bool) -> io::Result<Arc<Folder>> {
        if let Some(folder) = self.lock().get(path) {
            return Ok(Arc::clone(folder));
        }
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
            self.get_or_create(parent, durable)?;
        }
        let _creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = self.lock().get(path) {
            return Ok(Arc::clone(folder));
        }
        create(path, parent.filter(|_| durable))?;
        let folder = Arc::new(Folder::open(path)?);
        self.lock().insert(path.to_owned(), Arc::clone(&folder));
        Ok(folder)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Arc<Folder>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Times that a directory is created whose parent a server removes, to create it again.
const ATTEMPTS: usize = 16;

/// Creates a directory that is missing, and those above it, beside a server that may do the same.
pub(crate) fn create_missing(path: &Path, durable: bool) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|one| !one.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_missing(parent, durable)?;
    }
    let mut attempts = 0;
    loop {
        attempts += 1;
        match fs::create_dir(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => break,
            // The server is about to create the parent again.
            Err(error) if error.kind() == ErrorKind::NotFound && attempts < ATTEMPTS => {
                std::thread::sleep(Duration::from_millis(1));
            }
            created => break created?,
        }
    }
    let parent = parent.filter(|_| durable);
    parent.map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Creates the directory and flushes the parent that is given.
///
/// A directory that is there but empty is created again: an earlier attempt may have failed to
/// flush its entry, and what the kernel takes for written it does not write again. One that holds
/// something was flushed before, since nothing is put into a directory that was not.
fn create(path: &Path, parent: Option<&Path>) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if parent.is_none() || fs::read_dir(path)?.next().is_some() {
                return Ok(());
            }
            match fs::remove_dir(path) {
                // Somebody has put something into it.
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => return Ok(()),
                removed => removed?,
            }
            match fs::create_dir(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => created?,
            }
        }
        created => created?,
    }
    let flushed = parent.map_or(Ok(()), |parent| File::open(parent)?.sync_all());
    if flushed.is_err() {
        // The next attempt must not find it.
        fs::remove_dir(path)?;
    }
    flushed
}

impl Folder {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            state: Mutex::default(),
            flushed: Condvar::new(),
        })
    }

    /// To be taken before the entry is made.
    pub(crate) fn ticket(&self) -> Ticket {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Ticket {
            failures: state.failures,
        }
    }

    /// Returns when every entry made since `ticket` was taken is on the disk.
    ///
    /// # Errors
    /// Also where a flush for somebody else has failed since then.
    pub(crate) fn flush(&self, ticket: Ticket) -> io::Result<()> {
        self.flush_by(ticket, || self.file.sync_all())
    }

    fn flush_by(&self, ticket: Ticket, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.requested += 1;
        let mine = state.requested;
        loop {
            if state.failures != ticket.failures {
                return Err(io::Error::other(
                    "an earlier flush of this directory failed",
                ));
            }
            if state.done >= mine {
                return Ok(());
            }
            if !state.running {
                break;
            }
            state = self
                .flushed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.running = true;
        let covers = state.requested;
        drop(state);
        let result = sync();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running = false;
        match result {
            Ok(()) => state.done = state.done.max(covers),
            Err(_) => state.failures += 1,
        }
        drop(state);
        self.flushed.notify_all();
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    fn folder() -> (Folder, tempfile::TempDir) {
        let root = tempfile::tempdir().expect("a directory");
        (Folder::open(root.path()).expect("opened"), root)
    }

    fn failure() -> io::Result<()> {
        Err(ErrorKind::Other.into())
    }

    /// Waits until so many flushes of the folder have been requested.
    fn wait_for_requests(folder: &Folder, count: u64) {
        while folder.state.lock().expect("no thread panicked").requested < count {
            thread::yield_now();
        }
    }

    #[test]
    fn waiters_share_a_flush() {
        let (folder, _root) = folder();
        let flushes = AtomicUsize::new(0);
        let ticket = folder.ticket();
        thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    folder.flush_by(ticket, || {
                        if flushes.fetch_add(1, Ordering::SeqCst) == 0 {
                            wait_for_requests(&folder, 32);
                        }
                        Ok(())
                    })
                });
            }
        });
        assert_eq!(flushes.load(Ordering::SeqCst), 2);
        let state = folder.state.lock().expect("no thread panicked");
        assert_eq!((state.requested, state.done), (32, 32));
    }

    #[test]
    fn a_failed_flush_fails_all_who_waited_for_it() {
        let (folder, _root) = folder();
        let ticket = folder.ticket();
        let running = Barrier::new(2);
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                folder.flush_by(ticket, || {
                    running.wait();
                    wait_for_requests(&folder, 2);
                    failure()
                })
            });
            running.wait();
            // Its own flush would succeed: the kernel has forgotten the entry by then.
            let second = folder.flush_by(ticket, || Ok(()));
            assert!(second.is_err());
            assert!(first.join().expect("no panic").is_err());
        });
    }

    #[test]
    fn a_failed_flush_fails_entries_made_before_it_and_none_made_later() {
        let (folder, _root) = folder();
        let before = folder.ticket();
        assert!(folder.flush_by(before, failure).is_err());
        assert!(folder.flush_by(before, || Ok(())).is_err());
        assert!(folder.flush(folder.ticket()).is_ok());
    }

    /// Only one has the lock, and creates empty ones again.
    #[test]
    fn a_server_and_commands_may_create_the_same_directory() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("journal");
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    let opened = Folders::default().get_or_create(&path, true);
                    opened.expect("opened");
                }
            });
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        create_missing(&path, true).expect("created");
                    }
                });
            }
        });
        assert!(path.is_dir());
    }

    #[test]
    fn parents_are_created_on_the_way() {
        let root = tempfile::tempdir().expect("a directory");
        let folders = Folders::default();
        let deep = root.path().join("a/b/c");
        folders.get_or_create(&deep, true).expect("created");
        let again = folders.get_or_create(&deep, true).expect("known");
        assert!(deep.is_dir());
        again.flush(again.ticket()).expect("flushed");
    }
}
