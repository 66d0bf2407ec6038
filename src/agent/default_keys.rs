//! Keys as every AWS client finds them: the environment, a profile, the endpoint of a container,
//! the role of the machine.
//!
//! Source: AWS SDKs and Tools reference guide, "Standardized credential providers".

mod profile;
mod served;

use std::io::ErrorKind;
use std::path::PathBuf;

use async_trait::async_trait;
use wharfinger_base::Secret;

use crate::default_keys::profile::{Found, of_config, of_credentials};
use crate::default_keys::served::{container_role, machine_role};
use crate::keys::{KeySource, Keys};

/// Finds keys as every AWS client does.
#[derive(Clone, Debug, Default)]
pub struct DefaultKeys;

#[async_trait]
impl KeySource for DefaultKeys {
    async fn keys(&self) -> Result<Keys, String> {
        find(&Environment(&|name| std::env::var(name).ok())).await
    }
}

/// The variables of the environment.
struct Environment<'a>(&'a (dyn Fn(&str) -> Option<String> + Send + Sync));

impl Environment<'_> {
    /// A variable; `None` for one that is empty.
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

async fn find(environment: &Environment<'_>) -> Result<Keys, String> {
    if let (Some(id), Some(secret)) = (
        environment.get("AWS_ACCESS_KEY_ID"),
        environment.get("AWS_SECRET_ACCESS_KEY"),
    ) {
        return Ok(Keys {
            access_key_id: id,
            secret_access_key: Secret::new(secret),
            session_token: environment.get("AWS_SESSION_TOKEN"),
            expires_at: None,
        });
    }
    if let Some(keys) = of_profile(environment).await? {
        return Ok(keys);
    }
    if let Some(keys) = container_role(environment).await? {
        return Ok(keys);
    }
    machine_role(environment).await.map_err(|why| {
        format!(
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or add a profile to the shared \
             credentials file (no role of the machine: {why})"
        )
    })
}

