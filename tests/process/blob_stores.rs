//! A server whose blob store is not the one of its index.

use std::fs;

use crate::support::{Process, run, stderr};

#[test]
fn an_index_is_not_served_with_another_blob_store() {
    let folder = tempfile::tempdir().expect("a folder");
    Process::start(folder.path(), &["--blobs", "one"]).stop();
    let path = folder.path();
    let with = |blobs: &str| {
        let output = run(
            path,
            &["serve", "--listen", "127.0.0.1:0", "--blobs", blobs],
        );
        (output.status.success(), stderr(&output))
    };
    let (started, told) = with("two");
    let known = fs::read_to_string(path.join("one/identity")).expect("an identity");
    assert!(
        !started && told.contains("in another store") && told.contains(known.trim()),
        "{told}"
    );
    fs::rename(path.join("one"), path.join("moved")).expect("moved");
    Process::start(path, &["--blobs", "moved"]).stop();
    // Copied without its identity, as the message says.
    fs::write(path.join("two/identity"), known).expect("written");
    Process::start(path, &["--blobs", "two"]).stop();
}
