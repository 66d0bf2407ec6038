//! Advisories that are imported from a mirror beside a running server.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;

use crate::support::{Setup, TestServer, run, stderr};

/// What a path of the mirror has.
#[derive(Clone)]
enum Served {
    File(Bytes),
    /// The beginning of a file; then the connection ends.
    CutOff(Bytes),
    Redirect(String),
}

/// A mirror of archives on the loopback address.
struct Mirror {
    url: String,
    files: Arc<Mutex<BTreeMap<String, Served>>>,
}

impl Mirror {
    async fn start() -> Self {
        let files = Arc::new(Mutex::new(BTreeMap::<String, Served>::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = Arc::clone(&files);
        let app = axum::Router::new().fallback(move |request: Request| {
            let files = served.lock().expect("the files");
            let found = files.get(request.uri().path()).cloned();
            async move { response(found) }
        });
        tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self {
            url: format!("http://{address}"),
            files,
        }
    }

    fn set(&self, path: &str, served: Served) {
        let mut files = self.files.lock().expect("the files");
        files.insert(path.to_owned(), served);
    }
}

fn response(served: Option<Served>) -> Response {
    let (status, body) = match served {
        None => (404, Body::empty()),
        Some(Served::File(bytes)) => (200, Body::from(bytes)),
        Some(Served::CutOff(bytes)) => {
            let pieces = [Ok(bytes), Err(std::io::Error::other("the mirror stops"))];
            (200, Body::from_stream(futures_util::stream::iter(pieces)))
        }
        Some(Served::Redirect(to)) => {
            let response = Response::builder().status(302).header("location", to);
            return response.body(Body::empty()).expect("a response");
        }
    };
    let response = Response::builder().status(status);
    response.body(body).expect("a response")
}

/// `all.zip` of an ecosystem, as osv.dev has it.
fn archive(ecosystem: &str, ids: &[&str]) -> Bytes {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for id in ids {
        let options = zip::write::SimpleFileOptions::default();
        archive
            .start_file(format!("{id}.json"), options)
            .expect("memory");
        let document = format!(
            r#"{{"id": "{id}", "modified": "2024-01-01T00:00:00Z", "affected": [{{"package":
            {{"ecosystem": "{ecosystem}", "name": "a"}}, "ranges": [{{"type": "ECOSYSTEM",
            "events": [{{"introduced": "0"}}]}}]}}]}}"#
        );
        archive.write_all(document.as_bytes()).expect("memory");
    }
    archive.finish().expect("memory").into_inner().into()
}

/// The sources with the number of their advisories.
fn listed(server: &TestServer) -> Vec<(String, String)> {
    let text = server.command(&["advisories", "list"]);
    let mut found: Vec<_> = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[2].to_owned(), words[1].to_owned())
        })
        .collect();
    found.sort();
    found
}

fn import(server: &TestServer, url: &str, source: &str) -> Result<(), String> {
    let arguments = ["advisories", "import", url, "--source", source];
    let output = run(server.folder(), &arguments);
    if output.status.success() {
        Ok(())
    } else {
        Err(stderr(&output))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_ecosystem_of_a_mirror_is_a_source() {
    let server = TestServer::start(Setup::default()).await;
    let mirror = Mirror::start().await;
    mirror.set(
        "/Debian/all.zip",
        Served::File(archive("Debian:12", &["A", "B"])),
    );
    mirror.set("/npm/all.zip", Served::File(archive("npm", &["C"])));
    let moved = format!("{}/npm/all.zip", mirror.url);
    mirror.set("/moved.zip", Served::Redirect(moved));
    let url = |path: &str| format!("{}{path}", mirror.url);
    import(&server, &url("/Debian/all.zip"), "debian").expect("an import");
    import(&server, &url("/moved.zip"), "npm").expect("an import");
    let row = |name: &str, count: &str| (name.to_owned(), count.to_owned());
    assert_eq!(listed(&server), [row("debian", "2"), row("npm", "1")]);
    // The next state of the mirror replaces that of its source alone.
    mirror.set(
        "/Debian/all.zip",
        Served::File(archive("Debian:12", &["B", "D", "E"])),
    );
    import(&server, &url("/Debian/all.zip"), "debian").expect("an import");
    assert_eq!(listed(&server), [row("debian", "3"), row("npm", "1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_fails_changes_nothing_and_leaves_no_file() {
    let server = TestServer::start(Setup::default()).await;
    let mirror = Mirror::start().await;
    let whole = archive("npm", &["A", "B"]);
    mirror.set("/npm/all.zip", Served::File(whole.clone()));
    let url = |path: &str| format!("{}{path}", mirror.url);
    import(&server, &url("/npm/all.zip"), "npm").expect("an import");
    let before = server.command(&["advisories", "list"]);
    let half = whole.slice(..whole.len() / 2);
    mirror.set("/cut-off", Served::CutOff(half.clone()));
    mirror.set("/half.zip", Served::File(half));
    mirror.set("/text", Served::File(Bytes::from_static(b"<html>")));
    mirror.set("/circle", Served::Redirect(url("/circle")));
    for path in ["/cut-off", "/half.zip", "/text", "/circle", "/missing"] {
        let refused = import(&server, &url(path), "npm").expect_err("a failed import");
        assert!(
            refused.contains("the import changed nothing"),
            "{path}: {refused}"
        );
        assert_eq!(server.command(&["advisories", "list"]), before, "{path}");
    }
    let files = std::fs::read_dir(server.folder()).expect("a folder");
    let names = files.map(|file| file.expect("a file").file_name());
    let left: Vec<_> = names
        .filter(|name| name.to_string_lossy().starts_with("import-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
