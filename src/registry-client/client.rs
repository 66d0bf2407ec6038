//! Requests to registries: signed in, redirected and repeated as far as it is safe.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;
use url::{Origin, Url};
use wharfinger_base::Clock;

use crate::addresses::{self, PublicAddresses};
use crate::authorization::{self, Authorizations, Key, MAX_TOKEN_RESPONSE_BYTES};
use crate::endpoint::{Credentials, Endpoint, Upstream};
use crate::error::Error;
use crate::{Result, challenge, retry_after};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
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
/// Connections to one host that are kept while they are not used.
const IDLE_CONNECTIONS: usize = 16;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// What a request does to a repository: the scope that its token needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Pull,
    Push,
}

/// A client of all registries. Clones share connections and tokens.
#[derive(Clone)]
pub struct RegistryClient(Arc<Inner>);

struct Inner {
    /// Made for the first request: the certificate authorities of the system are files.
    clients: OnceCell<HttpClients>,
    /// The origins of the endpoints that the configuration names.
    origins: HashSet<String>,
    authorizations: Authorizations,
    clock: Clock,
}

struct HttpClients {
    /// For the addresses that the configuration names.
    configured: Client,
    /// For all others, which must be public.
    public: Client,
}

/// A request without the `Authorization` header.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) accept: Option<&'static str>,
    /// The first byte that is requested, for a part of the content.
    pub(crate) offset: u64,
    /// The repository and what is done to it; `None` where any valid credentials are enough.
    pub(crate) scope: Option<(&'a str, Access)>,
}

impl RegistryClient {
    /// Makes a client that may reach the `configured` endpoints wherever they are, also without
    /// TLS, and public addresses over TLS.
    #[must_use]
    pub fn new<'a>(configured: impl Iterator<Item = &'a Endpoint>, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            clients: OnceCell::new(),
            origins: configured.map(|one| text(&one.origin())).collect(),
            authorizations: Authorizations::new(),
            clock,
        }))
    }

    /// Checks that the registry accepts the credentials, if it requires any.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Unavailable`] and others.
    pub async fn ping(&self, upstream: &Upstream) -> Result<()> {
        let request = Request {
            method: Method::GET,
            url: upstream.endpoint.base(),
            accept: None,
            offset: 0,
            scope: None,
        };
        match self.send(upstream, &request).await {
            Ok(_) | Err(Error::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a request that changes nothing, and once more after a failure that may pass. Returns a
    /// response with a status of 200 to 299.
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
    async fn send_once(&self, upstream: &Upstream, request: &Request<'_>) -> Result<Response> {
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.signed_in(upstream, request, &url).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if !status.is_redirection() {
                return Err(self.refusal(response).await);
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
                let actions = match access {
                    Access::Pull => "pull",
                    Access::Push => "pull,push",
                };
                format!("repository:{repository}:{actions}")
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
        let sending = self
            .http(upstream, url)
            .await?
            .get(url.clone())
            .headers(headers)
            .send();
        let response = in_time(sending).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
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
        let invalid = |_| Error::Invalid("a header that cannot be sent".to_owned());
        if request.offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={}-", request.offset));
            headers.insert(RANGE, range.map_err(invalid)?);
        }
        if let Some(value) = &upstream.cdn_loop {
            headers.insert(CDN_LOOP, HeaderValue::from_str(value).map_err(invalid)?);
        }
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        let client = self.http(upstream, url).await?;
        let sending = client.request(request.method.clone(), url.clone());
        in_time(sending.headers(headers).send()).await
    }

    /// The client for a URL of an upstream. Only an upstream whose own address the configuration
    /// names may lead to such addresses, which need not be public.
    ///
    /// # Errors
    /// [`Error::Address`].
    async fn http(&self, upstream: &Upstream, url: &Url) -> Result<&Client> {
        let clients = self.0.clients.get_or_try_init(HttpClients::load).await?;
        let is_configured = |origin: &Origin| self.0.origins.contains(&text(origin));
        if is_configured(&upstream.endpoint.origin()) && is_configured(&url.origin()) {
            return Ok(&clients.configured);
        }
        addresses::check(url)?;
        Ok(&clients.public)
    }

    /// The error that a response stands for.
    async fn refusal(&self, response: Response) -> Error {
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER);
        let wait = wait.and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|value| retry_after::parse(value, self.0.clock.now()));
        // What it says is of no use where it takes long.
        let said = tokio::time::timeout(HEAD_TIMEOUT, body(response, MAX_ERROR_BYTES)).await;
        let said = said.ok().and_then(Result::ok).unwrap_or_default();
        Error::of_status(status, &said, wait)
    }
}

impl HttpClients {
    async fn load() -> Result<Self> {
        let failed = |error: &dyn std::error::Error| Error::Unavailable(error.to_string());
        let tls = tokio::task::spawn_blocking(tls_config).await;
        let tls = tls.map_err(|panic| failed(&panic))?;
        let tls = tls.map_err(|error| failed(&error))?;
        let builder = || {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .user_agent(concat!("wharfinger/", env!("CARGO_PKG_VERSION")))
        };
        // A proxy would look names up by itself, and reach what is not public.
        let public = builder().no_proxy().dns_resolver(PublicAddresses).build();
        // The configuration names where a registry is reached: no proxy in between.
        let direct = builder().no_proxy().build();
        Ok(Self {
            configured: direct.map_err(|error| failed(&error))?,
            public: public.map_err(|error| failed(&error))?,
        })
    }
}

fn tls_config() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let builder = wharfinger_tls::client_builder()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
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
    let failed = |error: reqwest::Error| Error::of_transport(&error);
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        if body.len() + piece.len() > max_bytes {
            return Err(Error::TooLarge {
                limit_bytes: max_bytes as u64,
            });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
