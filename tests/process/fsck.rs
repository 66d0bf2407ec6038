//! `wharfinger fsck` and `wharfinger rebuild-index` beside and without a server.

use std::fs;

use crate::support::{Process, run, stderr};

#[test]
fn a_store_is_checked_beside_a_server_and_repaired_without_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let server = Process::start(path, &[]);
    let checked = run(path, &["fsck", "--checksums"]);
    assert!(checked.status.success(), "{}", stderr(&checked));
    let refused = run(path, &["fsck", "--repair"]);
    assert!(!refused.status.success());
    assert!(
        stderr(&refused).contains("another server"),
        "{}",
        stderr(&refused)
    );
    let refused = run(path, &["rebuild-index"]);
    assert!(!refused.status.success());
    assert!(
        stderr(&refused).contains("another server"),
        "{}",
        stderr(&refused)
    );
    server.stop();

    let segment = path.join("blobs/records/journal/ffffffffffffffff");
    fs::create_dir_all(segment.parent().expect("a folder")).expect("created");
    fs::write(&segment, "no segment").expect("written");
    let found = run(path, &["fsck"]);
    assert_eq!(found.status.code(), Some(1), "{}", stderr(&found));
    let told = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(told.contains("of the journal: it is damaged"), "{told}");
    fs::remove_file(&segment).expect("removed");
    let repaired = run(path, &["fsck", "--repair"]);
    assert!(repaired.status.success(), "{}", stderr(&repaired));
    assert!(
        !path.join("fsck.json").exists(),
        "a check that ended leaves nothing"
    );
}
