//! A client of AWS APIs that speak JSON 1.1, signed with Signature Version 4.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Origin, Url};
use wharfinger_aws::sigv4;
use wharfinger_base::Clock;

use crate::keys::Keys;
use crate::trust::Tls;

/// Time to connect, and for a request as a whole.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest response: a page of log streams, or a secret of 64 KiB.
const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;
/// Longest message of a response that is no error document.
const MAX_QUOTED_CHARS: usize = 200;

/// An AWS API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    /// The service of the signature's scope.
    pub(crate) signing_name: &'static str,
    /// What `X-Amz-Target` has before the operation.
    pub(crate) target: &'static str,
}

pub(crate) const ECS: Service = Service {
    signing_name: "ecs",
    target: "AmazonEC2ContainerServiceV20141113",
};
pub(crate) const ECR: Service = Service {
    signing_name: "ecr",
    target: "AmazonEC2ContainerRegistry_V20150921",
};
pub(crate) const LOGS: Service = Service {
    signing_name: "logs",
    target: "Logs_20140328",
};
pub(crate) const SECRETS: Service = Service {
    signing_name: "secretsmanager",
    target: "secretsmanager",
};
pub(crate) const PARAMETERS: Service = Service {
    signing_name: "ssm",
    target: "AmazonSSM",
};

/// Why a call has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    #[error("{code}: {message}")]
    Refused {
        status: u16,
        code: String,
        message: String,
    },
    #[error("no credentials: {0}")]
    NoKeys(String),
    #[error("the response cannot be read: {0}")]
    Unreadable(String),
}

impl CallError {
    /// Whether the same call may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::NoKeys(_) | Self::Unreadable(_) => true,
            Self::Refused { status, code, .. } => {
                *status >= 500 || *status == 429 || code.contains("Throttl")
            }
        }
    }

    /// Whether the server does not know the keys, or they do not allow the call: newer ones may.
    pub(crate) fn is_denied(&self) -> bool {
        let codes = ["AccessDenied", "ExpiredToken", "UnrecognizedClient"];
        let forbidden = matches!(self, Self::Refused { status: 403, .. });
        forbidden || codes.iter().any(|code| self.is(code))
    }

    /// Whether the server refused with this code.
    pub(crate) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code.starts_with(wanted))
    }
}

/// A client of one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct AwsClient {
    /// For URLs of the control plane, and for all others.
    own: reqwest::Client,
    others: reqwest::Client,
    control_plane: Origin,
    endpoint: Url,
    region: String,
    clock: Clock,
}

impl AwsClient {
    /// # Errors
    /// Where the TLS client cannot be made.
    pub(crate) fn new(
        endpoint: Url,
        region: String,
        tls: &Tls,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            own: http_client(&tls.endpoint)?,
            others: http_client(&tls.others)?,
            control_plane: endpoint.origin(),
            endpoint,
            region,
            clock,
        })
    }

    pub(crate) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// The same client for another endpoint or region.
    pub(crate) fn at(&self, endpoint: Option<Url>, region: Option<&str>) -> Self {
        Self {
            own: self.own.clone(),
            others: self.others.clone(),
            control_plane: self.control_plane.clone(),
            endpoint: endpoint.unwrap_or_else(|| self.endpoint.clone()),
            region: region.unwrap_or(&self.region).to_owned(),
            clock: self.clock.clone(),
        }
    }

    /// Calls an operation.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        keys: &Keys,
        service: Service,
        operation: &str,
        body: &Value,
    ) -> Result<T, CallError> {
        let body = body.to_string().into_bytes();
        let mut headers = HeaderMap::new();
        let target = format!("{}.{operation}", service.target);
        insert(&mut headers, "content-type", "application/x-amz-json-1.1")?;
        insert(&mut headers, "x-amz-target", &target)?;
        sign(
            &mut headers,
            &self.endpoint,
            &Signing {
                method: "POST",
                keys,
                region: &self.region,
                service: service.signing_name,
                body: &body,
                clock: &self.clock,
            },
        )?;
        let http = self.http(&self.endpoint);
        let request = http.post(self.endpoint.clone()).headers(headers);
        let text = received(request.body(body), MAX_RESPONSE_BYTES).await?;
        let text = if text.is_empty() {
            b"{}"
        } else {
            text.as_slice()
        };
        serde_json::from_slice(text).map_err(|why| CallError::Unreadable(why.to_string()))
    }

    /// Gets what is at a URL, up to `max_bytes`.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn get(
        &self,
        url: Url,
        headers: HeaderMap,
        max_bytes: usize,
    ) -> Result<Vec<u8>, CallError> {
        let http = self.http(&url);
        received(http.get(url).headers(headers), max_bytes).await
    }

    /// The client for a URL. That of the control plane may accept any certificate.
    fn http(&self, url: &Url) -> &reqwest::Client {
        if url.origin() == self.control_plane {
            &self.own
        } else {
            &self.others
        }
    }
}

fn http_client(tls: &rustls::ClientConfig) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .user_agent("wharfinger-agent")
        .build()
}

/// Sends a request and receives its response.
async fn received(
    request: reqwest::RequestBuilder,
    max_bytes: usize,
) -> Result<Vec<u8>, CallError> {
    let response = request.send().await;
    let mut response = response.map_err(|why| CallError::Unreachable(chain(&why)))?;
    let status = response.status().as_u16();
    let mut text = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|why| CallError::Unreachable(chain(&why)))?;
        let Some(chunk) = chunk else { break };
        if text.len() + chunk.len() > max_bytes {
            let limit = format!("it has more than {max_bytes} bytes");
            return Err(CallError::Unreadable(limit));
        }
        text.extend_from_slice(&chunk);
    }
    if status == 200 {
        return Ok(text);
    }
    Err(refusal(status, &text))
}

