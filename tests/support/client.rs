//! An HTTP client that says what it sends and keeps what comes back.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::content::digest_of;

/// Speaks to one server, as one caller.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    authorization: Option<String>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: bytes::Bytes,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client");
        Self {
            http,
            base: format!("http://{address}"),
            authorization: None,
        }
    }

    pub(crate) fn with_password(self, password: &str) -> Self {
        let pair = STANDARD.encode(format!("AWS:{password}"));
        self.with_authorization(&format!("Basic {pair}"))
    }

    pub(crate) fn with_authorization(mut self, value: &str) -> Self {
        self.authorization = Some(value.to_owned());
        self
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Response {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("a response");
        let (status, headers) = (response.status(), response.headers().clone());
        Response {
            status,
            headers,
            body: response.bytes().await.expect("a body"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send(Method::GET, path, headers, "").await
    }

    pub(crate) async fn head(&self, path: &str) -> Response {
        self.send(Method::HEAD, path, &[], "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Response {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Response {
        self.send(Method::POST, path, &[], body).await
    }

    /// Opens an upload; its path.
    pub(crate) async fn start_upload(&self, name: &str) -> String {
        let response = self.post(&format!("/v2/{name}/blobs/uploads/"), "").await;
        assert_eq!(response.status, StatusCode::ACCEPTED, "{response:?}");
        response.header(LOCATION.as_str()).to_owned()
    }

    /// Pushes a blob by POST and PUT; its digest.
    pub(crate) async fn push_blob(&self, name: &str, content: &[u8]) -> String {
        let (location, digest) = (self.start_upload(name).await, digest_of(content));
        let response = self
            .send(
                Method::PUT,
                &format!("{location}?digest={digest}"),
                &[],
                content.to_vec(),
            )
            .await;
        assert_eq!(response.status, StatusCode::CREATED, "{response:?}");
        digest
    }

    pub(crate) async fn put_manifest(
        &self,
        name: &str,
        reference: &str,
        media_type: &str,
        manifest: &str,
    ) -> Response {
        let path = format!("/v2/{name}/manifests/{reference}");
        self.send(
            Method::PUT,
            &path,
            &[(CONTENT_TYPE.as_str(), media_type)],
            manifest.to_owned(),
        )
        .await
    }

    /// Pushes an image of one small layer; its manifest's digest.
    pub(crate) async fn push_image(&self, name: &str, tag: &str) -> String {
        let config = self.push_blob(name, b"{}").await;
        let layer = self.push_blob(name, tag.as_bytes()).await;
        let manifest = super::image(&config, &layer, tag.len(), "");
        let response = self
            .put_manifest(name, tag, super::content::IMAGE, &manifest)
            .await;
        assert_eq!(response.status, StatusCode::CREATED, "{response:?}");
        response.header("docker-content-digest").to_owned()
    }
}

impl Response {
    /// A header that must be there.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.find(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and code of an error, as `404 NAME_UNKNOWN`; the response must be an error's JSON.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        assert_eq!(self.header(CONTENT_TYPE.as_str()), "application/json");
        let code = self.json()["errors"][0]["code"]
            .as_str()
            .map(ToOwned::to_owned);
        format!(
            "{} {}",
            self.status.as_u16(),
            code.unwrap_or_else(|| panic!("no code in {self:?}"))
        )
    }

    /// What leads to the next page, if anything does.
    pub(crate) fn next(&self) -> Option<String> {
        let link = self.find("link")?;
        let path = link
            .strip_prefix('<')
            .and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
        Some(
            path.unwrap_or_else(|| panic!("a strange link: {link}"))
                .to_owned(),
        )
    }
}
