//! `wharfinger backup` and `wharfinger restore` beside and without a server.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::{Client, Process, Setup, TestServer, run, run_ok, stderr};

/// The folder of backups beside a data folder.
fn target(folder: &Path) -> String {
    folder.join("backups").display().to_string()
}

/// The names that `backup --list` shows.
fn listed(folder: &Path, target: &str) -> Vec<String> {
    let text = run_ok(folder, &["backup", target, "--list"]);
    let lines = text.lines().skip(1);
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    lines.map(name).collect()
}

#[track_caller]
fn refused(folder: &Path, arguments: &[&str], because: &str) {
    let output = run(folder, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    let told = stderr(&output);
    assert!(told.contains(because), "{arguments:?}: {told}");
}

/// A restored server, and a client with the password of the one that was backed up.
fn restored(path: &Path, password: &str) -> (Process, Client) {
    let checked = run_ok(path, &["fsck", "--checksums"]);
    assert!(checked.contains(" 0 found"), "{checked}");
    let server = Process::start(path, &[]);
    let address = server.address.parse().expect("an address");
    let client = Client::new(address).with_password(password);
    (server, client)
}

#[tokio::test]
async fn a_running_server_is_backed_up_and_restored_elsewhere() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.root();
    for name in ["app/web", "app/gone"] {
        let name = json!({ "repositoryName": name });
        server.aws().ok("CreateRepository", name).await;
    }
    let first = root.push_image("app/web", "v1").await;
    root.push_image("app/gone", "v1").await;
    let target = target(server.folder());
    let made = server.command(&["backup", &target, "--with-key"]);
    assert!(made.contains("The master key is in it"), "{made}");
    let second = root.push_image("app/web", "v2").await;
    let deleted = json!({ "repositoryName": "app/gone", "force": true });
    server.aws().ok("DeleteRepository", deleted).await;
    let made = server.command(&["backup", &target]);
    assert!(made.contains("The master key is not in it"), "{made}");
    let checked = server.command(&["backup", &target, "--verify"]);
    assert!(checked.contains(" 0 found"), "{checked}");
    let names = listed(server.folder(), &target);
    assert_eq!(names.len(), 2, "{names:?}");
    let (password, data) = (server.root_password(), server.stop());

    // The newest one. Its key is not in it.
    let newest = tempfile::tempdir().expect("a folder");
    let path = newest.path();
    refused(path, &["restore", &target], "the backup has no master key");
    assert!(!path.join("index.sqlite").exists(), "nothing is changed");
    fs::write(path.join("key"), [7; 32]).expect("written");
    refused(path, &["restore", &target], "put that key there");
    fs::copy(data.path().join("key"), path.join("key")).expect("copied");
    run_ok(path, &["restore", &target]);
    refused(path, &["restore", &target], "is not empty");
    let (server, root) = restored(path, &password);
    for (tag, digest) in [("v1", &first), ("v2", &second)] {
        let found = root.get(&format!("/v2/app/web/manifests/{tag}")).await;
        assert_eq!(found.header("docker-content-digest"), digest);
    }
    let gone = root.get("/v2/app/gone/manifests/v1").await;
    assert_eq!(gone.status, 404);
    assert_eq!(root.push_image("app/web", "v3").await.len(), first.len());
    server.stop();

    // An older one by its name, with its key.
    let older = tempfile::tempdir().expect("a folder");
    run_ok(older.path(), &["restore", &target, "--backup", &names[0]]);
    let (server, root) = restored(older.path(), &password);
    assert_eq!(root.get("/v2/app/gone/manifests/v1").await.status, 200);
    assert_eq!(root.get("/v2/app/web/manifests/v2").await.status, 404);
    server.stop();

    // What is restored has a journal before a server runs: the index may be lost again.
    let again = tempfile::tempdir().expect("a folder");
    let path = again.path();
    run_ok(path, &["restore", &target, "--backup", &names[0]]);
    for entry in fs::read_dir(path).expect("a folder").flatten() {
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("index.sqlite")
        {
            fs::remove_file(entry.path()).expect("removed");
        }
    }
    run_ok(path, &["rebuild-index"]);
    let checked = run_ok(path, &["fsck", "--checksums"]);
    assert!(checked.contains(" 0 found"), "{checked}");

    let pruned = run_ok(data.path(), &["backup", &target, "--prune", "--keep", "1"]);
    assert!(pruned.contains("removed 1 backups"), "{pruned}");
    assert_eq!(listed(data.path(), &target), names[1..]);
    let checked = run_ok(data.path(), &["backup", &target, "--verify", &names[1]]);
    assert!(checked.contains(" 0 found"), "{checked}");
    refused(
        data.path(),
        &["restore", &target, "--backup", &names[0]],
        "there is no backup",
    );
}

