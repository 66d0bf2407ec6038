//! Keys that an endpoint serves: that of a container, or the metadata service of a machine.
//!
//! Source: AWS SDKs and Tools reference guide, "Container credential provider" and "IMDS credential
//! provider".

use std::net::IpAddr;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use url::{Host, Url};
use wharfinger_base::{Secret, Timestamp};

use crate::default_keys::Environment;
use crate::keys::Keys;

/// The endpoint of containers, and others that may be reached without TLS.
const CONTAINER: &str = "http://169.254.170.2";
const CONTAINERS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
/// The metadata service of EC2, which replies at once or is not there.
const MACHINE: &str = "http://169.254.169.254";
const MACHINE_V6: &str = "http://[fd00:ec2::254]";
const TIMEOUT: Duration = Duration::from_secs(2);
/// Longest life of a session with the metadata service that the agent requests, in seconds.
const SESSION_SECONDS: &str = "300";
/// Where the metadata service has the keys of the role.
const ROLES: &str = "latest/meta-data/iam/security-credentials/";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleKeys {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

impl RoleKeys {
    fn keys(self) -> Keys {
        let expires = self.expiration.as_deref().map(str::parse);
        let expires: Option<jiff::Timestamp> = expires.and_then(Result::ok);
        Keys {
            access_key_id: self.access_key_id,
            secret_access_key: Secret::new(self.secret_access_key),
            session_token: self.token,
            expires_at: expires.map(|at| Timestamp::from_ms(at.as_millisecond())),
        }
    }
}

fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
}

/// The keys of the container that the agent is in; `None` where its environment names no endpoint.
///
/// # Errors
/// Where the endpoint gives none: the role of the machine is another one.
pub(super) async fn container_role(environment: &Environment<'_>) -> Result<Option<Keys>, String> {
    let relative = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    let full = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let (variable, uri) = match (environment.get(relative), environment.get(full)) {
        (Some(path), _) => (relative, format!("{CONTAINER}{path}")),
        (None, Some(uri)) => (full, uri),
        (None, None) => return Ok(None),
    };
    let failed = |why: String| format!("no keys from {variable}: {why}");
    let url = Url::parse(&uri).map_err(|why| failed(why.to_string()))?;
    if url.scheme() != "https" && !is_trusted(&url) {
        return Err(failed("an address of another host needs https".to_owned()));
    }
    let token = match environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(path) => {
            let text = tokio::fs::read_to_string(&path).await;
            let text = text.map_err(|why| failed(format!("{path}: {why}")))?;
            Some(text.trim().to_owned())
        }
        None => environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    let fetched = fetch_container_role(url, token).await;
    // The path is a secret where it leads to keys: who knows it gets them.
    let role = fetched.map_err(|why| failed(why.without_url().to_string()))?;
    Ok(Some(role.keys()))
}

async fn fetch_container_role(url: Url, token: Option<String>) -> Result<RoleKeys, reqwest::Error> {
    let mut request = client()?.get(url);
    if let Some(token) = token {
        request = request.header("Authorization", token);
    }
    request.send().await?.error_for_status()?.json().await
}

/// Whether the endpoint may be reached without TLS: on this host, or where hosts serve containers.
fn is_trusted(url: &Url) -> bool {
    let address: IpAddr = match url.host() {
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
        Some(Host::Domain(name)) => return name == "localhost",
        None => return false,
    };
    address.is_loopback() || CONTAINERS.contains(&address.to_string().as_str())
}

/// The keys of the role of this machine on EC2.
///
/// # Errors
/// Why there are none.
pub(super) async fn machine_role(environment: &Environment<'_>) -> Result<Keys, String> {
    if environment.is_true("AWS_EC2_METADATA_DISABLED") {
        return Err("AWS_EC2_METADATA_DISABLED is set".to_owned());
    }
    let mode = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
    let usual = match mode {
        Some(mode) if mode.eq_ignore_ascii_case("ipv6") => MACHINE_V6,
        _ => MACHINE,
    };
    let named = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let base = named.unwrap_or_else(|| usual.to_owned());
    let base = base.trim_end_matches('/');
    let needs_session = environment.is_true("AWS_EC2_METADATA_V1_DISABLED");
    let role = fetch_machine_role(base, needs_session).await;
    role.map(RoleKeys::keys)
        .map_err(|why| why.without_url().to_string())
}

async fn fetch_machine_role(base: &str, needs_session: bool) -> Result<RoleKeys, reqwest::Error> {
    let client = client()?;
    let session = client
        .put(format!("{base}/latest/api/token"))
        .header("X-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS);
    let session = session.send().await?;
    // The first version of the service has no sessions.
    let is_first = matches!(
        session.status(),
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
    );
    let session = if is_first && !needs_session {
        None
    } else {
        Some(session.error_for_status()?.text().await?)
    };
    let get = async |path: &str| {
        let mut request = client.get(format!("{base}/{ROLES}{path}"));
        if let Some(session) = &session {
            request = request.header("X-aws-ec2-metadata-token", session);
        }
        request.send().await?.error_for_status()
    };
    let role = get("").await?.text().await?;
    get(role.lines().next().unwrap_or_default())
        .await?
        .json()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_containers_are_on_the_host() {
        let is_trusted = |url: &str| is_trusted(&Url::parse(url).expect("a URL"));
        for url in [
            "http://localhost:1/k",
            "http://127.0.0.9/k",
            "http://[::1]/k",
            "http://169.254.170.2/v2/credentials/1",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
        ] {
            assert!(is_trusted(url), "{url}");
        }
        for url in [
            "http://169.254.169.254/k",
            "http://example.com/k",
            "http://10.0.0.1/k",
        ] {
            assert!(!is_trusted(url), "{url}");
        }
    }
}
