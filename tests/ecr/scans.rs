//! Scans of images: requested, on push, and what they find.

use std::fs;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Aws, Client, Outcome, Setup, TestServer, digest_of, image, index, on};

/// Longest wait for a scan.
const PATIENCE: Duration = Duration::from_mins(1);
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const MISSING: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A tar archive of files.
fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, path, text.as_bytes())
            .expect("memory");
    }
    archive.into_inner().expect("memory")
}

const BOOKWORM: (&str, &str) = ("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
const STATUS: (&str, &str) = (
    "var/lib/dpkg/status",
    "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\n\
     Source: openssl (3.0.11-1)\nVersion: 3.0.11-1\n\n\
     Package: bash\nStatus: install ok installed\nVersion: 5.2.15-2\n",
);
const LODASH: (&str, &str) = (
    "app/node_modules/lodash/package.json",
    r#"{"name": "lodash", "version": "4.17.4"}"#,
);

/// Pushes an image of one layer and returns its digest.
async fn push(client: &Client, name: &str, tag: &str, files: &[(&str, &str)]) -> String {
    let layer = layer(files);
    let config = client.push_blob(name, b"{}").await;
    let blob = client.push_blob(name, &layer).await;
    let manifest = image(&config, &blob, layer.len(), "");
    let put = client.put_manifest(name, tag, IMAGE, &manifest).await;
    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    digest_of(manifest.as_bytes())
}

fn advisory(id: &str, ecosystem: &str, package: &str, fixed: &str, more: &str) -> String {
    let kind = if ecosystem == "npm" {
        "SEMVER"
    } else {
        "ECOSYSTEM"
    };
    format!(
        r#"{{"id": "{id}", "modified": "2024-01-01T00:00:00Z", {more} "affected": [{{
        "package": {{"ecosystem": "{ecosystem}", "name": "{package}"}},
        "ranges": [{{"type": "{kind}", "events": [{{"introduced": "0"}}, {{"fixed": "{fixed}"}}]}}]
        }}]}}"#
    )
}

/// Imports documents beside the running server.
fn import(server: &TestServer, source: &str, documents: &[String]) {
    let folder = server.folder().join(format!("advisories-{source}"));
    fs::create_dir_all(&folder).expect("a folder");
    for (number, document) in documents.iter().enumerate() {
        fs::write(folder.join(format!("{number}.json")), document).expect("a file");
    }
    let folder = folder.display().to_string();
    server.command(&["advisories", "import", &folder, "--source", source]);
}

fn by_tag(name: &str, tag: &str) -> Value {
    on(name, json!({"imageId": {"imageTag": tag}}))
}

/// The findings once the scan has ended.
async fn ended(aws: &Aws, name: &str, tag: &str) -> Value {
    settled(aws, name, tag, |found| {
        found["imageScanStatus"]["status"] != "IN_PROGRESS"
    })
    .await
}

