//! `wharfinger fsck` and `wharfinger rebuild-index` beside and without a server.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Client, Process, Setup, TestServer, run, run_ok, stderr};

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

#[tokio::test]
async fn no_command_changes_what_a_lost_index_is_made_of() {
    let server = TestServer::start(Setup::default()).await;
    let name = json!({ "repositoryName": "app/web" });
    server.aws().ok("CreateRepository", name).await;
    let policy = r#"{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged",
        "countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}"#;
    let policy = json!({ "repositoryName": "app/web", "lifecyclePolicyText": policy });
    server.aws().ok("PutLifecyclePolicy", policy).await;
    server.root().push_image("app/web", "v1").await;
    let journal = server.folder().join("blobs/records/journal");
    let is_written = || fs::read_dir(&journal).is_ok_and(|mut files| files.next().is_some());
    let began = Instant::now();
    while !is_written() {
        assert!(began.elapsed() < Duration::from_secs(30), "no journal");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let data = server.stop();
    let path = data.path();
    for file in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        let _ = fs::remove_file(path.join(file));
    }
    for command in [&["fsck", "--repair"][..], &["gc"], &["lifecycle", "run"]] {
        let refused = run(path, command);
        assert!(!refused.status.success(), "{command:?}");
        let told = stderr(&refused);
        assert!(told.contains("rebuild-index"), "{command:?}: {told}");
    }
    assert!(!path.join("blobs/quarantine/sha256").exists());
    run_ok(path, &["rebuild-index"]);
}

#[tokio::test]
async fn lost_and_damaged_blobs_are_fetched_from_another_registry() {
    let other = TestServer::start(Setup::default()).await;
    let server = TestServer::start(Setup::default()).await;
    for one in [&other, &server] {
        let name = json!({ "repositoryName": "app/web" });
        one.aws().ok("CreateRepository", name).await;
    }
    let pushed = server.root().push_image("app/web", "v1").await;
    assert_eq!(other.root().push_image("app/web", "v1").await, pushed);
    let manifest = server.root().get("/v2/app/web/manifests/v1").await.json();
    let (password, data) = (server.root_password(), server.stop());
    let path = data.path();
    let file = |digest: &serde_json::Value| {
        let digest = digest.as_str().expect("a digest");
        let hex = digest.trim_start_matches("sha256:");
        path.join(format!("blobs/blobs/sha256/{}/{hex}", &hex[..2]))
    };
    let lost = file(&manifest["layers"][0]["digest"]);
    let content = fs::read(&lost).expect("a layer");
    fs::remove_file(&lost).expect("removed");
    let damaged = file(&manifest["config"]["digest"]);
    let config = fs::read(&damaged).expect("a config");
    fs::write(&damaged, vec![b'x'; config.len()]).expect("damaged");

    let source = format!("http://{}", other.address);
    let wrong = ["fsck", "--source", &source];
    assert_eq!(run(path, &wrong).status.code(), Some(1));
    assert!(!lost.exists(), "without --repair nothing is fetched");
    let other_password = other.root_password();
    let credentials = ["--source", &source, "--source-password", &other_password];
    let repair = [&["fsck", "--checksums", "--repair"][..], &credentials].concat();
    run(path, &repair);
    assert_eq!(fs::read(&lost).expect("fetched"), content);
    assert_eq!(fs::read(&damaged).expect("fetched"), config);
    let checked = run_ok(path, &["fsck", "--checksums"]);
    assert!(checked.contains(" 0 found"), "{checked}");

    let process = Process::start(path, &[]);
    let address = process.address.parse().expect("an address");
    let client = Client::new(address).with_password(&password);
    let found = client.get("/v2/app/web/manifests/v1").await;
    assert_eq!(found.header("docker-content-digest"), pushed);
    process.stop();
}
