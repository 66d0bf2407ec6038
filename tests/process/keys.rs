//! Access keys, the mode of an index, and the rights of files.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use crate::process::{FOUR, variables};
use crate::support::{Process, command, run, stderr};

fn stdout(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        stderr(&output)
    );
    String::from_utf8(output.stdout).expect("text")
}

fn key_id(printed: &str) -> &str {
    let line = printed.lines().find(|line| line.contains("ACCESS_KEY_ID="));
    line.and_then(|line| line.split('=').nth(1)).expect("an id")
}

#[test]
fn a_user_created_before_the_first_start_does_not_take_the_key_of_the_root() {
    let folder = tempfile::tempdir().expect("a folder");
    let created = stdout(folder.path(), &["user", "create", "ci"]);
    assert_eq!(variables(&created), FOUR);
    let printed = Process::start(folder.path(), &[]).stop();
    assert_eq!(variables(&printed), FOUR);
}

/// A key that nobody has seen must not count as the root's.
#[test]
fn a_first_start_whose_output_fails_leaves_no_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("Linux");
    let first = command(folder.path())
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::from(full))
        .output()
        .expect("the program runs");
    assert!(!first.status.success());
    let error = stderr(&first);
    assert!(error.contains("could not be printed"), "{error}");
    let printed = Process::start(folder.path(), &[]).stop();
    assert_eq!(variables(&printed), FOUR);
}

#[test]
fn keys_are_created_disabled_rotated_and_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let user = stdout(folder, &["user", "create", "ci"]);
    assert!(stdout(folder, &["user", "list"]).starts_with("root\tenabled\t\t\n"));
    let first = stdout(folder, &["key", "create"]);
    let second = stdout(folder, &["key", "create"]);
    assert_eq!(variables(&first), FOUR);
    assert!(!run(folder, &["key", "create"]).status.success(), "a third");
    stdout(folder, &["key", "disable", key_id(&first)]);
    let listed = stdout(folder, &["key", "list"]);
    for (owner, key, state) in [
        ("root", &first, "disabled"),
        ("root", &second, "enabled"),
        ("ci", &user, "enabled"),
    ] {
        let line = format!("{owner}\t{}\t{state}\t20", key_id(key));
        assert!(listed.contains(&line), "{line}: {listed}");
    }
    let root = format!("{} (disabled)", key_id(&first));
    assert!(stdout(folder, &["user", "list"]).contains(&root));
    stdout(folder, &["key", "enable", key_id(&first)]);
    stdout(folder, &["key", "delete", key_id(&second)]);
    assert!(
        !run(folder, &["key", "delete", key_id(&second)])
            .status
            .success()
    );
    let rotated = stdout(folder, &["key", "rotate"]);
    let of_user = stdout(folder, &["key", "rotate", "--user", "ci"]);
    let listed = stdout(folder, &["key", "list"]);
    let ids: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split('\t').nth(1))
        .collect();
    assert_eq!(ids, [key_id(&rotated), key_id(&of_user)]);
    assert!(
        !run(folder, &["key", "create", "--user", "eve"])
            .status
            .success()
    );
}

#[test]
fn policies_are_attached_and_detached() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    stdout(folder, &["user", "create", "ci"]);
    stdout(
        folder,
        &["user", "attach", "ci", "--policy", "AdministratorAccess"],
    );
    let listed = stdout(folder, &["user", "list"]);
    assert!(listed.ends_with("\tAdministratorAccess\n"), "{listed}");
    stdout(folder, &["user", "detach", "ci", "AdministratorAccess"]);
    let listed = stdout(folder, &["user", "list"]);
    assert!(listed.ends_with("\t\n"), "{listed}");
}

#[test]
fn a_development_server_does_not_serve_the_folder_of_another() {
    let folder = tempfile::tempdir().expect("a folder");
    Process::start(folder.path(), &["--dev"]).stop();
    Process::start(folder.path(), &["--dev"]).stop();
    Process::start(folder.path(), &[]).stop();
    let dev = run(
        folder.path(),
        &["serve", "--dev", "--listen", "127.0.0.1:0"],
    );
    assert!(!dev.status.success());
    assert!(stderr(&dev).contains("without --dev"), "{}", stderr(&dev));
}

#[test]
fn only_the_owner_may_read_what_the_server_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("set");
    let output = run(folder.path(), &["user", "create", "ci"]);
    assert!(stderr(&output).contains("chmod 700"), "{}", stderr(&output));
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("metadata").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
            if entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
    }
}