async fn settled(aws: &Aws, name: &str, tag: &str, done: impl Fn(&Value) -> bool) -> Value {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let outcome = aws
            .ecr("DescribeImageScanFindings", by_tag(name, tag))
            .await;
        if outcome.status == StatusCode::OK && done(&outcome.document) {
            return outcome.document;
        }
        assert!(tokio::time::Instant::now() < until, "{outcome:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn names(found: &Value) -> Vec<&str> {
    let findings = found["imageScanFindings"]["findings"].as_array();
    let findings = findings.map(Vec::as_slice).unwrap_or_default();
    findings
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect()
}

#[tokio::test]
async fn a_scan_finds_what_the_advisories_say_and_nothing_else() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    let openssl = advisory(
        "DSA-1",
        "Debian:12",
        "openssl",
        "3.0.14-1",
        r#""upstream": ["CVE-2024-1"], "details": "A flaw.", "severity": [{"type": "CVSS_V3",
        "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "references": [{"type": "ADVISORY", "url": "https://example.com/1"}],"#,
    );
    let documents = [
        openssl,
        advisory("DSA-2", "Debian:12", "bash", "5.2.15-1", ""),
        advisory("DSA-3", "Debian:11", "bash", "6", ""),
        advisory(
            "GHSA-1",
            "npm",
            "lodash",
            "4.17.5",
            r#""database_specific": {"severity": "LOW"},"#,
        ),
        advisory("GHSA-2", "npm", "lodash", "4.17.4", ""),
    ];
    import(&server, "osv", &documents);
    let digest = push(&client, "web", "v1", &[BOOKWORM, STATUS, LODASH]).await;
    let missing = aws
        .ecr("DescribeImageScanFindings", by_tag("web", "v1"))
        .await;
    missing.assert_fault(
        "ScanNotFoundException",
        "Image scan does not exist for the image with '{imageDigest:'null', imageTag:'v1'}' in \
         the repository with name 'web' in the registry with id '123456789012'",
    );
    let started = aws.ok("StartImageScan", by_tag("web", "v1")).await;
    assert_eq!(
        started,
        json!({
            "registryId": "123456789012", "repositoryName": "web",
            "imageId": {"imageDigest": digest, "imageTag": "v1"},
            "imageScanStatus": {"status": "IN_PROGRESS"},
        })
    );
    let again = aws.ecr("StartImageScan", by_tag("web", "v1")).await;
    again.assert_fault(
        "LimitExceededException",
        "The scan quota per image has been exceeded. Wait and try again.",
    );
    let found = ended(&aws, "web", "v1").await;
    let complete = json!({
        "status": "COMPLETE", "description": "The scan was completed successfully.",
    });
    assert_eq!(found["imageScanStatus"], complete);
    assert_eq!(names(&found), ["CVE-2024-1", "GHSA-1"]);
    let findings = &found["imageScanFindings"];
    assert_eq!(
        findings["findingSeverityCounts"],
        json!({"CRITICAL": 1, "LOW": 1})
    );
    assert_eq!(
        findings["findings"][0],
        json!({
            "name": "CVE-2024-1", "description": "A flaw.", "uri": "https://example.com/1",
            "severity": "CRITICAL",
            "attributes": [
                {"key": "package_version", "value": "3.0.11-1"},
                {"key": "package_name", "value": "openssl"},
                {"key": "CVSS3_VECTOR", "value": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},
                {"key": "CVSS3_SCORE", "value": "9.8"},
                {"key": "patched_versions", "value": "3.0.14-1"},
            ],
        })
    );
    let described = aws.ok(
        "DescribeImages",
        on("web", json!({"imageIds": [{"imageTag": "v1"}]})),
    );
    let described = described.await;
    let detail = &described["imageDetails"][0];
    assert_eq!(detail["imageScanStatus"], complete);
    let counts = &detail["imageScanFindingsSummary"]["findingSeverityCounts"];
    assert_eq!(*counts, json!({"CRITICAL": 1, "LOW": 1}));
}

#[tokio::test]
async fn findings_come_in_pages() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    let ids: Vec<String> = (0..5).map(|number| format!("GHSA-{number}")).collect();
    let documents: Vec<String> = ids
        .iter()
        .map(|id| advisory(id, "npm", "lodash", "5.0.0", ""))
        .collect();
    import(&server, "osv", &documents);
    push(&client, "web", "v1", &[LODASH]).await;
    aws.ok("StartImageScan", by_tag("web", "v1")).await;
    ended(&aws, "web", "v1").await;
    let (mut found, mut token) = (Vec::new(), None::<String>);
    loop {
        let mut request = on(
            "web",
            json!({"imageId": {"imageTag": "v1"}, "maxResults": 2}),
        );
        if let Some(token) = &token {
            request["nextToken"] = json!(token);
        }
        let page = aws.ok("DescribeImageScanFindings", request).await;
        assert!(names(&page).len() <= 2);
        found.extend(names(&page).into_iter().map(str::to_owned));
        match page["nextToken"].as_str() {
            Some(next) => token = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(found, ids);
    let bad = on(
        "web",
        json!({"imageId": {"imageTag": "v1"}, "nextToken": "none of ours"}),
    );
    let refused = aws.ecr("DescribeImageScanFindings", bad).await;
    assert_eq!(refused.code(), "InvalidParameterException");
}

#[tokio::test]
async fn without_advisories_a_scan_says_so_and_an_import_repeats_it() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    let repository = on(
        "web",
        json!({"imageScanningConfiguration": {"scanOnPush": true}}),
    );
    aws.ok("CreateRepository", repository).await;
    push(&client, "web", "v1", &[BOOKWORM, STATUS]).await;
    let found = ended(&aws, "web", "v1").await;
    assert_eq!(found["imageScanStatus"]["status"], "FAILED");
    let why = found["imageScanStatus"]["description"]
        .as_str()
        .unwrap_or_default();
    assert!(
        why.starts_with("There are no advisories about: Debian:12."),
        "{why}"
    );
    assert_eq!(found.get("imageScanFindings"), None);
    import(
        &server,
        "osv",
        &[advisory("DSA-2", "Debian:12", "bash", "5.2.15-3", "")],
    );
    let status =
        |wanted: &'static str| move |found: &Value| found["imageScanStatus"]["status"] == wanted;
    let found = settled(&aws, "web", "v1", status("COMPLETE")).await;
    assert_eq!(names(&found), ["DSA-2"]);
    server.command(&["advisories", "remove", "osv"]);
    settled(&aws, "web", "v1", status("FAILED")).await;
    assert!(server.command(&["advisories", "list"]).is_empty());
}

