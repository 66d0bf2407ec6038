//! Creates the data folder so that a power cut does not take it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Creates the folder and those above it that are missing, each durable in its parent. Only its
/// owner may read it: it holds images, and the key to every secret.
pub(super) fn create(path: &Path) -> io::Result<()> {
    create_with(path, &|parent| File::open(parent)?.sync_all())
}

fn create_with(path: &Path, sync: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    create_with(parent, sync)?;
    match DirBuilder::new().mode(0o700).create(path) {
        // Another server starts at the same time; one of the two gets the folder's lock.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        created => created?,
    }
    let synced = sync(parent);
    if synced.is_err() {
        // The next start must not find it: it would not sync the parent, and the kernel takes the
        // folder's name for written.
        fs::remove_dir(path)?;
    }
    synced
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_parent_whose_sync_failed_is_synced_at_the_next_start() {
        let root = tempfile::tempdir().expect("a folder");
        let (above, path) = (root.path().join("a"), root.path().join("a/b"));
        let synced = RefCell::new(Vec::new());
        let sync = |fails: Option<&Path>| {
            let fails = fails.map(Path::to_owned);
            let synced = &synced;
            move |parent: &Path| {
                synced.borrow_mut().push(parent.to_owned());
                if fails.as_deref() == Some(parent) {
                    return Err(ErrorKind::Other.into());
                }
                Ok(())
            }
        };
        create_with(&path, &sync(Some(root.path()))).expect_err("not durable");
        create_with(&path, &sync(Some(&above))).expect_err("not durable");
        synced.borrow_mut().clear();
        create_with(&path, &sync(None)).expect("created");
        assert_eq!(*synced.borrow(), [above]);
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        create(&path).expect("it is there");
    }
}
