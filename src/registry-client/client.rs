//! Requests to registries: signed in, redirected and repeated as far as it is safe.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, RANGE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::{Body, Client, RequestBuilder, Response};
use tokio::sync::OnceCell;
use url::{Origin, Url};
use wharfinger_base::Clock;

use crate::authorization::{self, Authorizations, Key, MAX_TOKEN_RESPONSE_BYTES};
use crate::endpoint::{Credentials, Endpoint, Upstream};
use crate::error::Error;
use crate::http_clients::{Authorities, HttpClients};
use crate::pace::{Pace, PaceLimits};
use crate::request::{Content, Request};
use crate::{Result, addresses, challenge, retry_after};

/// Time from a request to the head of its response.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two pieces of a body.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Redirects that are followed: registries use one or two.
const MAX_REDIRECTS: usize = 5;
/// Times that a request is sent again after a failure that may pass, and the wait before it.
const REPEATS: usize = 1;
const REPEAT_WAIT: Duration = Duration::from_millis(250);
/// Largest part of an error response that is read, in bytes.
const MAX_ERROR_BYTES: usize = 16 * 1024;
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// A client of all registries. Clones share connections and tokens.
#[derive(Clone)]
pub struct RegistryClient(Arc<Inner>);

struct Inner {
    /// Made for the first request: the certificate authorities of the system are files.
    clients: OnceCell<HttpClients>,
    /// The origins of the endpoints that the configuration names.
    origins: HashSet<String>,
    authorities: Authorities,
    authorizations: Authorizations,
    clock: Clock,
    pace: PaceLimits,
}

/// The error of a header whose value HTTP does not allow.
fn unsendable(_: http::header::InvalidHeaderValue) -> Error {
    Error::Invalid("a header that cannot be sent".to_owned())
}

