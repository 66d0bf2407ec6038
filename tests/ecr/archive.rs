//! The archive storage class: images that are kept, but not pulled until they are restored.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{push_layer, pushable};
use crate::support::{Aws, Setup, TestServer, digest_of, image, index, on, run, run_ok, stderr};

async fn set_class(aws: &Aws, tag: &str, class: &str) -> Value {
    let request = json!({"imageId": {"imageTag": tag}, "targetStorageClass": class});
    aws.ok("UpdateImageStorageClass", on("web", request)).await
}

async fn described(aws: &Aws, status: &str) -> Vec<Value> {
    let request = on("web", json!({"filter": {"imageStatus": status}}));
    let mut found = aws.ok("DescribeImages", request).await["imageDetails"].take();
    found.as_array_mut().map(std::mem::take).unwrap_or_default()
}

#[tokio::test]
async fn an_archived_image_is_described_but_not_pulled_until_it_is_restored() {
    let server = TestServer::start(Setup::default()).await;
    let (aws, client) = (server.aws(), server.root());
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let manifest = pushable(&aws, "web", "archived layer").await;
    let put = json!({"imageManifest": manifest, "imageTag": "v1"});
    aws.ok("PutImage", on("web", put.clone())).await;
    let other = pushable(&aws, "web", "other layer").await;
    let other = json!({"imageManifest": other, "imageTag": "other"});
    aws.ok("PutImage", on("web", other)).await;
    let (digest, layer) = (digest_of(manifest.as_bytes()), digest_of(b"archived layer"));
    let path = "/v2/web/manifests/v1";
    assert_eq!(client.get(path).await.status, 200);

    let archived = set_class(&aws, "v1", "ARCHIVE").await;
    assert_eq!(
        archived,
        json!({"registryId": "123456789012", "repositoryName": "web",
            "imageId": {"imageDigest": digest, "imageTag": "v1"}, "imageStatus": "ARCHIVED"})
    );
    let again = set_class(&aws, "v1", "ARCHIVE").await;
    assert_eq!(again["imageStatus"], "ARCHIVED");

    for _ in 0..3 {
        let refused = client.get(path).await;
        assert_eq!(refused.error(), "404 MANIFEST_UNKNOWN");
        assert_eq!(client.head(path).await.status, 404);
    }
    let ids = json!({"imageIds": [{"imageTag": "v1"}, {"imageTag": "other"}]});
    let got = aws.ok("BatchGetImage", on("web", ids)).await;
    assert_eq!(got["images"].as_array().map(Vec::len), Some(1));
    assert_eq!(got["failures"][0]["failureCode"], "ImageInaccessible");
    let layers = json!({"layerDigests": [layer, digest_of(b"{}")]});
    let checked = aws
        .ok("BatchCheckLayerAvailability", on("web", layers))
        .await;
    assert_eq!(checked["layers"][0]["layerAvailability"], "ARCHIVED");
    assert_eq!(checked["layers"][1]["layerAvailability"], "AVAILABLE");
    let url = on("web", json!({"layerDigest": layer}));
    let refused = aws.ecr("GetDownloadUrlForLayer", url.clone()).await;
    assert_eq!(refused.code(), "LayerInaccessibleException");

    let listed = aws.ok("ListImages", on("web", json!({}))).await;
    assert_eq!(listed["imageIds"].as_array().map(Vec::len), Some(1));
    assert_eq!(described(&aws, "ACTIVE").await.len(), 1);
    assert_eq!(described(&aws, "ANY").await.len(), 2);
    assert_eq!(described(&aws, "ACTIVATING").await.len(), 0);
    let found = described(&aws, "ARCHIVED").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["imageDigest"], digest);
    assert_eq!(found[0]["imageStatus"], "ARCHIVED");
    assert!(found[0]["lastArchivedAt"].is_number() && found[0]["lastActivatedAt"].is_null());
    let named = on("web", json!({"imageIds": [{"imageTag": "v1"}]}));
    let named = aws.ok("DescribeImages", named).await;
    assert_eq!(named["imageDetails"][0]["imageStatus"], "ARCHIVED");

    let restored = set_class(&aws, "v1", "STANDARD").await;
    assert_eq!(restored["imageStatus"], "ACTIVE");
    assert_eq!(client.get(path).await.status, 200);
    aws.ok("GetDownloadUrlForLayer", url).await;
    let found = described(&aws, "ACTIVE").await;
    let v1 = found.iter().find(|found| found["imageDigest"] == digest);
    assert!(v1.expect("the image")["lastActivatedAt"].is_number());

    // A push brings it back as well, once.
    set_class(&aws, "v1", "ARCHIVE").await;
    aws.ok("PutImage", on("web", put.clone())).await;
    assert_eq!(client.get(path).await.status, 200);
    let refused = aws.ecr("PutImage", on("web", put)).await;
    assert_eq!(refused.code(), "ImageAlreadyExistsException");
}

