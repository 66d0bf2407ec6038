//! Keys as every AWS client finds them: the environment, a profile, the role of the machine.
//!
//! Source: AWS SDKs and Tools reference guide, "Standardized credential providers".

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use wharfinger_base::{Secret, Timestamp};

use crate::keys::{KeySource, Keys};

/// The metadata service of EC2, which replies at once or is not there.
const METADATA: &str = "http://169.254.169.254/latest";
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest life of a session with the metadata service that the agent requests, in seconds.
const METADATA_SESSION_SECONDS: &str = "300";

/// Finds keys as every AWS client does.
#[derive(Clone, Debug, Default)]
pub struct DefaultKeys;

#[async_trait]
impl KeySource for DefaultKeys {
    async fn keys(&self) -> Result<Keys, String> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let (Some(id), Some(secret)) = (
            variable("AWS_ACCESS_KEY_ID"),
            variable("AWS_SECRET_ACCESS_KEY"),
        ) {
            return Ok(Keys {
                access_key_id: id,
                secret_access_key: Secret::new(secret),
                session_token: variable("AWS_SESSION_TOKEN"),
                expires_at: None,
            });
        }
        let profile = variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
        let home = variable("HOME").map(|home| PathBuf::from(home).join(".aws/credentials"));
        let named = variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
        if let Some(path) = named.or(home)
            && let Ok(text) = tokio::fs::read_to_string(&path).await
            && let Some(keys) = profile_keys(&text, &profile)
        {
            return Ok(keys);
        }
        machine_role().await.map_err(|why| {
            format!(
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or add the profile {profile} to \
                 the shared credentials file (no role of the machine: {why})"
            )
        })
    }
}

/// The keys of a profile of the shared credentials file.
fn profile_keys(text: &str, profile: &str) -> Option<Keys> {
    let mut inside = false;
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            inside = name.trim_end_matches(']').trim() == profile;
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| inside) else {
            continue;
        };
        let value = Some(value.trim().to_owned());
        match name.trim() {
            "aws_access_key_id" => id = value,
            "aws_secret_access_key" => secret = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    Some(Keys {
        access_key_id: id?,
        secret_access_key: Secret::new(secret?),
        session_token: token,
        expires_at: None,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleKeys {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: String,
}

/// The role of this machine on EC2.
async fn machine_role() -> Result<Keys, reqwest::Error> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(METADATA_TIMEOUT)
        .build()?;
    let session = client.put(format!("{METADATA}/api/token")).header(
        "X-aws-ec2-metadata-token-ttl-seconds",
        METADATA_SESSION_SECONDS,
    );
    let session = session.send().await?.error_for_status()?.text().await?;
    let get = async |path: String| {
        let request = client
            .get(format!(
                "{METADATA}/meta-data/iam/security-credentials/{path}"
            ))
            .header("X-aws-ec2-metadata-token", &session);
        request.send().await?.error_for_status()
    };
    let role = get(String::new()).await?.text().await?;
    let role = role.lines().next().unwrap_or_default().to_owned();
    let keys: RoleKeys = get(role).await?.json().await?;
    let expires: Option<jiff::Timestamp> = keys.expiration.parse().ok();
    Ok(Keys {
        access_key_id: keys.access_key_id,
        secret_access_key: Secret::new(keys.secret_access_key),
        session_token: Some(keys.token),
        expires_at: expires.map(|at| Timestamp::from_ms(at.as_millisecond())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_its_own_keys() {
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key = a=b\n\n\
                    [work]\naws_access_key_id=W\naws_secret_access_key=w\naws_session_token=t\n";
        let keys = profile_keys(text, "default").expect("keys");
        assert_eq!(keys.access_key_id, "A");
        assert_eq!(keys.secret_access_key.reveal(), "a=b");
        assert_eq!(keys.session_token, None);
        let keys = profile_keys(text, "work").expect("keys");
        assert_eq!(keys.session_token.as_deref(), Some("t"));
        assert!(profile_keys(text, "other").is_none());
        assert!(profile_keys("[default]\naws_access_key_id=A", "default").is_none());
    }
}
