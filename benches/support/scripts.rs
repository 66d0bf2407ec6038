//! The scripts of the rows: the same request again, made requests, and pushes.

use std::collections::VecDeque;

use bytes::Bytes;

use super::content::Blob;
use super::request::{Request, Script};
use super::response::Response;

/// Repeats one request.
pub(crate) struct Same(pub(crate) Request);

impl Script for Same {
    fn next(&mut self, _connection: usize, _response: Option<&Response>) -> Option<Request> {
        Some(self.0.clone())
    }
}

/// Sends the requests that a function makes, until it makes none.
pub(crate) struct Made<F>(pub(crate) F);

impl<F: FnMut() -> Option<Request>> Script for Made<F> {
    fn next(&mut self, _connection: usize, _response: Option<&Response>) -> Option<Request> {
        (self.0)()
    }
}

/// How a blob travels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// POST, then PUT with the bytes.
    Put,
    /// POST, PATCH with the bytes, PUT with nothing: as docker does.
    Patch,
}

enum Step {
    Start,
    Patch(Blob),
    Put(Blob, [Bytes; 2]),
}

/// Pushes blobs, each connection one after another; only the last request of each is counted.
pub(crate) struct Push {
    repository: String,
    headers: String,
    way: Way,
    waiting: VecDeque<Blob>,
    steps: Vec<Step>,
}

impl Push {
    /// `headers` are those of every request.
    pub(crate) fn new(
        repository: &str,
        headers: &str,
        way: Way,
        blobs: impl IntoIterator<Item = Blob>,
    ) -> Self {
        Self {
            repository: repository.to_owned(),
            headers: headers.to_owned(),
            way,
            waiting: blobs.into_iter().collect(),
            steps: Vec::new(),
        }
    }
}

impl Script for Push {
    fn next(&mut self, connection: usize, response: Option<&Response>) -> Option<Request> {
        while self.steps.len() <= connection {
            self.steps.push(Step::Start);
        }
        let location = response
            .and_then(|response| response.location.as_deref())
            .map(path_of);
        let headers = format!("{}Content-Type: application/octet-stream\r\n", self.headers);
        match (
            std::mem::replace(&mut self.steps[connection], Step::Start),
            location,
        ) {
            (Step::Patch(blob), Some(path)) => {
                self.steps[connection] = Step::Put(blob.clone(), [Bytes::new(), Bytes::new()]);
                Some(
                    Request::with_body("PATCH", path, &headers, blob.parts, 202)
                        .kept()
                        .uncounted(),
                )
            }
            (Step::Put(blob, body), Some(path)) => {
                let separator = if path.contains('?') { '&' } else { '?' };
                Some(Request::with_body(
                    "PUT",
                    &format!("{path}{separator}digest={}", blob.digest),
                    &headers,
                    body,
                    201,
                ))
            }
            _ => {
                let blob = self.waiting.pop_front()?;
                self.steps[connection] = match self.way {
                    Way::Put => Step::Put(blob.clone(), blob.parts),
                    Way::Patch => Step::Patch(blob),
                };
                let path = format!("/v2/{}/blobs/uploads/", self.repository);
                Some(
                    Request::new("POST", &path, &self.headers, 202)
                        .kept()
                        .uncounted(),
                )
            }
        }
    }
}

/// The path of a Location that may be a whole URL.
fn path_of(location: &str) -> &str {
    match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => location,
    }
}
