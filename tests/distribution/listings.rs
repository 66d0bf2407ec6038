//! Tags, referrers and the catalog: pages, filters, and what is no longer listed.

use http::StatusCode;
use serde_json::json;

use crate::support::{Client, TestServer, digest_of, image, index, sha512_of};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Follows `Link` to the end; what each page lists.
async fn pages(client: &Client, first: &str, member: &str) -> Vec<Vec<serde_json::Value>> {
    let (mut pages, mut next) = (Vec::new(), Some(first.to_owned()));
    while let Some(path) = next {
        let response = client.get(&path).await;
        assert_eq!(response.status, StatusCode::OK, "{path}: {response:?}");
        pages.push(response.json()[member].as_array().expect("a list").clone());
        next = response.next();
        assert!(pages.len() < 100, "no end of pages");
    }
    pages
}

#[tokio::test]
async fn tags_come_in_byte_order_by_pages() {
    let server = TestServer::dev().await;
    let client = server.client();
    let digest = client.push_image("aa/bb", "b").await;
    let manifest = client
        .get(&format!("/v2/aa/bb/manifests/{digest}"))
        .await
        .body;
    let manifest = std::str::from_utf8(&manifest).expect("text");
    for tag in ["a", "Z", "_x", "0", "a.b", "a-b", "aa"] {
        client.put_manifest("aa/bb", tag, IMAGE, manifest).await;
    }
    let all = json!(["0", "Z", "_x", "a", "a-b", "a.b", "aa", "b"]);
    let response = client.get("/v2/aa/bb/tags/list").await;
    assert_eq!(
        (response.json(), response.next()),
        (json!({ "name": "aa/bb", "tags": all }), None)
    );
    let read = pages(&client, "/v2/aa/bb/tags/list?n=3", "tags").await;
    assert_eq!(read.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 2]);
    assert_eq!(json!(read.concat()), all);
    // Exactly as many as there are: no next page.
    assert_eq!(
        pages(&client, "/v2/aa/bb/tags/list?n=8", "tags")
            .await
            .len(),
        1
    );
    let none = client.get("/v2/aa/bb/tags/list?n=0").await;
    assert_eq!(
        (none.json()["tags"].clone(), none.next()),
        (json!([]), None)
    );
    // `last` need not exist, and works without `n`.
    let after = client.get("/v2/aa/bb/tags/list?last=a%2Ca").await;
    assert_eq!(after.json()["tags"], json!(["a-b", "a.b", "aa", "b"]));
    for bad in ["n=-1", "n=x", "n=", "n=1.0"] {
        assert_eq!(
            client
                .get(&format!("/v2/aa/bb/tags/list?{bad}"))
                .await
                .error(),
            "400 UNSUPPORTED",
            "{bad}"
        );
    }
    assert_eq!(
        client.get("/v2/no/such/tags/list").await.error(),
        "404 NAME_UNKNOWN"
    );
}

/// A manifest that refers to `subject`.
async fn refer(
    client: &Client,
    name: &str,
    subject: &str,
    artifact_type: &str,
    note: &str,
) -> String {
    let config = client.push_blob(name, b"{}").await;
    let extra = format!(
        r#","artifactType":"{artifact_type}","subject":{{"mediaType":"{IMAGE}",
            "digest":"{subject}","size":3}},"annotations":{{"note":"{note}"}}"#
    );
    let manifest = image(&config, &config, 2, &extra);
    let digest = digest_of(manifest.as_bytes());
    let response = client.put_manifest(name, &digest, IMAGE, &manifest).await;
    assert_eq!(
        (response.status, response.header("oci-subject")),
        (StatusCode::CREATED, subject),
        "{response:?}"
    );
    digest
}