#[tokio::test]
async fn scanned_images_have_documents_about_their_packages() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    import(
        &server,
        "osv",
        &[advisory("GHSA-1", "npm", "lodash", "4.17.5", "")],
    );
    let digest = push(&client, "web", "v1", &[LODASH]).await;
    aws.ok("StartImageScan", by_tag("web", "v1")).await;
    ended(&aws, "web", "v1").await;
    let subject = on("web", json!({"subjectId": {"imageDigest": digest}}));
    let referrers = aws.ok("ListImageReferrers", subject).await;
    let referrers = referrers["referrers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let kinds: Vec<_> = referrers
        .iter()
        .filter_map(|one| one["artifactType"].as_str())
        .collect();
    assert_eq!(
        kinds,
        ["application/spdx+json", "application/vnd.cyclonedx+json"]
    );
    for referrer in &referrers {
        let manifest = referrer["digest"].as_str().expect("a digest");
        let manifest = client
            .get(&format!("/v2/web/manifests/{manifest}"))
            .await
            .json();
        let blob = manifest["layers"][0]["digest"].as_str().expect("a digest");
        let document = client.get(&format!("/v2/web/blobs/{blob}")).await.json();
        assert!(
            document.to_string().contains("pkg:npm/lodash@4.17.4"),
            "{document}"
        );
    }
    let tags = client.get("/v2/web/tags/list").await.json();
    assert_eq!(tags["tags"], json!(["v1"]));
}

#[tokio::test]
async fn what_cannot_be_scanned_is_refused_or_named() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    let digest = push(&client, "web", "v1", &[("etc/motd", "hello")]).await;
    let members = index(&[(digest.as_str(), 1)]);
    let kind = "application/vnd.oci.image.index.v1+json";
    let put = client.put_manifest("web", "index", kind, &members).await;
    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    let refused: Outcome = aws.ecr("StartImageScan", by_tag("web", "index")).await;
    assert_eq!(refused.code(), "UnsupportedImageTypeException");
    for operation in ["StartImageScan", "DescribeImageScanFindings"] {
        let missing = on("web", json!({"imageId": {"imageDigest": MISSING}}));
        let missing = aws.ecr(operation, missing).await;
        assert_eq!(missing.code(), "ImageNotFoundException");
        let nothing = aws.ecr(operation, by_tag("none", "v1")).await;
        assert_eq!(nothing.code(), "RepositoryNotFoundException");
        let neither = aws.ecr(operation, on("web", json!({"imageId": {}}))).await;
        assert_eq!(neither.code(), "InvalidParameterException");
    }
    aws.ok("StartImageScan", by_tag("web", "v1")).await;
    let found = ended(&aws, "web", "v1").await;
    assert_eq!(found["imageScanStatus"]["status"], "UNSUPPORTED_IMAGE");
    let config = client.push_blob("web", b"{}").await;
    let blob = client
        .push_blob("web", b"no archive at all, whatever the manifest says")
        .await;
    let manifest = image(&config, &blob, 45, "");
    client.put_manifest("web", "broken", IMAGE, &manifest).await;
    aws.ok("StartImageScan", by_tag("web", "broken")).await;
    let found = ended(&aws, "web", "broken").await;
    assert_eq!(found["imageScanStatus"]["status"], "FAILED");
}