#[tokio::test]
async fn referrers_are_archived_and_restored_with_their_subject() {
    let server = TestServer::start(Setup::default()).await;
    let (aws, client) = (server.aws(), server.root());
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let manifest = pushable(&aws, "web", "layer").await;
    let put = json!({"imageManifest": manifest, "imageTag": "v1"});
    aws.ok("PutImage", on("web", put)).await;
    let subject = digest_of(manifest.as_bytes());
    let layer = push_layer(&aws, "web", b"signature").await;
    let extra = format!(
        r#","subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":{},
            "digest":"{subject}"}}"#,
        manifest.len()
    );
    let signature = crate::support::image(&digest_of(b"{}"), &layer, 9, &extra);
    aws.ok("PutImage", on("web", json!({"imageManifest": signature})))
        .await;
    let referrers = async |filter: Value| {
        let request = json!({"subjectId": {"imageDigest": subject}, "filter": filter});
        let found = aws.ok("ListImageReferrers", on("web", request)).await;
        let statuses = found["referrers"].as_array().expect("a list").iter();
        statuses
            .map(|found| {
                found["artifactStatus"]
                    .as_str()
                    .expect("a status")
                    .to_owned()
            })
            .collect::<Vec<_>>()
    };
    let shown = async || {
        let path = format!("/v2/web/referrers/{subject}");
        client.get(&path).await.json()["manifests"]
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(referrers(json!({})).await, ["ACTIVE"]);
    set_class(&aws, "v1", "ARCHIVE").await;
    assert_eq!(referrers(json!({})).await, [""; 0]);
    assert_eq!(
        referrers(json!({"artifactStatus": "ARCHIVED"})).await,
        ["ARCHIVED"]
    );
    assert_eq!(
        referrers(json!({"artifactStatus": "ANY"})).await,
        ["ARCHIVED"]
    );
    assert_eq!(shown().await, Some(0));
    set_class(&aws, "v1", "STANDARD").await;
    assert_eq!(
        referrers(json!({"artifactStatus": "ACTIVE"})).await,
        ["ACTIVE"]
    );
    assert_eq!(shown().await, Some(1));
}

#[tokio::test]
async fn what_cannot_be_archived_is_refused() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let manifest = pushable(&aws, "web", "layer").await;
    let member = digest_of(manifest.as_bytes());
    aws.ok(
        "PutImage",
        on("web", json!({"imageManifest": manifest, "imageTag": "m"})),
    )
    .await;
    let list = index(&[(&member, manifest.len())]);
    aws.ok(
        "PutImage",
        on("web", json!({"imageManifest": list, "imageTag": "list"})),
    )
    .await;
    let update = async |id: Value, class: &str| {
        let request = json!({"imageId": id, "targetStorageClass": class});
        aws.ecr("UpdateImageStorageClass", on("web", request)).await
    };
    let refused = update(json!({"imageTag": "m"}), "ARCHIVE").await;
    assert_eq!(
        refused.code(),
        "ImageStorageClassUpdateNotSupportedException"
    );
    assert_eq!(
        set_class(&aws, "list", "ARCHIVE").await["imageStatus"],
        "ARCHIVED"
    );
    update(json!({"imageTag": "none"}), "ARCHIVE").await.assert_fault(
        "ImageNotFoundException",
        "The image with imageId {imageDigest:'null', imageTag:'none'} does not exist within the \
         repository with name 'web' in the registry with id '123456789012'",
    );
    let both = json!({"imageTag": "list", "imageDigest": member});
    assert_eq!(
        update(both, "ARCHIVE").await.code(),
        "ImageNotFoundException"
    );
    assert_eq!(
        update(json!({}), "ARCHIVE").await.code(),
        "InvalidParameterException"
    );
    let class = update(json!({"imageTag": "m"}), "GLACIER").await;
    assert_eq!(class.code(), "InvalidParameterException");
}