#[tokio::test]
async fn referrers_are_listed_filtered_and_gone_when_deleted() {
    let server = TestServer::dev().await;
    let client = server.client();
    let subject = digest_of(b"not pushed (yet)");
    let path = format!("/v2/aa/bb/referrers/{subject}");
    let empty = client.get(&path).await;
    assert_eq!(
        (empty.status, empty.header("content-type")),
        (StatusCode::OK, INDEX)
    );
    assert_eq!(
        empty.json(),
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] })
    );
    let signature = refer(
        &client,
        "aa/bb",
        &subject,
        "application/x.sig+json",
        "first",
    )
    .await;
    let sbom = refer(&client, "aa/bb", &subject, "application/x.sbom", "second").await;
    let listed = client.get(&path).await;
    assert_eq!(
        (
            listed.json()["manifests"].as_array().map(Vec::len),
            listed.find("oci-filters-applied")
        ),
        (Some(2), None)
    );
    for encoded in ["application/x.sig+json", "application%2Fx.sig%2Bjson"] {
        let filtered = client.get(&format!("{path}?artifactType={encoded}")).await;
        assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
        let manifests = &filtered.json()["manifests"];
        assert_eq!(
            (&manifests[0]["digest"], &manifests[0]["annotations"]),
            (&json!(signature), &json!({ "note": "first" }))
        );
        assert_eq!(manifests[1], json!(null));
    }
    assert_eq!(
        client
            .delete(&format!("/v2/aa/bb/manifests/{signature}"))
            .await
            .status,
        StatusCode::ACCEPTED
    );
    let left = client.get(&path).await.json();
    assert_eq!(
        (&left["manifests"][0]["digest"], &left["manifests"][1]),
        (&json!(sbom), &json!(null))
    );
    let unknown = format!("/v2/never/pushed/referrers/{}", sha512_of(b"x"));
    assert_eq!(client.get(&unknown).await.json()["manifests"], json!([]));
    for bad in [
        "latest",
        "sha256:abc",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
    ] {
        assert_eq!(
            client
                .get(&format!("/v2/aa/bb/referrers/{bad}"))
                .await
                .error(),
            "400 DIGEST_INVALID"
        );
    }
}

#[tokio::test]
async fn many_referrers_come_by_pages_that_keep_the_filter() {
    let server = TestServer::dev().await;
    let client = server.client();
    let subject = digest_of(b"subject");
    // Large annotations fill a page long before its number of entries does.
    let note = "x".repeat(400_000);
    for n in 0..12 {
        refer(
            &client,
            "aa/bb",
            &subject,
            if n % 2 == 0 { "a/even" } else { "a/odd" },
            &format!("{n}{note}"),
        )
        .await;
    }
    for (query, count) in [("", 12), ("?artifactType=a%2Fodd", 6)] {
        let read = pages(
            &client,
            &format!("/v2/aa/bb/referrers/{subject}{query}"),
            "manifests",
        )
        .await;
        let mut digests: Vec<_> = read
            .concat()
            .iter()
            .map(|entry| entry["digest"].to_string())
            .collect();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), count);
        assert!(read.len() > 1 || count == 6, "one page of {count}");
    }
    assert_eq!(
        client
            .get(&format!("/v2/aa/bb/referrers/{subject}?last=nonsense"))
            .await
            .error(),
        "400 UNSUPPORTED"
    );
}

#[tokio::test]
async fn what_a_fallback_tag_lists_is_listed() {
    let server = TestServer::dev().await;
    let client = server.client();
    let subject = client.push_image("aa/bb", "subject").await;
    // As an older client leaves it: an artifact without a subject, in an index under the fallback
    // tag.
    let artifact = client.push_image("aa/bb", "artifact").await;
    let size = client.get("/v2/aa/bb/manifests/artifact").await.body.len();
    let fallback = subject.replace(':', "-");
    let response = client
        .put_manifest("aa/bb", &fallback, INDEX, &index(&[(&artifact, size)]))
        .await;
    assert_eq!(response.status, StatusCode::CREATED, "{response:?}");
    let own = refer(&client, "aa/bb", &subject, "a/b", "own").await;
    let listed = client
        .get(&format!("/v2/aa/bb/referrers/{subject}"))
        .await
        .json();
    let mut digests: Vec<_> = listed["manifests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| entry["digest"].clone())
        .collect();
    digests.sort_by_key(ToString::to_string);
    let mut expected = vec![json!(artifact), json!(own)];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(digests, expected);
}

#[tokio::test]
async fn the_catalog_comes_by_pages() {
    let server = TestServer::dev().await;
    let client = server.client();
    for name in ["bb", "aa/cc", "aa/bb", "aa-b"] {
        client.start_upload(name).await;
    }
    let read = pages(&client, "/v2/_catalog?n=3", "repositories").await;
    assert_eq!(read.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(
        json!(read.concat()),
        json!(["aa-b", "aa/bb", "aa/cc", "bb"])
    );
    assert_eq!(
        client.get("/v2/_catalog?n=0").await.json(),
        json!({ "repositories": [] })
    );
    assert_eq!(
        client.get("/v2/_catalog?last=aa%2Fbb").await.json(),
        json!({ "repositories": ["aa/cc", "bb"] })
    );
    assert_eq!(
        client.get("/v2/_catalog?n=many").await.error(),
        "400 UNSUPPORTED"
    );
}