/// What a signature is made with.
pub(crate) struct Signing<'a> {
    pub(crate) method: &'a str,
    pub(crate) keys: &'a Keys,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) clock: &'a Clock,
}

/// Adds date, session token and signature to the headers of a request.
///
/// # Errors
/// Keys that headers cannot hold.
pub(crate) fn sign(
    headers: &mut HeaderMap,
    url: &Url,
    signing: &Signing<'_>,
) -> Result<(), CallError> {
    insert(headers, "x-amz-date", &sigv4::date(signing.clock.now()))?;
    if let Some(token) = &signing.keys.session_token {
        insert(headers, "x-amz-security-token", token)?;
    }
    let authority = authority(url);
    let hash = sigv4::body_hash(signing.body);
    let request = sigv4::Request {
        method: signing.method,
        path: url.path(),
        query: url.query().unwrap_or_default(),
        headers,
        authority: Some(&authority),
        body_hash: &hash,
    };
    let Keys {
        access_key_id,
        secret_access_key,
        ..
    } = signing.keys;
    let secret = secret_access_key.reveal();
    let signature = sigv4::sign(
        &request,
        access_key_id,
        secret,
        signing.region,
        signing.service,
    );
    let signature = signature.ok_or_else(|| CallError::NoKeys("they sign nothing".to_owned()))?;
    insert(headers, "authorization", &signature)
}

/// What a client sends as `Host`.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), CallError> {
    let value = HeaderValue::from_str(value)
        .map_err(|_| CallError::NoKeys(format!("{name} holds characters that headers do not")))?;
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

/// Reads an error document: `{"__type": …, "message": …}`.
fn refusal(status: u16, text: &[u8]) -> CallError {
    let document: Value = serde_json::from_slice(text).unwrap_or_default();
    let code = document["__type"].as_str().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    let message = document["message"]
        .as_str()
        .or(document["Message"].as_str());
    let quoted = || {
        let text = String::from_utf8_lossy(text);
        text.chars().take(MAX_QUOTED_CHARS).collect()
    };
    CallError::Refused {
        status,
        code: if code.is_empty() {
            format!("status {status}")
        } else {
            code.to_owned()
        },
        message: message.map_or_else(quoted, ToOwned::to_owned),
    }
}

fn chain(error: &reqwest::Error) -> String {
    wharfinger_base::Chain(error).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use wharfinger_base::Secret;

    use super::*;
    use crate::trust::ServerTrust;

    /// Replies `{}` to one request on each connection, under a certificate that nobody vouches for.
    async fn server_with_own_certificate() -> Url {
        let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]);
        let pair = pair.expect("rcgen signs");
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![pair.cert.der().clone()], key.into());
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config.expect("a certificate")));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = tls.accept(stream).await else {
                    continue;
                };
                // The requests of these tests fit into one record.
                let _ = stream.read(&mut [0; 16 * 1024]).await;
                let response = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                let _ = stream.write_all(response).await;
                let _ = stream.shutdown().await;
            }
        });
        Url::parse(&format!("https://{address}")).expect("a URL")
    }

    fn keys() -> Keys {
        Keys {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("secret".to_owned()),
            session_token: None,
            expires_at: None,
        }
    }

    #[tokio::test]
    async fn only_the_own_listener_is_taken_at_its_word() {
        let own = server_with_own_certificate().await;
        let other = server_with_own_certificate().await;
        let tls = Tls::load(ServerTrust::OwnListener).await.expect("TLS");
        let region = "us-east-1".to_owned();
        let client = AwsClient::new(own.clone(), region, &tls, Clock::default());
        let client = client.expect("a client");
        let call = async |client: &AwsClient| {
            let called: Result<Value, _> = client.call(&keys(), ECS, "Any", &Value::Null).await;
            called
        };
        call(&client).await.expect("the own listener replies");
        let elsewhere = client.at(Some(other.clone()), None);
        let refused = call(&elsewhere).await.expect_err("an unknown certificate");
        assert!(matches!(refused, CallError::Unreachable(_)), "{refused}");
        let path = |url: &Url| url.join("/bucket/key").expect("a URL");
        let got = client.get(path(&own), HeaderMap::new(), 10).await;
        assert_eq!(got.expect("the own listener replies"), b"{}");
        let got = client.get(path(&other), HeaderMap::new(), 10).await;
        let refused = got.expect_err("an unknown certificate");
        assert!(matches!(refused, CallError::Unreachable(_)), "{refused}");
        // Back at the own listener, by way of another client.
        let home = elsewhere.at(Some(own), None);
        call(&home).await.expect("the own listener replies");
    }

    #[test]
    fn refusals_are_read_from_their_document() {
        let text = br#"{"__type":"a.b#ClientException","message":"no"}"#;
        let error = refusal(400, text);
        assert!(error.is("ClientException"));
        assert!(!error.is_transient());
        assert_eq!(error.to_string(), "ClientException: no");
        let error = refusal(502, b"<html>");
        assert!(error.is_transient());
        assert_eq!(error.to_string(), "status 502: <html>");
        assert!(refusal(400, br#"{"__type":"ThrottlingException"}"#).is_transient());
        assert!(!error.is_denied());
        assert!(refusal(403, b"").is_denied());
        assert!(refusal(400, br#"{"__type":"ExpiredTokenException"}"#).is_denied());
    }

    #[test]
    fn hosts_have_their_port_where_it_is_not_the_usual_one() {
        let of = |text: &str| authority(&Url::parse(text).expect("a URL"));
        assert_eq!(of("http://127.0.0.1:4566/x"), "127.0.0.1:4566");
        assert_eq!(of("https://registry.example"), "registry.example");
        assert_eq!(of("http://[::1]:80/"), "[::1]");
    }
}