/// The keys of the profile. That of the credentials file goes before that of the config file.
///
/// # Errors
/// A profile that was named and has no keys: no others are to be used in their place.
async fn of_profile(environment: &Environment<'_>) -> Result<Option<Keys>, String> {
    let named = environment.get("AWS_PROFILE");
    let profile = named.as_deref().unwrap_or("default");
    let file = |variable: &str, name: &str| {
        let home = || environment.get("HOME").map(PathBuf::from);
        let named = environment.get(variable).map(PathBuf::from);
        named.or_else(|| home().map(|home| home.join(".aws").join(name)))
    };
    let text = async |path: Option<PathBuf>| match path {
        Some(path) => match tokio::fs::read_to_string(&path).await {
            Ok(text) => Ok(text),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(why) => Err(format!("cannot read {}: {why}", path.display())),
        },
        None => Ok(String::new()),
    };
    let credentials = text(file("AWS_SHARED_CREDENTIALS_FILE", "credentials")).await?;
    let config = text(file("AWS_CONFIG_FILE", "config")).await?;
    let found = [
        of_credentials(&credentials, profile),
        of_config(&config, profile),
    ];
    let elsewhere = |setting: &str| {
        Err(format!(
            "the profile {profile} gets its keys by {setting}, which this agent does not do"
        ))
    };
    let role = found.iter().find_map(|found| match found {
        Found::Elsewhere(setting) => Some(*setting),
        _ => None,
    });
    if let Some(setting) = role {
        return elsewhere(setting);
    }
    let mut others = None;
    for found in found {
        match found {
            Found::Keys(keys) => return Ok(Some(keys)),
            Found::Other(setting) => others = others.or(Some(setting)),
            Found::Elsewhere(_) | Found::Nothing => {}
        }
    }
    match (others, &named) {
        (Some(setting), _) => elsewhere(setting),
        (None, Some(named)) => Err(format!("the profile {named} has no keys")),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::{get, put};

    use super::*;

    const ROLE: &str = r#"{"AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "t",
                           "Expiration": "2030-01-01T00:00:00Z"}"#;

    /// The keys that are found with these variables alone.
    async fn keys(variables: &[(&str, &str)]) -> Result<Keys, String> {
        let variables: BTreeMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        find(&Environment(&|name| variables.get(name).cloned())).await
    }

    async fn id(variables: &[(&str, &str)]) -> String {
        keys(variables).await.expect("keys").access_key_id
    }

    async fn refusal(variables: &[(&str, &str)]) -> String {
        keys(variables).await.expect_err("no keys")
    }

    async fn served(routes: Router) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        address
    }

    /// A home with both files.
    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join(".aws");
        std::fs::create_dir(&folder).expect("made");
        let credentials = "[default]\naws_access_key_id = OWN\naws_secret_access_key = s\n";
        let config = "[default]\naws_access_key_id = HIDDEN\naws_secret_access_key = s\n\
                      [profile work]\naws_access_key_id = WORK\naws_secret_access_key = s\n\
                      [profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = work\n";
        std::fs::write(folder.join("credentials"), credentials).expect("written");
        std::fs::write(folder.join("config"), config).expect("written");
        home
    }

    #[tokio::test]
    async fn the_environment_goes_before_profiles() {
        let home = home();
        let home = ("HOME", home.path().to_str().expect("UTF-8"));
        let own = [
            home,
            ("AWS_ACCESS_KEY_ID", "ENV"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_SESSION_TOKEN", "t"),
        ];
        let found = keys(&own).await.expect("keys");
        assert_eq!(found.access_key_id, "ENV");
        assert_eq!(found.session_token.as_deref(), Some("t"));
        // Half of a pair is none.
        assert_eq!(id(&own[..2]).await, "OWN");
    }

    #[tokio::test]
    async fn a_profile_is_in_either_file() {
        let folder = home();
        let home = ("HOME", folder.path().to_str().expect("UTF-8"));
        assert_eq!(id(&[home]).await, "OWN");
        assert_eq!(id(&[home, ("AWS_PROFILE", "work")]).await, "WORK");
        let config = folder.path().join(".aws/config");
        let config = ("AWS_CONFIG_FILE", config.to_str().expect("UTF-8"));
        let nowhere = ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere");
        assert_eq!(id(&[nowhere, config]).await, "HIDDEN");
        let credentials = folder.path().join(".aws/credentials");
        let credentials = credentials.to_str().expect("UTF-8");
        assert_eq!(
            id(&[("AWS_SHARED_CREDENTIALS_FILE", credentials)]).await,
            "OWN"
        );
    }

    #[tokio::test]
    async fn a_profile_that_was_named_is_the_only_one() {
        let home = home();
        let home = ("HOME", home.path().to_str().expect("UTF-8"));
        let missing = refusal(&[home, ("AWS_PROFILE", "missing")]).await;
        assert_eq!(missing, "the profile missing has no keys");
        let role = refusal(&[home, ("AWS_PROFILE", "role")]).await;
        assert!(
            role.contains("the profile role gets its keys by role_arn"),
            "{role}"
        );
    }

    #[tokio::test]
    async fn a_role_in_one_file_goes_before_keys_in_the_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.to_str().expect("UTF-8").to_owned()
        };
        let own = "[work]\naws_access_key_id = W\naws_secret_access_key = s\n";
        let credentials = write("credentials", own);
        let config = write(
            "config",
            "[profile work]\nrole_arn = r\nsource_profile = work\n",
        );
        let variables = [
            ("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str()),
            ("AWS_CONFIG_FILE", &config),
            ("AWS_PROFILE", "work"),
        ];
        let refused = refusal(&variables).await;
        assert!(refused.contains("by role_arn"), "{refused}");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().to_str().expect("UTF-8");
        let refused = refusal(&[("AWS_SHARED_CREDENTIALS_FILE", folder)]).await;
        assert!(refused.contains("cannot read"), "{refused}");
    }

    #[tokio::test]
    async fn the_endpoint_of_a_container_gives_keys_to_who_has_its_token() {
        let give = async |headers: HeaderMap| match headers.get("authorization") {
            Some(token) if token == "secret" => (StatusCode::OK, ROLE),
            _ => (StatusCode::FORBIDDEN, ""),
        };
        let address = served(Router::new().route("/keys", get(give))).await;
        let uri = format!("http://{address}/keys");
        let uri = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str());
        let found = keys(&[uri, ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "secret")]).await;
        let found = found.expect("keys");
        assert_eq!(found.access_key_id, "ASIA");
        assert_eq!(found.session_token.as_deref(), Some("t"));
        assert!(found.expires_at.is_some());
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        std::fs::write(&file, "secret\n").expect("written");
        let file = file.to_str().expect("UTF-8");
        assert_eq!(
            id(&[uri, ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)]).await,
            "ASIA"
        );
        let refused = refusal(&[uri]).await;
        assert!(
            refused.contains("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
            "{refused}"
        );
        assert!(!refused.contains("/keys"), "the path is told: {refused}");
    }

    #[tokio::test]
    async fn keys_of_a_container_come_from_nowhere_else_without_tls() {
        let uri = (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "http://192.0.2.1/keys",
        );
        let refused = refusal(&[uri]).await;
        assert!(refused.contains("needs https"), "{refused}");
    }

    #[tokio::test]
    async fn the_role_of_the_machine_is_the_last() {
        let token = async |headers: HeaderMap| {
            let has_ttl = headers.contains_key("x-aws-ec2-metadata-token-ttl-seconds");
            (
                if has_ttl {
                    StatusCode::OK
                } else {
                    StatusCode::BAD_REQUEST
                },
                "session",
            )
        };
        let allowed = |headers: &HeaderMap| {
            let token = headers.get("x-aws-ec2-metadata-token");
            token.is_some_and(|token| token == "session")
        };
        let give = move |headers: &HeaderMap, text: &'static str| {
            if allowed(headers) {
                (StatusCode::OK, text)
            } else {
                (StatusCode::UNAUTHORIZED, "")
            }
        };
        let role = async move |headers: HeaderMap| give(&headers, "host\n");
        let own = async move |headers: HeaderMap| give(&headers, ROLE);
        let path = "/latest/meta-data/iam/security-credentials";
        let routes = Router::new()
            .route("/latest/api/token", put(token))
            .route(&format!("{path}/"), get(role))
            .route(&format!("{path}/host"), get(own));
        let address = served(routes).await;
        for endpoint in [format!("http://{address}"), format!("http://{address}/")] {
            let endpoint = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.as_str());
            assert_eq!(id(&[endpoint]).await, "ASIA");
            let disabled = refusal(&[endpoint, ("AWS_EC2_METADATA_DISABLED", "true")]).await;
            assert!(disabled.contains("AWS_EC2_METADATA_DISABLED"), "{disabled}");
        }
    }

    #[tokio::test]
    async fn a_metadata_service_without_sessions_will_do() {
        let path = "/latest/meta-data/iam/security-credentials";
        let routes = Router::new()
            .route(&format!("{path}/"), get(async || "host"))
            .route(&format!("{path}/host"), get(async || ROLE));
        let endpoint = format!("http://{}", served(routes).await);
        let endpoint = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.as_str());
        assert_eq!(id(&[endpoint]).await, "ASIA");
        let disabled = ("AWS_EC2_METADATA_V1_DISABLED", "true");
        let refused = refusal(&[endpoint, disabled]).await;
        assert!(refused.contains("404"), "{refused}");
    }
}