#[tokio::test]
async fn archived_images_are_not_scanned() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    import(
        &server,
        "osv",
        &[advisory("GHSA-1", "npm", "lodash", "4.17.5", "")],
    );
    push(&client, "web", "v1", &[LODASH]).await;
    push(&client, "web", "other", &[LODASH, BOOKWORM]).await;
    aws.ok("StartImageScan", by_tag("web", "v1")).await;
    let scanned = ended(&aws, "web", "v1").await;
    let class = |tag: &str, class: &str| {
        on(
            "web",
            json!({"imageId": {"imageTag": tag}, "targetStorageClass": class}),
        )
    };
    for tag in ["v1", "other"] {
        aws.ok("UpdateImageStorageClass", class(tag, "ARCHIVE"))
            .await;
        let refused = aws.ecr("StartImageScan", by_tag("web", tag)).await;
        refused.assert_fault(
            "ImageArchivedException",
            "The specified image is archived and cannot be scanned.",
        );
    }
    let found = aws
        .ok("DescribeImageScanFindings", by_tag("web", "v1"))
        .await;
    let archived = json!({"status": "IMAGE_ARCHIVED"});
    assert_eq!(found["imageScanStatus"], archived);
    assert_eq!(found.get("imageScanFindings"), None);
    let described = aws.ok(
        "DescribeImages",
        on(
            "web",
            json!({"imageIds": [{"imageTag": "v1"}], "filter": {"imageStatus": "ANY"}}),
        ),
    );
    let detail = described.await["imageDetails"][0].take();
    assert_eq!(detail["imageScanStatus"], archived);
    assert_eq!(detail.get("imageScanFindingsSummary"), None);
    aws.ok("UpdateImageStorageClass", class("v1", "STANDARD"))
        .await;
    let found = aws
        .ok("DescribeImageScanFindings", by_tag("web", "v1"))
        .await;
    assert_eq!(found, scanned);
}

#[tokio::test]
async fn imports_that_fail_change_nothing() {
    let server = TestServer::start(Setup::default()).await;
    import(
        &server,
        "osv",
        &[advisory("A", "npm", "lodash", "1.0.0", "")],
    );
    let before = server.command(&["advisories", "list"]);
    let file = server.folder().join("malformed.json");
    fs::write(&file, "{\"id\": 1}").expect("a file");
    let file = file.display().to_string();
    let arguments = ["advisories", "import", &file, "--source", "osv"];
    let failed = crate::support::run(server.folder(), &arguments);
    assert!(!failed.status.success());
    let said = crate::support::stderr(&failed);
    assert!(said.contains("the import changed nothing"), "{said}");
    assert_eq!(server.command(&["advisories", "list"]), before);
}

#[tokio::test]
async fn enhanced_findings_have_the_shape_of_inspector() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    let rule = json!({"scanFrequency": "CONTINUOUS_SCAN",
        "repositoryFilters": [{"filter": "*", "filterType": "WILDCARD"}]});
    let configuration = json!({"scanType": "ENHANCED", "rules": [rule]});
    aws.ok("PutRegistryScanningConfiguration", configuration)
        .await;
    let scored = r#""published": "2023-01-02T03:04:05Z", "severity": [{"type": "CVSS_V3",
        "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],"#;
    import(
        &server,
        "osv",
        &[advisory("CVE-2018-1", "npm", "lodash", "4.17.5", scored)],
    );
    let digest = push(&client, "web", "v1", &[LODASH]).await;
    let found = settled(&aws, "web", "v1", |found| {
        found["imageScanStatus"]["status"] == "ACTIVE"
    });
    let found = found.await;
    let findings = &found["imageScanFindings"];
    assert_eq!(findings.get("findings"), None);
    let finding = &findings["enhancedFindings"][0];
    assert_eq!(finding["severity"], "CRITICAL");
    assert_eq!(finding["score"], 9.8);
    assert_eq!(finding["fixAvailable"], "YES");
    assert_eq!(
        finding["resources"][0]["details"]["awsEcrContainerImage"]["imageTags"],
        json!(["v1"])
    );
    let details = &finding["packageVulnerabilityDetails"];
    assert_eq!(details["vulnerabilityId"], "CVE-2018-1");
    assert_eq!(details["vendorCreatedAt"], 1_672_628_645.0);
    assert_eq!(
        details["vulnerablePackages"],
        json!([{
            "name": "lodash", "version": "4.17.4", "packageManager": "NODE",
            "filePath": "app/node_modules/lodash/package.json", "fixedInVersion": "4.17.5",
        }])
    );
    let described = aws.ok(
        "DescribeImages",
        on("web", json!({"imageIds": [{"imageDigest": digest}]})),
    );
    let described = described.await;
    assert_eq!(
        described["imageDetails"][0]["imageScanStatus"]["status"],
        "ACTIVE"
    );
}
