//! A client of the ECS API on one kept connection.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use wharfinger_aws::sigv4;
use wharfinger_base::Clock;

const TARGET: &str = "AmazonEC2ContainerServiceV20141113";

/// An access key.
pub(crate) struct Key {
    id: String,
    secret: String,
    region: String,
}

impl Key {
    /// The key in what a server prints at its first start.
    pub(crate) fn exported(printed: &str) -> Option<Self> {
        let value = |name: &str| {
            let line = printed
                .lines()
                .find_map(|line| line.split_once(&format!("{name}=")));
            let value = line?.1.trim().trim_matches(['\'', '"']);
            Some(value.to_owned())
        };
        Some(Self {
            id: value("AWS_ACCESS_KEY_ID")?,
            secret: value("AWS_SECRET_ACCESS_KEY")?,
            region: value("AWS_DEFAULT_REGION").or_else(|| value("AWS_REGION"))?,
        })
    }
}

/// Where the server is, and the key of its root.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) address: Arc<str>,
    pub(crate) key: Arc<Key>,
}

impl Api {
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let stream = TcpStream::connect(&*self.address).await?;
        stream.set_nodelay(true)?;
        Ok(Client {
            api: self.clone(),
            stream: BufReader::new(stream),
        })
    }

    /// Date and signature of a request without the `Host` header.
    pub(crate) fn signed(
        &self,
        (method, path, query): (&str, &str, &str),
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> anyhow::Result<HeaderMap> {
        let mut map = HeaderMap::new();
        let date = sigv4::date(Clock::System.now());
        for (name, value) in headers.iter().chain(&[("x-amz-date", date.as_str())]) {
            map.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
        }
        map.insert("host", HeaderValue::from_str(&self.address)?);
        let body_hash = sigv4::body_hash(body);
        let request = sigv4::Request {
            method,
            path,
            query,
            headers: &map,
            authority: None,
            body_hash: &body_hash,
        };
        let Key { id, secret, region } = &*self.key;
        let signature = sigv4::sign(&request, id, secret, region, "ecs").context("no signature")?;
        map.insert("authorization", HeaderValue::from_str(&signature)?);
        Ok(map)
    }
}

/// One kept connection.
pub(crate) struct Client {
    api: Api,
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Calls an operation, which must succeed.
    pub(crate) async fn call(
        &mut self,
        operation: &str,
        document: &Value,
    ) -> anyhow::Result<Value> {
        let body = document.to_string();
        let target = format!("{TARGET}.{operation}");
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", &*target),
        ];
        let signed = self
            .api
            .signed(("POST", "/", ""), &headers, body.as_bytes())?;
        let mut request = String::from("POST / HTTP/1.1\r\n");
        for (name, value) in &signed {
            request.extend([name.as_str(), ": ", value.to_str()?, "\r\n"]);
        }
        let length = body.len().to_string();
        request.extend(["content-length: ", &length, "\r\n\r\n", &body]);
        self.stream.write_all(request.as_bytes()).await?;
        let (status, body) = self.response().await?;
        if status != 200 {
            bail!("{operation}: {status} {}", String::from_utf8_lossy(&body));
        }
        Ok(serde_json::from_slice(&body)?)
    }

    async fn response(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                bail!("the server closed the connection");
            }
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            if let Some(rest) = text.strip_prefix("HTTP/1.1 ") {
                status = rest.split(' ').next().unwrap_or_default().parse()?;
            } else if let Some((name, value)) = text.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((status, body))
    }
}