#[test]
fn wrong_targets_and_sources_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let server = Process::start(path, &[]);
    let blobs = path.join("blobs").display().to_string();
    refused(path, &["backup", &blobs], "another command uses");
    refused(path, &["backup", "gs://bucket"], "scheme");
    refused(path, &["backup", "backups", "--prune"], "--keep");
    refused(
        path,
        &["backup", "backups", "--list", "--with-key"],
        "cannot be used with",
    );
    refused(path, &["backup", "backups", "--list"], "there is no folder");
    refused(path, &["restore", "backups"], "another server");
    server.stop();
    refused(path, &["backup", &blobs], "other things than backups");
    let output = run(path, &["backup", "backups", "--with-key"]);
    assert!(output.status.success(), "{}", stderr(&output));
    refused(path, &["restore", "backups"], "is not empty");

    let other = tempfile::tempdir().expect("a folder");
    let target = path.join("backups");
    let from = target.display().to_string();
    refused(other.path(), &["restore", "nowhere"], "there is no folder");
    refused(
        other.path(),
        &["restore", &from, "--backup", "x"],
        "there is no backup",
    );
    // A refused restore leaves no key, and who only reads makes no folders.
    let used = tempfile::tempdir().expect("a folder");
    fs::create_dir(used.path().join("blobs")).expect("made");
    let identity = "6f2c1c9e-2f0b-4a52-9a8e-0d7a1b2c3d4e";
    fs::write(used.path().join("blobs/identity"), identity).expect("written");
    refused(used.path(), &["restore", &from], "is not empty");
    assert!(!used.path().join("key").exists());
    fs::remove_dir(target.join("uploads")).expect("empty");
    run_ok(path, &["backup", &from, "--list"]);
    run_ok(path, &["backup", &from, "--verify"]);
    assert!(!target.join("uploads").exists());
    let keys = fs::read_dir(target.join("records/keys")).expect("listed");
    for key in keys {
        let key = key.expect("an entry").path();
        let whole = fs::read(&key).expect("read");
        fs::write(&key, "00".repeat(32)).expect("changed");
        let checked = run(path, &["backup", &from, "--verify"]);
        assert_eq!(checked.status.code(), Some(1), "{}", stderr(&checked));
        fs::write(&key, whole).expect("mended");
    }

    let manifests: Vec<_> = fs::read_dir(target.join("records/backups"))
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let [manifest] = &manifests[..] else {
        panic!("{manifests:?}");
    };
    let whole = fs::read(manifest).expect("read");
    fs::write(manifest, &whole[..whole.len() / 2]).expect("cut");
    refused(other.path(), &["restore", &from], "it is damaged");
    let shown = run_ok(path, &["backup", &from, "--list"]);
    assert!(shown.contains("damaged"), "{shown}");
    fs::write(manifest, whole).expect("mended");
    for entry in fs::read_dir(target.join("records")).expect("listed") {
        let folder = entry.expect("an entry").path();
        if folder
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("rows-"))
        {
            fs::write(folder.join("00000003"), "no part").expect("damaged");
        }
    }
    let checked = run(path, &["backup", &from, "--verify"]);
    assert_eq!(checked.status.code(), Some(1));
    refused(other.path(), &["restore", &from], "part 3 of the backup");
    // Nothing serves or opens what a restore has not finished.
    refused(
        other.path(),
        &["serve", "--listen", "127.0.0.1:0"],
        "was interrupted",
    );
    refused(other.path(), &["user", "list"], "was interrupted");
}