/// Text of about 100 kB, other for each name.
fn large(name: &str) -> String {
    let lines = (0..5_000).map(|line| format!("line {line} of {name}\n"));
    lines.collect()
}

/// The files below a folder, and their bytes.
fn stored(folder: &Path) -> (usize, u64) {
    let Ok(entries) = fs::read_dir(folder) else {
        return (0, 0);
    };
    entries.fold((0, 0), |(files, bytes), entry| {
        let entry = entry.expect("an entry");
        let metadata = entry.metadata().expect("its metadata");
        if metadata.is_dir() {
            let (more, more_bytes) = stored(&entry.path());
            (files + more, bytes + more_bytes)
        } else {
            (files + 1, bytes + metadata.len())
        }
    })
}

/// Waits until that is so.
async fn wait_until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(90), "{what}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn check(server: &TestServer) {
    let checked = run(server.folder(), &["fsck", "--checksums"]);
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{told}{}", stderr(&checked));
}

#[tokio::test]
async fn bytes_of_archived_images_leave_the_blobs_and_come_back() {
    let server = TestServer::start(Setup {
        arguments: &["--blob-lease-seconds=2"],
        ..Setup::default()
    })
    .await;
    let (aws, client) = (server.aws(), server.root());
    let (blobs, archive) = (
        server.folder().join("blobs/blobs"),
        server.folder().join("blobs/archive/blobs"),
    );
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let (own, shared) = (large("own"), large("shared"));
    for (tag, layer) in [("old", &own), ("also", &shared)] {
        let manifest = pushable(&aws, "web", layer).await;
        let put = json!({"imageManifest": manifest, "imageTag": tag});
        aws.ok("PutImage", on("web", put)).await;
    }
    let (config, layer) = (digest_of(b"{}"), digest_of(shared.as_bytes()));
    let other = image(&config, &layer, shared.len(), r#","annotations":{"a":"b"}"#);
    let put = json!({"imageManifest": other, "imageTag": "active"});
    aws.ok("PutImage", on("web", put)).await;
    assert_eq!(stored(&blobs).0, 3);
    let before = stored(&blobs).1;

    set_class(&aws, "old", "ARCHIVE").await;
    set_class(&aws, "also", "ARCHIVE").await;
    wait_until("the layer of the archived image moves", async || {
        stored(&blobs).0 == 2 && stored(&archive).0 == 1
    })
    .await;
    assert_eq!(
        stored(&blobs).1,
        before - own.len() as u64,
        "the shared layer stays"
    );
    assert!(
        stored(&archive).1 * 3 < own.len() as u64,
        "it is compressed"
    );
    check(&server);
    let layer = format!("/v2/web/blobs/{}", digest_of(own.as_bytes()));
    assert_eq!(client.get(&layer).await.status, 404);
    assert_eq!(client.head(&layer).await.status, 404);
    let layers = json!({"layerDigests": [digest_of(own.as_bytes())]});
    let checked = aws
        .ok("BatchCheckLayerAvailability", on("web", layers))
        .await;
    assert_eq!(checked["layers"][0]["layerAvailability"], "ARCHIVED");
    assert_eq!(checked["layers"][0]["layerSize"], own.len());
    let url = on("web", json!({"layerDigest": digest_of(own.as_bytes())}));
    let refused = aws.ecr("GetDownloadUrlForLayer", url).await;
    assert_eq!(refused.code(), "LayerInaccessibleException");
    assert_eq!(client.get("/v2/web/manifests/active").await.status, 200);

    let restored = set_class(&aws, "old", "STANDARD").await;
    assert_eq!(restored["imageStatus"], "ACTIVATING");
    wait_until("the image is restored", async || {
        client.get("/v2/web/manifests/old").await.status == 200
    })
    .await;
    assert_eq!(client.get(&layer).await.body, own.as_bytes());
    let named = on("web", json!({"imageIds": [{"imageTag": "old"}]}));
    let details = aws.ok("DescribeImages", named).await["imageDetails"][0].take();
    assert_eq!(details["imageStatus"], "ACTIVE");
    assert!(details["lastActivatedAt"].is_number() && details["lastArchivedAt"].is_number());
    check(&server);
    wait_until("the archive is empty", async || stored(&archive).0 == 0).await;
    check(&server);
}

#[tokio::test]
async fn another_store_takes_all_and_a_deletion_removes_from_it() {
    let server = TestServer::start(Setup {
        archive: true,
        arguments: &["--blob-lease-seconds=2"],
        ..Setup::default()
    })
    .await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let layer = large("layer");
    let manifest = pushable(&aws, "web", &layer).await;
    let put = json!({"imageManifest": manifest, "imageTag": "v1"});
    aws.ok("PutImage", on("web", put.clone())).await;
    set_class(&aws, "v1", "ARCHIVE").await;
    let archive = server.folder().join("slow/blobs");
    wait_until("the layer moves", async || {
        stored(&archive).0 == 1 && stored(&server.folder().join("blobs/blobs")).0 == 1
    })
    .await;
    let refused = aws.ecr("PutImage", on("web", put.clone())).await;
    assert_eq!(refused.code(), "LayersNotFoundException");
    push_layer(&aws, "web", layer.as_bytes()).await;
    aws.ok("PutImage", on("web", put)).await;
    assert_eq!(server.root().get("/v2/web/manifests/v1").await.status, 200);
    wait_until("the archive is empty", async || stored(&archive).0 == 0).await;

    set_class(&aws, "v1", "ARCHIVE").await;
    wait_until("the layer moves again", async || stored(&archive).0 == 1).await;
    let ids = on("web", json!({"imageIds": [{"imageTag": "v1"}]}));
    aws.ok("BatchDeleteImage", ids).await;
    wait_until("the archive is empty", async || stored(&archive).0 == 0).await;
    let archive = format!("--archive={}", server.folder().join("slow").display());
    let checked = run(server.folder(), &["fsck", "--checksums", &archive]);
    assert!(checked.status.success(), "{}", stderr(&checked));
}

/// Bytes that do not compress.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..100_000).map(|_| next()).collect()
}