impl RegistryClient {
    /// Makes a client that may reach the `configured` endpoints wherever they are, also without
    /// TLS, and public addresses over TLS.
    #[must_use]
    pub fn new<'a>(configured: impl Iterator<Item = &'a Endpoint>, clock: Clock) -> Self {
        Self::trusting(configured, Authorities::default(), clock)
    }

    /// As [`Self::new`], and trusts further authorities.
    #[must_use]
    pub fn trusting<'a>(
        configured: impl Iterator<Item = &'a Endpoint>,
        authorities: Authorities,
        clock: Clock,
    ) -> Self {
        Self::with_pace(configured, authorities, clock, PaceLimits::default())
    }

    pub(crate) fn with_pace<'a>(
        configured: impl Iterator<Item = &'a Endpoint>,
        authorities: Authorities,
        clock: Clock,
        pace: PaceLimits,
    ) -> Self {
        Self(Arc::new(Inner {
            clients: OnceCell::new(),
            origins: configured.map(|one| text(&one.origin())).collect(),
            authorities,
            authorizations: Authorizations::new(),
            clock,
            pace,
        }))
    }

    pub(crate) fn pace(&self) -> &PaceLimits {
        &self.0.pace
    }

    /// Checks that the registry accepts the credentials, if it requires any.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Unavailable`] and others.
    pub async fn ping(&self, upstream: &Upstream) -> Result<()> {
        let request = Request::new(Method::GET, upstream.endpoint.base(), None);
        match self.send(upstream, &request).await {
            Ok(_) | Err(Error::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a request that may be repeated, which happens once after a failure that may pass.
    /// Returns a response with a status of 200 to 299.
    pub(crate) async fn send(
        &self,
        upstream: &Upstream,
        request: &Request<'_>,
    ) -> Result<Response> {
        let mut repeats = 0;
        loop {
            match self.send_once(upstream, request).await {
                Err(error) if error.is_transient() && repeats < REPEATS => {
                    repeats += 1;
                    tokio::time::sleep(REPEAT_WAIT).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Follows redirects, and signs in wherever it is required: as the upstream's user where the
    /// upstream itself requires it, else as nobody.
    pub(crate) async fn send_once(
        &self,
        upstream: &Upstream,
        request: &Request<'_>,
    ) -> Result<Response> {
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.signed_in(upstream, request, &url).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if !status.is_redirection() {
                return Err(self.refusal(upstream, response, reads).await);
            }
            // Others turn a request that writes into one that reads.
            let keeps_method = matches!(status.as_u16(), 307 | 308);
            if !reads && !keeps_method {
                let why = format!("status {} to a request that writes", status.as_u16());
                return Err(Error::Invalid(why));
            }
            let target = response.headers().get(LOCATION);
            let target = target.and_then(|value| value.to_str().ok());
            let target = target.and_then(|target| url.join(target).ok());
            url = target.ok_or_else(|| Error::Invalid("a redirect without a URL".to_owned()))?;
        }
        Err(Error::Invalid(format!(
            "more than {MAX_REDIRECTS} redirects"
        )))
    }

    async fn signed_in(
        &self,
        upstream: &Upstream,
        request: &Request<'_>,
        url: &Url,
    ) -> Result<Response> {
        let is_upstream = url.origin() == upstream.endpoint.origin();
        let credentials = upstream.credentials.as_deref().filter(|_| is_upstream);
        let scope = request
            .scope
            .map_or_else(String::new, |(repository, access)| {
                format!("repository:{repository}:{}", access.actions())
            });
        let key = Key {
            origin: text(&url.origin()),
            credentials: credentials.map(authorization::fingerprint),
            scope,
        };
        let known = self.0.authorizations.get(&key, self.0.clock.now());
        let response = self
            .exchange(upstream, request, url, known.as_ref())
            .await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.0.authorizations.remove(&key);
        let challenges = response.headers().get_all(WWW_AUTHENTICATE);
        let mut challenges = challenges.iter().filter_map(|value| value.to_str().ok());
        let Some(challenge) = challenges.find_map(challenge::parse) else {
            return Ok(response);
        };
        let username = credentials.map(|credentials| credentials.username.as_str());
        let (header, until) = match authorization::token_url(&challenge, &key.scope, username)? {
            Some(token_url) => {
                let body = self.token(upstream, &token_url, credentials);
                let late = |_| Error::Unavailable("no token in time".to_owned());
                let body = tokio::time::timeout(HEAD_TIMEOUT, body)
                    .await
                    .map_err(late)??;
                authorization::bearer(&body, self.0.clock.now())?
            }
            // A host that is not the upstream gets no password.
            None => authorization::basic(credentials, self.0.clock.now())?,
        };
        let response = self.exchange(upstream, request, url, Some(&header)).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            self.0.authorizations.insert(key, header, until);
        }
        Ok(response)
    }

    /// Gets a token, with the password where there is one.
    async fn token(
        &self,
        upstream: &Upstream,
        url: &Url,
        credentials: Option<&Credentials>,
    ) -> Result<Vec<u8>> {
        let mut headers = HeaderMap::new();
        if credentials.is_some() {
            let (basic, _) = authorization::basic(credentials, self.0.clock.now())?;
            headers.insert(AUTHORIZATION, basic);
        }
        let mut url = url.clone();
        if let Some(host) = &upstream.own_host {
            // This server names its token server by the host of the request, which is not where it
            // listens: whoever has that name must not get the password.
            url = upstream.endpoint.at(&url);
            headers.insert(HOST, HeaderValue::from_str(host).map_err(unsendable)?);
        }
        let sending = self
            .http(upstream, &url)
            .await?
            .get(url)
            .headers(headers)
            .send();
        let response = in_time(sending).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(upstream, response, true).await);
        }
        body(response, MAX_TOKEN_RESPONSE_BYTES).await
    }

    async fn exchange(
        &self,
        upstream: &Upstream,
        request: &Request<'_>,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response> {
        let mut headers = HeaderMap::new();
        if let Some(accept) = request.accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        if request.offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={}-", request.offset));
            headers.insert(RANGE, range.map_err(unsendable)?);
        }
        if let Some(value) = &upstream.cdn_loop {
            headers.insert(CDN_LOOP, HeaderValue::from_str(value).map_err(unsendable)?);
        }
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        if let Some(host) = &upstream.own_host
            && url.origin() == upstream.endpoint.origin()
        {
            headers.insert(HOST, HeaderValue::from_str(host).map_err(unsendable)?);
        }
        let client = self.http(upstream, url).await?;
        let sending = client.request(request.method.clone(), url.clone());
        let sending = sending.headers(headers);
        match &request.content {
            None => in_time(sending.send()).await,
            Some(Content::Manifest { media_type, bytes }) => {
                let sending = sending.header(CONTENT_TYPE, *media_type);
                in_time(sending.body(bytes.clone()).send()).await
            }
            Some(Content::Blob(blob)) => {
                let (body, taken) = blob.body().await?;
                self.upload(sending, body, blob.size, &taken).await
            }
        }
    }

    /// Sends a blob, for as long as it comes forward. `taken` counts its bytes.
    async fn upload(
        &self,
        request: RequestBuilder,
        body: Body,
        size: u64,
        taken: &AtomicU64,
    ) -> Result<Response> {
        let request = request
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, size)
            .body(body);
        let sending = request.send();
        tokio::pin!(sending);
        let limits = &self.0.pace;
        let (mut pace, mut before) = (Pace::default(), 0);
        loop {
            let wait = if before < size {
                limits.window
            } else {
                limits.commit_wait
            };
            match tokio::time::timeout(wait, &mut sending).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(Error::of_transport(&error)),
                Err(_) if before >= size => {
                    return Err(Error::Unavailable("no response to an upload".to_owned()));
                }
                Err(_) => {}
            }
            let now = taken.load(Ordering::Relaxed);
            if now < size && !pace.note(now - before, wait, limits) {
                return Err(Error::Unavailable(
                    "it takes an upload too slowly".to_owned(),
                ));
            }
            before = now;
        }
    }

    /// The client for a URL of an upstream. Only an upstream whose own address the configuration
    /// names may lead to such addresses, which need not be public.
    ///
    /// # Errors
    /// [`Error::Address`].
    async fn http(&self, upstream: &Upstream, url: &Url) -> Result<&Client> {
        let load = || HttpClients::load(&self.0.authorities);
        let clients = self.0.clients.get_or_try_init(load).await?;
        if upstream.own_host.is_some() {
            // What this server says about itself is trusted.
            let is_own = url.origin() == upstream.endpoint.origin();
            return Ok(if is_own {
                &clients.own
            } else {
                &clients.configured
            });
        }
        let is_configured = |origin: &Origin| self.0.origins.contains(&text(origin));
        if is_configured(&upstream.endpoint.origin()) && is_configured(&url.origin()) {
            return Ok(&clients.configured);
        }
        addresses::check(url)?;
        Ok(&clients.public)
    }

    /// The error that a response stands for. Only a request that `reads` can miss what it names.
    /// A text that repeats the password is left out: others than its owner read it.
    async fn refusal(&self, upstream: &Upstream, response: Response, reads: bool) -> Error {
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER);
        let wait = wait.and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|value| retry_after::parse(value, self.0.clock.now()));
        // What it says is of no use where it takes long.
        let said = tokio::time::timeout(HEAD_TIMEOUT, body(response, MAX_ERROR_BYTES)).await;
        let said = said.ok().and_then(Result::ok).unwrap_or_default();
        let credentials = upstream.credentials.as_deref();
        let is_secret =
            |text: &str| credentials.is_some_and(|of| authorization::is_told_in(of, text));
        Error::of_status(status, &said, wait, (reads, is_secret))
    }
}

fn text(origin: &Origin) -> String {
    origin.ascii_serialization()
}

async fn in_time(
    sending: impl Future<Output = Result<Response, reqwest::Error>>,
) -> Result<Response> {
    match tokio::time::timeout(HEAD_TIMEOUT, sending).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(Error::of_transport(&error)),
        Err(_) => Err(Error::Unavailable("no response in time".to_owned())),
    }
}

/// The whole body, which has at most `max_bytes`.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::Unavailable`].
pub(crate) async fn body(mut response: Response, max_bytes: usize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = piece(&mut response).await? {
        if body.len() + piece.len() > max_bytes {
            return Err(Error::TooLarge {
                limit_bytes: max_bytes as u64,
            });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The next piece of a body, which comes soon.
///
/// # Errors
/// [`Error::Unavailable`].
pub(crate) async fn piece(response: &mut Response) -> Result<Option<Bytes>> {
    match tokio::time::timeout(READ_TIMEOUT, response.chunk()).await {
        Ok(Ok(piece)) => Ok(piece),
        Ok(Err(error)) => Err(Error::of_transport(&error)),
        Err(_) => Err(Error::Unavailable("no content in time".to_owned())),
    }
}