/// A server whose archive is within the blobs, or in another folder.
struct Scene {
    server: TestServer,
    archive: bool,
}

const LAYERS: [&str; 3] = ["kept", "still", "returning"];

impl Scene {
    fn setup(archive: bool) -> Setup {
        Setup {
            archive,
            arguments: &["--blob-lease-seconds=2"],
            ..Setup::default()
        }
    }

    /// The archived images `kept`, `still` and `returning` have a layer of text each, `packed` has
    /// one that does not compress.
    async fn new(archive: bool) -> Self {
        let server = TestServer::start(Self::setup(archive)).await;
        let aws = server.aws();
        aws.ok("CreateRepository", on("web", json!({}))).await;
        for tag in LAYERS {
            let manifest = pushable(&aws, "web", &large(tag)).await;
            let put = json!({"imageManifest": manifest, "imageTag": tag});
            aws.ok("PutImage", on("web", put)).await;
        }
        let layer = push_layer(&aws, "web", &noise()).await;
        let manifest = image(&digest_of(b"{}"), &layer, noise().len(), "");
        let put = json!({"imageManifest": manifest, "imageTag": "packed"});
        aws.ok("PutImage", on("web", put)).await;
        for tag in LAYERS.into_iter().chain(["packed"]) {
            set_class(&aws, tag, "ARCHIVE").await;
        }
        Self { server, archive }
    }

    /// Runs a command on the data of a server in a folder.
    fn run(&self, folder: &Path, words: &[&str]) -> String {
        let slow = format!("--archive={}", folder.join("slow").display());
        let mut words = words.to_vec();
        if self.archive {
            words.push(&slow);
        }
        run_ok(folder, &words)
    }

    fn check(&self, folder: &Path) {
        let checked = self.run(folder, &["fsck", "--checksums", "--restart"]);
        assert!(checked.contains(" 0 found"), "{checked}");
    }

    /// Numbers of files in the blobs and in the archive of a server in a folder.
    fn files(&self, folder: &Path) -> (usize, usize) {
        let archive = if self.archive {
            "slow"
        } else {
            "blobs/archive"
        };
        let stored = |store: &Path| stored(&store.join("blobs")).0;
        (stored(&folder.join("blobs")), stored(&folder.join(archive)))
    }

    /// Makes a backup while an image comes back, and restores it to another folder.
    async fn backed_up_and_restored(&self) -> TestServer {
        let path = self.server.folder();
        let target = path.join("backups").display().to_string();
        // It is active before the backup, while it is made, or after the restore.
        set_class(&self.server.aws(), "returning", "STANDARD").await;
        self.run(path, &["backup", &target, "--with-key"]);
        let verified = self.run(path, &["backup", &target, "--verify"]);
        assert!(verified.contains(" 0 found"), "{verified}");

        let folder = tempfile::tempdir().expect("a folder");
        let used = folder.path().join("used");
        fs::create_dir(&used).expect("made");
        let identity = "9a3f7c61-5f0e-4c8e-9d0a-0c7f4f1f2b11\n";
        fs::write(used.join("identity"), identity).expect("written");
        let used = format!("--archive={}", used.display());
        let refused = run(folder.path(), &["restore", &target, &used]);
        let told = stderr(&refused);
        assert!(
            told.contains("the archive of this server is not empty"),
            "{told}"
        );
        self.run(folder.path(), &["restore", &target]);
        assert_eq!(self.files(folder.path()), (5, 0));
        self.check(folder.path());
        self.server.restored_in(folder, Self::setup(self.archive))
    }
}

/// A restored server has all images, and archives again what stays archived.
async fn a_backup_has_archived_bytes(archive: bool) {
    let scene = Scene::new(archive).await;
    let moved = if archive { 4 } else { 3 };
    wait_until("the layers move", async || {
        scene.files(scene.server.folder()) == (5 - moved, moved)
    })
    .await;
    let copy = scene.backed_up_and_restored().await;
    let (aws, client, path) = (copy.aws(), copy.root(), copy.folder());
    assert_eq!(client.get("/v2/web/manifests/kept").await.status, 404);
    set_class(&aws, "kept", "STANDARD").await;
    for tag in ["kept", "returning"] {
        let manifest = format!("/v2/web/manifests/{tag}");
        wait_until("the image is active", async || {
            client.get(&manifest).await.status == 200
        })
        .await;
        let layer = format!("/v2/web/blobs/{}", digest_of(large(tag).as_bytes()));
        assert_eq!(client.get(&layer).await.body, large(tag).as_bytes());
    }
    wait_until("the others are archived again", async || {
        scene.files(path) == (7 - moved, moved - 2)
    })
    .await;
    scene.check(path);
    set_class(&aws, "packed", "STANDARD").await;
    wait_until("the image is active", async || {
        client.get("/v2/web/manifests/packed").await.status == 200
    })
    .await;
    let layer = format!("/v2/web/blobs/{}", digest_of(&noise()));
    assert_eq!(client.get(&layer).await.body, noise());
    assert_eq!(described(&aws, "ARCHIVED").await.len(), 1);
}

#[tokio::test]
async fn a_backup_has_what_is_compressed_within_the_blobs() {
    a_backup_has_archived_bytes(false).await;
}

#[tokio::test]
async fn a_backup_has_what_is_in_another_store() {
    a_backup_has_archived_bytes(true).await;
}
